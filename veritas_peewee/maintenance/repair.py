"""Repair what is derived: counts, hosts, indexes, triggers, views; and remove stray files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from veritas_peewee import migrations
from veritas_peewee.catalog import rebuilding
from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.statements import MARK, execute, rows_of, text_of, update_sql
from veritas_peewee.ledger import seals
from veritas_peewee.migrations.fresh import missing_parts
from veritas_peewee.models import TABLES, Audit, AuditScreenshot, RemovedAudit

ORPHAN_AGE = 3600.0
"""Seconds for which a file may be without a row: a writer stores the file before the row."""


def repair(*, orphan_age: float = ORPHAN_AGE) -> list[str]:
    """Make again what is derived in the current database; returns what was done.

    It never touches what was lost or altered: for that there are backups. A file that no row
    names is removed if it is older than `orphan_age`, in seconds.
    """
    return [*_rebuild(), *_sweep(orphan_age)]


@atomic
def _rebuild() -> list[str]:
    database = current_database()
    done = rebuilding.make_missing()
    indexes, triggers, views = missing_parts()
    for model in TABLES:
        for index in model._meta.indexes:
            if index._name in indexes:
                database.execute(index)
                done.append(f"built the index {index._name}")
    for name, trigger in migrations.triggers().items():
        if name in triggers:
            database.execute_sql(trigger)
            done.append(f"made the trigger {name}")
    for name in sorted(views):
        database.execute_sql(migrations.views()[name])
        done.append(f"made the view {name}")
    if any("index" in text for (text,) in execute("PRAGMA integrity_check(100)", ())):
        database.execute_sql("REINDEX")
        done.append("built all indexes again")
    for audit_id, count in execute(_wrong_counts_sql(), ()):
        # Without a new `updated_at`: if only the count was wrong, the seal is right again.
        database.execute_sql(update_sql(Audit, "screenshots_count"), (count, audit_id))
        done.append(f"audit {audit_id}: screenshots_count is {count}")
    if number := seals.fill_hosts(database):
        done.append(f"gave {number} audits the host of their url")
    return [*done, *rebuilding.rebuild()]


def _wrong_counts_sql() -> str:
    table = Audit._meta.table_name
    count = f"(SELECT COUNT(*) FROM {AuditScreenshot._meta.table_name} WHERE audit_id = a.id)"
    return f"SELECT a.id, {count} FROM {table} AS a WHERE a.screenshots_count <> {count}"


def orphans(age: float = ORPHAN_AGE) -> Iterator[Path]:
    """Files of this store's audits, older than `age` seconds, that no row names.

    There are none if another database is in the same folder: the files may be its own.
    """
    path, root = current_database().location.path, current_database().location.screenshots
    if root is None or (path is not None and _others(path)):
        return
    audits = {audit_id for (audit_id,) in rows_of(Audit.select(Audit.id))}
    audits |= {audit_id for (audit_id,) in rows_of(RemovedAudit.select(RemovedAudit.audit_id))}
    known = text_of(AuditScreenshot.select(AuditScreenshot.id).where(
        AuditScreenshot.file_path == MARK))  # fmt: skip
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder, name)
            relative = file.relative_to(root)
            try:
                stored = relative.as_posix().encode().decode()
                if relative.parts[0] not in audits or time.time() - file.lstat().st_mtime < age:
                    continue
            except (FileNotFoundError, UnicodeEncodeError):
                continue  # removed just now, or a name that this library does not give
            if not execute(known, (stored,)):
                yield file


def _others(path: Path) -> list[Path]:
    """Other databases in the folder, by their names; opening them could change them."""
    kinds = (".db", ".db3", ".sqlite", ".sqlite3")
    return [file for file in path.parent.iterdir() if file.suffix in kinds and file != path]


def _sweep(age: float) -> list[str]:
    done = []
    for path in list(orphans(age)):
        path.unlink(missing_ok=True)
        done.append(f"removed {path.name}, which no row names")
    return done
