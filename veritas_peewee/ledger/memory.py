"""What a writing connection remembers of the logs and of the rows it has changed."""

from __future__ import annotations

from veritas_peewee.database.connection import StoreDatabase

MOST_CHAINS = 10_000
"""Audits whose last digest is remembered."""


class Remembered:
    """The state behind a `Keeper`; `event_log` and `seals` read and renew it.

    Of the logs it caches what would else be read again before each event; that is valid until a
    transaction is undone or another connection writes. Of the rows it collects what has changed
    since the last renewal of digests and seals.
    """

    def __init__(self) -> None:
        self.chain: dict[str, bytes] = {}
        """The last event's digest, by audit, of the logs that were added to."""
        self.next_head = 0
        """The event id at which the next head is due."""
        self.since_head: list[bytes] | None = None
        """The digests of the events since the last head; None if they have to be read."""
        self.unchained_after: int | None = None
        """The event id after which there are events without a digest; None if there are none."""
        self.appending = False
        """Whether the statement under way adds events together with their digests."""
        self.audits: set[str] = set()
        """Audits whose rows were changed."""
        self.rows: set[tuple[str, int]] = set()
        """Findings and screenshots whose digest is not up to date: (table, row id)."""
        self.changes = 0
        """Changed audits that are not yet counted in `store_changes`."""

    @property
    def has_unsealed(self) -> bool:
        return bool(self.audits or self.rows or self.unchained_after is not None)

    def touched(self, audit_id: str) -> None:
        """Rows of this audit were changed."""
        self.audits.add(audit_id)

    def forget_log(self) -> None:
        """The cached state of the logs may be wrong: it was undone, or others have written."""
        self.chain.clear()
        self.next_head, self.since_head = 0, None

    def forget_changes(self) -> None:
        self.unchained_after = None
        self.changes = 0
        self.audits.clear()
        self.rows.clear()


def remembered(database: StoreDatabase) -> Remembered:
    """The memory of a connection; an empty one if nothing is kept up to date on it."""
    keeper = database.keeper
    return keeper if isinstance(keeper, Remembered) else Remembered()
