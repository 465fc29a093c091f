"""What another program does to a store on a server, and what `verify` then says."""

from __future__ import annotations

from typing import Any

import psycopg

from veritas_peewee import connect
from veritas_peewee.maintenance.verify import Report, verify


def by_hand(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements as another program would; returns the rows of the last one."""
    rows: list[tuple[Any, ...]] = []
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
            rows = cursor.fetchall() if cursor.description else []
    return rows


def past_triggers(url: str, *statements: str) -> None:
    """As `by_hand`, with no trigger and no foreign key in the way."""
    by_hand(url, "SET session_replication_role = replica", *statements)


def verified(url: str, against: str | None = None) -> Report:
    """The report of `verify` on a store on a server."""
    with connect(url, read_only=True):
        return verify(against=against)
