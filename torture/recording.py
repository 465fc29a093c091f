"""The recording process as its parent sees it, and what it acknowledged."""

from __future__ import annotations

import subprocess
import threading
from collections import Counter
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import NamedTuple, Self

from torture.followed import TIMEOUT, Followed


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


class Recording(Followed):
    """A process that records until it is killed, or until it is asked to close."""

    def __init__(self, database: Path | str, *options: object, told: Told | None = None) -> None:
        self.told = told or Told()
        self.opened = threading.Event()
        self.closed = False
        self.started = monotonic()
        super().__init__("record", database, *options)

    def heard(self, line: str) -> None:
        if line == "open":
            self.opened.set()
        elif line == "closed":
            self.closed = True
        else:
            self.told.add(line)

    def ended(self) -> None:
        self.opened.set()  # or it never will be

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
        wanted = len(self.told.acks) + number
        return self.wait_until(lambda: len(self.told.acks) >= wanted)

    def wait_for_refusal(self) -> bool:
        """Wait until one more write is refused."""
        before = self.told.refused.total()
        return self.wait_until(lambda: self.told.refused.total() > before)

    def close(self) -> bool:
        """Ask it to close its store and end; True if it did."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            code = self.end()
        except subprocess.TimeoutExpired:
            return False
        return self.closed and code == 0
