"""The keeper of a writing connection: it updates digests and seals as rows are written."""

from __future__ import annotations

import functools
import os
import re
from typing import Any

from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.ledger import log, schema, seals
from veritas_peewee.ledger.memory import Remembered
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


class LedgerKeeper(Remembered):
    """Implements `database.keeper.Keeper` for one connection."""

    watched = AuditEvent._meta.table_name

    def __init__(self, database: SqliteStore, schema_version: int | None) -> None:
        super().__init__()
        self._database = database
        self._schema = schema_version
        """The `schema_version` that was found right; None if the schema has to be looked at."""
        self._looked = False

    def install(self) -> None:
        self.forget_log()
        self.forget_changes()
        connection = self._database.raw
        # Under names that nobody can know before: what is stored in the file must not call them,
        # for it would have us seal what others changed.
        token = os.urandom(8).hex()
        for name, arguments, function in (
            ("touch", 1, self.touched),
            ("gone", 1, self.gone),
            ("touch_row", 3, self.touched_row),
            ("lost_row", 1, self.lost_row),
        ):
            connection.create_function(f"veritas_{name}_{token}", arguments, function)
        for trigger in _triggers():
            connection.execute(_CALL.sub(rf"\1_{token}(", trigger))
        connection.set_authorizer(self._compiling)

    def _compiling(self, action: int, name: str | None, _1: object, _2: object, _3: object) -> int:
        """SQLite compiles a statement: a new one, or anew after a change of the schema.

        A lone event's statement is compiled before, so that another one's trigger, index or table
        cannot have a part in it: with a transaction around it, the schema is looked at first.
        """
        # It is called for each column that a statement names.
        if action in _SCHEMA_CHANGES or name == "writable_schema":
            self._schema = None
        return _DENY if self.alone else 0

    def gone(self, audit_id: str) -> None:
        """An audit was removed: another one with its id has a log of its own."""
        self.chain.pop(audit_id, None)
        self.audits.add(audit_id)

    def touched_row(self, table: str, row_id: int, audit_id: str) -> None:
        """A finding or screenshot was added or changed: its digest is not up to date."""
        self.rows.add((table, row_id))
        self.lost_row(audit_id)

    def lost_row(self, audit_id: str) -> None:
        """A finding or screenshot of this audit was removed or changed."""
        self.audits.add(audit_id)
        self.forget_contents(audit_id)

    def before(self, sql: str) -> None:
        """Notice a statement that may add events without `log`: such events lack digests."""
        # Not a trigger, as for other tables: the log is written most, and a trigger on it costs
        # 0.4 µs an event.
        if not self.appending and self.unchained_after is None and _INSERT.match(sql):
            self.unchained_after = log.newest_id(self._database)

    def began(self, others_wrote: bool) -> None:
        self.renewed.clear()
        self._looked = False
        if others_wrote:
            self.forget_log()
        if self._schema is None or others_wrote:
            self._look()

    def _look(self) -> None:
        """Look at the schema if it has changed, now that nobody else can change it."""
        if self._schema is None or parts.schema_version(self._database) != self._schema:
            self._looked = True
            self._schema = schema.settle(self._database)

    def seal(self) -> None:
        if self.has_unsealed:
            seals.renew(self._database, self)

    def before_commit(self) -> None:
        self.seal()
        if self.changes:
            number, self.changes = self.changes, 0
            seals.count_changes(self._database, number)

    def mark(self) -> int:
        return len(self.renewed)

    def undone(self, since: int | None = None) -> None:
        self.forget_log()
        if since is None:
            self.forget_changes()
            if self._looked:  # and what was made again is undone
                self._schema = None
        else:
            self.renew_again(since)


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
        "CREATE TEMP TRIGGER veritas_audit_gone AFTER DELETE ON main.audits "
        "BEGIN SELECT veritas_gone(OLD.id); END",
        "CREATE TEMP TRIGGER veritas_audit_new AFTER INSERT ON main.audits "
        # An imported audit has its seal; if it has ended, it is not in the catalog yet.
        "WHEN NEW.seal IS NULL OR NEW.sealed_events IS NOT NULL "
        "BEGIN SELECT veritas_touch(NEW.id); END",
        f"CREATE TEMP TRIGGER veritas_audit_changed AFTER UPDATE OF {_columns(Audit)} "
        "ON main.audits BEGIN SELECT veritas_touch(NEW.id); END",
    ]
    for model in (AuditFinding, AuditScreenshot):
        table = model._meta.table_name
        touch = f"SELECT veritas_touch_row('{table}', NEW.id, NEW.audit_id)"
        found += [
            f"CREATE TEMP TRIGGER veritas_{table}_new AFTER INSERT ON main.{table} "
            f"WHEN NEW.digest IS NULL BEGIN {touch}; END",
            f"CREATE TEMP TRIGGER veritas_{table}_changed AFTER UPDATE OF {_columns(model)} "
            f"ON main.{table} BEGIN {touch}; SELECT veritas_lost_row(OLD.audit_id); END",
            f"CREATE TEMP TRIGGER veritas_{table}_gone AFTER DELETE ON main.{table} "
            "BEGIN SELECT veritas_lost_row(OLD.audit_id); END",
        ]
    return tuple(found)


def _columns(model: Any) -> str:
    return ", ".join(f'"{model._meta.fields[name].column_name}"' for name in seals.covered(model))
