"""What `doctor` sees of a server: its version, durability, locks and rights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.database.postgres_locks import trouble_of_locks
from veritas_peewee.database.postgres_opening import ENDS_LONG_ONES
from veritas_peewee.database.postgres_poolers import is_pooled
from veritas_peewee.maintenance.diagnosis import Finding
from veritas_peewee.migrations import server, server_catalog


def _rows(database: PostgresStore, sql: str, *values: Any) -> list[Any]:
    return database.raw.execute(sql, values).fetchall()


def _server(database: PostgresStore) -> Iterator[Finding]:
    ((version,),) = _rows(database, "SELECT current_setting('server_version')")
    value = {"version": version, "host": database.raw.info.host, "tls": _uses_tls(database)}
    text = f"PostgreSQL {version}"
    if database.server_version < server.OLDEST:
        yield Finding("problem", "server", f"{text}: the store needs 15 or newer", value)
    else:
        yield Finding("ok", "server", text, value)
    if not value["tls"] and not _is_local(database.raw.info.host):
        yield Finding(
            "warning", "tls", "the connection is not encrypted: whoever is in between reads and "
            "changes what is sent (sslmode=verify-full, with sslrootcert)",
        )  # fmt: skip


def _uses_tls(database: PostgresStore) -> bool:
    return bool(database.raw.pgconn.ssl_in_use)


def _is_local(host: str) -> bool:
    return host.startswith(("/", "@", "127.")) or host in ("", "localhost", "::1")


_DURABLE = {
    "fsync": "after a crash of the machine the database can be damaged",
    "full_page_writes": "after a crash of the machine pages can be half-written",
}


def _durability(database: PostgresStore) -> Iterator[Finding]:
    rows = _rows(
        database, "SELECT name, setting, reset_val FROM pg_settings WHERE name = ANY(?)",
        [*_DURABLE, "synchronous_commit", "data_checksums"],
    )  # fmt: skip
    value = {name: setting for name, setting, _ in rows}
    default = next((reset for name, _, reset in rows if name == "synchronous_commit"), "on")
    wrong = [name for name in _DURABLE if value.get(name) == "off"]
    for name in wrong:
        yield Finding("problem", "durability", f"{name} is off: {_DURABLE[name]}", value)
    if not wrong:
        commits = value.get("synchronous_commit")
        text = f"an acknowledged write is on disk (synchronous_commit={commits})"
        yield Finding("ok", "durability", text, value)
    if default == "off":
        yield Finding(
            "note", "durability", "synchronous_commit is off by default here; the store's "
            "connections switch it on for themselves",
        )  # fmt: skip
    if value.get("data_checksums") == "off":
        yield Finding(
            "note", "durability", "data_checksums is off: a damaged page is noticed only where "
            "`verify` reads it",
        )  # fmt: skip


def _texts(database: PostgresStore) -> Iterator[Finding]:
    ((encoding, collation, made, now),) = _rows(
        database,
        "SELECT pg_encoding_to_char(encoding), datcollate, datcollversion, "
        "pg_database_collation_actual_version(oid) FROM pg_database "
        "WHERE datname = current_database()",
    )
    value = {"encoding": encoding, "collation": collation}
    if encoding != "UTF8":
        yield Finding(
            "problem", "encoding", f"{encoding}: not every text can be stored; make a database "
            "with ENCODING 'UTF8' TEMPLATE template0, and copy the store there", value,
        )  # fmt: skip
    else:
        yield Finding(
            "ok",
            "encoding",
            f'{encoding}, {collation}; the store\'s own order is that of "C"',
            value,
        )
    if made is not None and now is not None and made != now:
        yield Finding(
            "note", "encoding", f"the collation of the database was of version {made} and is of "
            f"{now} now: other programs' indexes may need REINDEX, the store's do not",
        )  # fmt: skip


def _locks(database: PostgresStore) -> Iterator[Finding]:
    """Whether a lock keeps another connection out."""
    second = PostgresStore(database.location, "viewer")
    second.connect()
    key = (database.key, -1 - int.from_bytes(os.urandom(3), "big"))
    try:
        database.raw.execute("SELECT pg_try_advisory_lock_shared(?, ?)", key)
        trouble = trouble_of_locks(second.raw, key)
        database.raw.execute("SELECT pg_advisory_unlock_shared(?, ?)", key)
        pooled = is_pooled(database.raw)
    finally:
        second.close()
    if trouble is not None:
        yield Finding("problem", "locks", trouble, {"pooler": pooled})
    elif pooled:
        yield Finding(
            "note",
            "locks",
            "a pooler in session mode is in between: locks are kept",
            {"pooler": True},
        )
    else:
        yield Finding("ok", "locks", "a lock keeps other connections out", {"pooler": False})


def _standby(database: PostgresStore) -> Iterator[Finding]:
    ((follows, behind),) = _rows(
        database,
        "SELECT pg_is_in_recovery(), CAST(EXTRACT(epoch FROM clock_timestamp() - "
        "pg_last_xact_replay_timestamp()) AS double precision)",
    )
    if follows:
        since = "" if behind is None else f"; the last change it has is {behind:.0f} s old"
        yield Finding(
            "warning", "standby", f"this server only follows another, and takes no writes{since}",
            {"standby": True, "behind": behind},
        )  # fmt: skip


def _rights(database: PostgresStore) -> Iterator[Finding]:
    schema = server_catalog.schema_of(database)
    ((user, quoted_user, quoted_schema, may_create, may_temporary),) = _rows(
        database,
        "SELECT current_user, quote_ident(current_user), quote_ident(?), "
        "has_schema_privilege(quote_ident(?), 'CREATE'), "
        "has_database_privilege(current_database(), 'TEMPORARY')",
        schema, schema,
    )  # fmt: skip
    tables = _rows(
        database,
        "SELECT c.relname, pg_has_role(c.relowner, 'USAGE'), array_remove(ARRAY("
        "SELECT CASE WHEN NOT has_table_privilege(c.oid, p) THEN p END "
        "FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p), NULL) "
        "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "WHERE n.nspname = ? AND c.relname = ANY(?) ORDER BY 1",
        schema, sorted([*server_catalog.names()["table"], server.HISTORY]),
    )  # fmt: skip
    lacking = {table: missing for table, _, missing in tables if missing}
    value = {"user": user, "schema": schema, "create": may_create, "lacking": lacking}
    if not tables and not may_create:
        yield Finding(
            "problem", "rights", f"{user} may not make a store in the schema {schema}: GRANT "
            f"CREATE ON SCHEMA {quoted_schema} TO {quoted_user}", value,
        )  # fmt: skip
    for missing in dict.fromkeys(map(tuple, lacking.values())):
        those = [table for table in lacking if tuple(lacking[table]) == missing]
        where = f"ALL TABLES IN SCHEMA {quoted_schema}"
        if len(those) < len(tables):
            where = ", ".join(those)
        may_read = "SELECT" not in missing
        yield Finding(
            "warning" if may_read else "problem", "rights", f"{user} lacks {', '.join(missing)} on "
            f"{', '.join(those)}: GRANT {', '.join(missing)} ON {where} TO {quoted_user}"
            f"{', or only read' if may_read else ''}", value,
        )  # fmt: skip
    if not may_temporary:
        yield Finding(
            "warning", "rights", f"{user} may make no temporary table, so nothing can be written: "
            "GRANT TEMPORARY ON DATABASE", value,
        )  # fmt: skip
    if not lacking and may_temporary and (tables or may_create):
        yield Finding("ok", "rights", f"{user} may read and write in the schema {schema}", value)
    if others := [table for table, is_owner, _ in tables if not is_owner]:
        yield Finding(
            "note", "rights", f"{others[0]} is not of {user}: what makes the schema again "
            "(`init`, `verify --fix`) is for its owner", value,
        )  # fmt: skip


def _keepalives(database: PostgresStore) -> Iterator[Finding]:
    """After what time the server lets go of the locks of a machine that has gone."""
    rows = _rows(
        database, "SELECT name, CAST(setting AS integer) FROM pg_settings WHERE name = ANY(?)",
        ["tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"],
    )  # fmt: skip
    value = dict(rows)
    idle, each, count = (value.get(f"tcp_keepalives_{one}", 0)
                         for one in ("idle", "interval", "count"))  # fmt: skip
    if not idle:  # on a socket of this machine the system notices by itself
        return
    gone = idle + each * count
    text = f"a machine that has gone is noticed after {gone} s"
    yield Finding("ok" if gone <= 120 else "warning", "keepalives", text, value)


def _long_writes(database: PostgresStore) -> Iterator[Finding]:
    if database.server_version < ENDS_LONG_ONES:
        version = database.server_version // 10_000
        yield Finding(
            "note", "standstill", f"PostgreSQL {version} has no transaction_timeout, which 17 has: "
            "a process that stands still in the middle of a write can keep the lock of the store "
            "until it goes on, or pg_terminate_backend ends its session",
        )  # fmt: skip


PARTS = (_server, _durability, _texts, _locks, _standby, _rights, _keepalives, _long_writes)
