"""What became of one change."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

WITHIN = 20
"""Seconds after which an answer counts as none."""

NAMED, AGAINST, NOTED, AT_ITS_END, NOT_NAMED, IMPOSSIBLE = (
    "named", "named against a head", "noted", "named at its end", "unnamed", "impossible",
)  # fmt: skip


@dataclass
class Verdict:
    """How `verify` names a change, and what else it does to the store."""

    change: str
    specimen: str
    state: str = NOT_NAMED
    texts: list[str] = field(default_factory=list)
    """The first of what `verify` says."""
    crashes: list[str] = field(default_factory=list)
    """Errors that are not the store's, and answers that did not come or are wrong."""
    stopped: list[str] = field(default_factory=list)
    """What could not be recorded, or read, though the change does not concern it."""
    refused: list[str] = field(default_factory=list)
    """What the audits that it does concern refused."""
    forgotten: bool = False
    """It was named, and once the store had been written to it was not any more."""


class TooLong(Exception):
    """No answer within WITHIN."""


@contextmanager
def in_time() -> Iterator[None]:
    """End what takes longer than WITHIN by TooLong; in a process's first thread only."""

    def end(_: int, __: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(WITHIN)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]
