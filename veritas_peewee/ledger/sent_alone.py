"""A lone event on a server: its transaction is one statement, one way there and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.statements import MARK, per_backend, text_of
from veritas_peewee.database.transactions import OutcomeUnknown, TransactionLost
from veritas_peewee.ledger.memory import Remembered
from veritas_peewee.models import AuditEvent

if TYPE_CHECKING:
    from veritas_peewee.database.postgres import PostgresStore

NEWEST = (
    "GREATEST((SELECT max(id) FROM audit_events), (SELECT max(event_id) FROM removed_events), 0)"
)
"""The newest id that an event was given, as a server finds it by an index."""
SEEN = (
    "SELECT a.id, a.seal, (SELECT e.digest FROM audit_events AS e WHERE e.audit_id = a.id "
    "ORDER BY e.id DESC LIMIT 1) AS last FROM audits AS a "
    "WHERE a.id = ANY(CASE WHEN writer <> ? THEN CAST(? AS text[]) "
    "ELSE CAST(? AS text[]) END)"
)
"""The seal and the end of the log of audits: of the first ones that are named if another connection
wrote last, else of the second."""


def append(database: PostgresStore, memory: Remembered, row: list[Any], before: bytes) -> list[int]:
    """Insert one event, whose stored values are `row`, in a transaction of its own; returns its id
    in a list, which is empty if the audit's log does not end with the digest `before`.

    Raises the server's errors; TransactionLost if the connection went before it was saved, and
    OutcomeUnknown if nobody can tell.
    """
    last = None if before == row[0].encode() else before
    try:
        (event_id,), others_wrote = database.send_alone(_APPEND, (*row, last))
    except DRIVER_ERRORS as error:
        if not database.is_lost(error):
            raise
        # Nobody else can have added the same event: its digest covers the one before it.
        same = (row[0], row[-1])
        ids = database.ask_again(lambda one: one.execute(_again_sql(), same).fetchall())
        if ids is None:
            raise OutcomeUnknown(database.name, "commit", error) from error
        if not ids:
            raise TransactionLost(database.name, error) from error
        return [event_id for (event_id,) in ids]
    if others_wrote:
        memory.others_wrote()
        if event_id is not None:  # its own log is known: what was inserted says so
            memory.chain[row[0]] = row[-1]
    return [] if event_id is None else [event_id]


_APPEND = (
    "SELECT * FROM veritas_append(CAST(? AS integer), CAST(? AS bigint), ?, ?, ?, ?, "
    "CAST(? AS bytea), CAST(? AS bytea))"
)


@per_backend
def _again_sql() -> str:
    query = AuditEvent.select(AuditEvent.id)
    return text_of(query.where(AuditEvent.audit == MARK, AuditEvent.digest == MARK))
