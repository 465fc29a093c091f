"""A backup: a folder with the database as of one moment, and the images that it names."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from veritas_peewee.config import Location, locate
from veritas_peewee.database.current import bound, current_database
from veritas_peewee.database.failures import lacking
from veritas_peewee.database.sqlite import SqliteStore, current_sqlite
from veritas_peewee.database.statements import rows_of
from veritas_peewee.errors import InvalidAudit, StoreError
from veritas_peewee.files.durable import appearing_folder, write_private
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.ledger import keeper
from veritas_peewee.maintenance.copying import (
    Progress,
    copy_database,
    layout,
    opened,
    refuse_server,
    time_stamp,
    typed,
)
from veritas_peewee.maintenance.restore import RestoreReport, restore
from veritas_peewee.maintenance.verified import Report, refuse_unless_whole
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import Audit, AuditScreenshot
from veritas_peewee.recording import removal
from veritas_peewee.startup import connect
from veritas_peewee.values.image_files import split_path

__all__ = ["BackupReport", "RestoreReport", "backup", "default_target", "restore"]


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup holds."""

    path: Path
    """The folder."""
    database: Path
    head: str
    """The store's head in the backup (see `ledger.heads.Head`), for `verify --against`."""
    audits: int
    events: int
    screenshots: int
    bytes: int
    """The size of the database."""
    deleted: list[str]
    """Audits and image files that were deleted from the store while it was copied; the backup is
    without them."""
    problems: list[str] = field(default_factory=list)
    """What was damaged in the store already, or could not be looked at; empty unless `damaged` was
    given."""
    notes: list[str] = field(default_factory=list)
    """What `verify` notes of the backup, such as images that were lost before an import."""
    seconds: float = 0.0


def default_target(location: Location) -> Path:
    """A name for a backup made now, beside the database."""
    refuse_server(location)
    if location.path is None:
        raise StoreError(_IN_MEMORY)
    return location.path.with_name(f"{location.path.stem}-backup-{time_stamp()}")


_IN_MEMORY = "a database in memory has no file to back up: open the store on a file"


def backup(
    target: str | os.PathLike[str] | None = None,
    *,
    database: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
    damaged: bool = False,
) -> BackupReport:
    """Back up a store while it is in use, to the new folder `target` (default: one beside it).

    `database` (default: the current one) is a path or URL. `progress` is called with the part of
    the work ("database", "screenshots", "verify"), how much of it is done, and of how much. The
    folder appears under its name when all of it is on disk and has been verified. A damaged store
    is backed up only if `damaged` is true; `problems` then lists what is wrong. Raises StoreFull,
    ReadOnlyStore, DatabaseCorrupt for a damaged store, StoreError if `target` exists or the backup
    cannot be verified here.
    """
    location = current_database().location if database is None else locate(database)
    refuse_server(location)
    if location.path is None:
        raise StoreError(_IN_MEMORY)
    target = Path(os.path.abspath(default_target(location) if target is None else target))
    if os.path.lexists(target):
        raise StoreError(f"{target}: is there already; a backup never replaces anything")
    if not target.parent.is_dir():
        raise StoreError(f"{target.parent}: there is no such folder to put a backup in")
    began = perf_counter()
    with (
        typed(target, "written"),
        connect(location.given, screenshots=location.screenshots, read_only=True),
        appearing_folder(target) as folder,
    ):
        live = current_sqlite("backup")
        copy = layout(folder)
        assert copy.path is not None
        size = copy_database(live, copy.path, progress)
        deleted = _copy_images(live, copy, progress, damaged)
        report = _verified(copy, location, progress, damaged)
    made = layout(target).path
    assert made is not None
    return BackupReport(
        target,
        made,
        str(report.head),
        report.audits,
        report.events,
        report.files,
        size,
        deleted,
        [*report.damage, *report.unchecked],
        [*report.notes, *sorted(report.misstated)],
        perf_counter() - began,
    )


def _verified(copy: Location, source: Location, progress: Progress | None, damaged: bool) -> Report:
    with connect(copy.path, read_only=True):
        report = verify(progress=progress and (lambda n, total: progress("verify", n, total)))
    if not damaged:
        refuse_unless_whole(report, f"{source.name}: not backed up", "for it is damaged")
    return report


def _copy_images(
    live: SqliteStore, copy: Location, progress: Progress | None, damaged: bool
) -> list[str]:
    """Copy the images that the copied database names; returns what the store has deleted since.

    Raises StoreError if one cannot be looked at, unless a damaged backup will do.
    """
    if live.location.screenshots is None or copy.screenshots is None:
        return []
    source = ScreenshotFolder(live.location.screenshots)
    deleted: list[str] = []
    with opened(SqliteStore(copy, "script")) as made:
        keeper.keep(made)
        query = AuditScreenshot.select(
            AuditScreenshot.id, AuditScreenshot.audit, AuditScreenshot.file_path
        )
        rows = list(rows_of(query.order_by(AuditScreenshot.id)))
        for number, (row_id, audit_id, file) in enumerate(rows, 1):
            data = None
            is_there = _is_path(file) and type(audit_id) is str and audit_id not in deleted
            if is_there and (data := _image(source, file, damaged)) is None:
                if gone := _delete_too(live, row_id, audit_id, file):
                    deleted += gone
                else:
                    # By now it may be there: an import has brought the audit back.
                    data = _image(source, file, damaged)
            if data is not None:
                write_private(copy.screenshots / file, data)
            if progress is not None:
                progress("screenshots", number, len(rows))
    return deleted


def _is_path(file: Any) -> bool:
    """Whether a file can have this path. By another program's value no row can be asked for: that
    row stays as it is, for `verify` to name."""
    try:
        split_path(file)
    except InvalidAudit:
        return False
    return True


def _image(source: ScreenshotFolder, file: str, damaged: bool) -> bytes | None:
    """An image of the store; None if it is not there, or is none."""
    try:
        return source.read(file)
    except StoreError as error:
        if lacking(error) and not damaged:  # this says nothing about the image
            raise StoreError(f"{source.root}: not backed up: {error}") from error
        return None


def _delete_too(live: SqliteStore, row_id: int, audit_id: str, file: str) -> list[str]:
    """Delete from the copy what the store has deleted since; returns the audit's id or the file.

    The store removes a row before its file, and an import brings both back at once. So if it has
    the row and still not the file, this was lost earlier, and `verify` will report that. The row is
    looked for by its file, because SQLite gives the newest row's id out again once that row is
    deleted.
    """
    shots = AuditScreenshot.select().where(AuditScreenshot.audit == audit_id)
    with bound(live):
        if shots.where(AuditScreenshot.file_path == file).exists():
            return []
        audit_exists = Audit.select().where(Audit.id == audit_id).exists()
    if audit_exists:
        AuditScreenshot.delete().where(AuditScreenshot.id == row_id).execute()
        return [file]
    removal.delete(audit_id)
    return [audit_id]
