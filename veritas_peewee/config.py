"""Where the database and its screenshots are, as a caller, the environment or a default says."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote

from veritas_peewee.errors import StoreError

DEFAULT_DATABASE = "data/veritas_audits.db"
DATABASE_VARIABLE = "VERITAS_DATABASE"
MEMORY = ":memory:"
SCREENSHOTS = "screenshots"
"""The screenshot folder's name, beside the database."""

Durability = Literal["normal", "full"]
DURABILITIES: tuple[Durability, ...] = ("normal", "full")

BUSY_TIMEOUT = 30.0
"""Seconds a connection waits for another process's write lock, if the URL has no `timeout`."""
COMES_BACK = 30.0
"""Seconds for which whoever writes or follows waits for a server that went away."""
_LONGEST_WAIT = 2_000_000
"""Seconds; SQLite counts milliseconds in 32 bits."""

_URL = re.compile(
    r"(?P<scheme>sqlite(?:\+\w+)?://)(?:/(?P<path>[^?]*))?(?:\?(?P<query>.*))?", re.DOTALL
)
_SERVER = re.compile(
    r"postgres(?:ql)?(?:\+\w+)?://(?P<rest>.*)", re.ASCII | re.IGNORECASE | re.DOTALL
)
_USER = re.compile(r"(?P<user>[^/@?:]*):(?P<secret>.*)@(?=[^@]*$)", re.DOTALL)
"""A user and a password: whatever is in that, up to the last `@` of the part of the host."""
_HOSTS = re.compile(r"(?:(?:\[[^\]]*\]|[^:/,\[]*)(?::\d*)?(?:,|(?=/|$)))*(?:/|$)")
"""Hosts with their ports, and no user."""
_SECRETS = frozenset(("password", "sslpassword", "oauth_client_secret"))
"""The parameters that are not shown."""
_OTHER_URL = re.compile(
    r"[A-Za-z][\w+.-]*://|(?:sqlite|postgres(?:ql)?)(?:\+\w+)?:|file:", re.ASCII | re.IGNORECASE
)
_KEYWORDS = re.compile(
    r"\s*(?:host|hostaddr|port|dbname|user|password|service)\s*=.*\w\s*=", re.DOTALL
)
"""The beginning of what `psycopg.connect` takes too."""
_FORMS = (
    "sqlite:///relative.db, sqlite:////absolute.db and paths are supported, and "
    "postgresql://user@host/database"
)
_WITHOUT_EFFECT = ("check_same_thread",)
"""Parameters of a URL that say how a driver is to be used, which is our own matter."""


class Location(NamedTuple):
    """A database file, or a database of a server, and its screenshot folder."""

    path: Path | None
    """The file; None in memory and on a server."""
    screenshots: Path | None
    """The folder of images; None if there is none yet (in memory), or if the server has them."""
    timeout: float = BUSY_TIMEOUT
    """Seconds to wait for another process's write lock."""
    server: str | None = None
    """The `postgresql://` URL of a server's database; it may hold a password."""

    def __repr__(self) -> str:
        return f"Location({self.name!r}, screenshots={self.screenshots!r})"

    @property
    def name(self) -> str:
        """The database's name for messages: its path, `:memory:`, or its URL without a password."""
        if self.server is not None:
            return _without_password(self.server)
        return MEMORY if self.path is None else str(self.path)

    @property
    def in_memory(self) -> bool:
        """Whether there is one connection to it, with which it ends."""
        return self.path is None and self.server is None

    @property
    def given(self) -> str | Path:
        """What opens the same database again, as the `database` of any function."""
        return self.server or self.path or MEMORY

    @property
    def sessions(self) -> Path | None:
        """The folder of the lock files that show which processes are alive; None in memory."""
        return None if self.path is None else self.path.with_name(self.path.name + "-sessions")


def database_url(database: str | os.PathLike[str] | None = None) -> str:
    """`database` (default: $VERITAS_DATABASE, else data/veritas_audits.db) as a URL: of a file
    `sqlite:///…`, of a server as it is.

    Raises StoreError if it is neither text nor a path.
    """
    text = _text(database)
    if _URL.fullmatch(text) or _SERVER.fullmatch(text):
        return text
    return f"sqlite:///{os.path.expanduser(text)}"


def locate(
    database: str | os.PathLike[str] | None = None,
    screenshots: str | os.PathLike[str] | None = None,
) -> Location:
    """The location that a path, `":memory:"` or a URL means; see `database_url`.

    A URL is one of SQLAlchemy's, whichever driver it names (`sqlite+aiosqlite:///…`); of its
    parameters `timeout` is understood, and `check_same_thread` has no effect. That of a server's
    database (`postgresql://user@host/name`) may have libpq's parameters too. `~` is the user's
    folder. `screenshots` is the folder for images; by default it is `screenshots` beside the file,
    and none for a server, which then has the images too. Raises StoreError for an unusable path,
    the URL of another kind of database, and a parameter that is not understood.
    """
    text, timeout = _text(database), BUSY_TIMEOUT
    if match := _SERVER.fullmatch(text):
        server, timeout = _server(text, match["rest"])
        return Location(None, _folder(screenshots), timeout, server)
    if match := _URL.fullmatch(text):
        timeout = _timeout(text, match["query"])
        text = match["path"] or MEMORY
    if _OTHER_URL.match(text):
        raise StoreError(f"database {_shown(text)!r}: only {_FORMS}")
    if _KEYWORDS.match(text):  # not shown: it can hold a password
        raise StoreError(f"a connection string of libpq is not understood as a database: {_FORMS}")
    folder = _folder(screenshots)
    if text == MEMORY:
        return Location(None, folder, timeout)
    # The real path: SQLite names the WAL after it, and so must we name everything beside the file.
    path = Path(os.path.realpath(_expanded(text, f"database {text!r}")))
    return Location(path, folder or path.parent / SCREENSHOTS, timeout)


