"""How a connection to a server is made ready, and what keeps one from being opened: each cause in
one line, without a password."""

from __future__ import annotations

import re
from typing import Any

from veritas_peewee.config import Location, without_secrets
from veritas_peewee.database.postgres_driver import Connection
from veritas_peewee.database.postgres_poolers import GIVES_AWAY
from veritas_peewee.errors import ReadOnlyStore, StoreBusy, StoreError

_KEY = (
    "SELECT COALESCE((SELECT relnamespace FROM pg_class WHERE oid = to_regclass('store_state')), "
    "to_regnamespace(quote_ident(current_schema())))::bigint::bit(32)::integer"
)
"""The first key of our advisory locks: the schema, so that stores in others have their own."""
_LISTEN = (
    "CREATE TEMPORARY TABLE veritas_touched (id bigint GENERATED ALWAYS AS IDENTITY, kind text, "
    "audit_id text, row_id bigint) ON COMMIT DELETE ROWS; "
    "SELECT set_config('veritas.listens', 'yes', false)"
)
"""From then on triggers tell this connection what it has changed."""
SYNCED = (
    "SELECT set_config('synchronous_commit', 'on', false) "
    "WHERE current_setting('synchronous_commit') = 'off'"
)
"""An acknowledged commit is on disk there, whatever the server's own default is."""
_UNHURRIED = (
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('statement_timeout', "
    "'transaction_timeout') AND setting <> '0' AND source NOT IN ('client', 'session')"
)
"""A limit of the role's or the database's own would also count what a write waits for its lock, and
end a check of the whole store; one that the URL states is meant for this store, and our own stays.
"""
_TRIGGERS = (
    "SELECT set_config('session_replication_role', 'origin', false) "
    "WHERE current_setting('session_replication_role') = 'replica'"
)
"""The store's triggers and foreign keys act, whatever a role of replication has as its default."""
IDLE_LIMIT = 60
"""Seconds after which the server ends a transaction of ours in which nothing happens: a machine
that stands still must not hold the lock of all others."""
LONGEST = {"writer": 600, "script": 3600}
"""Seconds after which the server ends a transaction of ours, by the role: in a pipeline it does not
notice that nothing happens in it. Each holds the lock of all others, who wait for half a minute."""
ENDS_LONG_ONES = 170000
"""The oldest server that can do that (`transaction_timeout`), as it numbers itself."""
_CAUSES: tuple[tuple[str, type[StoreError], str], ...] = (
    (r'invalid URI query parameter: "(?P<what>.*?)"', StoreError,
     "the URL has a parameter {what}, which libpq does not know: leave it out, or write it right"),
    (r"invalid (?:integer|\w+) value|invalid percent-encoded|in URI|port numbers? to", StoreError,
     "a part of the URL is not right: {told}"),
    (r'database "(?P<what>.*?)" does not exist', StoreError,
     "the server has no database {what}: `createdb {what}` makes it there, with the host and user "
     "of this URL"),
    (r'role "(?P<what>.*?)" does not exist', StoreError,
     "the server knows no user {what}: `createuser {what}` makes it, or name another in the URL"),
    (r"no password supplied", StoreError,
     "the server wants a password: give it in the URL, in $PGPASSWORD or in ~/.pgpass"),
    (r'password authentication failed for user "(?P<what>.*?)"', StoreError,
     "the password for the user {what} is not the right one"),
    (r"server does not support SSL", StoreError,
     "TLS is asked for, and the server does not offer it: leave out sslmode, or set it up there"),
    (r"no pg_hba\.conf entry .*(?:no encryption|SSL off)", StoreError,
     "the server lets this user in from here only with TLS (add ?sslmode=require), or not at all"),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", StoreError,
     "the server does not let this user in from here: see its pg_hba.conf"),
    (r'certificate for "(?P<what>.*?)".* does not match host name "(?P<host>.*?)"', StoreError,
     "the server's certificate is made out to {what}, and the URL says {host}: write that name "
     "there, or have a certificate made for this one"),
    (r'root certificate file "(?P<what>.*?)"', StoreError,
     "the server's certificate is to be verified by the file {what}, and there is none, or it "
     "cannot be read: name that of its authority with sslrootcert (or sslrootcert=system)"),
    (r"certificate verify failed|server certificate", StoreError,
     "the server's certificate cannot be verified: it has expired, or is not signed by the "
     "authority that sslrootcert names (with sslrootcert=system: by one that this machine trusts)"),
    (r"permission denied for database", StoreError,
     "this user may not connect to the database: GRANT CONNECT"),
    (r"statement pooling mode", StoreError, GIVES_AWAY),  # PgBouncer's, which then takes no BEGIN
    (r"too many (?:clients|connections)|remaining connection slots|connection limit", StoreBusy,
     "the server has no connection left: end others, raise max_connections, or open fewer stores"),
    (r"the database system is (?P<what>starting up|shutting down|in recovery mode)", StoreBusy,
     "the server is {what}: try again in a moment"),
    (r"could not translate host name|Name or service not known|failed to resolve host|"
     r"nodename nor servname", StoreError, "there is no host of that name"),
    (r"Connection refused|No such file or directory|could not connect to server", StoreError,
     "no server answers there: it is not running, or it listens at another address or port"),
    (r"timeout expired|timed out|Network is unreachable|No route to host", StoreError,
     "the server does not answer: the host cannot be reached from here"),
)  # fmt: skip
"""What libpq says, for which it has no codes: a pattern, the class of the error, and its text."""


