"""This version's schema, as a new database in memory has it."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from veritas_peewee import migrations
from veritas_peewee.database.current import bound
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.models import TABLES

TRIGGERS = frozenset(
    (
        "count_screenshots_insert",
        "count_screenshots_delete",
        "count_screenshots_update",
        "remember_removed_event",
        "remember_removed_audit",
        "catalog_insert",
        "catalog_delete",
        "catalog_text_update",
        "catalog_counts_update",
        "catalog_audit_delete",
        "keep_texts_audit_insert",
        "keep_texts_audit_update",
        "keep_texts_finding_insert",
        "keep_texts_finding_update",
        "keep_texts_finding_delete",
    )
)
SEARCH_CONTENT = "audit_catalog_texts"
"""The one view that the library reads: the texts of the catalog's entries."""
VIEWS = frozenset(
    (
        SEARCH_CONTENT,
        "completed_audits",
        "latest_audit_of_each_site",
        "findings_with_urls",
        "screenshots_with_urls",
        "event_log",
        "removed",
    )
)
FORMER = {
    ("index", f"idx_audits_{name}history"): (
        f'CREATE INDEX "idx_audits_{name}history" ON "audits" ({columns}"created_at", "id")'
    )
    for name, columns in (("", ""), ("status_", '"status", '), ("url_", '"url", '))
}
"""Parts that migrations made, and 0009 took away: their texts by their keys."""
DIGEST = "88c0708bfaa3842234e2459a061dcbbb"
"""The digest of the parts of a new file. Whoever adds a migration puts the new one here: to make
the whole schema only to compare a file with it would take longer than to open the file."""

_SEARCH = "search_index"
_SHADOWS = frozenset(f"{_SEARCH}_{part}" for part in ("data", "idx", "docsize", "config"))
# FTS5 words its tables as its version likes, and Peewee the history: these have to be there only.
_BY_NAME = _SHADOWS | {migrations.HISTORY, f"{migrations.HISTORY}_name"}
_OF_SQLITE = frozenset(("sqlite_sequence", *(f"sqlite_stat{number}" for number in range(1, 5))))


class Part(NamedTuple):
    """A table, index, trigger or view, as SQLite's own table of them has it."""

    kind: str
    name: str
    table: str
    """The name of the table or view that it belongs to."""
    text: str

    @property
    def key(self) -> tuple[str, str]:
        """What it is found by: SQLite takes names for equal that differ in their case."""
        return self.kind, self.name.lower()

    def __str__(self) -> str:
        on = f" on {self.table}" if self.kind in ("index", "trigger") else ""
        return f"the {self.kind} {self.name}{on}"


@functools.cache
def our_names() -> frozenset[tuple[str, str]]:
    """The keys of all parts of this version's schema."""
    tables = {model._meta.table_name for model in TABLES} | {_SEARCH, *_SHADOWS}
    indexes = {index._name for model in TABLES for index in model._meta.indexes}
    tables.add(migrations.HISTORY)
    # Peewee names these two after the column that is unique.
    indexes |= {f"{migrations.HISTORY}_name", "audit_catalog_audit_id"}
    kinds = {"table": tables, "index": indexes, "trigger": TRIGGERS, "view": VIEWS}
    return frozenset((kind, name) for kind, names in kinds.items() for name in names)


@functools.cache
def our_columns() -> dict[str, tuple[str, ...]]:
    """The columns of our tables, by the table's name."""
    return {
        model._meta.table_name: tuple(field.column_name for field in model._meta.sorted_fields)
        for model in TABLES
    }


def parts_of(database: SqliteStore) -> list[Part]:
    """The parts of a database's schema, without SQLite's own tables and indexes."""
    rows = database.execute_sql("SELECT type, name, tbl_name, sql FROM main.sqlite_master")
    return [
        Part._make(row)
        for row in rows.fetchall()
        # An index without a text is part of its table's.
        if row[3] is not None and not (row[0] == "table" and row[1] in _OF_SQLITE)
    ]


def digest_of(parts: Iterable[Part]) -> str:
    """A digest over the parts of a schema that are compared by their texts, in any order."""
    texts = sorted(["\0".join(part) for part in parts if part.name not in _BY_NAME])
    return blake2b("\1".join(texts).encode(), digest_size=16).hexdigest()


def are_alike(part: Part, other: Part) -> bool:
    """Whether two parts of one name are the same but for the white space in their texts."""
    return part.name in _BY_NAME or (part.table.lower(), part.text.split()) == (
        other.table.lower(),
        other.text.split(),
    )


@functools.cache
def fresh_parts() -> dict[tuple[str, str], Part]:
    """The parts of this version's schema, by their keys."""
    fresh = SqliteStore.in_memory()
    fresh.connect()
    try:
        with bound(fresh):
            migrations.upgrade(fresh, lambda *_: None)  # there are no rows to complete
            return {part.key: part for part in parts_of(fresh)}
    finally:
        fresh.close()
