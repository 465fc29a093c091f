"""Where the database and its screenshots are, as a caller, the environment or a default says."""

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

Durability = Literal["normal", "full"]
DURABILITIES: tuple[Durability, ...] = ("normal", "full")

_URL = re.compile(r"sqlite(?:\+\w+)?://(?:/(?P<path>.*))?", re.DOTALL)


class Location(NamedTuple):
    """A database file and its screenshot folder; in memory, `path` is None."""

    path: Path | None
    screenshots: Path | None

    @property
    def name(self) -> str:
        """The database's name for messages: its path, or `:memory:`."""
        return MEMORY if self.path is None else str(self.path)

    @property
    def sessions(self) -> Path | None:
        """The folder of the lock files that show which processes are alive; None in memory."""
        return None if self.path is None else self.path.with_name(self.path.name + "-sessions")


def database_url(database: str | os.PathLike[str] | None = None) -> str:
    """`database` (default: $VERITAS_DATABASE, else data/veritas_audits.db) as a `sqlite:///` URL.

    Raises StoreError if it is neither text nor a path.
    """
    text = _text(database)
    return text if _URL.fullmatch(text) else f"sqlite:///{text}"


def locate(
    database: str | os.PathLike[str] | None = None,
    screenshots: str | os.PathLike[str] | None = None,
) -> Location:
    """The location that a path, `":memory:"` or a `sqlite:///` URL means; see `database_url`.

    `screenshots` is the folder for images; by default it is `screenshots` beside the database.
    Raises StoreError for an unusable path and for the URL of another kind of database.
    """
    text = _text(database)
    if match := _URL.fullmatch(text):
        text = match["path"] or MEMORY
    elif "://" in text:
        raise StoreError(f"database {text!r}: only sqlite:/// URLs and paths are supported")
    folder = None if screenshots is None else Path(_path(screenshots, "screenshots")).absolute()
    if text == MEMORY:
        return Location(None, folder)
    # The real path: SQLite names the WAL after it, and so must we name everything beside the file.
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


DATABASE_URL = database_url()
