"""This version's schema, as a new database in memory has it, and whether a file has the same."""

from __future__ import annotations

import functools

from veritas_peewee import migrations
from veritas_peewee.database.current import bound
from veritas_peewee.database.sqlite import SqliteStore, current_sqlite
from veritas_peewee.database.statements import execute
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
    )
)
VIEWS = frozenset(
    (
        "completed_audits",
        "latest_audit_of_each_site",
        "findings_with_urls",
        "screenshots_with_urls",
        "event_log",
        "removed",
    )
)


def missing_parts() -> tuple[set[str], set[str], set[str]]:
    """The names of the indexes, triggers and views that the current database lacks."""
    rows = execute("SELECT type, name FROM main.sqlite_master", ())
    indexes = {index._name for model in TABLES for index in model._meta.indexes}
    present = {name for kind, name in rows if kind in ("index", "trigger")}
    # A table or view that the user has made under a view's name stays, so it is not missing.
    taken = {name for _, name in rows}
    return indexes - present, set(TRIGGERS) - present, set(VIEWS) - taken


def disagreements() -> list[str]:
    """A message for each part of the current database's schema that is missing or differs."""
    found = []
    for kind, names in zip(("index", "trigger", "view"), missing_parts(), strict=True):
        found += [f"the {kind} {name} is missing" for name in sorted(names)]
    wanted, present = fresh_schema(), _schema(current_sqlite("verify"))
    for name in sorted(wanted.keys() - set(VIEWS).union(*missing_parts())):
        if present.get(name) != wanted[name]:
            found.append(f"the schema of {name} is not that of this version")
    return found


@functools.cache
def fresh_schema() -> dict[str, str]:
    """The statements that make this version's schema, by the name of the table or other part."""
    fresh = SqliteStore.in_memory()
    fresh.connect()
    try:
        with bound(fresh):
            migrations.upgrade(fresh, lambda *_: None)  # there are no rows to complete
            return _schema(fresh)
    finally:
        fresh.close()


def _schema(database: SqliteStore) -> dict[str, str]:
    rows = database.execute_sql("SELECT name, sql FROM main.sqlite_master").fetchall()
    return {name: " ".join(text.split()) for name, text in rows if text}
