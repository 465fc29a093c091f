"""The ids of events that a restore leaves out, because the store that it replaced had given them.

A viewer that has seen event 8 asks for what comes after it: if a restored store gave the ids from 4
on again, it would miss new events without knowing. So the ids continue after those of the replaced
store. One row among the removed events, without an audit, says where; its digest covers the log up
to there, and is part of the heads from then on.
"""

from __future__ import annotations

from hashlib import sha256

from peewee import SQL

from veritas_peewee.database.current import current_database
from veritas_peewee.database.expressions import blob_as_read
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.statements import execute, per_backend, text_of
from veritas_peewee.ledger import counter, heads
from veritas_peewee.models import AuditEvent, RemovedEvent

NOBODY = ""
"""What stands for the audit of such a row."""
_MIN_SIZE = 50
"""The fewest bytes that an event takes in a file."""


def newest_given() -> int | None:
    """The newest id that the current database has given to an event; None if it cannot be read.

    The database can be of an earlier version, or of the older store.
    """
    try:
        return min(counter.newest_given(), heads.LARGEST_ID - 1)
    except DRIVER_ERRORS:
        pass
    try:  # the older store's tables
        (newest,) = execute("SELECT COALESCE(MAX(id), 0) FROM audit_events", ())[0]
    except DRIVER_ERRORS:
        return None
    return newest if isinstance(newest, int) and 0 <= newest < heads.LARGEST_ID else None


def guess(size: int) -> int:
    """More events than a file of this size, in bytes, can hold: for one that cannot be read."""
    return size // _MIN_SIZE + 1000


def continue_after(upto: int) -> bool:
    """Let the current database give ids after `upto` from now on; False if it does so anyway."""
    database = current_database()
    with database.unit():
        before = heads.newest_event()
        if upto <= max(before, counter.newest_given()):
            return False
        RemovedEvent.insert(
            event_id=upto, audit_id=NOBODY, digest=digest_of(before, upto)
        ).execute()
        counter.count_from(upto)
    return True


def digest_of(before: int, upto: int) -> bytes:
    """The digest of the row at `upto`, where `before` is the newest event before it."""
    text = f"ids continue from {before} at {upto}: {heads.digest_at(before)}"
    return sha256(text.encode()).digest()


def marks() -> dict[int, bytes | None]:
    """The digests of all such rows, by the id up to which ids were left out."""
    return dict(execute(_marks_sql(), ()))


@per_backend
def _marks_sql() -> str:
    query = RemovedEvent.select(RemovedEvent.event_id, blob_as_read(RemovedEvent.digest))
    return text_of(query.where(RemovedEvent.audit_id == SQL("''")))


def newest_own() -> int:
    """The newest id of an event of this store, removed or not; 0 if it never had any."""
    newest = execute(_own_sql(), ())
    return max(int(row[0] or 0) for row in newest)


@per_backend
def _own_sql() -> str:
    largest = SQL(str(heads.LARGEST_ID))
    present = AuditEvent.select(SQL("MAX(id)")).where(AuditEvent.id <= largest)
    removed = RemovedEvent.select(SQL("MAX(event_id)"))
    removed = removed.where(RemovedEvent.audit_id != SQL("''"), RemovedEvent.event_id <= largest)
    return f"{text_of(present)} UNION ALL {text_of(removed)}"
