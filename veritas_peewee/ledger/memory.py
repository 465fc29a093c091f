"""What a writing connection remembers of the logs and of the rows it has changed."""

from __future__ import annotations

import logging
from enum import Enum
from typing import Any

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.failures import store_error
from veritas_peewee.errors import DatabaseCorrupt
from veritas_peewee.ledger.children import Children
from veritas_peewee.ledger.contents import MOST_CHAINS, Contents
from veritas_peewee.ledger.followed import FollowedAudits
from veritas_peewee.ledger.trace import Trace

MOST_SHORT = 4096
"""The most bytes of a row that is cached whatever else is."""
MOST_LONG, MOST_LONG_ROWS = 4_000_000, 8
"""The most bytes of a longer row that is cached, and how many of these are."""

_logger = logging.getLogger("veritas_peewee")


class State(Enum):
    """What a connection knows of an audit: whether it was as it was sealed before it changed it."""

    ROWS = "its row and all that belongs to it were as they were sealed"
    ROW = "its row was; its findings and screenshots are taken to be"
    WRONG = "it was not: its seal is not renewed"


Mark = tuple[int, int, int, int, int, int | None, int, tuple[str, bytes] | None]
"""How far a transaction was when a savepoint began; see `Remembered.mark`."""


class Remembered(Contents):
    """The state behind a `Keeper`; `log`, `heads` and `seals` read and update it.

    It caches the ends of the logs and which audits are as they were sealed, until a transaction is
    undone or another connection writes, and collects which rows were changed since the last seals.
    """

    def __init__(self) -> None:
        super().__init__()
        self.chain: dict[str, bytes] = {}
        """The digest of the last event in each log that was added to, by audit id."""
        self.texts: dict[tuple[str, str], tuple[str, set[str] | None]] = {}
        """Long JSON texts as they were stored last, with their keys, by audit id and column: they
        are used only where the same text is stored."""
        self.next_head = 0
        """The event id at which the next head is due; 0 if that has to be read."""
        self.since_head: list[bytes] | None = None
        """The digests of the events since the last head; None if they have to be read."""
        self.since_from = self.since_upto = 0
        """The event of that head, and the last event that they include."""
        self.newest: int | None = None
        """The newest id of an event, if it is known and ids are given here."""
        self.reported: dict[tuple[str, str], int | None] = {}
        """The first event that reported a finding, by the audit's id and the engine's own; None if
        there is none. What was read ahead of a transaction's events, for that transaction."""
        self.gives_ids = False
        """Whether events are given their ids here, because SQLite's own counter is of no use."""
        self.unchained_after: int | None = None
        """The event id after which there are events without a digest; None if there are none."""
        self.appending = False
        """Whether the statement that is running adds events together with their digests."""
        self.own_change = False
        """Whether the statement that is running changes an audit's row in a way that is known."""
        self.changing: str | None = None
        """The audit whose row, and nothing else of ours, the statement that is running changes."""
        self.expected: dict[str, int] = {}
        """How many changes of each audit's row that statement makes by itself: any more are those
        of a caller's trigger."""
        self.has_triggers = False
        """Whether a caller has given this connection triggers of its own."""
        self.alone = False
        """Whether the statement that is running adds an event without a transaction around it."""
        self.known: dict[str, State] = {}
        """What is known of audits that were changed, or looked at before a change."""
        self.stored: dict[str, list[Any]] = {}
        """The rows of unfinished audits as `stored.audit_row` gives them, if they are cached."""
        self.followed = FollowedAudits()
        """Audits of which nothing has to be read."""
        self.closed: list[str] = []
        """Audits of which nothing more is to come, once this transaction is committed."""
        self.long_rows: dict[str, None] = {}
        """The audits whose row is cached though it is long; the one changed last is at the end."""
        self.children: dict[str, Children | None] = {}
        """What the seals of unfinished audits cover, with the rows that were added since."""
        self.warned: set[str] = set()
        """Audits of which the log has said that they are not as they were sealed."""
        self.audits: dict[str, None] = {}
        """Audits whose rows were changed, in order."""
        self.accepted: set[str] = set()
        """Audits that this transaction has inserted with seals that were checked."""
        self.changed_rows: set[str] = set()
        """Audits whose own row was changed since it was last read for its seal."""
        self.removed = False
        """Whether audits were removed, whose words in the full-text index are not written yet."""
        self.trace = Trace()
        """What the open transaction leaves in the file."""
        self.rows: dict[tuple[str, int], None] = {}
        """Findings and screenshots whose digest is not up to date: (table, row id), in order."""
        self.wrong_rows: set[tuple[str, int]] = set()
        """Findings and screenshots that were not as their digest says before they were changed."""
        self.changes = 0
        """Changed audits that are not yet counted in `store_changes`."""
        self._renewed_audits: list[str] = []
        self._renewed_rows: list[tuple[str, int]] = []
        self._children_before: list[tuple[str, Children | None]] = []

    @property
    def has_unsealed(self) -> bool:
        """Whether any digest or seal is not up to date."""
        return bool(self.audits or self.rows or self.unchained_after is not None)

    def touched(self, audit_id: str) -> None:
        """Rows of this audit are about to be changed."""
        self.audits[audit_id] = None

    def adds(self, audit_id: str, table: str, digests: list[bytes]) -> None:
        """Rows with these digests are about to be added to the audit."""
        self.touched(audit_id)
        if (children := self.children.get(audit_id)) is not None:
            self.set_children(audit_id, children.with_rows(table, digests))
        self.followed.grow(audit_id, table, digests)

    def is_cached(self, audit_id: str) -> bool:
        """Whether an unfinished audit's row is one that is cached."""
        children = self.children.get(audit_id)
        return children is not None and children.row is not None

    def if_cached(self, audit_id: str, row: bytes) -> bytes | None:
        """What a seal covers of an audit's row, if that is to be cached: as are all short ones."""
        if len(row) <= MOST_SHORT:
            return row
        self.long_rows.pop(audit_id, None)
        if len(row) > MOST_LONG:
            return None
        self.long_rows[audit_id] = None
        if len(self.long_rows) > MOST_LONG_ROWS:
            self._drop_row(next(iter(self.long_rows)))
        return row

    def _drop_row(self, audit_id: str) -> None:
        self.long_rows.pop(audit_id, None)
        self.stored.pop(audit_id, None)
        if (children := self.children.get(audit_id)) is not None:
            self.set_children(audit_id, children._replace(row=None))

    def set_children(self, audit_id: str, children: Children | None) -> None:
        before = self.children.get(audit_id)
        if before is not None and before.row is not None and len(before.row) > MOST_SHORT:
            # Not one for each change of a transaction: after a roll-back it is read again.
            before = before._replace(row=None)
        self._children_before.append((audit_id, before))
        self.children[audit_id] = children

    def note_wrong(self, database: StoreDatabase, audit_id: str) -> None:
        """From now on this audit's seal is not renewed; the log says so once."""
        self.known[audit_id] = State.WRONG
        if audit_id not in self.warned:
            self.warned.add(audit_id)
            _logger.warning(
                "%s: audit %s is not as it was sealed: another program has altered, added or "
                "removed rows of it. What is recorded is stored; its seal is not renewed, so that "
                "`veritas-peewee verify` names it",
                database.name,
                audit_id,
            )

    def take_audits(self) -> list[str]:
        """The audits whose seals are to be renewed now."""
        taken = list(self.audits)
        self.audits.clear()
        self._renewed_audits += taken
        return taken

    def take_rows(self) -> list[tuple[str, int]]:
        """The rows whose digests are to be renewed now."""
        taken = list(self.rows)
        self.rows.clear()
        self._renewed_rows += taken
        return taken

    # ---- transactions ----

    def begin(self) -> None:
        """A transaction begins: nothing of it was renewed yet."""
        self._renewed_audits.clear()
        self._renewed_rows.clear()
        self._children_before.clear()
        self.wrong_rows.clear()
        self.accepted.clear()
        for audit_id in self.closed:
            self.followed.drop(audit_id)
            self.stored.pop(audit_id, None)
            self.images.pop(audit_id, None)
            self.forget_contents(audit_id)
        self.closed.clear()
        if max(len(self.known), len(self.children), len(self.stored)) > MOST_CHAINS:
            self.known.clear()
            self.followed.clear()
            self.children.clear()
            self.stored.clear()

    def forget_log(self) -> None:
        """Empty the caches: they may be wrong after a roll-back or another's write."""
        self.chain.clear()
        self.trace.newest = None
        self.next_head, self.since_head, self.newest = 0, None, None
        self.reported.clear()
        self.followed.clear()
        self.images.clear()
        self.forget_contents()

    def takes_back(self) -> None:
        self.forget_log()
        self.stored.clear()
        self.changed_rows.update(self.audits)
        for audit_id in self.children:
            self.set_children(audit_id, None)

    def others_wrote(self) -> None:
        """Forget what another connection may have changed."""
        # What stays is used only where it is still right: the digests since a head, where the same
        # head is the last one; what a seal covers, where the same seal is stored.
        self.chain.clear()
        self.known.clear()
        self.stored.clear()
        self.followed.clear()
        self.next_head, self.newest = 0, None
        self.forget_contents()

    def mark(self) -> Mark:
        # Not a named tuple: each write has a savepoint.
        return (
            len(self.audits),
            len(self._renewed_audits),
            len(self.rows),
            len(self._renewed_rows),
            len(self._children_before),
            self.unchained_after,
            self.changes,
            self.trace.newest,
        )

    def back_to(self, mark: Mark) -> None:
        """What was to be renewed is again what it was at the mark: the rest was rolled back."""
        audits, renewed_audits, rows, renewed_rows, children, unchained_after, changes = mark[:7]
        self.trace.newest = mark[7]  # what came before the mark is still to be looked for
        self.stored.clear()
        self.accepted.clear()
        # If there was a renewal since, the first one took all that was to be renewed at the mark.
        if undone := self._renewed_audits[renewed_audits:]:
            self.audits = dict.fromkeys(undone[:audits])
            self.changed_rows.update(self.audits)
            del self._renewed_audits[renewed_audits:]
        while len(self.audits) > audits:
            self.audits.popitem()
        if undone_rows := self._renewed_rows[renewed_rows:]:
            self.rows = dict.fromkeys(undone_rows[:rows])
            del self._renewed_rows[renewed_rows:]
        while len(self.rows) > rows:
            self.rows.popitem()
        self.unchained_after, self.changes = unchained_after, changes
        self._restore_children(children)

    def forget_changes(self) -> None:
        """Drop the collected changes: the transaction that made them was undone."""
        self.unchained_after = None
        self.changes = 0
        self.removed = False
        self.stored.clear()
        self.changed_rows.clear()
        self.audits.clear()
        self.rows.clear()
        self._renewed_audits.clear()
        self._renewed_rows.clear()
        self._restore_children(0)

    def _restore_children(self, first: int) -> None:
        for audit_id, before in reversed(self._children_before[first:]):
            self.children[audit_id] = before
        del self._children_before[first:]


def remembered(database: StoreDatabase) -> Remembered:
    """The memory of a connection; a new, empty one if the connection has no keeper."""
    keeper = database.keeper
    return keeper if isinstance(keeper, Remembered) else Remembered()


def cannot_be_read(error: BaseException) -> bool:
    """Whether an error means that a value in the file is not one that can be read."""
    return isinstance(store_error(error, ""), DatabaseCorrupt)
