"""What the scripts have made in this process once already, for the next new files.

The scripts take most of the time of creating a store, which a program that opens many (its tests,
a store in memory each) would pay again for each.
"""

from __future__ import annotations

from datetime import datetime

from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.migrations.history import HISTORY, KNOWN

_SCHEMA = "SELECT name, sql FROM main.sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
_statements: tuple[tuple[str, tuple[object, ...]], ...] = ()


def is_empty(database: SqliteStore) -> bool:
    """Whether nothing at all has been made in the file."""
    row = database.execute_sql("SELECT COUNT(*) FROM main.sqlite_master").fetchone()
    return bool(row == (0,))


def remember(database: SqliteStore) -> None:
    """Keep what the scripts have just made in an empty file: the schema, and the first rows."""
    global _statements
    rows = database.execute_sql(_SCHEMA).fetchall()
    # What a virtual table made for itself it makes again, and SQLite its own tables.
    made = ("sqlite_", *(f"{name}_" for name, sql in rows if sql.startswith("CREATE VIRTUAL")))
    found: list[tuple[str, tuple[object, ...]]] = []
    for name, sql in rows:
        if not name.startswith(made):
            found.append((sql, ()))
            if sql.startswith("CREATE TABLE") and name != HISTORY:
                for values in database.execute_sql(f"SELECT * FROM main.{name}").fetchall():
                    marks = ", ".join("?" * len(values))
                    found.append((f"INSERT INTO main.{name} VALUES ({marks})", values))
    _statements = tuple(found)


def make(database: SqliteStore) -> bool:
    """Do in an empty file what the scripts would; False if that is not known yet."""
    if not _statements:
        return False
    for sql, values in _statements:
        database.execute_sql(sql, values)
    now = datetime.now().strftime("%Y-%m-%d %H:%M:%S.%f")  # as Peewee's runner has it
    marks = ", ".join(["(?, ?)"] * len(KNOWN))
    database.execute_sql(
        f"INSERT INTO {HISTORY} (name, applied) VALUES {marks}",
        [value for name in KNOWN for value in (name, now)],
    )
    return True
