"""What `doctor` sees of a store's tables on a server: who uses them, their size, and vacuum."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.files.sessions import State
from veritas_peewee.maintenance.diagnosis import Finding, Level
from veritas_peewee.maintenance.on_server import size_of
from veritas_peewee.migrations import server_parts

FEW_CONNECTIONS = 10
"""Connections left below which there is a warning: a store opens about as many."""
LARGE_STATE = 1 << 20
"""Bytes of the table of one row, which each write changes, above which its versions pile up."""
OLD_SNAPSHOT = 3600
"""Seconds after which a transaction that is still open keeps too much from being vacuumed."""
MANY_DEAD = 100_000
"""Dead rows above which, if they are more than the living ones, vacuum does not keep up."""
OLD_ROWS = 1_000_000_000
"""Transactions after which rows that were not frozen are half-way to stopping the server."""


def _rows(database: PostgresStore, sql: str, *values: Any) -> list[Any]:
    return database.raw.execute(sql, values).fetchall()


def _sessions(database: PostgresStore) -> Iterator[Finding]:
    """Who records: each process that has the store open for writing."""
    rows = _rows(
        database,
        "SELECT id, told, CAST(EXTRACT(epoch FROM clock_timestamp() - heartbeat) AS integer) "
        "FROM store_sessions ORDER BY id",
    )
    counts = dict.fromkeys(State, 0)
    for number, told, age in rows:
        state = database.session.look(str(number))
        counts[state] += 1
        host, _, pid = told.rpartition(" ")
        words = {
            State.ALIVE: "has it open", State.DEAD: "has died",
            State.UNKNOWN: "holds no lock, and may be about to connect again",
        }[state]  # fmt: skip
        yield Finding(
            "note", "holder", f"process {pid} on {host} {words}; its last sign of life was {age} s "
            "ago", {"session": number, "host": host, "pid": pid, "age": age, "state": state.name},
        )  # fmt: skip
    living, dead = counts[State.ALIVE], counts[State.DEAD]
    if dead:
        yield Finding(
            "note", "sessions", f"{living} living sessions run audits; {dead} are of dead "
            "processes, the next opening tells their audits so", {"alive": living, "dead": dead},
        )  # fmt: skip
    if not rows:
        yield Finding("ok", "holder", "no other process has it open for writing")


def _connections(database: PostgresStore) -> Iterator[Finding]:
    ((used, most),) = _rows(
        database,
        "SELECT (SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), "
        "CAST(current_setting('max_connections') AS integer) - "
        "CAST(current_setting('superuser_reserved_connections') AS integer)",
    )
    left = max(0, most - used)
    level: Level = "warning" if left < FEW_CONNECTIONS else "ok"
    text = f"{used} connections to the server, {left} more are left"
    yield Finding(level, "connections", text, {"used": used, "left": left})


def _size(database: PostgresStore) -> Iterator[Finding]:
    ((whole, state),) = _rows(
        database,
        "SELECT pg_database_size(current_database()), pg_total_relation_size('store_state')",
    )
    size = size_of(database)
    text = f"the store has {size:,} bytes, the database {whole:,}"
    yield Finding("ok", "size", text, {"bytes": size, "database_bytes": whole})
    if state > LARGE_STATE:
        yield Finding(
            "warning", "bloat", f"store_state, which has one row, has {state:,} bytes: a "
            "transaction that does not end keeps its older versions; then VACUUM (FULL) "
            "store_state", {"bytes": state},
        )  # fmt: skip


def _vacuum(database: PostgresStore) -> Iterator[Finding]:
    ((enabled,),) = _rows(database, "SELECT current_setting('autovacuum')")
    if enabled == "off":
        yield Finding("warning", "vacuum", "autovacuum is off: tables grow without end", enabled)
    rows = _rows(
        database,
        "SELECT relname, n_live_tup, n_dead_tup, GREATEST(last_autovacuum, last_vacuum) "
        "FROM pg_stat_user_tables WHERE schemaname = ? AND relname = ANY(?) ORDER BY 1",
        server_parts.schema_of(database), sorted(server_parts.names()["table"]),
    )  # fmt: skip
    for table, live, dead, _ in rows:
        if dead > MANY_DEAD and dead > live:
            yield Finding(
                "warning", "vacuum", f"{table} has {dead:,} dead rows and {live:,} living ones",
                {"table": table, "dead": dead, "live": live},
            )  # fmt: skip
    last: datetime | None = max((row[3] for row in rows if row[3] is not None), default=None)
    when = "not vacuumed yet" if last is None else f"vacuumed last at {last:%F %T} UTC"
    value = None if last is None else last.isoformat()
    yield Finding("ok", "vacuum", f"the store's tables were {when}", value)
    ((age,),) = _rows(
        database, "SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()"
    )
    if age > OLD_ROWS:
        yield Finding(
            "warning", "vacuum", f"rows of {age:,} transactions ago are not frozen: VACUUM, before "
            "the server takes no more writes", age,
        )  # fmt: skip


def _held_back(database: PostgresStore) -> Iterator[Finding]:
    """What keeps vacuum from removing dead rows: old transactions, prepared ones, idle slots."""
    for pid, name, state, age in _rows(
        database,
        "SELECT pid, application_name, state, CAST(EXTRACT(epoch FROM clock_timestamp() - "
        "xact_start) AS bigint) FROM pg_stat_activity WHERE xact_start IS NOT NULL AND "
        "backend_type = 'client backend' AND pid <> pg_backend_pid() AND "
        "xact_start < clock_timestamp() - make_interval(secs => ?) ORDER BY xact_start",
        OLD_SNAPSHOT,
    ):
        yield Finding(
            "warning", "snapshot", f"a transaction of {name or 'some program'} (session {pid}, "
            f"{state}) is open for {age:,} s and keeps dead rows from being vacuumed",
            {"pid": pid, "seconds": age},
        )  # fmt: skip
    for name, owner, age in _rows(
        database,
        "SELECT gid, owner::text, CAST(EXTRACT(epoch FROM clock_timestamp() - prepared) AS bigint) "
        "FROM pg_prepared_xacts ORDER BY prepared",
    ):
        yield Finding(
            "warning", "snapshot", f"the prepared transaction {name} of {owner} waits for {age:,} "
            "s and keeps dead rows: COMMIT PREPARED or ROLLBACK PREPARED", {"gid": name},
        )  # fmt: skip
    for (name,) in _rows(
        database,
        "SELECT slot_name FROM pg_replication_slots WHERE NOT active AND "
        "(xmin IS NOT NULL OR catalog_xmin IS NOT NULL OR restart_lsn IS NOT NULL) ORDER BY 1",
    ):
        yield Finding(
            "warning", "snapshot", f"nobody reads the replication slot {name}, which keeps the "
            "server's log, or dead rows: pg_drop_replication_slot", {"slot": name},
        )  # fmt: skip


PARTS = (_sessions, _connections, _size, _vacuum, _held_back)
