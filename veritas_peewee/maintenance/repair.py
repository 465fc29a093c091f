"""What `verify` finds and can be made again: counts, indexes, triggers, views; stray files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from veritas_peewee import kept_ids, migrations
from veritas_peewee.database import atomic, current_database
from veritas_peewee.maintenance.verify import missing_parts
from veritas_peewee.models import TABLES, Audit, AuditScreenshot
from veritas_peewee.rows import MARK, execute, text_of

ORPHAN_AGE = 3600.0
"""Seconds for which a file may lie without a row: a writer puts it there before the row."""


def repair(*, orphan_age: float = ORPHAN_AGE) -> list[str]:
    """Make again what can be, on the current database; returns what was done.

    It never touches what was lost or altered: for that there are backups. `orphan_age` is how
    long, in seconds, a file may lie without a row before it is removed.
    """
    return [*_rebuild(), *_sweep(orphan_age)]


@atomic
def _rebuild() -> list[str]:
    database = current_database()
    done: list[str] = []
    indexes, triggers, views = missing_parts()
    for model in TABLES:
        for index in model._meta.indexes:
            if index._name in indexes:
                database.execute(index)
                done.append(f"built the index {index._name}")
    for trigger in migrations.triggers():
        name = trigger.split()[2]
        if name in triggers:
            database.execute_sql(trigger)
            done.append(f"made the trigger {name}")
    for name in sorted(views):
        database.execute_sql(migrations.views()[name])
        done.append(f"made the view {name}")
    if any("index" in text for (text,) in execute("PRAGMA integrity_check(100)", ())):
        database.execute_sql("REINDEX")
        done.append("built all indexes again")
    if kept_ids.settle():
        done.append("made the head of the events that an interrupted import left")
    for audit_id, count in execute(_wrong_counts_sql(), ()):
        Audit.update(screenshots_count=count).where(Audit.id == audit_id).execute()
        done.append(f"audit {audit_id}: screenshots_count is {count}")
    return done


def _wrong_counts_sql() -> str:
    table = Audit._meta.table_name
    count = f"(SELECT COUNT(*) FROM {AuditScreenshot._meta.table_name} WHERE audit_id = a.id)"
    return f"SELECT a.id, {count} FROM {table} AS a WHERE a.screenshots_count <> {count}"


def orphans(age: float = ORPHAN_AGE) -> Iterator[Path]:
    """Files in the screenshot folder, older than `age` seconds, that no row names."""
    root = current_database().location.screenshots
    if root is None:
        return
    known = text_of(AuditScreenshot.select(AuditScreenshot.id).where(
        AuditScreenshot.file_path == MARK))  # fmt: skip
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(root).as_posix()
            try:
                relative.encode()
                if time.time() - path.lstat().st_mtime < age:
                    continue
            except (FileNotFoundError, UnicodeEncodeError):
                continue  # gone just now, or no name of ours
            if not execute(known, (relative,)):
                yield path


def _sweep(age: float) -> list[str]:
    done = []
    for path in list(orphans(age)):
        path.unlink(missing_ok=True)
        done.append(f"removed {path.name}, which no row names")
    return done
