"""Whether the store's own notes (removals, changes, heads, migrations) are what it writes."""

from __future__ import annotations

from veritas_peewee.database.expressions import text_as_bytes
from veritas_peewee.database.statements import execute, rows_of
from veritas_peewee.ledger.continued import NOBODY
from veritas_peewee.ledger.heads import LARGEST_ID
from veritas_peewee.ledger.problems import Problems
from veritas_peewee.models import RemovedAudit, RemovedEvent

_MOMENT = "GLOB '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9] [0-9][0-9]:[0-9][0-9]:[0-9]*'"
Sound = tuple[tuple[str, str, dict[str, str]], ...]
"""The tables, each with its key and what holds for each of its columns."""
IN_A_FILE: Sound = (
    ("removed_events", "event_id", {
        "event_id": f"event_id BETWEEN 1 AND {LARGEST_ID}",
        # A row without an audit is where a restore continued the ids: `log_check` looks at it.
        "audit_id": "typeof(audit_id) = 'text'",
        "digest": "digest IS NULL OR (typeof(digest) = 'blob' AND length(digest) = 32)",
    }),
    ("removed_audits", "id", {
        "id": f"id BETWEEN 1 AND {LARGEST_ID}",
        "audit_id": "typeof(audit_id) = 'text' AND audit_id <> ''",
        "created_at": f"typeof(created_at) = 'text' AND created_at {_MOMENT}",
        "removed_at": f"typeof(removed_at) = 'text' AND removed_at {_MOMENT}",
    }),
    ("store_changes", "id", {
        "id": "id = 1",
        "number": "typeof(number) = 'integer' AND number BETWEEN 0 AND 999999999999999999",
    }),
    ("store_heads", "event_id", {
        "event_id": f"event_id BETWEEN 0 AND {LARGEST_ID}",
        "digest": "typeof(digest) = 'text' AND length(digest) = 64 "
                  "AND digest NOT GLOB '*[^0-9a-f]*'",
    }),
)  # fmt: skip
_IS_MOMENT = "~ '^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]'"
ON_A_SERVER: Sound = (
    ("removed_events", "event_id", {
        "event_id": f"event_id BETWEEN 1 AND {LARGEST_ID}",
        "digest": "digest IS NULL OR length(digest) = 32",
    }),
    ("removed_audits", "id", {
        "id": f"id BETWEEN 1 AND {LARGEST_ID}",
        "audit_id": "audit_id <> ''",
        "created_at": f"created_at {_IS_MOMENT}",
        "removed_at": f"removed_at {_IS_MOMENT}",
    }),
    ("store_changes", "id", {
        "id": "id = 1",
        "number": "number BETWEEN 0 AND 999999999999999999",
    }),
    ("store_heads", "event_id", {
        "event_id": f"event_id BETWEEN 0 AND {LARGEST_ID}",
        "digest": "digest ~ '^[0-9a-f]{64}$'",
    }),
)  # fmt: skip


def check(problems: Problems, tables: Sound) -> None:
    """Name what is in these tables and was not written by this library."""
    for table, key, columns in tables:
        for name, sound in columns.items():
            query = f"SELECT {key} FROM {table} WHERE ({sound}) IS NOT TRUE LIMIT {Problems.MOST}"
            for (row,) in execute(query, ()):
                problems.add(f"row {row} of {table}: its {name} was not written by this library")
    _check_removed(problems)
    if execute("SELECT COUNT(*) FROM store_changes", ()) != [(1,)]:
        problems.add("store_changes has another number of rows than one")


def _check_removed(problems: Problems) -> None:
    """Events can be removed only with their audit."""
    removed = RemovedAudit.select(RemovedAudit.audit_id)
    query = RemovedEvent.select(RemovedEvent.event_id, text_as_bytes(RemovedEvent.audit_id))
    query = query.where(RemovedEvent.audit_id.not_in(removed), RemovedEvent.audit_id != NOBODY)
    for event_id, audit_id in rows_of(query):
        name = audit_id.decode(errors="backslashreplace")
        problems.add(f"event {event_id} of audit {name} was removed by itself")
