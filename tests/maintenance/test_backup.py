"""`backup` and `restore`: whole or not at all, under load too, and never over something newer."""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.amount import amount
from tests.support.audits import add_screenshot
from tests.support.command_line import run_program
from tests.support.database_files import by_hand, dump, files_below
from tests.support.processes import KILLED, held_open, start
from veritas_peewee import (
    Audit,
    AuditStore,
    DatabaseCorrupt,
    ReadOnlyStore,
    StoreBusy,
    StoreError,
    StoreFull,
    connect,
)
from veritas_peewee.cli.app import run
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.files.durable import leftovers
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.ledger.heads import parse_head
from veritas_peewee.maintenance import backup as backups
from veritas_peewee.maintenance import swapping
from veritas_peewee.maintenance.backup import BackupReport, backup, restore
from veritas_peewee.maintenance.copying import DATABASE
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditScreenshot
from veritas_peewee.recording import operations, recorder, removal
from veritas_peewee.testing import make_event, make_png
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl

LARGE = 100


def fill(audits: int = 3, first: int = 0) -> list[str]:
    ids = []
    for number in range(first, first + audits):
        audit_id = operations.create(f"https://shop{number}.example/").id
        recorder.record_many(audit_id, [{"type": "log_entry", "message": str(n)} for n in "abc"])
        add_screenshot(audit_id, number, make_png(number % 256))
        recorder.record(audit_id, {"type": "audit_complete", "elapsed": 5})
        ids.append(audit_id)
    return ids


@pytest.fixture
def ids(path: Path) -> list[str]:
    with connect(path):
        return fill()


