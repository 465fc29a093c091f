"""The recording process as its parent sees it, and what it acknowledged."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import NamedTuple, Self

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT = 60.0
"""Seconds within which everything that must happen has to happen."""


class Ack(NamedTuple):
    """A write that was acknowledged: what it was, when it began, and when its line was read."""

    words: tuple[str, ...]
    begun: float
    read: float


class Told:
    """Everything that the processes on one store have reported so far."""

    def __init__(self) -> None:
        self.acks: list[Ack] = []
        self.deleting: set[str] = set()
        self.refused: Counter[str] = Counter()
        self.texts: dict[str, str] = {}
        """One error's text for each kind of refusal."""

    def add(self, line: str) -> None:
        match line.split():
            case ["ack", begun, *words]:
                self.acks.append(Ack(tuple(words), float(begun), monotonic()))
            case ["deleting", audit]:
                self.deleting.add(audit)
            case ["refused", kind, *text]:
                self.refused[kind] += 1
                self.texts.setdefault(kind, " ".join(text))


def command(program: str, *arguments: object) -> list[str]:
    """The command line of a program of this package."""
    options = ["-W", "error", "-m", f"torture.programs.{program}"]
    return [sys.executable, *options, *map(str, arguments)]


class Recording:
    """A process that records until it is killed, or until it is asked to close."""

    def __init__(self, database: Path, *options: object, told: Told | None = None) -> None:
        self.told = told or Told()
        self.opened = threading.Event()
        self.closed = False
        self.started = monotonic()
        self.process = subprocess.Popen(
            command("record", database, *options),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._listen, daemon=True),
            threading.Thread(target=self._listen_for_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if not line.endswith("\n"):
                continue  # cut off by the kill
            if line == "open\n":
                self.opened.set()
            elif line == "closed\n":
                self.closed = True
            else:
                self.told.add(line)
        self.opened.set()  # or it never will be

    def _listen_for_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors += self.process.stderr

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def wait_until_open(self) -> bool:
        """Wait until the store is open; false if the process has ended instead."""
        return self.opened.wait(TIMEOUT) and self.process.poll() is None

    def wait_for_acks(self, number: int) -> bool:
        """Wait until so many more writes are acknowledged."""
        return self._wait(lambda: len(self.told.acks), len(self.told.acks) + number - 1)

    def wait_for_refusal(self) -> bool:
        """Wait until one more write is refused."""
        return self._wait(self.told.refused.total, self.told.refused.total())

    def _wait(self, number: Callable[[], int], beyond: int) -> bool:
        deadline = monotonic() + TIMEOUT
        while number() <= beyond:
            if monotonic() > deadline or self.process.poll() is not None:
                return False
            sleep(0.002)
        return True

    def close(self) -> bool:
        """Ask it to close its store and end; True if it did."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            return False
        self._finish()
        return self.closed and self.process.returncode == 0

    def kill(self) -> None:
        """Kill it, if it runs, and read its last lines: those writes were acknowledged too."""
        self.process.kill()
        self.process.wait()
        self._finish()

    def _finish(self) -> None:
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None and not stream.closed:
                stream.close()

    @property
    def errors(self) -> str:
        """The end of what it said on standard error."""
        return "".join(self._errors)[-2000:]
