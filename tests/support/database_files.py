"""A database file as another program sees it and changes it, without the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from veritas_peewee import connect
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.maintenance.verify import Report, verify


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A plain SQLite connection, committed and closed at the end."""
    with closing(driver.connect(path)) as connection, connection:
        yield connection


def select(path: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with opened(path) as connection:
        return connection.execute(sql, values).fetchall()


def by_hand(path: Path, *statements: str) -> None:
    """Execute statements on the file as another program would, without this library."""
    with closing(driver.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def verified(path: Path, **options: Any) -> Report:
    with connect(path, read_only=True):
        return verify(**options)


def files_below(folder: Path) -> dict[str, bytes]:
    """The contents of every file below a folder, by its path from there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