@pytest.fixture
def saved(path: Path, ids: list[str], tmp_path: Path) -> Path:
    return backup(tmp_path / "saved", database=path).path


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(driver.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def assert_whole(path: Path, audits: int | None = None) -> None:
    with connect(path, read_only=True):
        report = verify()
    assert report.problems == []
    assert audits is None or report.audits == audits


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def contents(path: Path) -> tuple[list[tuple[Any, ...]], dict[str, bytes]]:
    """All that a store holds, however its file is laid out."""
    assert rows(path, "PRAGMA journal_mode") == [("wal",)]
    return dump(path), files_below(path.parent / "screenshots")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system of its own."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("NOT TESTED: this needs the right to mount a file system")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


# ---- what is in a backup ----


def test_a_backup_is_one_private_folder_that_any_sqlite_opens(path, ids, tmp_path):
    report = backup(tmp_path / "saved", database=path)
    assert report.path == tmp_path / "saved"
    assert names(report.path) == ["screenshots", DATABASE]
    assert (report.audits, report.events, report.screenshots) == (3, 12, 3)
    assert report.deleted == report.problems == []
    for entry in [report.path, *report.path.rglob("*")]:
        assert entry.stat().st_mode & 0o777 == (0o700 if entry.is_dir() else 0o600), entry
    assert rows(report.database, "PRAGMA journal_mode") == [("delete",)]
    assert rows(report.database, "SELECT COUNT(*) FROM audits") == [(3,)]
    assert names(report.path) == ["screenshots", DATABASE]
    assert_whole(report.database, 3)
    with connect(report.database, read_only=True):
        assert verify(against=report.head).ok


def test_a_backup_is_made_of_the_current_database_and_named_after_the_time(path, ids):
    with connect(path):
        report = backup()
        fill(1)
    assert report.path.parent == path.parent
    assert report.path.name.startswith("audits-backup-20")
    assert_whole(report.database, 3)


def test_a_backup_is_of_one_moment_while_a_transaction_is_open(path, ids, tmp_path):
    with closing(driver.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE audits SET risk_level = 'not committed'")
        report = backup(tmp_path / "saved", database=path)
        other.execute("ROLLBACK")
    assert rows(report.database, "SELECT DISTINCT risk_level FROM audits") == [(None,)]


async def test_backups_under_full_load_are_whole_and_writers_go_on(path, tmp_path):
    written, going = 0, True

    async def audits(store: AuditStore, number: int) -> None:
        nonlocal written
        told = make_event("screenshot", label="home", data=make_png(number))
        while going:
            audit = await store.create(f"https://shop{number}.example/")
            for text in "abcdefgh":
                await store.record(audit.id, {"type": "log_entry", "message": text})
                written += 1
            await store.record(audit.id, told)
            await store.record(audit.id, {"type": "audit_complete"})
            if number % 4 == 0:
                await store.delete(audit.id)

    def wait_for_writes(part: str, done: int, total: int) -> None:
        before, end = written, time.monotonic() + 30
        while part in ("database", "verify") and done == total and written < before + 10:
            assert time.monotonic() < end, "a backup holds up the writers"
            time.sleep(0.001)

    reports = []
    async with AuditStore.open(path) as store, anyio.create_task_group() as tasks:
        for number in range(32):
            tasks.start_soon(audits, store, number)
        for number in range(amount(3, 5)):
            make = functools.partial(
                backup, tmp_path / f"{number}", database=path, progress=wait_for_writes
            )
            reports.append(await anyio.to_thread.run_sync(make))
        going = False
    await anyio.to_thread.run_sync(check_restored, path, reports)


def check_restored(path: Path, reports: list[BackupReport]) -> None:
    positions = [parse_head(report.head).position for report in reports]
    assert positions == sorted(set(positions))
    for number, report in enumerate(reports):
        new = path.parent / f"new{number}" / "audits.db"
        restored = restore(report.path, new)
        assert (restored.head, restored.audits) == (report.head, report.audits)
        assert_whole(new, report.audits)
        with connect(path, read_only=True):
            assert verify(against=report.head, files=False).ok
        assert leftovers(report.path.parent) == []


def test_an_audit_deleted_while_it_is_copied_is_told_and_not_in_the_backup(path, ids, tmp_path):
    def told(part: str, done: int, total: int) -> None:
        if part == "screenshots" and done == 1:
            with connect(path):
                removal.delete(ids[1])
                # Its rows' ids are given out again: they prove nothing.
                removal.delete(ids[2])
                fill(2)

    report = backup(tmp_path / "saved", database=path, progress=told)
    assert sorted(report.deleted) == sorted(ids[1:])
    assert_whole(report.database, 1)
    assert len(files_below(report.path / "screenshots")) == 1


def test_an_audit_deleted_and_brought_back_while_it_is_copied_is_in_the_backup(
    path, ids, tmp_path, monkeypatch
):
    with connect(path):
        export_jsonl(tmp_path / "all.jsonl")
    delete_too = backups._delete_too

    def told(part: str, done: int, total: int) -> None:
        if part == "screenshots" and done == 1:
            with connect(path):
                removal.delete(ids[1])

    def look(*about: Any) -> list[str]:
        with connect(path):
            assert import_jsonl(tmp_path / "all.jsonl", skip_existing=True).audits == 1
        return delete_too(*about)

    monkeypatch.setattr(backups, "_delete_too", look)
    report = backup(tmp_path / "saved", database=path, progress=told)
    assert (report.deleted, report.screenshots) == ([], 3)
    assert_whole(report.database, 3)


def test_a_screenshot_removed_while_it_is_copied_is_told(path, ids, tmp_path):
    def told(part: str, done: int, total: int) -> None:
        if part == "screenshots" and done == 1:
            with connect(path) as database:
                (row,) = AuditScreenshot.select().where(AuditScreenshot.audit == ids[2])
                gone.append(row.file_path)
                row.delete_instance()
                ScreenshotFolder(database.location.screenshots).remove(gone)

    gone: list[str] = []
    report = backup(tmp_path / "saved", database=path, progress=told)
    assert report.deleted == gone
    assert_whole(report.database, 3)


def test_progress_only_grows_and_reaches_the_end(path, ids, tmp_path):
    told: list[tuple[str, int, int]] = []
    backup(tmp_path / "saved", database=path, progress=lambda *step: told.append(step))
    assert list(dict.fromkeys(part for part, _, _ in told)) == ["database", "screenshots", "verify"]
    for part in ("database", "screenshots", "verify"):
        steps = [(done, total) for name, done, total in told if name == part]
        assert steps == sorted(steps)
        assert steps[-1][0] == steps[-1][1] > 0


# ---- what a backup refuses ----


def test_nothing_is_ever_overwritten(path, ids, tmp_path):
    for kind, make in (("file", Path.touch), ("folder", Path.mkdir)):
        make(tmp_path / kind)
        with pytest.raises(StoreError, match="is there already"):
            backup(tmp_path / kind, database=path)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="is there already"):
        backup(tmp_path / "link", database=path)
    with pytest.raises(StoreError, match="no such folder"):
        backup(tmp_path / "not" / "there", database=path)
    with pytest.raises(StoreError, match="no such database"):
        backup(tmp_path / "saved", database=tmp_path / "none.db")
    with pytest.raises(StoreError, match="in memory"):
        backup(tmp_path / "saved", database=":memory:")
    assert names(tmp_path) == ["file", "folder", "link", "store"]


def test_a_damaged_store_is_backed_up_only_if_that_is_said(path, ids, tmp_path):
    with closing(driver.connect(path)) as other, other:
        other.execute("UPDATE audits SET risk_level = 'trusted' WHERE id = ?", (ids[0],))
    with pytest.raises(DatabaseCorrupt, match="its row was altered"):
        backup(tmp_path / "saved", database=path)
    assert names(tmp_path) == ["store"]
    report = backup(tmp_path / "saved", database=path, damaged=True)
    assert "its row was altered" in report.problems[0]
    with pytest.raises(DatabaseCorrupt, match="not restored, the backup is damaged"):
        restore(report.path, tmp_path / "new.db")
    assert not (tmp_path / "new.db").exists()


def test_an_image_that_the_store_had_lost_before_is_a_problem(path, ids, tmp_path):
    next((path.parent / "screenshots" / ids[0]).iterdir()).unlink()
    with pytest.raises(DatabaseCorrupt, match="cannot be read"):
        backup(tmp_path / "saved", database=path)
    assert backup(tmp_path / "saved", database=path, damaged=True).audits == 3


def test_a_folder_that_cannot_be_written_is_a_typed_error(path, ids, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "ro"), pytest.raises(ReadOnlyStore, match="saved: cannot be written"):
        backup(disk / "saved", database=path)


@pytest.mark.parametrize("room", ["80k", "500k"], ids=["database", "images"])
def test_a_full_disk_is_a_typed_error_and_leaves_nothing(path, ids, tmp_path, room):
    with connect(path):
        for number in range(LARGE):
            add_screenshot(ids[0], number, make_png(number % 256))
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, f"size={room}"):
        with pytest.raises(StoreFull):
            backup(disk / "saved", database=path)
        assert names(disk) == []


