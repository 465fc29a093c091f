"""Make the catalog and its tables again: all of it is derived from the audits."""

from __future__ import annotations

from collections.abc import Iterable

from veritas_peewee.catalog import checking, filling
from veritas_peewee.catalog.counted import counted_sql, patterned_sql
from veritas_peewee.catalog.full_text_upkeep import TABLES as TABLES
from veritas_peewee.catalog.indexes import upkeep
from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.errors import DatabaseCorrupt
from veritas_peewee.migrations import parts
from veritas_peewee.models import Audit, AuditCount, AuditPattern, CatalogEntry

_ENTRIES, _PATTERNS, _COUNTS = (
    model._meta.table_name for model in (CatalogEntry, AuditPattern, AuditCount)
)
_MADE = "made the catalog and the full-text index anew"


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
    upkeep().make_tables()
    filling.fill()
    return [_MADE]


def _rebuild() -> list[str]:
    database, done = current_database(), []
    # The derived tables come first: a change of an entry subtracts its old words and counts from
    # them, so these must be there.
    wrong = checking.disagreements(thoroughly=True)
    if checking.INDEX_DISAGREES in wrong:
        upkeep().rebuild(database)
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
        upkeep().rebuild(database)
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
    upkeep().make_tables()
    filling.fill()
    return [_MADE]
