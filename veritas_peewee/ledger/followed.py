"""Audits that a connection has followed from their beginning: nothing of them has to be read again.

On a server each question is a way there and back, during which all other writers wait.
"""

from __future__ import annotations

from typing import Any, NamedTuple

MOST_ROWS = 1000
"""The most findings or screenshots of an audit that is followed."""


class Followed:
    """What belongs to one audit, as it is stored and as the open transaction has added to it.

    After a roll-back it is no longer known.
    """

    __slots__ = ("entry", "events", "findings", "reported", "screenshots")

    def __init__(self) -> None:
        self.findings: list[bytes | None] = []
        self.screenshots: list[bytes | None] = []
        """Digests, in the order of their rows."""
        self.events = 0
        """How many events its log has."""
        self.reported: dict[str, int] = {}
        """The first event that reported each finding with an id of the engine's."""
        self.entry: tuple[object, ...] | None = None
        """The seal up to which its entry in the catalog is right, and what that is made of."""

    @property
    def digests(self) -> tuple[list[bytes | None], list[bytes | None]]:
        return self.findings, self.screenshots


class Aside(NamedTuple):
    """What was known of an audit before another connection wrote: it is right where the same seal
    is stored, and the same digest at the end of the log."""

    row: list[Any]
    last: bytes
    state: Any
    followed: Followed | None
    contents: set[bytes] | None