# ---- killed ----


def wait_for(process: subprocess.Popen[str], part: str) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    while line := process.stdout.readline():
        if line.startswith(part):
            return
        process.stdin.write("\n")
        process.stdin.flush()
    raise AssertionError(f"{part} was not told")


@pytest.mark.parametrize("part", ["database", "screenshots", "verify"])
def test_a_killed_backup_leaves_no_target_and_the_next_one_clears_up(path, ids, tmp_path, part):
    target = tmp_path / "saved"
    with start("back_up.py", "backup", path, target) as process:
        wait_for(process, part)
        other = backup(tmp_path / "other", database=path)  # takes nothing from one that lives
        assert_whole(other.database, 3)
        assert leftovers(tmp_path) == []
        process.kill()
    assert process.returncode == KILLED
    assert not target.exists()
    assert len(leftovers(tmp_path)) == 1
    assert_whole(backup(target, database=path).database, 3)
    assert names(tmp_path) == ["other", "saved", "store"]
    assert_whole(path, 3)


@pytest.mark.parametrize("part", ["database", "verify", "screenshots", "sync"])
def test_a_killed_restore_leaves_the_old_store_or_the_new_one(path, ids, saved, part):
    with connect(path):
        fill(2, 3)
        removal.delete(ids[0])
    with start("back_up.py", "restore", path, saved, "--force") as process:
        wait_for(process, part)
        process.kill()
    assert process.returncode == KILLED
    assert_whole(path, 3 if part == "sync" else 4)
    if part != "sync":
        assert not [name for name in names(path.parent) if "replaced" in name]
        restore(saved, path, force=True)
    assert_whole(path, 3)
    (kept,) = path.parent.glob("*.replaced-*")
    assert_whole(kept / DATABASE, 4)