def prepare(
    made: Connection, location: Location, *, writes: bool, longest: float | None = None
) -> int:
    """Give a new connection its settings; returns the first key of its store's advisory locks.

    `longest` is how many seconds a transaction on it may last. Raises ReadOnlyStore if the server
    cannot be written to and `writes`, and StoreError if there is no schema.
    """
    if writes and made.info.parameter_status("in_hot_standby") == "on":
        raise ReadOnlyStore(
            f"{location.name}: this server is a standby, which only follows another: "
            "write to that one (with several hosts in the URL, "
            "target_session_attrs=read-write finds it)"
        )
    settings = {
        "lock_timeout": f"{int(location.timeout * 1000)}",
        "client_encoding": "UTF8",
        "extra_float_digits": "1",  # the shortest text that is the same number
        "DateStyle": "ISO",
        "TimeZone": "UTC",
        "quote_all_identifiers": "off",  # the parts of the schema are compared as they are told
        # A snapshot that is taken before the lock is had would not see who had it before.
        "default_transaction_isolation": "read committed",
        # What is asked for is a page, found by an index: its rows are a few hundred, on a disk
        # without a head to move. To compile a statement, or to start processes for it, would take
        # longer than to run it.
        "random_page_cost": "1.1",
        "jit": "off",
        "max_parallel_workers_per_gather": "0",
        # The server too must notice that a machine has gone, and let go of its locks.
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
    }
    if writes:
        settings["idle_in_transaction_session_timeout"] = f"{IDLE_LIMIT * 1000}"
        if longest is not None and made.info.server_version >= ENDS_LONG_ONES:
            settings["transaction_timeout"] = f"{int(longest * 1000)}"
    else:
        settings["default_transaction_read_only"] = "on"
    calls = ", ".join("set_config(?, ?, false)" for _ in settings)
    values = [one for pair in settings.items() for one in pair]
    made.execute(f"SELECT {calls}", values)
    made.execute(f"{SYNCED}; {_UNHURRIED}")
    (key,) = made.execute(_KEY).fetchone() or (None,)
    if key is None:
        raise StoreError(
            f"{location.name}: none of the schemas in search_path exists, or this user may use "
            "none of them: make one, GRANT USAGE ON SCHEMA, or name another in the URL "
            "(?options=-csearch_path%3DNAME)"
        )
    if writes:
        made.execute(f"{_TRIGGERS}; {_LISTEN}")
    return int(key)


def opening_error(error: BaseException, location: Location) -> StoreError:
    """The store's error for a connection that could not be made, without any password.

    To be raised `from None`: libpq can quote a part of a malformed URL, the password too.
    """
    assert location.server is not None
    told = " ".join(str(error).split())
    shown = without_secrets(told, location.server).removeprefix("connection is bad: ")
    for pattern, kind, text in _CAUSES:
        if found := re.search(pattern, told, re.IGNORECASE):
            return kind(f"{location.name}: {text.format(told=shown, **found.groupdict())}")
    return StoreError(f"{location.name}: the server cannot be reached: {shown}")


def wait_of(location: Location) -> dict[str, Any]:
    """How long to wait for a server that does not answer, if the URL does not say it itself."""
    assert location.server is not None
    if "connect_timeout=" in location.server:
        return {}
    return {"connect_timeout": max(2, min(int(location.timeout), 30))}
