"""A database file as another program sees it and changes it, without the store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from runpy import run_path
from typing import Any

from veritas_peewee import connect
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.maintenance.verify import Report, verify
from veritas_peewee.migrations import DIRECTORY
from veritas_peewee.migrations.fresh import FORMER


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A plain SQLite connection, committed and closed at the end."""
    with closing(driver.connect(path)) as connection, connection:
        yield connection


def select(path: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    with opened(path) as connection:
        return connection.execute(sql, values).fetchall()


def dump(path: Path) -> list[tuple[Any, ...]]:
    """All that a file holds: the text of its schema, and each row of each table.

    (`iterdump` is only in Python's own driver.)
    """
    with opened(path) as connection:
        parts = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2")
        held = list(parts)
        for kind, name, _ in list(held):
            if kind == "table":
                rows = connection.execute(f'SELECT * FROM "{name}"')
                held += sorted(((name, *row) for row in rows), key=repr)
        return held


def by_hand(path: Path, *statements: str) -> None:
    """Execute statements on the file as another program would, without this library."""
    with closing(driver.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def verified(path: Path, **options: Any) -> Report:
    with connect(path, read_only=True):
        return verify(**options)


def files_below(folder: Path) -> dict[str, bytes]:
    """The contents of every file below a folder, by its path from there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def with_texts_twice(path: Path) -> None:
    """Bring a file back to what the versions before `0009_texts_once` made of it: each text in the
    catalog's entries too, and indexes of their own for what others cover."""
    scripts = [run_path(str(DIRECTORY / f"{name}.py")) for name in ("0004_search", "0006_slices")]
    before_other_tools(path)
    made = run_path(str(DIRECTORY / "0009_texts_once.py"))
    entry = "c.id, c.audit_id, c.created_at, c.status, c.risk_level, c.site_type, c.audit_tier"
    by_hand(
        path,
        *(f"DROP TRIGGER {text.split()[2]}" for text in made["TRIGGERS"]),
        scripts[1]["ENTRIES"],
        f"INSERT INTO audit_catalog_new SELECT {entry}, c.patterns, c.slices, t.url, t.narrative, "
        "t.findings, t.errors FROM audit_catalog AS c JOIN audit_catalog_texts AS t ON t.id = c.id",
        "DROP VIEW audit_catalog_texts",
        "DROP TABLE search_index",
        "DROP TABLE audit_catalog",
        "ALTER TABLE audit_catalog_new RENAME TO audit_catalog",
        'CREATE UNIQUE INDEX "audit_catalog_audit_id" ON "audit_catalog" ("audit_id")',
        scripts[0]["TABLES"][-1],
        "INSERT INTO search_index (search_index) VALUES ('rebuild')",
        *scripts[1]["TRIGGERS"],
        *(f"DROP INDEX idx_audits_{name}" for name in ("created_at", "status", "url")),
        *(f"CREATE INDEX idx_audits_{name} ON audits ({name})"
          for name in ("created_at", "status", "url")),
        *FORMER.values(),
        "DELETE FROM veritas_migrations WHERE name >= '0009_texts_once'",
    )  # fmt: skip


def before_other_tools(path: Path) -> None:
    """Bring a file back to what the versions before `0010_other_tools` made of it: an index that
    only this library finds, views in SQLite's own grammar, counts under an empty BLOB."""
    old = run_path(str(DIRECTORY / "0009_texts_once.py"))
    new = run_path(str(DIRECTORY / "0010_other_tools.py"))
    sites = run_path(str(DIRECTORY / "0008_words_and_hosts.py"))["VIEW"]
    again = {text.split()[2]: text for text in old["TRIGGERS"]}
    names = [text.split()[2] for text in new["TRIGGERS"]]
    by_hand(
        path,
        *(f"DROP TRIGGER {name}" for name in names),
        *(again[name] for name in names),
        "DROP VIEW audit_catalog_texts",
        old["CONTENT"],
        "DROP VIEW latest_audit_of_each_site",
        sites.replace("IF NOT EXISTS ", ""),
        "DROP TABLE search_index",
        old["INDEX"],
        "INSERT INTO search_index (search_index) VALUES ('rebuild')",
        "UPDATE audit_counts SET risk_level = X'' WHERE risk_level = char(0)",
        "UPDATE audit_counts SET site_type = X'' WHERE site_type = char(0)",
        "DROP TABLE store_tree",
        "DELETE FROM veritas_migrations WHERE name >= '0010_other_tools'",
    )
