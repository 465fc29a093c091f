"""A backup put where a store is: whole or not at all, and the old store is set aside."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from veritas_peewee import migrations
from veritas_peewee.config import SCREENSHOTS, Location, locate
from veritas_peewee.database.event_loop import on_event_loop
from veritas_peewee.database.failures import DRIVER_ERRORS, lacking
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.statements import rows_of
from veritas_peewee.errors import (
    DatabaseCorrupt,
    InvalidAudit,
    NoDatabase,
    ScreenshotNotFound,
    StoreError,
)
from veritas_peewee.files.database_path import SET_ASIDE
from veritas_peewee.files.durable import make_folders, partial_folder, sync_folders
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.files.platform import Identity, identity_of, rename, sync
from veritas_peewee.ledger import evidence
from veritas_peewee.ledger.heads import Head
from veritas_peewee.maintenance.continuing import BESIDE, continue_ids, warn_of_checkpoints
from veritas_peewee.maintenance.copying import (
    DATABASE,
    Progress,
    copy_database,
    opened,
    refuse_server,
    time_stamp,
    typed,
)
from veritas_peewee.maintenance.holders import alone
from veritas_peewee.maintenance.newer import State, newer_than, state_of_store
from veritas_peewee.maintenance.swapping import swap
from veritas_peewee.maintenance.verified import Report, refuse_unless_whole
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditScreenshot
from veritas_peewee.queries.images_of_others import named_by_others
from veritas_peewee.recording.removal import FAILURES, is_named, remove_unnamed

_logger = logging.getLogger("veritas_peewee")


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What was restored."""

    database: Path
    replaced: Path | None
    """A folder with what was there before, in the layout of a backup; None if nothing was there."""
    head: str
    audits: int
    events: int
    screenshots: int


def restore(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str] | None = None,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> RestoreReport:
    """Put the backup in the folder `source` where `target` (a path or URL, or the default) is.

    The backup is copied and verified first. The store at `target` is set aside whole. It is
    replaced only if the backup holds everything that it holds, or if `force` is true, and never
    while anybody has it open. Events get ids after those that it had given. A kill at any point
    leaves the old store or the new one.
    Raises StoreError (not a backup; the target holds something newer), DatabaseCorrupt (the
    backup is damaged), StoreBusy (the target is open), StoreFull, ReadOnlyStore.
    """
    if on_event_loop():
        raise NoDatabase("restore() would stall the event loop: run it in a worker thread")
    backup, location = Path(os.path.abspath(source)), locate(target)
    refuse_server(location)
    path = location.path
    if path is None:
        raise StoreError("a database in memory cannot be restored: give the path of a file")
    if not (backup / DATABASE).is_file():
        raise StoreError(f"{backup}: is no backup: there is no {DATABASE} in it")
    with typed(path, "restored"):
        make_folders(path.parent)
        with partial_folder(path) as folder:
            new = Location(folder / DATABASE, backup / SCREENSHOTS)
            report, state = _prepared(Location(backup / DATABASE, None), new, progress)
            replaced, head = _put(new, state, location, force, progress)
    return RestoreReport(path, replaced, str(head), report.audits, report.events, report.files)


def _prepared(source: Location, new: Location, progress: Progress | None) -> tuple[Report, State]:
    """Copy the backup's database, upgrade the copy to this version, and verify it."""
    assert new.path is not None
    saved = SqliteStore(source, "viewer")
    saved.file.one_name = False  # backups are often linked to one another, and nobody writes them
    with opened(saved) as original:
        copy_database(original, new.path, progress)
    with opened(SqliteStore(new, "script")) as copy:
        if migrations.pending(copy):
            migrations.upgrade(copy, evidence.complete)
            copy.journal_mode = "delete"
    with opened(SqliteStore(new, "viewer")):
        report = verify(progress=progress and (lambda n, total: progress("verify", n, total)))
        refuse_unless_whole(report, f"{source.name}: not restored", "the backup is damaged")
        state = state_of_store()
    sync(new.path)
    return report, state


def _put(
    new: Location, state: State, location: Location, force: bool, progress: Progress | None
) -> tuple[Path | None, Head]:
    assert location.path is not None
    assert new.path is not None
    path = location.path
    with alone(location, force) as old, _aside(path) as aside:
        if old is not None and not force and (reason := newer_than(old, state, new)):
            raise StoreError(
                f"{path}: {reason}; `--force` replaces it all the same, and keeps it aside"
            )
        head = continue_ids(new, state.head, old, path)
        if head != state.head:
            warn_of_checkpoints(state.head, old, path)
        with opened(SqliteStore(new, "viewer")):
            wanted = _images()
        before = _images_of(old)
        retained = new.path.with_name("kept")
        set_aside: set[str] = set()
        if aside is not None:
            retained.mkdir(mode=0o700)
            set_aside = _retain_images(location, retained, before)
            sync_folders(retained)
        added: list[str] = []
        try:
            _bring_images(new, location, wanted, added, progress)
            if aside is not None:
                rename(retained, aside)
            swap(new.path, path, aside, old)
        except BaseException:
            _remove_images(location, old, added)
            raise
        if before is not None:
            left_over = sorted(set_aside - set(wanted))
            others = named_by_others(location, left_over)
            _remove_images(location, None, [file for file in left_over if file not in others])
        return aside, head


