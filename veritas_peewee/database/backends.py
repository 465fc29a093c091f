"""A connection of the backend that a location has."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias

from veritas_peewee.config import Durability, Location
from veritas_peewee.errors import StoreError

if TYPE_CHECKING:
    from veritas_peewee.database.connection import Role
    from veritas_peewee.database.postgres import PostgresStore
    from veritas_peewee.database.sqlite import SqliteStore

    Connection: TypeAlias = SqliteStore | PostgresStore
    """A connection of any backend."""


def check_driver(location: Location) -> None:
    """Raise StoreError if the driver of a location's server is not installed."""
    if location.server is not None:
        try:
            import_module("psycopg")
        except ModuleNotFoundError as error:
            if error.name != "psycopg":
                raise
            raise StoreError(
                f"{location.name}: a store on PostgreSQL needs psycopg: "
                "pip install 'veritas-peewee[postgres]'"
            ) from error


def connection(
    location: Location, role: Role, durability: Durability = "normal", *, immutable: bool = False
) -> Connection:
    """A connection for a role, not yet opened.

    `immutable` promises that nobody changes the database's file while it is open: then it can be
    read where no file can be created beside it. Raises StoreError if a driver is not installed.
    """
    # A program that only imports the package opens none, and does not load one.
    if location.server is not None:
        check_driver(location)
        from veritas_peewee.database.postgres import PostgresStore

        return PostgresStore(location, role, durability)
    from veritas_peewee.database.sqlite import SqliteStore

    return SqliteStore(location, role, durability, immutable=immutable)