def test_what_only_looks_like_a_leftover_stays(path, ids, tmp_path):
    for name in (".saved.partial", ".saved.0123456789abcdef.partial.txt", "x.partial"):
        (tmp_path / name).mkdir()
    (tmp_path / ".file.0123456789abcdef.partial").write_text("precious")
    (tmp_path / ".link.0123456789abcdef.partial").symlink_to(path.parent)
    backup(tmp_path / "saved", database=path)
    assert len(names(tmp_path)) == 7
    assert_whole(path, 3)


# ---- restoring ----


def test_a_backup_is_restored_into_a_new_place(saved, tmp_path):
    new = tmp_path / "new" / "deep" / "audits.db"
    before = files_below(saved)
    report = restore(saved, new)
    assert (report.database, report.replaced, report.audits) == (new, None, 3)
    assert names(new.parent) == ["audits.db", "screenshots"]
    assert new.stat().st_mode & 0o777 == 0o600
    assert files_below(saved) == before
    assert_whole(new, 3)
    with connect(new):
        fill(1, 3)
    assert_whole(new, 4)


def test_a_store_that_lost_nothing_since_is_replaced_and_kept_aside(path, ids, saved):
    report = restore(saved, path)
    assert report.replaced is not None
    assert names(report.replaced) == ["screenshots", DATABASE]
    assert_whole(report.replaced / DATABASE, 3)
    assert_whole(path, 3)
    assert names(path.parent) == ["audits.db", report.replaced.name, "screenshots"]


def test_a_restore_after_an_accident_brings_back_what_was_there(path, ids, saved):
    with connect(path):
        for audit_id in ids:
            removal.delete(audit_id)
    with pytest.raises(StoreError, match="3 audits were deleted"):
        restore(saved, path)
    restore(saved, path, force=True)
    assert_whole(path, 3)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda ids: recorder.record(ids[0], {"type": "log_entry"}), "1 newer event"),
        (lambda ids: operations.create("https://new.example/"), "1 newer audit"),
        (lambda ids: Audit.update(risk_level="low").execute(), "was last changed at"),
    ],
    ids=["event", "audit", "change"],
)
def test_a_newer_store_is_not_replaced_unless_that_is_said(path, ids, saved, change, told):
    with connect(path):
        change(ids)
    before = contents(path)
    with pytest.raises(StoreError, match=rf"{told}.*--force"):
        restore(saved, path)
    assert contents(path) == before
    report = restore(saved, path, force=True)
    assert_whole(path, 3)
    # What was replaced is a backup itself.
    assert report.replaced is not None
    assert_whole(report.replaced / DATABASE)
    restore(report.replaced, path, force=True)
    assert_whole(path)
    with connect(path), pytest.raises(StoreBusy):
        restore(saved, path, force=True)


