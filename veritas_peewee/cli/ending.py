"""How the program ends when it is asked to: it undoes what it has half done, and says by what."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from types import FrameType
from typing import Any, Self

# A terminal that goes away, and whoever asks a process to end: a supervisor, a shutdown, `kill`.
# On Windows a console that is closed, a shutdown and Ctrl-Break are SIGBREAK.
_NAMES = ("SIGTERM", "SIGHUP", "SIGBREAK")
_ASKED = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
# The event loop too: an interrupt within a task of a group ends in an error of its own there.
_LOGGERS = tuple(map(logging.getLogger, ("veritas_peewee", "asyncio")))
_SOON = 0.05
"""Seconds after which an interrupt that a finalizer has swallowed comes again."""


class Ending:
    """Which signal has asked the program to end; None as long as none has."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def code(self) -> int | None:
        """The exit code, the one that a shell gives a program which a signal has ended."""
        return None if self.signal is None else by_signal(self.signal)

    def ask(self, number: int, _: Any) -> None:
        """Have the main thread end what it does, as by Ctrl-C."""
        self.signal = number
        raise KeyboardInterrupt

    def is_worth_saying(self, _: logging.LogRecord) -> bool:
        """A filter for the log: what fails because the program ends is no news.

        SQLite, for one, turns an interrupt within a function of ours into an error of its own.
        """
        return self.signal is None

    def ask_again(self, ignored: Any) -> None:
        """Replace `sys.unraisablehook`: where nobody sees the interrupt, it comes once more."""
        if self.signal is not None and isinstance(ignored.exc_value, KeyboardInterrupt):
            Timer(_SOON, signal.raise_signal, [self.signal]).start()
        else:
            sys.__unraisablehook__(ignored)


class Patience:
    """Within the block, what asks the program to end is kept back until it says that it waits.

    For what may not be cut in two, such as an event that has been read and is not recorded yet.
    """

    def __init__(self) -> None:
        self._given: dict[int, Callable[[int, FrameType | None], object]] = {}
        self._came: int | None = None
        self._waits = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *_ASKED):
                given = signal.getsignal(number)
                if callable(given):
                    self._given[number] = given
                    signal.signal(number, self._keep)
        return self

    def __exit__(self, *_: object) -> None:
        for number, given in self._given.items():
            signal.signal(number, given)
        self._heed(None)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Within the block the program is interrupted at once; and here, if it was asked before."""
        self._waits = True
        try:
            self._heed(None)
            yield
        finally:
            self._waits = False

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self._came = number
        if self._waits:
            self._heed(frame)

    def _heed(self, frame: FrameType | None) -> None:
        number, self._came = self._came, None
        if number is not None:
            self._waits = False  # a second one is kept back until what the first one ends is done
            self._given[number](number, frame)


def by_signal(number: int) -> int:
    """The exit code of a program that a signal has ended."""
    return 128 + number


@contextmanager
def when_asked(ending: Ending) -> Iterator[None]:
    """Within the block, a signal that asks the program to end is a KeyboardInterrupt.

    So every block on the way out is left in order: transactions are undone, partial files removed,
    the audit of a live pipe is marked. Signals that are ignored, as under `nohup`, remain so.
    """
    replaced = []
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, *_ASKED):
            given = signal.getsignal(number)
            # Ctrl-C too, to know of it: SQLite makes another error of an interrupt that comes
            # while it calls a function of ours.
            if given in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, ending.ask)
                replaced.append((number, given))
    hook, sys.unraisablehook = sys.unraisablehook, ending.ask_again
    for logger in _LOGGERS:
        logger.addFilter(ending.is_worth_saying)
    try:
        yield
    finally:
        for logger in _LOGGERS:
            logger.removeFilter(ending.is_worth_saying)
        sys.unraisablehook = hook
        for number, given in replaced:
            signal.signal(number, given)
