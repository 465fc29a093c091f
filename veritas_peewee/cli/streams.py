"""The standard streams, as whoever started the program has left them.

One may be closed, another full, or without a reader. What cannot be written on standard output is
a failure of the command, whichever command it is; what cannot be written on standard error is lost.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn, TextIO, cast

from veritas_peewee.files.platform import is_closed_pipe


class OutputFailed(Exception):
    """The standard output could not be written."""


class ReaderGone(OutputFailed):
    """The reader of the standard output has closed it."""


@contextmanager
def guarded() -> Iterator[None]:
    """Within the block, a failing standard output raises OutputFailed, by whoever writes to it."""
    _fill_descriptors()
    given = sys.stdout, sys.stderr
    for stream in given:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.stdout = _Guarded(given[0] or io.TextIOWrapper(_Closed()), _output_failed).as_text()
    sys.stderr = _Guarded(given[1] or io.StringIO(), lambda error: None).as_text()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = given


def _fill_descriptors() -> None:
    """Put something in the place of standard streams that the shell has closed.

    Otherwise a file of ours, the database even, would get the number of one of them, and whatever
    a library prints would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The free descriptor with the lowest number is taken. It is opened the wrong way
            # round, so that it cannot be used, as a closed one cannot be.
            os.open(os.devnull, os.O_RDONLY if number else os.O_WRONLY)


class _Closed(io.RawIOBase):
    """A stream that is not there."""

    def writable(self) -> bool:
        return True

    def write(self, _: object) -> NoReturn:
        raise OSError(errno.EBADF, "it is closed")


class _Guarded:
    """A stream that calls `failed` for an error, and from then on writes to nowhere."""

    def __init__(self, stream: Any, failed: Callable[[OSError], object]) -> None:
        self._stream, self._failed = stream, failed

    def as_text(self) -> TextIO:
        return cast(TextIO, self)

    @property
    def buffer(self) -> _Guarded:
        return _Guarded(self._stream.buffer, self._failed)

    def write(self, data: Any) -> int:
        with self._errors():
            self._stream.write(data)
        return len(data)

    def flush(self) -> None:
        with self._errors():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # At its end the interpreter flushes once more, and would report the error again.
            with suppress(OSError, AttributeError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)
            self._failed(error)


def _output_failed(error: OSError) -> NoReturn:
    if is_closed_pipe(error):
        raise ReaderGone from None
    reason = error.strerror or error
    raise OutputFailed(f"the standard output cannot be written: {reason}") from error
