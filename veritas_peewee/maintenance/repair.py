"""Repair what is derived: counts, hosts, indexes, the catalog; and remove stray files."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from veritas_peewee.catalog import rebuilding
from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.statements import execute, rows_of, update_sql
from veritas_peewee.errors import StoreError
from veritas_peewee.evidence import blocks
from veritas_peewee.evidence.walk import blocks_to_remake
from veritas_peewee.files.durable import is_temporary
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.ledger.checking import is_other_image
from veritas_peewee.maintenance.upkeep import upkeep
from veritas_peewee.models import AbsentImage, Audit, AuditScreenshot, RemovedAudit
from veritas_peewee.queries.images import images_if_any
from veritas_peewee.queries.images_of_others import databases_beside
from veritas_peewee.recording.arriving import clear_left
from veritas_peewee.recording.removal import is_named, remove_unnamed
from veritas_peewee.startup import connect_to_repair

ORPHAN_AGE = 3600.0
"""Seconds for which a file may be without a row: a writer stores the file before the row."""


@contextmanager
def repairing(database: str | os.PathLike[str] | None = None) -> Iterator[list[str]]:
    """Open a database that `connect` may refuse, with its schema made again and all else repaired.

    The arguments are those of `connect`; gives what was done, in words. Raises its errors, and
    StoreError for what has to be mended by hand.
    """
    done: list[str] = []
    with connect_to_repair(database, lambda opened: upkeep(opened.backend).settle(opened, done)):
        done += repair()
        yield done


def repair(*, orphan_age: float = ORPHAN_AGE) -> list[str]:
    """Make again what is derived from the rows of the current database; returns what was done.

    It never touches what was lost or altered: for that there are backups. A file that no row
    names is removed if it is older than `orphan_age`, in seconds.
    """
    return [*_rebuild(), *_sweep(orphan_age)]


@atomic
def _rebuild() -> list[str]:
    database, done = current_database(), upkeep().mend_storage()
    for audit_id, count in execute(_wrong_counts_sql(), ()):
        if type(audit_id) is not str:  # no id that anything can be changed by
            continue
        # Without a new `updated_at`: if only the count was wrong, the seal is right again.
        database.execute_sql(update_sql(Audit, "screenshots_count"), (count, audit_id))
        done.append(f"audit {audit_id}: screenshots_count is {count}")
    done += [f"screenshot {one}: its image is there by now" for one in _no_longer_absent()]
    if number := upkeep().fill_hosts():
        done.append(f"gave {number} audits the host of their url")
    done += _mend_rows_of_the_tree()
    done += [f"removed the image {file}, which no row names" for file in upkeep().remove_unnamed()]
    return [*done, *rebuilding.rebuild()]


def _mend_rows_of_the_tree() -> list[str]:
    """Mend what is stored of the log's tree where only that is wrong; remove what another program
    has put there, and what follows it."""
    done = []
    for block in blocks_to_remake():
        blocks.remake(block)
        done.append(f"row {block.number} of store_tree: its root is that of its events again")
    _, odd = blocks.stored()
    if not odd:
        return done
    blocks.remove_from(min(odd))
    return [*done, f"removed {len(odd)} rows of store_tree: the next checkpoint stores them anew"]


def _no_longer_absent() -> list[int]:
    """Forget of images that they were not in an import, if they are there; gives their rows' ids.

    From then on they are missed if they are lost.
    """
    if (images := images_if_any()) is None:
        return []
    query = AuditScreenshot.select(
        AuditScreenshot.id,
        AuditScreenshot.file_path,
        AuditScreenshot.file_size_bytes,
        AuditScreenshot.sha256,
    ).join(AbsentImage)
    found = []
    for row_id, file, size, sha256 in rows_of(query):
        with suppress(StoreError):
            if not is_other_image(images.read(file), size, sha256):
                found.append(row_id)
                AbsentImage.delete().where(AbsentImage.screenshot == row_id).execute()
    return found


def _wrong_counts_sql() -> str:
    table = Audit._meta.table_name
    count = f"(SELECT COUNT(*) FROM {AuditScreenshot._meta.table_name} WHERE audit_id = a.id)"
    return f"SELECT a.id, {count} FROM {table} AS a WHERE a.screenshots_count <> {count}"


def strays() -> list[str]:
    """The names of images that no row names."""
    return [*(path.name for path in orphans()), *upkeep().unnamed_images()]


def orphans(age: float = ORPHAN_AGE) -> Iterator[Path]:
    """Files of this store's audits, older than `age` seconds, that no row names.

    With them are the files that killed processes were writing, of whatever audit. There are none
    if another database is in the same folder: the files may be its own.
    """
    location = current_database().location
    root = location.screenshots
    if root is None or any(databases_beside(location)):
        return
    audits = {audit_id for (audit_id,) in rows_of(Audit.select(Audit.id))}
    audits |= {audit_id for (audit_id,) in rows_of(RemovedAudit.select(RemovedAudit.audit_id))}
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder, name)
            relative = file.relative_to(root)
            try:
                stored = relative.as_posix().encode().decode()
                ours = relative.parts[0] in audits or is_temporary(name)
                if not ours or not _is_old(file, age):
                    continue
            except (FileNotFoundError, UnicodeEncodeError):
                continue  # removed just now, or a name that this library does not give
            if not is_named(stored):
                yield file


def _sweep(age: float) -> list[str]:
    cleared = clear_left()
    done = [f"removed {cleared} images that an interrupted import has left"] if cleared else []
    if (root := current_database().location.screenshots) is not None:
        files = [path.relative_to(root).as_posix() for path in orphans(age)]

        # Looked at again under the write lock: much can have been recorded since.
        def may_go(file: str) -> bool:
            with suppress(FileNotFoundError):
                return _is_old(root / file, age)
            return False

        gone = remove_unnamed(ScreenshotFolder(root), files, may_go)
        done += [f"removed {os.path.basename(file)}, which no row names" for file in gone]
    return done


def _is_old(file: Path, age: float) -> bool:
    """Whether a file is older than `age`, in seconds; OSError if there is no such file."""
    return time.time() - file.lstat().st_mtime >= age
