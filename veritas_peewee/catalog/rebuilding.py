"""Make the catalog and its tables again: all of it is derived from the audits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from veritas_peewee.catalog import checking, filling
from veritas_peewee.catalog.counted import counted_sql, patterned_sql
from veritas_peewee.catalog.full_text import CONTENT, SEARCH_INDEX
from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.statements import execute
from veritas_peewee.errors import DatabaseCorrupt
from veritas_peewee.migrations import parts
from veritas_peewee.migrations.fresh import fresh_parts
from veritas_peewee.models import Audit, AuditCount, AuditPattern, CatalogEntry

_SHADOWS = tuple(f"{SEARCH_INDEX}_{part}" for part in ("data", "idx", "docsize", "config"))
_ENTRIES, _PATTERNS, _COUNTS = (
    model._meta.table_name for model in (CatalogEntry, AuditPattern, AuditCount)
)

_MADE = "made the catalog and the full-text index anew"
TABLES = frozenset((SEARCH_INDEX, *_SHADOWS, _ENTRIES, _PATTERNS, _COUNTS))
"""The names of the catalog's tables."""


def rebuild() -> list[str]:
    """Make the parts again that disagree with the audits; returns what was done, in words.

    The caller must have begun a unit.
    """
    database = current_database()
    try:
        with database.unit():
            return _rebuild()
    except (DatabaseCorrupt, *DRIVER_ERRORS) as error:
        # None: SQLite's code does not show the cause, as for an index without its first page.
        if not isinstance(store_error(error), DatabaseCorrupt | None):
            raise
    _make_tables()
    filling.fill()
    return [_MADE]


def _rebuild() -> list[str]:
    database, done = current_database(), []
    # The derived tables come first: a change of an entry subtracts its old words and counts from
    # them, so these must be there.
    wrong = checking.disagreements(by_fts5=True)
    if checking.INDEX_DISAGREES in wrong:
        database.execute_sql(f"INSERT INTO {SEARCH_INDEX} ({SEARCH_INDEX}) VALUES ('rebuild')")
        done.append("built the full-text index again")
    if checking.PATTERNS_DISAGREE in wrong:
        database.execute_sql(f"DELETE FROM {_PATTERNS}")
        database.execute_sql(f"INSERT INTO {_PATTERNS} {patterned_sql()}")
        done.append("made the patterns of audits again")
    if checking.COUNTS_DISAGREE in wrong:
        database.execute_sql(f"DELETE FROM {_COUNTS}")
        database.execute_sql(f"INSERT INTO {_COUNTS} {counted_sql()}")
        done.append("counted the audits again")
    gone = database.execute_sql(
        f"DELETE FROM {_ENTRIES} WHERE audit_id NOT IN (SELECT id FROM {Audit._meta.table_name})"
    ).rowcount
    if gone > 0:
        done.append(f"removed the catalog's entries of {gone} audits that are missing")
        # Which words were theirs is not known where they had none of their own.
        database.execute_sql(f"INSERT INTO {SEARCH_INDEX} ({SEARCH_INDEX}) VALUES ('rebuild')")
    if renewed := filling.fill():
        done.append(f"renewed the catalog's entries of {renewed} audits")
    return done


def make_again(database: SqliteStore, tables: Iterable[str]) -> list[str]:
    """Make the catalog anew if one of these tables is its own; returns what was done, in words.

    The caller must have begun a transaction. Raises ReadOnlyStore if there are values in a column
    that is not ours.
    """
    if TABLES.isdisjoint(tables):
        return []
    for model in (CatalogEntry, AuditPattern, AuditCount):
        ours = [field.column_name for field in model._meta.sorted_fields]
        parts.refuse_columns(database, model._meta.table_name, ours)
    _make_tables()
    filling.fill()
    return [_MADE]


def _make_tables() -> None:
    database = current_database()
    last = execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (_ENTRIES,))
    with _schema_writable():
        # SQLite opens an index to drop it, and a damaged one cannot be opened.
        database.execute_sql("DELETE FROM main.sqlite_master WHERE name = ?", (SEARCH_INDEX,))
    database.execute_sql(f"DROP VIEW IF EXISTS main.{CONTENT}")
    for table in (*_SHADOWS, _ENTRIES, _PATTERNS, _COUNTS):
        database.execute_sql(f"DROP TABLE IF EXISTS main.{table}")
    # A table that was given another name has kept its indexes and triggers, with their names.
    for part in fresh_parts().values():
        if part.table in TABLES and part.kind in ("index", "trigger"):
            database.execute_sql(f"DROP {part.kind.upper()} IF EXISTS main.{part.name}")
    # Tables, then their indexes and triggers.
    for statement in sorted(_wanted(), key=lambda text: " TABLE " not in text[:30]):
        database.execute_sql(statement)
    if last:
        # Ids must not be given out twice: the cursors of searches contain them.
        database.execute_sql("DELETE FROM sqlite_sequence WHERE name = ?", (_ENTRIES,))
        database.execute_sql(
            "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (_ENTRIES, *last[0])
        )


def _wanted() -> Iterator[str]:
    """The statements of this version's schema that make the catalog."""
    for part in fresh_parts().values():
        # With the full-text index SQLite makes its tables.
        if part.table in {*TABLES, CONTENT} and part.name not in _SHADOWS:
            yield part.text


@contextmanager
def _schema_writable() -> Iterator[None]:
    database = current_database()
    database.execute_sql("PRAGMA writable_schema = ON")
    try:
        yield
    finally:
        database.execute_sql("PRAGMA writable_schema = RESET")
