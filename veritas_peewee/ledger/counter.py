"""The ids of events: the newest one, and whether SQLite can go on counting them."""

from __future__ import annotations

import functools

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database
from veritas_peewee.database.statements import execute
from veritas_peewee.ledger.heads import LARGEST_ID, newest_sql

_COUNTER = "FROM sqlite_sequence WHERE name = 'audit_events'"


def is_sound() -> bool:
    """Whether SQLite's counter of events, or the greatest id, is one that ids can continue from.

    No server has a counter of events: a sequence leaves gaps.

    Another program can have made it anything: SQLite would then give no ids at all, ids that are
    too large for JSON, or those of events that were removed.
    """
    if not current_database().counts_events:
        return False
    newest, counter, greatest = current_database().raw.execute(_counter_sql()).fetchone()
    if greatest > LARGEST_ID:
        return False
    if counter is None:
        return not newest
    return isinstance(counter, int) and newest <= counter < LARGEST_ID


@functools.cache
def _counter_sql() -> str:
    # The name is no key of that table: there can be several.
    return (
        f"{newest_sql()}, CASE (SELECT MAX(typeof(seq) <> 'integer') {_COUNTER}) "
        f"WHEN 0 THEN (SELECT MAX(seq) {_COUNTER}) WHEN 1 THEN '' END, "
        "(SELECT COALESCE(MAX(id), 0) FROM audit_events)"
    )


def newest_id(database: StoreDatabase) -> int:
    """The id of the newest event; 0 if there is none."""
    found = database.raw.execute("SELECT COALESCE(MAX(id), 0) FROM audit_events").fetchone()
    return int(found[0])


def never_counted() -> bool:
    """Whether the counter has given no id yet."""
    if not current_database().counts_events:
        return True
    return not execute(f"SELECT 1 {_COUNTER} AND seq <> 0", ())


def newest_given() -> int:
    """The newest id that any event was given, also if that event has been removed; 0 if none."""
    if not current_database().counts_events:
        return int(execute(newest_sql(), ())[0][0])
    newest, counter = execute(_given_sql(), ())[0]
    return max(int(newest), int(counter))


def count_from(newest: int) -> None:
    """Have SQLite count on from this id."""
    database = current_database()
    if not database.counts_events:
        return  # ids continue after the events and the removed ones
    database.execute_sql(f"DELETE {_COUNTER}")
    database.execute_sql("INSERT INTO sqlite_sequence VALUES ('audit_events', ?)", (newest,))


@functools.cache
def _given_sql() -> str:
    sound = f"typeof(seq) = 'integer' AND seq BETWEEN 0 AND {LARGEST_ID}"
    return f"{newest_sql()}, (SELECT COALESCE(MAX(seq), 0) {_COUNTER} AND {sound})"
