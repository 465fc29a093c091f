"""The audits whose process has died: each is ended, with an event that says so."""

from __future__ import annotations

import functools
import logging

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.failures import DRIVER_ERRORS, is_of_the_data
from veritas_peewee.database.statements import MARK, execute, text_of
from veritas_peewee.errors import AuditNotFound, DatabaseCorrupt, InvalidAudit, StoreError
from veritas_peewee.files.sessions import State
from veritas_peewee.models import AuditRunner, AuditStatus
from veritas_peewee.recording import operations
from veritas_peewee.recording.recorder import close, end_of_output
from veritas_peewee.values.states import FINAL

_logger = logging.getLogger("veritas_peewee")


def disconnect_dead() -> None:
    """End the audits whose process has died, each with an event that says so.

    An audit without a final status becomes disconnected. In a transaction, as beside other
    connections, only a process whose death its session's file proves counts as dead.
    """
    database = current_database()
    sessions = database.session
    # Before the rows are read: a dead session can get no more of them.
    left = sessions.leftovers()
    rows = execute(_runners_sql(), ())
    states = {session: sessions.look(session) for _, session in rows}
    dead = {session for session, state in states.items() if state is State.DEAD}
    missing = {session for session, state in states.items() if state is State.MISSING}
    # The folder may have been removed, or copied without; but who runs an audit has the file open.
    if missing and not database.transaction_is_open and database.is_alone():
        dead |= missing
    for audit_id, session in rows:
        if session in dead:
            _end(audit_id, session)
    if database.transaction_is_open:
        database.after_commit(functools.partial(sessions.sweep, left))
    else:
        sessions.sweep(left)


@functools.cache
def _runners_sql() -> str:
    return text_of(AuditRunner.select(AuditRunner.audit, AuditRunner.session))


def _end(audit_id: str, session: object) -> None:
    """Mark an audit of a dead session as disconnected, if that is possible.

    Each in its own transaction, so that one that another program has made odd stops no opening, and
    no other audit.
    """
    try:
        _disconnect(audit_id, session)
    except Exception as error:
        if not _is_odd(error):
            raise
        _logger.warning(
            "%s: the process of audit %s has ended, but it cannot be marked as disconnected, "
            "because what is stored of it is not what this library writes (%s); "
            "`veritas-peewee verify` names it",
            current_database().name,
            audit_id,
            error,
        )


def _is_odd(error: Exception) -> bool:
    """Whether an error is about what is stored of an audit, and not about the disk or a lock."""
    if isinstance(error, StoreError):
        return isinstance(error, (DatabaseCorrupt, InvalidAudit, AuditNotFound))
    if isinstance(error, DRIVER_ERRORS):
        return is_of_the_data(error)
    return not isinstance(error, (OSError, MemoryError))


@atomic
def _disconnect(audit_id: str, session: object) -> None:
    if type(audit_id) is not str:
        raise InvalidAudit("its id is no text")
    found = AuditRunner.select(AuditRunner.session).where(AuditRunner.audit == MARK)
    if execute(text_of(found), (audit_id,)) != [(session,)]:
        return  # another process was faster, or runs it now
    state = operations.audit_state(audit_id)
    if state["status"] in (AuditStatus.QUEUED, AuditStatus.RUNNING):
        end_of_output(audit_id, "the process that was running this audit has ended")
    elif state["status"] in FINAL:
        close(audit_id, state, "the process that was running this audit ended after its result")
    operations.release(audit_id)
