"""The keeper of a connection to PostgreSQL, whose triggers cannot call us.

They write what has changed into a setting of the transaction, which is read here before the seals
are renewed. An audit is then held against its seal as the last commit left it, which a second
connection sees. A statement that brings its own digest or seal is one of ours, and tells nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.ledger import counter
from veritas_peewee.ledger.before_change import look_at_row, state_of
from veritas_peewee.ledger.keeper import Keeping
from veritas_peewee.ledger.memory import Mark, Remembered, State
from veritas_peewee.models import AuditFinding, AuditScreenshot

if TYPE_CHECKING:
    from veritas_peewee.database.postgres import PostgresStore

_ADDS = re.compile(r"\s*(?:INSERT|WITH)\b.*\baudit_events\b", re.I | re.S)
_CHANGES = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|WITH)\b.*\baudit(?:s|_findings|_screenshots)\b",
                      re.I | re.S)  # fmt: skip
_TOLD = "SELECT current_setting('veritas.touched', true)"
_TAKEN = "SELECT set_config('veritas.touched', '-', true)"
_ROWS: dict[str, Any] = {"f": AuditFinding, "s": AuditScreenshot}


class ServerKeeper(Keeping):
    """Implements `database.keeper.Keeper` for one connection to a server."""

    watched = "\0"  # the connection's own `watch` is given each statement, the driver's too

    def __init__(self, database: PostgresStore, beside: StoreDatabase) -> None:
        super().__init__(database)
        self._server = database
        self._beside = beside
        self._altered: str | None = None

    def install(self) -> None:
        self.forget_log()
        self.known.clear()
        self.forget_changes()
        self._server.raw.watch = self.before

    def before(self, sql: str) -> None:
        if not self.appending and self.unchained_after is None and _ADDS.match(sql):
            self.unchained_after = counter.newest_id(self._database)
        elif not self.own_change and _CHANGES.match(sql):
            # What it changes is told once it has run; until then nothing is taken for known.
            self.stored.clear()
            self.forget_contents()

    def began(self, others_wrote: bool) -> None:
        self.begin()
        if others_wrote:
            known = self.known.copy()
            self.others_wrote()
            # What others of ours have changed they have sealed, if it was right.
            if self._server.altered == self._altered:
                self.known |= known
        self._altered = self._server.altered

    def seal(self) -> None:
        self._read_changes()
        self.own_change = True
        try:
            super().seal()
        finally:
            self.own_change = False

    def before_commit(self) -> bool:
        self._read_changes()
        wrote = super().before_commit()
        self._server.sign()
        return wrote

    def _read_changes(self) -> None:
        connection = self._server.raw
        (told,) = connection.execute(_TOLD).fetchone() or ("-",)
        if not told or told == "-":
            return
        connection.execute(_TAKEN)
        for line in told.split("\n")[1:]:
            kind, rest = line[0], line[1:]
            if kind == "d":
                self.gone(rest)
            elif kind == "n":
                self.new(rest)
            elif kind in _ROWS:
                audit_id, _, row_id = rest.rpartition(" ")
                self._has_changed(audit_id)
                model = _ROWS[kind]
                look_at_row(self._beside, self, model, int(row_id))
                self.touched_row(model._meta.table_name, int(row_id))
            else:
                self._has_changed(rest)

    def _has_changed(self, audit_id: str) -> None:
        if self.known.get(audit_id) in (None, State.ROW):
            state = state_of(self._beside, Remembered(), audit_id)
            if state is State.WRONG:
                self.note_wrong(self._database, audit_id)
            else:
                self.known[audit_id] = State.ROWS  # None: it was added by this transaction
        self.forget_contents(audit_id)
        self.stored.pop(audit_id, None)
        self.set_children(audit_id, None)
        self.changed_rows.add(audit_id)
        self.audits[audit_id] = None

    def undone(self, since: Mark | None = None) -> None:
        super().undone(since)
        if since is None:
            self._altered = None


def keep(database: PostgresStore, beside: StoreDatabase) -> ServerKeeper:
    """Give a connection a keeper, which from now on notices every change of a row made on it.

    `beside` is a second connection, which sees what is committed; it is closed with the first.
    """
    keeper = ServerKeeper(database, beside)
    keeper.install()
    database.keeper = keeper
    return keeper
