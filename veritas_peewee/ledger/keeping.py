"""What keeps the digests and seals of a writing connection up to date as rows are written."""

from __future__ import annotations

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.ledger import seals
from veritas_peewee.ledger.before_change import look, look_at_row, look_at_rows
from veritas_peewee.ledger.memory import Mark, Remembered, State
from veritas_peewee.models import AuditFinding, AuditScreenshot

MODELS = {model._meta.table_name: model for model in (AuditFinding, AuditScreenshot)}


class Keeping(Remembered):
    """What a keeper does on any backend with the changes of rows that it is told."""

    def __init__(self, database: StoreDatabase) -> None:
        super().__init__()
        self._database = database
        self._going: str | None = None
        self.failure: BaseException | None = None

    # ---- what triggers call: before a row is changed, unless they say otherwise ----

    def changes_audit(self, audit_id: str) -> None:
        """An audit's own row is about to be changed."""
        self.touched(audit_id)
        self.stored.pop(audit_id, None)
        self.changed_rows.add(audit_id)

    def touched(self, audit_id: str) -> None:
        """An audit's row is about to be changed, or a row is about to be added to it."""
        if audit_id not in self.known and audit_id not in self.audits:
            look(self._database, self, audit_id)
        self.audits[audit_id] = None

    def touched_rows(self, audit_id: str) -> None:
        """A finding or screenshot is about to be added without a digest, changed or removed."""
        self.forget_contents(audit_id)
        self.followed.drop(audit_id)
        if audit_id != self._going:
            look_at_rows(self._database, self, audit_id)
            self.audits[audit_id] = None

    def changes_row(self, table: str, row_id: int, audit_id: str) -> None:
        """A finding or screenshot is about to be changed."""
        self.touched_rows(audit_id)
        look_at_row(self._database, self, MODELS[table], row_id)

    def touched_row(self, table: str, row_id: int) -> None:
        """A finding or screenshot was added or changed: its digest is not up to date."""
        if (table, row_id) not in self.wrong_rows:
            self.rows[table, row_id] = None

    def put(self, audit_id: str) -> None:
        """An audit was added, perhaps in the place of another one."""
        self.chain.pop(audit_id, None)
        self.stored.pop(audit_id, None)
        self.followed.drop(audit_id)
        self.forget_contents(audit_id)

    def new(self, audit_id: str) -> None:
        """An audit was added without a seal, or by an import."""
        self.known[audit_id] = State.ROWS
        self.followed.drop(audit_id)
        self.set_children(audit_id, None)
        self.audits[audit_id] = None

    def going(self, audit_id: str) -> None:
        """An audit is about to be removed, with all that belongs to it."""
        self._going = audit_id

    def gone(self, audit_id: str) -> None:
        """An audit was removed: another one with its id has a log of its own."""
        self._going = None
        self.removed = True
        self.chain.pop(audit_id, None)
        self.followed.drop(audit_id)
        self.known.pop(audit_id, None)
        self.stored.pop(audit_id, None)
        self.set_children(audit_id, None)
        self.audits[audit_id] = None

    def renamed(self, old: str, new: str) -> None:
        """An audit was given another id."""
        state = self.known.get(old, State.ROWS)
        self.gone(old)
        self.new(new)
        self.stored.pop(new, None)
        self.known[new] = state

    # ---- what a connection calls ----

    def seal(self) -> None:
        if self.has_unsealed:
            seals.renew(self._database, self)

    def before_commit(self) -> bool:
        if not (self.has_unsealed or self.changes):
            return False
        self.seal()
        if self.changes:
            number, self.changes = self.changes, 0
            seals.count_changes(self._database, number)
            self.counted(number)
        return True

    def counted(self, number: int) -> None:
        """So many changes were counted, by which the transaction could be found again."""

    def is_there(self) -> bool | None:
        return self.trace.is_there(self._database.state.conn)

    def callers_write(self) -> None:
        """What such a function writes is told."""

    def takes_back(self) -> None:
        changed = {*self.audits, *self._renewed_audits}
        for audit_id in [one for one, state in self.known.items() if state is State.ROW]:
            # By what was added to it, it could be held against its seal; that is forgotten now.
            if audit_id in changed and self._database.in_whole_transaction:
                look_at_rows(self._database, self, audit_id)
            else:
                del self.known[audit_id]
        super().takes_back()

    def undone(self, since: Mark | None = None) -> None:
        self._going = None
        self.forget_log()
        self.trace.undone()
        if since is None:
            self.known.clear()
            self.forget_changes()
        else:
            self.back_to(since)
