"""The rows of running audits: remembered by the connection that writes them, and written sealed.

Most events change the row of an audit whose row this connection has written last. It need not be
read again then, neither for what depends on it nor for its seal.
"""

from __future__ import annotations

import functools
from typing import Any

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.statements import update_sql
from veritas_peewee.ledger.digests import marked
from veritas_peewee.ledger.ending import is_followed, seal_ended
from veritas_peewee.ledger.formulas import is_unfinished
from veritas_peewee.ledger.memory import Remembered, State, remembered
from veritas_peewee.ledger.seals import host_in, seal_running
from veritas_peewee.ledger.stored import AT, SEAL, stored_audit
from veritas_peewee.models import Audit

_URL, _HOST, _SEALED_EVENTS = AT["url"], AT["host"], AT["sealed_events"]


def current(database: StoreDatabase, audit_id: str) -> list[Any] | None:
    """The values of an audit's row as `stored_audit` gives them; None if there is no such audit."""
    memory = remembered(database)
    row = memory.stored.get(audit_id)
    if row is None:
        row = stored_audit(audit_id)
        # Outside a transaction another connection may change it at any time.
        if row is not None and database.keeper is not None and database.transaction_is_open:
            remember(memory, audit_id, row)
    return row


def remember(memory: Remembered, audit_id: str, row: list[Any]) -> None:
    """Keep the row of an audit that runs, as it is stored now, unless it is too long."""
    # A host that another program has changed is made right where the row is read for its seal.
    if row[AT["host"]] != host_in(row) or not is_unfinished(row):
        return
    if memory.if_cached(audit_id, marked(row)) is not None:
        memory.stored[audit_id] = row


def write(database: StoreDatabase, audit_id: str, columns: dict[str, Any]) -> bool:
    """Change an audit's row to these stored values by column, which are checked; False if there is
    no such audit.

    The seal of an audit that runs before and after is written by the same statement.
    """
    memory = remembered(database)
    before, children = memory.stored.get(audit_id), memory.children.get(audit_id)
    known = memory.known.get(audit_id)
    if before is None or known is None or known is State.WRONG:
        return _update(
            database, audit_id, columns, is_there=before is not None or known is not None
        )
    if audit_id in memory.changed_rows:  # what else has changed it is sealed with all that follows
        return _update(database, audit_id, columns, is_there=True)
    row = list(before)
    for name, value in columns.items():
        row[AT[name]] = value
    if row[_URL] != before[_URL] and host_in(row) != before[_HOST]:  # which follows it
        return _update(database, audit_id, columns, is_there=True)
    if not is_unfinished(row):
        sealed = seal_ended(memory, audit_id, before, row[:SEAL])
        if sealed is None:
            return _update(database, audit_id, columns, is_there=True)
        row[SEAL], row[_SEALED_EVENTS] = sealed
        own = {"seal": sealed[0], "sealed_events": sealed[1]}
        _update(database, audit_id, columns | own, is_there=True)
        memory.changes += 1
        if audit_id not in memory.changed_rows:  # as it is where a caller's trigger has changed it
            memory.stored[audit_id] = row
        return True
    if children is None:
        return _update(database, audit_id, columns, is_there=True)
    row[SEAL] = seal_running(memory, audit_id, row[:SEAL], children)
    _update(database, audit_id, columns | {"seal": row[SEAL]}, is_there=True)
    memory.changes += row[SEAL] != before[SEAL]
    if memory.is_cached(audit_id) and audit_id not in memory.changed_rows:
        memory.stored[audit_id] = row
    else:
        memory.stored.pop(audit_id, None)
    return True


def counted(database: StoreDatabase, audit_id: str) -> int | None:
    """How many screenshots a running audit has, with those that are about to be inserted, if its
    row is to be written with that number first; None where a trigger is to count them."""
    memory = remembered(database)
    if not (is_followed(memory, audit_id) and is_unfinished(memory.stored[audit_id])):
        return None
    return len(memory.followed[audit_id].screenshots)


def _update(
    database: StoreDatabase, audit_id: str, columns: dict[str, Any], *, is_there: bool
) -> bool:
    """Change the row; False if there is none, which is not asked if it is known."""
    names = sorted(columns, key=_order().__getitem__)
    values = [columns[name] for name in names]
    memory = remembered(database)
    memory.own_change, memory.changing = "seal" in columns, audit_id
    memory.expected = {audit_id: 1} if memory.own_change else {}
    try:
        done = database.execute_own(update_sql(Audit, *names), [*values, audit_id])
        return is_there or bool(done.rowcount)
    finally:
        memory.own_change, memory.changing, memory.expected = False, None, {}


@functools.cache
def _order() -> dict[str, int]:
    return {name: position for position, name in enumerate(Audit._meta.sorted_field_names)}
