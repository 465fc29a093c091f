"""What PostgreSQL's error codes (SQLSTATE) mean for the store; needs no driver."""

from __future__ import annotations

from collections.abc import Iterable

from veritas_peewee.errors import (
    DatabaseCorrupt,
    ReadOnlyStore,
    StoreBusy,
    StoreError,
    StoreFull,
    WriteUndone,
)

FOREIGN_KEY = "23503"
"""A row's parent does not exist."""
DUPLICATE = "23505"
"""There is such a row already."""
CANCELLED = "57014"
"""The statement was ended by its caller, or for how long it lasted."""
NOT_ALLOWED = "42501"
"""The user lacks a right."""
FAILED_BEFORE = "25P02"
"""A statement before it has failed, and the transaction takes no other."""
_SKIPPED = "PipelineAborted"
"""psycopg's error, without a code, for a statement that the server has not looked at."""
TOO_LONG = "25P04"
"""The server has ended a transaction, and its connection, for how long it lasted."""
LOST = "08006"
"""The code given to an error without one: the connection has gone."""

_BY_STATE: dict[str, type[StoreError]] = {
    "25006": ReadOnlyStore,  # read_only_sql_transaction
    FAILED_BEFORE: WriteUndone,
    NOT_ALLOWED: ReadOnlyStore,  # insufficient_privilege
    "53": StoreFull,  # insufficient resources: disk, memory, connections
    "53300": StoreBusy,  # too_many_connections
    "55P03": StoreBusy,  # lock_not_available
    "40001": StoreBusy,  # serialization_failure
    "40P01": StoreBusy,  # deadlock_detected
    "57P03": StoreBusy,  # cannot_connect_now: the server starts
    "XX001": DatabaseCorrupt,  # data_corrupted
    "XX002": DatabaseCorrupt,  # index_corrupted
}  # by the whole code, else by its class
_OTHER_ENCODING = (
    "the database has another encoding than UTF8, in which not every text can be stored or read: "
    "make one that has it (`createdb --template template0 --encoding UTF8`), and `veritas-peewee "
    "copy` the store there"
)
_WORDS = {
    FAILED_BEFORE: "nothing of this write was saved: a statement before it in the same transaction "
    "has failed, and PostgreSQL then takes no other; try it again, and put what may fail into a "
    "`with database.atomic()` of its own",
    TOO_LONG: "a transaction lasted longer than it may, and the server has ended it, because it "
    "keeps all others from writing: nothing of it was saved; do less in one write",
    NOT_ALLOWED: "the user of this URL may not do this: let the owner of the tables GRANT it, "
    "`veritas-peewee doctor` names what is lacking",
    CANCELLED: "the server has ended a statement before it was done, and nothing of what it wrote "
    "was saved: it was told to, or `statement_timeout` is too short in the URL or in $PGOPTIONS",
    "22P05": _OTHER_ENCODING,  # untranslatable_character
    "22021": _OTHER_ENCODING,  # character_not_in_repertoire
}
_OF_THE_DATA = ("22", "23", "42")
_DAMAGE = ("XX0", "58P01")  # internal errors are what most damage ends in; undefined_file
_LOSSES = ("08", "57P01", "57P02", "57P03", "57P05", "25P03", TOO_LONG)


def state_of(error: BaseException) -> str | None:
    """The SQLSTATE that an exception itself carries, or what it wraps."""
    for candidate in (error, *error.args[:1]):
        state = getattr(candidate, "sqlstate", None)
        if isinstance(state, str):
            return state
        if getattr(candidate, "connection_lost", False):
            return LOST
        if type(candidate).__name__ == _SKIPPED:
            return FAILED_BEFORE
    return None


def first_state(errors: Iterable[BaseException]) -> str | None:
    """The SQLSTATE of the first failure in a chain of errors, the newest of which comes first."""
    found: str | None = None
    for error in errors:
        found = state_of(error) or found
    return found


def is_of_the_data(state: str) -> bool:
    """Whether a statement that failed with this code met values that it did not expect."""
    return state.startswith(_OF_THE_DATA)


def is_damage(state: str) -> bool:
    """Whether a statement that failed with this code met a damaged page, index or file."""
    return state.startswith(_DAMAGE)


def is_of_the_system(state: str) -> bool:
    """Whether a read that failed with this code lacked a right, memory, room or the connection."""
    return state.startswith((NOT_ALLOWED, "53")) or is_loss(state)


def is_loss(state: str) -> bool:
    """Whether the connection has gone with this code, or is about to."""
    return state.startswith(_LOSSES)


def kind_of(state: str, *, reading: bool) -> type[StoreError] | None:
    """The store's class of error for a code, of a read if `reading`; None if its cause is not
    known."""
    if reading and state == NOT_ALLOWED:
        return StoreError
    known = _BY_STATE.get(state) or _BY_STATE.get(state[:2])
    if known is None and (is_loss(state) or state in _WORDS):
        return StoreError
    return known


def words_of(state: str) -> str | None:
    """What a code means and what to do, where its class of error does not say that."""
    return _WORDS.get(state)
