"""The keeper of a writing connection: it updates digests and seals as rows are written.

Most triggers call it before a row is changed, while the audit can still be held against its seal.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from typing import Any

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.ledger import counter, schema, seals
from veritas_peewee.ledger.before_change import look, look_at_row, look_at_rows
from veritas_peewee.ledger.memory import Mark, Remembered, State
from veritas_peewee.migrations import parts
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot

_SCHEMA_CHANGES = frozenset(
    getattr(driver, f"SQLITE_{name}")
    for name in (
        "CREATE_INDEX", "CREATE_TABLE", "CREATE_TRIGGER", "CREATE_VIEW", "CREATE_VTABLE",
        "DROP_INDEX", "DROP_TABLE", "DROP_TRIGGER", "DROP_VIEW", "DROP_VTABLE", "ALTER_TABLE",
    )
)  # fmt: skip
_DENY: int = driver.SQLITE_DENY
_CALL = re.compile(r"\b(veritas_\w+)\(")
_INSERT = re.compile(r"\s*(?:INSERT|REPLACE|WITH)\b", re.I)


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
        self.followed.pop(audit_id, None)
        if audit_id != self._going:
            look_at_rows(self._database, self, audit_id)
            self.audits[audit_id] = None

    def changes_row(self, table: str, row_id: int, audit_id: str) -> None:
        """A finding or screenshot is about to be changed."""
        self.touched_rows(audit_id)
        look_at_row(self._database, self, _MODELS[table], row_id)

    def touched_row(self, table: str, row_id: int) -> None:
        """A finding or screenshot was added or changed: its digest is not up to date."""
        if (table, row_id) not in self.wrong_rows:
            self.rows[table, row_id] = None

    def put(self, audit_id: str) -> None:
        """An audit was added."""
        self.stored.pop(audit_id, None)

    def new(self, audit_id: str) -> None:
        """An audit was added without a seal, or by an import."""
        self.known[audit_id] = State.ROWS
        self.followed.pop(audit_id, None)
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
        self.followed.pop(audit_id, None)
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
            self.trace.count(self._database.state.conn, number)
        return True

    def is_there(self) -> bool | None:
        return self.trace.is_there(self._database.state.conn)

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


class LedgerKeeper(Keeping):
    """Implements `database.keeper.Keeper` for one connection to a file."""

    watched = AuditEvent._meta.table_name

    def __init__(self, database: SqliteStore, schema_version: int | None) -> None:
        super().__init__(database)
        self._file = database
        self._schema = schema_version
        """The `schema_version` that was found right; None if the schema has to be looked at."""
        self._looked = False

    def install(self) -> None:
        self.forget_log()
        self.known.clear()
        self.forget_changes()
        connection = self._file.raw
        # Under names that nobody can know before: what is stored in the file must not call them,
        # for it would have us seal what others changed.
        token = os.urandom(8).hex()
        for name, arguments, function in (
            ("touch", 1, self.changes_audit),
            ("touch_rows", 1, self.touched_rows),
            ("change_row", 3, self.changes_row),
            ("touch_row", 2, self.touched_row),
            ("new", 1, self.new),
            ("put", 1, self.put),
            ("renamed", 2, self.renamed),
            ("going", 1, self.going),
            ("gone", 1, self.gone),
        ):
            connection.create_function(f"veritas_{name}_{token}", arguments, self._told(function))
        for trigger in _triggers():
            connection.execute(_CALL.sub(rf"\1_{token}(", trigger))
        connection.set_authorizer(self._told(self._compiling))

    def _told(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*values: Any) -> Any:
            try:
                return function(*values)
            except BaseException as error:
                self.failure = error
                raise

        return call

    def _compiling(self, action: int, name: str | None, _1: object, _2: object, _3: object) -> int:
        """SQLite compiles a statement: a new one, or anew after a change of the schema.

        A lone event's statement is compiled before, so that another one's trigger, index or table
        cannot have a part in it: with a transaction around it, the schema is looked at first.
        """
        # It is called for each column that a statement names.
        if action in _SCHEMA_CHANGES or name == "writable_schema":
            self._schema = None
        return _DENY if self.alone else 0

    # ---- what a connection calls ----

    def before(self, sql: str) -> None:
        """Notice a statement that may add events without `log`: such events lack digests."""
        # Not a trigger, as for other tables: the log is written most, and a trigger on it costs
        # 0.4 µs an event.
        if not self.appending and self.unchained_after is None and _INSERT.match(sql):
            self.unchained_after = counter.newest_id(self._database)

    def began(self, others_wrote: bool) -> None:
        self._going = None
        self._looked = False
        self.begin()
        self.trace.begin(others_wrote)
        if others_wrote:
            self.others_wrote()
        if self._schema is None or others_wrote:
            self._look()

    def _look(self) -> None:
        """Look at the schema if it has changed, now that nobody else can change it."""
        if self._schema is None or parts.schema_version(self._file) != self._schema:
            self._looked = True
            self._schema = schema.settle(self._file)

    def undone(self, since: Mark | None = None) -> None:
        super().undone(since)
        if since is None and self._looked:  # and what was made again is undone
            self._schema = None


def keep(database: SqliteStore, schema_version: int | None = None) -> LedgerKeeper:
    """Give a connection a keeper, which from now on notices every change of a row made on it.

    `schema_version` is the one whose schema was found right; without it, the first transaction
    looks.
    """
    keeper = LedgerKeeper(database, schema_version)
    keeper.install()
    database.keeper = keeper
    return keeper


_MODELS = {model._meta.table_name: model for model in (AuditFinding, AuditScreenshot)}


@functools.cache
def _triggers() -> tuple[str, ...]:
    """The SQL of temporary triggers: they belong to one connection, unseen by other programs."""
    found = [
        "CREATE TEMP TRIGGER veritas_audit_going BEFORE DELETE ON main.audits "
        "BEGIN SELECT veritas_going(OLD.id); END",
        "CREATE TEMP TRIGGER veritas_audit_gone AFTER DELETE ON main.audits "
        "BEGIN SELECT veritas_gone(OLD.id); END",
        # Also of a row that was replaced, of which no other trigger tells.
        "CREATE TEMP TRIGGER veritas_audit_put AFTER INSERT ON main.audits "
        "BEGIN SELECT veritas_put(NEW.id); END",
        "CREATE TEMP TRIGGER veritas_audit_new AFTER INSERT ON main.audits "
        # An imported audit has its seal; if it has ended, it is not in the catalog yet.
        "WHEN NEW.seal IS NULL OR NEW.sealed_events IS NOT NULL "
        "BEGIN SELECT veritas_new(NEW.id); END",
        f"CREATE TEMP TRIGGER veritas_audit_changed BEFORE UPDATE OF {_columns(Audit)} "
        "ON main.audits BEGIN SELECT veritas_touch(OLD.id); END",
        "CREATE TEMP TRIGGER veritas_audit_renamed AFTER UPDATE OF id ON main.audits "
        "WHEN NEW.id IS NOT OLD.id "
        "BEGIN SELECT veritas_renamed(OLD.id, NEW.id); END",
    ]
    for table, model in _MODELS.items():
        touch = f"SELECT veritas_touch_row('{table}', NEW.id)"
        found += [
            f"CREATE TEMP TRIGGER veritas_{table}_comes BEFORE INSERT ON main.{table} "
            "WHEN NEW.digest IS NULL BEGIN SELECT veritas_touch_rows(NEW.audit_id); END",
            f"CREATE TEMP TRIGGER veritas_{table}_new AFTER INSERT ON main.{table} "
            f"WHEN NEW.digest IS NULL BEGIN {touch}; END",
            f"CREATE TEMP TRIGGER veritas_{table}_changes BEFORE UPDATE OF {_columns(model)} "
            f"ON main.{table} BEGIN SELECT veritas_change_row('{table}', OLD.id, OLD.audit_id); "
            "SELECT veritas_touch_rows(NEW.audit_id); END",
            f"CREATE TEMP TRIGGER veritas_{table}_changed AFTER UPDATE OF {_columns(model)} "
            f"ON main.{table} BEGIN {touch}; END",
            f"CREATE TEMP TRIGGER veritas_{table}_gone BEFORE DELETE ON main.{table} "
            "BEGIN SELECT veritas_touch_rows(OLD.audit_id); END",
        ]
    return tuple(found)


def _columns(model: Any) -> str:
    return ", ".join(f'"{model._meta.fields[name].column_name}"' for name in seals.covered(model))
