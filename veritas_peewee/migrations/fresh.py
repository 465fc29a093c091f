"""Whether a file's schema is that of this version, which a new database in memory shows."""

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
    """The indexes, the triggers and the views that this version has and the file has not."""
    rows = execute("SELECT type, name FROM main.sqlite_master", ())
    indexes = {index._name for model in TABLES for index in model._meta.indexes}
    present = {name for kind, name in rows if kind in ("index", "trigger")}
    # Whatever the user has made under a view's name stays.
    taken = {name for _, name in rows}
    return indexes - present, set(TRIGGERS) - present, set(VIEWS) - taken


def disagreements() -> list[str]:
    """What of the current database's schema is missing or is not as this version makes it."""
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
    """The statements that make this version's schema, by the names of what they make."""
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
