"""An error about a table or column of ours that the file lacks, with words that help."""

from __future__ import annotations

import re

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.errors import DatabaseCorrupt
from veritas_peewee.migrations.fresh import our_columns

_TEXTS = re.compile(
    r"no such (?:table: (?:main\.)?(?P<table>\w+)|column: (?:\w+\.)*(?P<column>\w+))"
    r"|table (?:main\.)?\w+ has no column named (?P<named>\w+)"
)
"""SQLite has one code for these and for any mistake in a statement."""


def explain(database: StoreDatabase, error: Exception) -> DatabaseCorrupt | None:
    """The error to raise instead of the driver's, if that is about a table or a column of ours
    which is not in the file; None if it has another cause, such as a caller's own SQL."""
    found = _TEXTS.search(str(error))
    if found is None:
        return None
    table, column = found["table"], found["column"] or found["named"]
    for name, ours in our_columns().items():
        if table not in (None, name) or (column is not None and column not in ours):
            continue
        rows = database.raw.execute(f"PRAGMA main.table_info({name})").fetchall()
        present = [row[1].lower() for row in rows]
        lost = [one for one in ours if one.lower() not in present]
        if not present or column in lost:
            return DatabaseCorrupt(f"{database.name}: {_text(name, lost, present, ours)} ({error})")
    return None


def _text(table: str, lost: list[str], present: list[str], ours: tuple[str, ...]) -> str:
    if not present:
        return (
            f"the table {table} is missing: restore a backup; or, without its rows, "
            "`veritas-peewee verify --fix` makes it again"
        )
    what = f"the table {table} has no column {', '.join(lost)} any more"
    others = [name for name in present if name not in ours]
    if len(lost) == len(others) == 1:
        what += f", and a column {others[0]} that is not of this library: if it was renamed, ALTER "
        return what + f'TABLE "{table}" RENAME COLUMN "{others[0]}" TO "{lost[0]}" mends it'
    return (
        f"{what}: restore a backup; or, without what was in it, `veritas-peewee verify --fix` "
        "makes the table again"
    )
