"""What became of one change."""

from __future__ import annotations

from dataclasses import dataclass, field

WITHIN = 100
"""Seconds after which an answer counts as none, also where others have the processor."""

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


def error_text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]
