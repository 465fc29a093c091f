"""Following for scripts: events as they are committed, found by looking for new ones repeatedly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any, Self, TypeVar

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.errors import AuditNotFound, StoreError
from veritas_peewee.following.feed import POLL, dead_runner, ended_by_death, stored
from veritas_peewee.following.patience import TRY_AGAIN, Patience
from veritas_peewee.models import AuditEvent
from veritas_peewee.recording.disconnecting import disconnect_dead
from veritas_peewee.values.ids import key_of
from veritas_peewee.values.states import Ended
from veritas_peewee.values.tokens import check_after

T = TypeVar("T")


def follow(audit_id: str, *, after: int | str | None = None) -> Watcher:
    """An audit's events after event id or token `after` (None: all), then new ones when committed.

    Looks for new ones four times a second, whichever process wrote them; ends when the audit has:
    once its status is completed, error or disconnected, nobody runs it any more, and all events up
    to then were given. Raises AuditNotFound, also when the audit is deleted, InvalidAudit for an
    `after` that this store has not given out, StaleToken for a token that is not of its history,
    and StoreError when the file is removed or replaced, when a server has been away for half a
    minute, and where nothing new can come: inside a transaction, or in a database in memory.
    """
    # `key_of` refuses None, which `watch` takes for all audits.
    return watch(key_of(audit_id), after=after)


def follow_all(*, after: int | str | None = None) -> Watcher:
    """The events of every audit after an event's id or token, then new ones; it has no end.

    If `after` is None, the first are those committed after the iteration has begun. They come in
    the order of their ids: events that an import adds below the last one given are left out. Raises
    what `follow` raises, except AuditNotFound.
    """
    return watch(None, after=after)


def watch(
    audit_id: str | None = None, *, after: int | str | None = None, poll: float = POLL
) -> Watcher:
    """The events of an audit (None: of all) after an id; looks for new ones every `poll` seconds.

    If `after` is None, it is 0 for one audit; for all audits, events stored already are left out.
    """
    if after is not None:
        after = check_after(after)
    elif audit_id is not None:
        after = 0
    return Watcher(audit_id, after, poll)


class Watcher:
    """The events that a script follows: `for event in watcher`."""

    ended: Ended | None = None
    """How the events came to an end; None while there may be more."""
    died = False
    """Whether they ended because the process that ran the audit has died, which nobody has recorded
    yet."""

    def __init__(self, audit_id: str | None, after: int | str | None, poll: float) -> None:
        self._patience = Patience()
        self._events = self._watch(audit_id, after, poll)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> AuditEvent:
        try:
            return next(self._events)
        except StoreError as error:
            deleted = isinstance(error, AuditNotFound)
            self.ended = Ended.DELETED if deleted else Ended.FAILED
            raise

    def _watch(
        self, audit_id: str | None, position: int | str | None, poll: float
    ) -> Iterator[AuditEvent]:
        dead: Ended | None = None
        while True:
            piece = self._patiently(stored, audit_id, position)
            position = piece.upto
            yield from piece.events
            if piece.ended is not None or (dead is not None and not piece.more):
                self.ended, self.died = piece.ended or dead, piece.ended is None
                return
            database = current_database()
            if not piece.events:
                _check_others_can_write(database)
            # Where nobody else can write there is nothing to wait for, but the caller may have
            # written since the last event.
            if not piece.more and _others_can_write(database):
                database.check_in_place()
                is_recorded, dead = self._patiently(_end_dead, database, audit_id)
                if not is_recorded and dead is None:
                    sleep(poll)

    def _patiently(self, fn: Callable[..., T], *args: Any) -> T:
        """The result of `fn(*args)`, which is called again while a server is away."""
        while True:
            began, database = monotonic(), current_database()
            try:
                found = fn(*args)
            except (StoreError, *DRIVER_ERRORS) as error:
                # A transaction of the caller's has gone with its connection.
                if database.state.transactions or not self._patience.has(error, began):
                    raise (store_error(error, database.name) or error) from error
            else:
                self._patience.is_answered()
                return found
            sleep(TRY_AGAIN)


def _end_dead(database: StoreDatabase, audit_id: str | None) -> tuple[bool, Ended | None]:
    """Whether audits whose process has died were ended just now; where nobody here can do that, how
    the audit has ended, if its process has died."""
    if database.writes(database.role) and dead_runner():
        disconnect_dead()
        return True, None
    return False, None if audit_id is None else ended_by_death(audit_id)


def _others_can_write(database: StoreDatabase) -> bool:
    return not database.location.in_memory and not database.transaction_is_open


def _check_others_can_write(database: StoreDatabase) -> None:
    """Raise StoreError where waiting would never end."""
    if not _others_can_write(database):
        where = "inside a transaction" if database.transaction_is_open else "in memory"
        raise StoreError(f"{where} no new event can come: read what is stored with `events`")
