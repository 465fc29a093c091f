"""The memory of a connection to a server filled for a whole batch: one way there and back for all.

In a file it is filled as it is needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.ledger import rows
from veritas_peewee.ledger.ahead import reading
from veritas_peewee.ledger.before_change import look
from veritas_peewee.ledger.memory import Remembered, remembered
from veritas_peewee.ledger.stored import ROW


def warm(
    database: StoreDatabase, audit_ids: Iterable[str], findings: Iterable[tuple[str, str]] = ()
) -> None:
    """Remember what recording events of these audits will ask for; absent ones are left out.

    `findings` are those that the events report, by audit and by the engine's own id.
    """
    if not database.reads_ahead:
        return
    memory = remembered(database)
    asked = [
        one for one in findings
        if one[0] not in memory.followed
        and all(type(text) is str and "\0" not in text for text in one)
    ]  # fmt: skip
    if asked:
        pairs = json.dumps([{"audit": audit_id, "finding": own} for audit_id, own in asked])
        answers = database.raw.execute(_REPORTED, (pairs,))
    cold = [
        one for one in dict.fromkeys(audit_ids)
        if one not in memory.known or one not in memory.stored or one not in memory.chain
    ]  # fmt: skip
    if cold:
        _warm(database, memory, cold)
    if asked:
        memory.reported |= dict.fromkeys(asked)
        memory.reported |= {(audit_id, own): first for audit_id, own, first in answers.fetchall()}


_REPORTED = (
    "SELECT w.audit, w.finding, MIN(e.id) FROM json_to_recordset(CAST(? AS json)) "
    "AS w(audit text, finding text) JOIN audit_events AS e ON e.audit_id = w.audit "
    "AND e.event_type = 'finding' "
    "AND veritas_is(CAST(e.data AS json) #>> '{finding,id}', w.finding) "
    "AND json_typeof(CAST(e.data AS json) #> '{finding,id}') = 'string' GROUP BY 1, 2"
)


def _warm(database: StoreDatabase, memory: Remembered, cold: list[str]) -> None:
    with reading(database, cold, ROW, events=True) as ahead:
        assert ahead is not None
        for audit_id in cold:
            row = ahead.rows[audit_id]
            if row is None:
                continue
            if audit_id not in memory.chain:
                _, last = ahead.events.get(audit_id, (0, None))
                memory.chain[audit_id] = audit_id.encode() if last is None else last
            if audit_id not in memory.known and audit_id not in memory.audits:
                look(database, memory, audit_id)
            if audit_id not in memory.stored and audit_id not in memory.changed_rows:
                rows.remember(memory, audit_id, list(row))