@contextmanager
def _aside(path: Path) -> Iterator[Path | None]:
    """A folder's name for the old store, removed again on failure; None if nothing is there."""
    there = _identity(path)
    if there is None and not any(os.path.lexists(f"{path}{end}") for end in BESIDE):
        yield None
        return
    aside = path.with_name(f"{path.name}{SET_ASIDE}{time_stamp()}")
    try:
        yield aside
    except BaseException:
        if _identity(path) == there:
            for end in BESIDE:
                with suppress(FileNotFoundError):
                    rename(aside / f"{DATABASE}{end}", f"{path}{end}")
            shutil.rmtree(aside, ignore_errors=True)
        raise


def _identity(path: Path) -> Identity | None:
    try:
        return identity_of(path)
    except FileNotFoundError:
        return None


# ---- images ----


def _folder(location: Location) -> ScreenshotFolder:
    assert location.screenshots is not None
    return ScreenshotFolder(location.screenshots)


def _images() -> dict[str, str | None]:
    """The images that the current database names, with their digests."""
    rows = rows_of(AuditScreenshot.select(AuditScreenshot.file_path, AuditScreenshot.sha256))
    # What another program has stored instead of a path names no file.
    return {file: digest for file, digest in rows if type(file) is str}


def _images_of(old: SqliteStore | None) -> dict[str, str | None] | None:
    with suppress(*DRIVER_ERRORS, StoreError):
        if old is not None:
            return _images() if old.get_tables() else {}
    return None


def _retain_images(
    location: Location, aside: Path, names: dict[str, str | None] | None
) -> set[str]:
    """Give the images of the old store a second name in `aside`, which costs no space; returns
    those that have one.

    Raises StoreError if one cannot be looked at. One that is damaged is left where it is.
    """
    folder, retained = _folder(location), ScreenshotFolder(aside / SCREENSHOTS)
    if names is None:  # the store cannot be read, so any file may belong to it
        names = {
            Path(at, name).relative_to(folder.root).as_posix(): None
            for at, _, files in os.walk(folder.root)
            for name in files
        }
    found = set()
    for name in names:
        with suppress(InvalidAudit, FileNotFoundError):
            try:
                folder.link(name, retained)
            except FileNotFoundError:
                raise
            except OSError:  # a file system without links
                if (image := _image(folder, name)) is None:
                    continue
                retained.keep(name, image)
            found.add(name)
    return found


def _image(folder: ScreenshotFolder, name: str) -> bytes | None:
    """An image; None if it is not there, or cannot be read for what it is itself."""
    try:
        return folder.read(name)
    except StoreError as error:
        if lacking(error):
            raise
        if not isinstance(error, ScreenshotNotFound):
            _logger.warning("%s: is left out: %s", folder.root, error)
        return None


def _bring_images(
    new: Location,
    location: Location,
    wanted: dict[str, str | None],
    added: list[str],
    progress: Progress | None,
) -> None:
    """Put the backup's images into the folder, and into `added` those that were not there."""
    source, folder = _folder(new), _folder(location)
    for number, (name, digest) in enumerate(wanted.items(), 1):
        present, is_new = None, False
        try:
            present = folder.read(name)
        except StoreError as error:  # one that cannot be read is replaced
            is_new = isinstance(error, ScreenshotNotFound)
        data = _image(source, name)  # what is missing in a verified backup may be
        if data is not None and data != present:
            if digest is not None and hashlib.sha256(data).hexdigest() != digest:
                raise DatabaseCorrupt(f"{source.root / name}: was altered just now")
            if is_new:
                added.append(name)
            folder.keep(name, data)
        if progress is not None:
            progress("screenshots", number, len(wanted))


def _remove_images(location: Location, old: SqliteStore | None, files: list[str]) -> None:
    """Remove those of these files that no row names of the store that is in place now.

    `old` is the store that we hold locked, with all that it says on disk. If what the rows name
    cannot be found out, the files remain.
    """
    path, folder = location.path, _folder(location)
    assert path is not None
    try:
        is_held = old is not None and not old.is_closed()
        if is_held and old is not None and _identity(path) == old.file.identity:
            folder.remove([file for file in files if not is_named(file)])
        elif os.path.lexists(path):
            with opened(SqliteStore(location, "script")):
                remove_unnamed(folder, files, are_new=True)
        else:
            folder.remove(files)
    except FAILURES:
        _logger.warning(
            "%s: image files remain that no row may name; `verify --fix` removes them",
            path,
            exc_info=True,
        )
