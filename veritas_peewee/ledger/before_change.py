"""Whether an audit is as it was sealed, looked at before this connection changes it.

A seal is renewed only from a state that was right. Otherwise a row that another program has
altered, added or removed would be sealed by us with the next event. What is found wrong here stays
so: the change is stored all the same, the seal stays as it is, and `verify` names the audit.
"""

from __future__ import annotations

from typing import Any

import peewee

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.expressions import blob_as_read
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.statements import MARK, per_backend, text_of
from veritas_peewee.ledger.children import read_digests, totals
from veritas_peewee.ledger.digests import covered, digest_of
from veritas_peewee.ledger.formulas import is_ended_seal, is_running_seal, is_unfinished
from veritas_peewee.ledger.memory import Remembered, State, cannot_be_read
from veritas_peewee.ledger.stored import audit_row
from veritas_peewee.models import Audit, AuditEvent

_COUNT = covered(Audit).index("screenshots_count")


def look(database: StoreDatabase, memory: Remembered, audit_id: str) -> None:
    """Note whether an audit is as it was sealed; nothing of it has been changed yet."""
    try:
        state = state_of(database, memory, audit_id)
    except DRIVER_ERRORS as error:
        if not cannot_be_read(error):
            raise
        state = State.WRONG  # a value of it cannot be read
    if state is State.WRONG:
        memory.note_wrong(database, audit_id)
    elif state is not None:
        memory.known[audit_id] = state


def look_at_rows(database: StoreDatabase, memory: Remembered, audit_id: str) -> None:
    """Note whether an audit's findings and screenshots are those that its seal covers.

    From here on they are no longer known by what was added, and are read when the seal is renewed.
    """
    if audit_id not in memory.known and audit_id not in memory.audits:
        look(database, memory, audit_id)
    if memory.known.get(audit_id) is State.ROW:
        children = memory.children.get(audit_id)
        found = totals(None, read_digests(database, audit_id))
        if children is not None and children.same_rows(found):
            memory.known[audit_id] = State.ROWS
        else:
            memory.note_wrong(database, audit_id)
    memory.set_children(audit_id, None)


def look_at_row(database: StoreDatabase, memory: Remembered, model: Any, row_id: int) -> None:
    """Note whether a finding or screenshot is as its digest says, before it is changed."""
    row = (model._meta.table_name, row_id)
    if row in memory.rows or row in memory.wrong_rows:
        return
    found = database.state.conn.execute(_row_sql(model), (row_id,)).fetchone()
    if found is not None and digest_of(found[:-1]) != found[-1]:
        memory.wrong_rows.add(row)


def state_of(database: StoreDatabase, memory: Remembered, audit_id: str) -> State | None:
    """What is known of an audit from now on, by what `database` sees; None if there is no such
    audit."""
    found = audit_row(database, audit_id)
    if found is None:
        return None
    *values, seal, sealed_events, _ = found
    children = memory.children.get(audit_id)
    if not is_unfinished(values):
        memory.children.pop(audit_id, None)  # of the time before another connection ended it
        digests = read_digests(database, audit_id)
        last = _digest_at(database, audit_id, sealed_events)

        def is_right() -> bool:
            return is_ended_seal(seal, values, digests, sealed_events, last)

        state, screenshots = State.ROWS, len(digests[1])
    else:
        # Of a seal that this connection knows, the rows that it covers need not be read again.
        state = State.ROW
        if children is None or children.seal != seal:
            children = totals(seal, read_digests(database, audit_id))
            # As it was before this transaction changed it, so no roll-back takes it back.
            memory.children[audit_id] = children
            state = State.ROWS
        known = children

        def is_right() -> bool:
            return is_running_seal(seal, values, known, sealed_events)

        screenshots = known.screenshots[0]
    if is_right():
        return state
    # The count is derived, and `verify --fix` makes it again: by itself it spoils nothing.
    values[_COUNT] = screenshots
    return state if is_right() else State.WRONG


def _digest_at(database: StoreDatabase, audit_id: str, number: object) -> bytes | None:
    """The digest of an audit's event, counted from 1."""
    if not isinstance(number, int) or number < 1:
        return None
    found = database.state.conn.execute(_digest_at_sql(), (audit_id, number - 1)).fetchone()
    digest: bytes | None = found and found[0]
    return digest


@per_backend
def _digest_at_sql() -> str:
    query = AuditEvent.select(blob_as_read(AuditEvent.digest)).where(AuditEvent.audit == MARK)
    return text_of(query.order_by(AuditEvent.id).limit(peewee.SQL("1")).offset(MARK))


@per_backend
def _row_sql(model: Any) -> str:
    fields = [model._meta.fields[name] for name in covered(model)]
    return text_of(model.select(*fields, blob_as_read(model.digest)).where(model.id == MARK))
