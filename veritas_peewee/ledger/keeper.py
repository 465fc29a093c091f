"""The keeper of a connection to a file, which triggers call.

Most do before a row is changed, while the audit can still be held against its seal.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from typing import Any

from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.ledger import counter, schema, seals
from veritas_peewee.ledger.keeping import MODELS, Keeping
from veritas_peewee.ledger.memory import Mark
from veritas_peewee.migrations import parts
from veritas_peewee.models import Audit, AuditEvent

_SCHEMA_CHANGES = frozenset(
    getattr(driver, f"SQLITE_{name}")
    for name in (
        "CREATE_INDEX", "CREATE_TABLE", "CREATE_TRIGGER", "CREATE_VIEW", "CREATE_VTABLE",
        "DROP_INDEX", "DROP_TABLE", "DROP_TRIGGER", "DROP_VIEW", "DROP_VTABLE", "ALTER_TABLE",
    )
)  # fmt: skip
_NEW_TRIGGER: int = driver.SQLITE_CREATE_TEMP_TRIGGER
_DENY: int = driver.SQLITE_DENY
_CALL = re.compile(r"\b(veritas_\w+)\(")
_INSERT = re.compile(r"\s*(?:INSERT|REPLACE|WITH)\b", re.I)


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
        elif action == _NEW_TRIGGER:
            self.has_triggers = True
        return _DENY if self.alone else 0

    def changes_audit(self, audit_id: str) -> None:
        # What changes it with its seal knows of it; and where its row has the number of its
        # screenshots already, the trigger that counts them changes nothing.
        if left := self.expected.get(audit_id):
            self.expected[audit_id] = left - 1
        else:
            super().changes_audit(audit_id)

    # ---- what a connection calls ----

    def counted(self, number: int) -> None:
        self.trace.count(self._database.state.conn, number)

    def callers_write(self) -> None:
        self.followed.clear()

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
    for table, model in MODELS.items():
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
