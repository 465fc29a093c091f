"""Where the database is, and the PRAGMAs of each kind of connection."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

from veritas_peewee.errors import StoreError

DEFAULT_DATABASE = "data/veritas_audits.db"
DATABASE_VARIABLE = "VERITAS_DATABASE"
MEMORY = ":memory:"
SCREENSHOTS = "screenshots"
"""The screenshot folder's name, beside the database."""
BUSY_TIMEOUT = 30.0
"""Seconds a connection waits for another process's write lock."""

Role = Literal["writer", "reader", "script", "viewer"]
Durability = Literal["normal", "full"]
DURABILITIES: tuple[Durability, ...] = ("normal", "full")

_URL = re.compile(r"sqlite(?:\+\w+)?://(?:/(?P<path>.*))?", re.DOTALL)


class Location(NamedTuple):
    """A database file and its screenshot folder; both None for a database in memory."""

    path: Path | None
    screenshots: Path | None

    @property
    def name(self) -> str:
        return MEMORY if self.path is None else str(self.path)

    @property
    def sessions(self) -> Path | None:
        """The folder of lock files that tell which processes are alive."""
        return None if self.path is None else self.path.with_name(self.path.name + "-sessions")


def database_url(database: str | os.PathLike[str] | None = None) -> str:
    """`database` (default: $VERITAS_DATABASE, else data/veritas_audits.db) as a URL."""
    text = _text(database)
    return text if _URL.fullmatch(text) else f"sqlite:///{text}"


def locate(
    database: str | os.PathLike[str] | None = None,
    screenshots: str | os.PathLike[str] | None = None,
) -> Location:
    """Resolve a path, `":memory:"` or a `sqlite:///` URL; StoreError if it is none of them."""
    text = _text(database)
    if match := _URL.fullmatch(text):
        text = match["path"] or MEMORY
    elif "://" in text:
        raise StoreError(f"database {text!r}: only sqlite:/// URLs and paths are supported")
    folder = None if screenshots is None else Path(_path(screenshots, "screenshots")).absolute()
    if text == MEMORY:
        return Location(None, folder)
    # The real path: SQLite names the WAL after it, and so must everything beside the file.
    path = Path(os.path.realpath(text))
    return Location(path, folder or path.parent / SCREENSHOTS)


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


def pragmas(role: Role, durability: Durability = "normal") -> dict[str, int | str]:
    """The PRAGMAs of a connection for `role`; journal_mode belongs to the file (see startup)."""
    values: dict[str, int | str] = {
        "busy_timeout": int(BUSY_TIMEOUT * 1000),
        "cache_size": -64000,
        "temp_store": "MEMORY",
        "foreign_keys": "ON",
        # SQLite up to 3.51.2 can lose commits when two connections checkpoint at the same
        # instant: in one process the writer alone checkpoints, readers never do.
        "wal_autocheckpoint": 1000 if role in ("writer", "script") else 0,
    }
    if role in ("writer", "script"):
        values["synchronous"] = "FULL" if durability == "full" else "NORMAL"
    else:
        values["query_only"] = "ON"
    return values


def has_wal_reset_bug(version: str) -> bool:
    """Whether this SQLite can lose commits when two connections checkpoint at the same instant.

    That is 3.7.0 to 3.51.2, but 3.44.6 and 3.50.7, into which the fix was taken back.
    """
    found = tuple(int(part) for part in version.split("."))
    taken_back = {(3, 44): 6, (3, 50): 7}
    if (patch := taken_back.get((found[0], found[1]))) is not None:
        return found < (*found[:2], patch)
    return (3, 7) <= found < (3, 51, 3)


DATABASE_URL = database_url()