def _folder(screenshots: str | os.PathLike[str] | None) -> Path | None:
    if screenshots is None:
        return None
    name = _path(screenshots, "screenshots")
    return Path(_expanded(name, f"screenshots {name!r}")).absolute()


def _shown(url: str) -> str:
    """A URL that is not understood, without what could be a password in it."""
    if "://" in url:
        return _without_password(url)
    scheme, mark, rest = url.partition(":")
    return f"{scheme}{mark}…{rest.rpartition('@')[2]}" if "@" in rest else url


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    place, mark, query = rest.partition("?")
    if "@" in query and "@" not in place and ":" in place and not _HOSTS.match(place):
        place, mark, query = rest, "", ""  # the `?` is a part of a password
    shown = _USER.sub(lambda found: f"{found['user']}@", place, count=1)
    pairs = [pair for pair in query.split("&") if not _is_secret(pair)]
    return f"{scheme}://{shown}" + (mark + "&".join(pairs) if any(pairs) else "")


def _is_secret(pair: str) -> bool:
    return unquote(pair.partition("=")[0]) in _SECRETS


def without_secrets(text: str, url: str) -> str:
    """A message without any part of the password in a URL."""
    rest = url.partition("://")[2]
    found = [pair.partition("=")[2] for pair in rest.split("?")[-1].split("&") if _is_secret(pair)]
    if match := _USER.match(rest.partition("?")[0]) or _USER.match(rest):
        found += [match["secret"], *re.split(r"[@/?:]", match["secret"])]
    for secret in sorted(filter(None, found), key=len, reverse=True):
        for form in (secret, unquote(secret)):
            text = text.replace(form, "***") if len(form) > 3 else text.replace(f'"{form}"', "***")
    return text


def _server(url: str, rest: str) -> tuple[str, float]:
    """A server's URL as libpq takes it, and the seconds of the parameter `timeout` in it.

    The other parameters are libpq's, which names those that it does not know.
    """
    place, _, query = rest.partition("?")
    left, timeout = [], BUSY_TIMEOUT
    for pair in filter(None, query.split("&")):
        name, _, value = pair.partition("=")
        if name == "timeout":
            timeout = _seconds(_without_password(url), value)
        else:
            left.append(pair)
    _check_ports(url, place, query)
    return f"postgresql://{place}" + ("?" + "&".join(left) if left else ""), timeout


def _check_ports(url: str, place: str, query: str) -> None:
    """Raise StoreError for a port that is none; what then looks for it takes it for a host's name,
    or for a server that cannot be reached."""
    if "@" in query and "@" not in place:
        return  # the `?` can be a part of a password
    found = [
        tuple(re.sub(r"\[[^\]]*\]", "[]", one).partition(":")[::2])
        for one in place.rpartition("@")[2].partition("/")[0].split(",")
    ]
    ports = (value for name, value in parse_qsl(query) if name == "port")
    found += [("", port) for value in ports for port in value.split(",")]
    for host, port in found:
        if port and not (port.isascii() and port.isdigit() and 0 < int(port[:9]) < 65536):
            # A text is not shown: where the `@` is missing, it can be a password.
            shown = f" {port}" if re.fullmatch(r"-?\d+", port) else ""
            where = f" of {host}" if host else ""
            raise StoreError(
                f"database {_without_password(url)!r}: the port{shown}{where} is not a number from "
                "1 to 65535"
            )


def _seconds(url: str, value: str) -> float:
    try:
        timeout = float(value)
    except ValueError:
        timeout = math.nan
    if not 0 <= timeout <= _LONGEST_WAIT:
        raise StoreError(f"database {url!r}: timeout {value!r} is no number of seconds")
    return timeout


def _timeout(url: str, query: str | None) -> float:
    """The seconds that the parameters of a URL say; StoreError for one that is not understood."""
    timeout = BUSY_TIMEOUT
    for name, value in parse_qsl(query or "", keep_blank_values=True):
        if name == "timeout":
            timeout = _seconds(url, value)
        elif name not in _WITHOUT_EFFECT:
            raise StoreError(
                f"database {url!r}: the parameter {name!r} is not understood, only `timeout` is "
                "(seconds); leave it out"
            )
    return timeout


def _expanded(path: str, name: str) -> str:
    """A path in which `~` is the user's folder; StoreError, which begins with `name`, if there is
    no such user."""
    expanded = os.path.expanduser(path)
    if expanded == path and path.startswith("~") and (path == "~" or os.path.dirname(path)):
        raise StoreError(f"{name}: nobody knows that user's folder; write ./~ for a file named so")
    return expanded


def _text(database: str | os.PathLike[str] | None) -> str:
    text = (os.environ.get(DATABASE_VARIABLE) or DEFAULT_DATABASE) if database is None else database
    return _path(text, "database", "give a path, ':memory:' or a sqlite:/// URL")


def _path(value: Any, name: str, advice: str = "give a path") -> str:
    try:
        text = os.fspath(value)
        os.fsencode(text)
    except (TypeError, ValueError):
        text = None
    if not isinstance(text, str) or not text.strip() or "\0" in text:
        raise StoreError(f"{name} {value!a}: {advice}")
    return text


DATABASE_URL = database_url()
