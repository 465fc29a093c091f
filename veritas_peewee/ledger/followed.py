"""Audits that a connection has followed from their beginning: nothing of them has to be read again.

On a server each question is a way there and back, during which all other writers wait; in a file
it takes longer to ask and to decode than to write what depends on the answer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

MOST_ROWS = 1000
"""The most findings or screenshots of an audit that is followed."""
MOST_FOLLOWED = 200_000
"""The most of all audits together."""


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


class FollowedAudits(dict[str, Followed]):
    """Those of a connection, by audit id; emptied if they have too many rows together."""

    def __init__(self) -> None:
        super().__init__()
        self._rows = 0

    def grow(self, audit_id: str, table: str, digests: list[bytes]) -> None:
        """Rows with these digests are about to be added to an audit."""
        if (one := self.get(audit_id)) is None:
            return
        rows = one.findings if table == "audit_findings" else one.screenshots
        rows += digests
        self._rows += len(digests)
        if len(rows) > MOST_ROWS:
            self.drop(audit_id)
        if self._rows > MOST_FOLLOWED:
            self.clear()

    def put_back(self, audit_id: str, one: Followed) -> None:
        """Follow an audit again, as far as it was followed before."""
        self[audit_id] = one
        self._rows += len(one.findings) + len(one.screenshots)
        if self._rows > MOST_FOLLOWED:
            self.clear()

    def drop(self, audit_id: str) -> None:
        """Follow an audit no longer."""
        if (one := self.pop(audit_id, None)) is not None:
            self._rows -= len(one.findings) + len(one.screenshots)

    def clear(self) -> None:
        super().clear()
        self._rows = 0


class Aside(NamedTuple):
    """What was known of an audit before another connection wrote: it is right where the same seal
    is stored, and the same digest at the end of the log."""

    row: list[Any]
    last: bytes
    state: Any
    followed: Followed | None
    contents: set[bytes] | None
