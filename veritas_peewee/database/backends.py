"""A connection of the backend that a location has; today there is one, SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from veritas_peewee.config import Durability, Location

if TYPE_CHECKING:
    from veritas_peewee.database.connection import Role
    from veritas_peewee.database.sqlite import SqliteStore

    Connection: TypeAlias = SqliteStore
    """A connection of any backend: with a second one, either of two classes."""


def connection(
    location: Location, role: Role, durability: Durability = "normal", *, immutable: bool = False
) -> Connection:
    """A connection for a role, not yet opened.

    `immutable` promises that nobody changes the database while it is open: then it can be read
    where no file can be created beside it.
    """
    # A program that only imports the package opens none, and does not load one.
    from veritas_peewee.database.sqlite import SqliteStore

    return SqliteStore(location, role, durability, immutable=immutable)
