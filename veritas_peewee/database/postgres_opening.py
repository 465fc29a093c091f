"""What keeps a store on a server from being opened: each cause in one line, without a password."""

from __future__ import annotations

import re
from typing import Any

from veritas_peewee.config import Location, without_secrets
from veritas_peewee.errors import StoreBusy, StoreError

_CAUSES: tuple[tuple[str, type[StoreError], str], ...] = (
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
    (r"certificate verify failed|root certificate file .* does not exist|server certificate",
     StoreError,
     "the server's certificate cannot be verified: name its authority with sslrootcert (or "
     "sslrootcert=system)"),
    (r"permission denied for database", StoreError,
     "this user may not connect to the database: GRANT CONNECT"),
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


def opening_error(error: BaseException, location: Location) -> StoreError:
    """The store's error for a connection that could not be made, without any password.

    To be raised `from None`: libpq can quote a part of a malformed URL, the password too.
    """
    told = " ".join(str(error).split())
    for pattern, kind, text in _CAUSES:
        if found := re.search(pattern, told, re.IGNORECASE):
            what = found.groupdict().get("what")
            return kind(f"{location.name}: {text.format(what=what)}")
    assert location.server is not None
    return StoreError(
        f"{location.name}: the server cannot be reached: {without_secrets(told, location.server)}"
    )


def wait_of(location: Location) -> dict[str, Any]:
    """How long to wait for a server that does not answer, if the URL does not say it itself."""
    assert location.server is not None
    if "connect_timeout=" in location.server:
        return {}
    return {"connect_timeout": max(2, min(int(location.timeout), 30))}
