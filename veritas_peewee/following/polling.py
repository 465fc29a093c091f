"""Following for scripts: events as they are committed, found by looking for new ones repeatedly."""

from __future__ import annotations

from collections.abc import Iterator
from time import sleep

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database
from veritas_peewee.errors import StoreError
from veritas_peewee.following.feed import POLL, check_after, stored
from veritas_peewee.models import AuditEvent
from veritas_peewee.values.ids import key_of


def follow(audit_id: str, *, after: int | None = None) -> Iterator[AuditEvent]:
    """An audit's events after event id `after` (None: all), then new ones when committed.

    Looks for new ones four times a second, whichever process wrote them; ends when the audit has:
    once its status is completed, error or disconnected and all events up to then were given.
    Raises AuditNotFound, also when the audit is deleted, InvalidAudit for an `after` that this
    store has not given out, and StoreError when the file is removed or replaced, and where
    nothing new can come: inside a transaction, or in a database in memory.
    """
    # `key_of` refuses None, which `watch` takes for all audits.
    return watch(key_of(audit_id), after=0 if after is None else check_after(after))


def follow_all(*, after: int | None = None) -> Iterator[AuditEvent]:
    """The events of every audit after event id `after`, then new ones; it has no end.

    If `after` is None, the first are those committed after the iteration has begun. They come in
    the order of their ids: events that an import adds below the last one given are left out. Raises
    what `follow` raises, except AuditNotFound.
    """
    return watch(None, after=None if after is None else check_after(after))


def watch(
    audit_id: str | None = None, *, after: int | None = None, poll: float = POLL
) -> Iterator[AuditEvent]:
    """The events of an audit (None: of all) after an id; looks for new ones every `poll` seconds.

    If `after` is None, it is 0 for one audit; for all audits, events stored already are left out.
    """
    position = 0 if after is None and audit_id is not None else after
    while True:
        piece = stored(audit_id, position)
        position = piece.upto
        yield from piece.events
        if piece.ended:
            return
        database = current_database()
        if not piece.events:
            _check_others_can_write(database)
        # Where nobody else can write there is nothing to wait for, but the caller may have written
        # since the last event.
        if not piece.more and _others_can_write(database):
            database.check_in_place()
            sleep(poll)


def _others_can_write(database: StoreDatabase) -> bool:
    return database.location.path is not None and not database.transaction_is_open


def _check_others_can_write(database: StoreDatabase) -> None:
    """Raise StoreError where waiting would never end."""
    if not _others_can_write(database):
        where = "inside a transaction" if database.transaction_is_open else "in memory"
        raise StoreError(f"{where} no new event can come: read what is stored with `events`")
