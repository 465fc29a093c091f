"""What a writing connection remembers of the logs and of the rows it has changed."""

from __future__ import annotations

from veritas_peewee.database.connection import StoreDatabase

MOST_CHAINS = 10_000
"""The most audits whose last digest is cached."""
MOST_CONTENTS = 100_000
"""The most findings whose contents are cached, of all audits together."""


class Remembered:
    """The state behind a `Keeper`; `log`, `heads` and `seals` read and update it.

    It caches the ends of the logs, which would otherwise be read before each event; the cache is
    valid until a transaction is undone or another connection writes. It also collects which rows
    have changed since digests and seals were last renewed.
    """

    def __init__(self) -> None:
        self.chain: dict[str, bytes] = {}
        """The digest of the last event in each log that was added to, by audit id."""
        self.contents: dict[str, set[bytes] | bool] = {}
        """The digests of the contents of an audit's findings, by audit id. True if they were
        asked for once and not read yet, False if they are too many to be cached."""
        self.cached_contents = 0
        """The number of digests in `contents`."""
        self.next_head = 0
        """The event id at which the next head is due."""
        self.since_head: list[bytes] | None = None
        """The digests of the events since the last head; None if they have to be read."""
        self.unchained_after: int | None = None
        """The event id after which there are events without a digest; None if there are none."""
        self.appending = False
        """Whether the statement that is running adds events together with their digests."""
        self.alone = False
        """Whether the statement that is running adds an event without a transaction around it."""
        self.audits: set[str] = set()
        """Audits whose rows were changed."""
        self.rows: set[tuple[str, int]] = set()
        """Findings and screenshots whose digest is not up to date: (table, row id)."""
        self.changes = 0
        """Changed audits that are not yet counted in `store_changes`."""
        self.renewed: list[str | tuple[str, int] | int] = []
        """What this transaction has brought up to date, in order: audits, rows (table, row id), and
        event ids that `unchained_after` had. A roll-back to a savepoint takes it back."""

    @property
    def has_unsealed(self) -> bool:
        """Whether any digest or seal is not up to date."""
        return bool(self.audits or self.rows or self.unchained_after is not None)

    def touched(self, audit_id: str) -> None:
        """Rows of this audit were changed."""
        self.audits.add(audit_id)

    def forget_log(self) -> None:
        """Empty the caches: they may be wrong after a roll-back or another's write."""
        self.chain.clear()
        self.next_head, self.since_head = 0, None
        self.forget_contents()

    def forget_contents(self, audit_id: str | None = None) -> None:
        """Drop the contents of an audit's findings, or those of all audits, from the cache."""
        if audit_id is None:
            self.contents.clear()
            self.cached_contents = 0
        elif isinstance(known := self.contents.pop(audit_id, None), set):
            self.cached_contents -= len(known)

    def ask_for_contents(self, audit_id: str) -> None:
        """Note that an audit's contents were asked for: the next time it pays to read them all."""
        if len(self.contents) >= MOST_CHAINS:
            self.forget_contents()
        self.contents[audit_id] = True

    def add_contents(self, audit_id: str, contents: set[bytes]) -> None:
        """Cache the contents of an audit's findings in addition to those that are cached.

        `contents` is not copied if none are: it grows with what is added later.
        """
        known = self.contents.get(audit_id)
        if isinstance(known, set):
            self.cached_contents -= len(known)
            known |= contents
        else:
            known = contents
        if len(known) > MOST_CONTENTS:
            self.contents[audit_id] = False
            return
        if self.cached_contents + len(known) > MOST_CONTENTS:
            self.forget_contents()
        self.contents[audit_id] = known
        self.cached_contents += len(known)

    def forget_changes(self) -> None:
        """Drop the collected changes: the transaction that made them was undone."""
        self.unchained_after = None
        self.changes = 0
        self.audits.clear()
        self.rows.clear()
        self.renewed.clear()

    def renew_again(self, since: int) -> None:
        """Take what was brought up to date as changed again, but for the first `since` of it."""
        for one in self.renewed[since:]:
            if isinstance(one, str):
                self.audits.add(one)
                self.changes -= 1  # it is counted when it is renewed
            elif isinstance(one, tuple):
                self.rows.add(one)
            else:
                before = self.unchained_after
                self.unchained_after = one if before is None else min(one, before)
        del self.renewed[since:]


def remembered(database: StoreDatabase) -> Remembered:
    """The memory of a connection; a new, empty one if the connection has no keeper."""
    keeper = database.keeper
    return keeper if isinstance(keeper, Remembered) else Remembered()
