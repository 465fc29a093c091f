"""The keeper of a connection to PostgreSQL, whose triggers cannot call us.

They write what has changed into a temporary table, which is read here before the seals are
renewed. An audit is then held against its seal as the last commit left it, which a second
connection sees. A statement that brings its own digest or seal is one of ours, and tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.transactions import TransactionLost
from veritas_peewee.errors import StoreError
from veritas_peewee.ledger import counter
from veritas_peewee.ledger.before_change import look_at_row, state_of
from veritas_peewee.ledger.contents import MOST_CHAINS
from veritas_peewee.ledger.followed import Aside
from veritas_peewee.ledger.formulas import is_unfinished
from veritas_peewee.ledger.heads import HEAD_EVERY
from veritas_peewee.ledger.keeping import Keeping
from veritas_peewee.ledger.memory import Mark, Remembered, State
from veritas_peewee.ledger.sent_alone import NEWEST, SEEN
from veritas_peewee.ledger.stored import SEAL
from veritas_peewee.models import AuditFinding, AuditScreenshot

if TYPE_CHECKING:
    from veritas_peewee.database.postgres import PostgresStore

T = TypeVar("T")
_COMES_BACK, _TRY_AGAIN = 5.0, 0.2
"""Seconds for which a write waits for a second connection that has gone, meanwhile holding the lock
of all others; and seconds between two tries."""
_ADDS = re.compile(r"\s*(?:INSERT|WITH)\b.*\baudit_events\b", re.I | re.S)
_CHANGES = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|WITH)\b.*\baudit(?:s|_findings|_screenshots)\b",
                      re.I | re.S)  # fmt: skip
_BRINGS_ITS_OWN = re.compile(
    r'INSERT INTO "audit(?:s|_findings)" \([^)]*"(?:seal|digest)"(?!.*\bON CONFLICT\b)'
)
_TOLD = (
    "WITH told AS (DELETE FROM pg_temp.veritas_touched RETURNING id, kind, audit_id, row_id) "
    "SELECT kind, audit_id, row_id FROM told ORDER BY id"
)
_ROWS: dict[str, Any] = {"f": AuditFinding, "s": AuditScreenshot}


class ServerKeeper(Keeping):
    """Implements `database.keeper.Keeper` for one connection to a server."""

    watched = "\0"  # the connection's own `watch` is given each statement, the driver's too

    def __init__(self, database: PostgresStore, beside: PostgresStore) -> None:
        super().__init__(database)
        self._server = database
        self._beside = beside
        self._altered: str | None = None
        self._aside: dict[str, Aside] = {}
        """What was known of audits before others wrote."""
        database.unsure = self._aside
        self._may_be_told = False

    def install(self) -> None:
        self.forget_log()
        self.known.clear()
        self.forget_changes()
        self._server.raw.watch = self.before

    def before(self, sql: str) -> None:
        if not self.appending and self.unchained_after is None and _ADDS.match(sql):
            self.unchained_after = counter.newest_id(self._database)
            self.newest = None
            self.followed.clear()
        elif not self.own_change and _CHANGES.match(sql) and not _BRINGS_ITS_OWN.match(sql):
            # What it changes is told once it has run; until then nothing is taken for known.
            if self.changing is None:
                self.stored.clear()
                self.followed.clear()
                self.forget_contents()
            else:
                self.stored.pop(self.changing, None)
            self._may_be_told = True

    def began(self, others_wrote: bool) -> None:
        self.begin()
        if others_wrote:
            if self._server.altered == self._altered:
                self._others_of_ours_wrote()
            else:
                self.others_wrote()
        self._know_again()
        self._altered = self._server.altered
        self.newest = self._server.newest
        self.reported.clear()

    def others_wrote(self) -> None:
        self._aside.clear()
        super().others_wrote()

    def _others_of_ours_wrote(self) -> None:
        aside = self._aside
        if len(aside) > MOST_CHAINS:
            aside.clear()
        for audit_id, row in self.stored.items():
            last, state = self.chain.get(audit_id), self.known.get(audit_id)
            if last is not None and state in (State.ROW, State.ROWS):
                contents = self.contents.get(audit_id)
                aside[audit_id] = Aside(
                    row, last, state, self.followed.get(audit_id),
                    contents if isinstance(contents, set) else None,
                )  # fmt: skip
        due = self.next_head
        super().others_wrote()
        # Who passes a full thousand stores its head.
        if due - HEAD_EVERY <= self._server.newest < due:
            self.next_head = due

    def _know_again(self) -> None:
        for audit_id, seal, last in self._server.seen:
            if (one := self._aside.pop(audit_id, None)) is not None:
                self._take_back(audit_id, one, seal, audit_id.encode() if last is None else last)

    def _take_back(self, audit_id: str, one: Aside, seal: str | None, last: bytes) -> None:
        """Know an audit again, if nobody has changed it."""
        if seal is None or one.row[SEAL] != seal or one.last != last:
            return
        if is_unfinished(one.row):
            children = self.children.get(audit_id)
            if children is None or children.seal != seal:
                return
        self.stored[audit_id], self.chain[audit_id] = one.row, last
        self.known[audit_id] = one.state
        if one.followed is not None:
            self.followed.put_back(audit_id, one.followed)
        if one.contents is not None:
            self.add_contents(audit_id, one.contents)

    def seal(self) -> None:
        self._read_changes()
        self.own_change = True
        try:
            super().seal()
        finally:
            self.own_change = False

    def before_commit(self) -> bool:
        self._read_changes()
        return super().before_commit()

    def _read_changes(self) -> None:
        if not self._may_be_told:
            return
        self._may_be_told = False
        for kind, audit_id, row_id in self._server.raw.execute(_TOLD).fetchall():
            if kind == "d":
                self.gone(audit_id)
            elif kind == "n":
                if audit_id not in self.accepted:
                    self.new(audit_id)
            elif kind in _ROWS:
                self._has_changed(audit_id)
                model = _ROWS[kind]
                self._ask_beside(partial(_look_at_row, self, model, row_id))
                self.touched_row(model._meta.table_name, row_id)
            else:
                self._has_changed(audit_id, its_rows=kind == "c")

    def _has_changed(self, audit_id: str, *, its_rows: bool = True) -> None:
        if self.known.get(audit_id) in (None, State.ROW):
            if audit_id not in self.known:  # what its seal covered may be of another time
                self.set_children(audit_id, None)
            state = self._ask_beside(partial(_state, audit_id))
            if state is State.WRONG:
                self.note_wrong(self._database, audit_id)
            else:
                self.known[audit_id] = State.ROWS  # None: it was added by this transaction
        self.stored.pop(audit_id, None)
        self.followed.drop(audit_id)
        if its_rows:
            self.forget_contents(audit_id)
            self.set_children(audit_id, None)
        self.changed_rows.add(audit_id)
        self.audits[audit_id] = None

    def _ask_beside(self, question: Callable[[StoreDatabase], T]) -> T:
        """The answer of the second connection, which can have gone while it was idle.

        If it does not come back, nothing can be held against its seal: then the first one is given
        up with it, and TransactionLost says that the write can be run again.
        """
        until = monotonic() + _COMES_BACK
        is_gone = False
        while True:
            try:
                if is_gone:
                    self._beside.reconnect()
                return question(self._beside)
            except (StoreError, *DRIVER_ERRORS) as error:
                if not self._server.is_lost(error):
                    raise
                if monotonic() > until:
                    self._server.state.conn.close()
                    raise TransactionLost(self._server.name, error) from error
            if is_gone:
                sleep(_TRY_AGAIN)
            is_gone = True

    def undone(self, since: Mark | None = None) -> None:
        super().undone(since)
        self._may_be_told = since is not None  # what the savepoint took back is told again
        if since is None:
            self._altered = None


def _state(audit_id: str, database: StoreDatabase) -> State | None:
    return state_of(database, Remembered(), audit_id)


def _look_at_row(memory: Remembered, model: Any, row_id: int, database: StoreDatabase) -> None:
    look_at_row(database, memory, model, row_id)


def keep(database: PostgresStore, beside: PostgresStore) -> ServerKeeper:
    """Give a connection a keeper, which from now on notices every change of a row made on it.

    `beside` is a second connection, which sees what is committed; it is closed with the first.
    """
    keeper = ServerKeeper(database, beside)
    keeper.install()
    database.count_by(NEWEST, SEEN)
    database.keeper = keeper
    return keeper