def test_another_store_is_not_taken_for_an_older_one(path, ids, saved, tmp_path):
    other = tmp_path / "other" / "audits.db"
    with connect(other):
        fill(1)
    with pytest.raises(StoreError, match="no older state of the same store"):
        restore(saved, other)
    assert_whole(other, 1)


def test_images_that_no_row_names_any_more_are_kept_aside_and_others_stay(path, ids, saved):
    beside = path.with_name("other.db")
    with connect(beside):  # another store with the same folder
        fill(1)
    with connect(path):
        (new,) = fill(1, 3)
    report = restore(saved, path, force=True)
    assert not (path.parent / "screenshots" / new).exists()
    assert report.replaced is not None
    assert (report.replaced / "screenshots" / new).is_dir()
    assert_whole(report.replaced / DATABASE, 4)
    assert_whole(path, 3)
    assert_whole(beside, 1)


ODD = ["x'00ff'", "CAST(x'41ff42' AS TEXT)", "'a' || char(0) || 'b'", "'../x.png'", "''"]


@pytest.mark.parametrize("value", ODD)
def test_a_path_that_is_none_is_not_taken_for_a_deleted_screenshot(path, ids, tmp_path, value):
    by_hand(path, f"UPDATE audit_screenshots SET file_path = {value} WHERE audit_id = '{ids[0]}'")
    with pytest.raises(DatabaseCorrupt, match="not backed up, for it is damaged"):
        backup(tmp_path / "backup", database=path)
    report = backup(tmp_path / "backup", database=path, damaged=True)
    assert report.deleted == []
    assert ids[0] in str(report.problems)
    sql = "SELECT id, audit_id, CAST(file_path AS BLOB) FROM audit_screenshots"
    assert rows(report.database, sql) == rows(path, sql)


@pytest.mark.parametrize("value", ODD)
def test_a_store_with_a_path_that_is_none_is_replaced(path, ids, saved, value):
    with connect(path):
        new, other = fill(2, 3)
    by_hand(path, f"UPDATE audit_screenshots SET file_path = {value} WHERE audit_id = '{other}'")
    report = restore(saved, path, force=True)
    assert_whole(path, 3)
    assert report.replaced is not None
    assert (report.replaced / "screenshots" / new).is_dir()
    assert not (path.parent / "screenshots" / new).exists()


def without_links(
    monkeypatch: pytest.MonkeyPatch, unreadable: str, number: int
) -> Callable[[], None]:
    """A file system without links, on which the images of an audit cannot be read."""
    read = ScreenshotFolder.read

    def link(folder: ScreenshotFolder, file: str, other: ScreenshotFolder) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def reading(folder: ScreenshotFolder, file: str) -> bytes:
        if file.startswith(unreadable):
            raise StoreError("cannot be read") from OSError(number, os.strerror(number))
        return read(folder, file)

    monkeypatch.setattr(ScreenshotFolder, "link", link)
    monkeypatch.setattr(ScreenshotFolder, "read", reading)
    return monkeypatch.undo


def test_an_image_that_cannot_be_set_aside_stays_where_it_is(path, ids, saved, monkeypatch):
    with connect(path):
        new, other = fill(2, 3)
    before = files_below(path.parent / "screenshots")
    undo = without_links(monkeypatch, new, errno.EIO)
    report = restore(saved, path, force=True)
    undo()
    assert_whole(path, 3)
    assert report.replaced is not None
    aside = files_below(report.replaced / "screenshots")
    left = files_below(path.parent / "screenshots")
    assert {name for name in left if name.startswith(new)} != set()
    assert {name for name in left if name.startswith(other)} == set()
    assert aside | left == before


def test_without_means_to_set_images_aside_nothing_is_replaced(path, ids, saved, monkeypatch):
    with connect(path):
        new, _ = fill(2, 3)
    before = contents(path)
    undo = without_links(monkeypatch, new, errno.EMFILE)
    with pytest.raises(StoreError, match="cannot be read"):
        restore(saved, path, force=True)
    undo()
    assert contents(path) == before


