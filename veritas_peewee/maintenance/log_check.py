"""Whether the store's log as a whole is what it was: its heads, its gaps, its removals."""

from __future__ import annotations

import hashlib

from veritas_peewee.database.statements import execute, rows_of
from veritas_peewee.ledger.heads import (
    HEAD_EVERY,
    UNKNOWN_HEAD,
    Head,
    all_digests,
    head_digest,
    newest_head,
)
from veritas_peewee.ledger.problems import Problems
from veritas_peewee.models import RemovedAudit, RemovedEvent, StoreHead


def check_log(problems: Problems, notes: list[str], earlier: Head | None) -> Head:
    """Check the current database's log, also against a head that it had earlier.

    Adds what is wrong to `problems` and what only costs something to `notes`; returns the head
    that the store has now.
    """
    newest, earlier_digest = _check_heads(problems, notes, earlier)
    _check_removed(problems)
    head = newest_head()
    if earlier is not None:
        _compare(problems, earlier, earlier_digest, newest, head)
    return head


def _check_heads(
    problems: Problems, notes: list[str], earlier: Head | None
) -> tuple[int, str | None]:
    """Compute every head again; returns the newest event's id and the digest at `earlier`."""
    heads = dict(rows_of(StoreHead.select(StoreHead.event_id, StoreHead.digest)))
    start = min(heads, default=0)
    newest = 0
    digest = head_digest("", [])
    since = hashlib.sha256(digest.encode())  # of the events since the last head
    earlier_digest = digest if earlier is not None and earlier.position == 0 else None
    if start == 0 and heads.pop(0, digest) != digest:
        problems.add("up to event 0 the log is not what it was")
    for event_id, one in all_digests():
        if event_id != newest + 1 and newest >= start:
            gone = f"{newest + 1}" if event_id == newest + 2 else f"{newest + 1} to {event_id - 1}"
            problems.add(f"event {gone}: missing from the store")
        newest = event_id
        since.update(one or b"?")
        if earlier is not None and event_id == earlier.position:
            earlier_digest = since.hexdigest()
        if event_id == start or (event_id > start and event_id % HEAD_EVERY == 0):
            digest = since.hexdigest()
            stored = heads.pop(event_id, digest)
            if stored == UNKNOWN_HEAD and event_id == start:
                digest = stored
                notes.append(
                    f"up to event {event_id} no head of the log is kept: an import was "
                    "interrupted (run it again with --skip-existing, or `verify --fix`)"
                )
            elif stored != digest:
                problems.add(f"up to event {event_id} the log is not what it was")
            since = hashlib.sha256(digest.encode())
    for lost in sorted(heads):
        if lost > newest:
            problems.add(f"the events from {newest + 1} to {lost} are missing from the store")
        else:
            problems.add(f"the head that is kept for event {lost} is not of this store")
    counter = execute("SELECT seq FROM sqlite_sequence WHERE name = ?", ("audit_events",))
    if newest > start and counter != [(newest,)]:
        problems.add(f"the newest event is {newest}, and SQLite's counter of them is not")
    return newest, earlier_digest


def _check_removed(problems: Problems) -> None:
    """Events can be removed only with their audit."""
    removed = RemovedAudit.select(RemovedAudit.audit_id)
    query = RemovedEvent.select(RemovedEvent.event_id, RemovedEvent.audit_id)
    for event_id, audit_id in rows_of(query.where(RemovedEvent.audit_id.not_in(removed))):
        problems.add(f"event {event_id} of audit {audit_id} was removed by itself")


def _compare(
    problems: Problems, earlier: Head, earlier_digest: str | None, newest: int, now: Head
) -> None:
    """What has gone since the store had the head `earlier`."""
    if earlier.position > newest:
        problems.add(f"the events from {newest + 1} to {earlier.position} are gone: the head "
                     f"that was kept is of event {earlier.position}")  # fmt: skip
    elif earlier_digest != earlier.digest:
        problems.add(f"up to event {earlier.position} the log is not what it was when the head "
                     "was kept: events were altered, or are gone")  # fmt: skip
    if earlier.changes > now.changes:
        problems.add("changes and removals of rows that were made before the head was kept "
                     "are gone")  # fmt: skip
    if earlier.audits > now.audits:
        problems.add(f"{earlier.audits - now.audits} audits that were there when the "
                     "head was kept are gone")  # fmt: skip