def test_an_image_of_the_backup_that_cannot_be_looked_at_is_not_left_out(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ScreenshotFolder.read

    def progress(part: str, done: int, total: int) -> None:
        if part == "verify" and done == total:
            monkeypatch.setattr(ScreenshotFolder, "read", reading)

    def reading(folder: ScreenshotFolder, file: str) -> bytes:
        if folder.root.is_relative_to(saved):
            raise StoreError("no descriptors") from OSError(errno.EMFILE, "too many")
        return read(folder, file)

    target = tmp_path / "new" / "audits.db"
    with pytest.raises(StoreError, match="no descriptors"):
        restore(saved, target, progress=progress)
    assert files_below(target.parent) == {}


def test_an_image_that_is_altered_after_it_was_verified_is_not_restored(
    path: Path, ids: list[str], saved: Path, tmp_path: Path
) -> None:
    (altered, *_) = sorted((saved / "screenshots").rglob("*.png"))

    def progress(part: str, done: int, total: int) -> None:
        if part == "verify" and done == total:
            altered.write_bytes(make_png(99))

    target = tmp_path / "new" / "audits.db"
    with pytest.raises(DatabaseCorrupt, match="was altered just now"):
        restore(saved, target, progress=progress)
    assert not target.exists()
    assert files_below(target.parent) == {}


def test_a_restore_that_fails_leaves_the_images_of_whoever_was_faster(
    path: Path, ids: list[str], saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that another process has just made there, with the same audits."""
    exported, target = tmp_path / "all.jsonl", tmp_path / "new" / "audits.db"
    with connect(path, read_only=True):
        export_jsonl(exported)
    link = swapping._link

    def late(new: Path, name: Path) -> None:
        with connect(name):
            assert import_jsonl(exported).ok
        link(new, name)

    monkeypatch.setattr(swapping, "_link", late)
    with pytest.raises(StoreError):
        restore(saved, target)
    monkeypatch.undo()
    assert_whole(target, 3)


def test_lost_and_altered_images_come_back(path, ids, saved):
    folder = path.parent / "screenshots"
    next((folder / ids[0]).iterdir()).unlink()
    altered = next((folder / ids[1]).iterdir())
    altered.write_bytes(make_png(9))
    report = restore(saved, path)
    assert_whole(path, 3)
    assert report.replaced is not None
    kept = report.replaced / altered.relative_to(path.parent)
    assert kept.read_bytes() == make_png(9)


async def test_a_store_that_is_open_is_not_replaced(path, ids, saved):
    async with AuditStore.open(path) as store:
        with pytest.raises(StoreBusy):
            await anyio.to_thread.run_sync(functools.partial(restore, saved, path, force=True))
        await store.create("https://example.com/")
        assert (await store.read(verify)).ok


def test_a_store_that_another_process_has_open_is_not_replaced(path, ids, saved):
    before = contents(path)
    with (
        held_open(path, "SELECT COUNT(*) FROM audits"),
        pytest.raises(StoreBusy, match="has it open"),
    ):
        restore(saved, path, force=True)
    assert contents(path) == before
    restore(saved, path)


def test_a_damaged_file_is_replaced_if_that_is_said_with_its_wal(path, ids, saved):
    path.write_bytes(b"no database at all" * 500)
    Path(f"{path}-wal").write_bytes(b"left over")
    with pytest.raises(StoreError, match=r"cannot be read.*--force"):
        restore(saved, path)
    assert path.read_bytes().startswith(b"no database")
    report = restore(saved, path, force=True)
    assert report.replaced is not None
    assert (report.replaced / DATABASE).read_bytes().startswith(b"no database")
    assert (report.replaced / f"{DATABASE}-wal").read_bytes() == b"left over"
    assert len(files_below(report.replaced / "screenshots")) == 3
    assert_whole(path, 3)


def test_a_wal_without_its_file_is_never_taken_for_the_new_one_s(path, ids, saved, tmp_path):
    new = tmp_path / "new.db"
    with connect(path):
        fill(1)
        shutil.copy(f"{path}-wal", f"{new}-wal")  # of another life of this path
    restore(saved, new)
    assert_whole(new, 3)


@pytest.mark.parametrize(
    ("spoil", "error"),
    [
        (lambda saved: (saved / DATABASE).write_bytes(b"x" * 5000), DatabaseCorrupt),
        (lambda saved: os.truncate(saved / DATABASE, 30_000), DatabaseCorrupt),
        (lambda saved: shutil.rmtree(saved / "screenshots"), DatabaseCorrupt),
        (lambda saved: (saved / DATABASE).unlink(), StoreError),
        (shutil.rmtree, StoreError),
    ],
    ids=["overwritten", "cut off", "without images", "without database", "no folder"],
)
def test_what_is_no_sound_backup_is_not_restored(path, ids, saved, spoil, error):
    before = files_below(path.parent)
    spoil(saved)
    with pytest.raises(error):
        restore(saved, path, force=True)
    assert files_below(path.parent) == before


def test_a_failure_at_the_last_moment_leaves_the_old_store(path, ids, saved, monkeypatch):
    with connect(path):
        fill(1, 3)
        removal.delete(ids[0])
    before = files_below(path.parent)

    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"{restore.__module__}.swap", fails)
    with pytest.raises(StoreFull):
        restore(saved, path, force=True)
    assert names(path.parent) == ["audits.db", "screenshots"]
    after = files_below(path.parent)
    assert {k: v for k, v in after.items() if "/" in k} == {
        k: v for k, v in before.items() if "/" in k
    }
    assert_whole(path, 3)


def test_who_opens_the_old_file_in_the_last_instant_keeps_it(path, ids, saved, monkeypatch):
    from veritas_peewee.files.platform import Holder
    from veritas_peewee.maintenance import swapping

    monkeypatch.setattr(swapping, "holders", lambda *_: [Holder(1, "another")])
    inode = path.stat().st_ino
    with pytest.raises(StoreBusy, match="process 1 has just opened it"):
        restore(saved, path)
    assert path.stat().st_ino == inode
    assert names(path.parent) == ["audits.db", "screenshots"]
    assert_whole(path, 3)


# ---- real processes ----


def test_backup_and_restore_as_programs(path, ids, tmp_path):
    done = run_program("backup", tmp_path / "saved", "--database", path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["audits"] == 3
    done = run_program("backup", tmp_path / "saved", "--database", path)
    assert done.returncode == 1
    assert "is there already" in done.stderr
    assert done.stderr.count("\n") == 1
    new = tmp_path / "new.db"
    done = run_program("restore", tmp_path / "saved", "--database", new)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 audits" in done.stdout
    with connect(new):
        fill(1)
    done = run_program("restore", tmp_path / "saved", "--database", new)
    assert done.returncode == 1
    assert "--force" in done.stderr
    done = run_program("restore", tmp_path / "saved", "--database", new, "--force", "--json")
    assert json.loads(done.stdout)["replaced"]
    assert_whole(new, 3)


def test_the_commands_tell_wrong_usage_and_defaults(path, ids, tmp_path, capsys):
    assert run(["restore", "--database", str(path)]) == 2
    assert run(["backup", "--database", ":memory:"]) == 2
    assert run(["backup", "--database", str(path)]) == 0
    assert "audits-backup-" in capsys.readouterr().out
    assert run(["backup", "--database", str(tmp_path / "none.db")]) == 1
    assert not (tmp_path / "none.db").exists()


def test_the_names_for_programs_are_in_one_place() -> None:
    assert set(backups.__all__) == {
        "BackupReport", "RestoreReport", "backup", "default_target", "restore",
    }  # fmt: skip
