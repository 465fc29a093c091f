"""Old audits go, whole and with their files, while others write; nothing else does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections import namedtuple
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest.mock import patch

import anyio
import pytest
from peewee import fn

from tests.support.amount import amount
from tests.support.images import stored_images
from tests.support.invariants import check_invariants
from tests.support.posix_modules import resource
from tests.support.processes import KILLED, start
from veritas_peewee import Audit, AuditStore, InvalidAudit, StoreError, StoreFull, connect
from veritas_peewee.cli.app import run
from veritas_peewee.database import sqlite
from veritas_peewee.database.current import bound, current_database
from veritas_peewee.database.sqlite import scratch
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.files.database_files import DatabaseFile
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.maintenance import prune as pruning
from veritas_peewee.maintenance import removing
from veritas_peewee.maintenance.prune import PruneReport, prune, prune_store
from veritas_peewee.maintenance.removing import remove_some
from veritas_peewee.models import (
    AuditEvent,
    AuditFinding,
    AuditScreenshot,
    RemovedAudit,
    RemovedEvent,
)
from veritas_peewee.queries.trends import trend
from veritas_peewee.recording import operations, recorder, removal
from veritas_peewee.testing import make_event, make_png
from veritas_peewee.values.moments import utc_now

with closing(scratch()) as asked:
    IN_MEMORY = ("TEMP_STORE=3",) in asked.execute("PRAGMA compile_options").fetchall()
COPY = "this SQLite makes the copy in memory" if IN_MEMORY else "SQLITE_TMPDIR names another folder"


def add(site: str = "example.com", days: float = 0, status: str = "completed") -> str:
    """An audit of so many days ago, with a finding's worth of rows and an image."""
    audit_id: str = operations.create(f"https://{site}/page").id
    recorder.record_many(audit_id, [make_event("phase_start"), make_event("screenshot")])
    operations.update_status(audit_id, status)
    then = utc_now() - timedelta(days=days)
    Audit.update(created_at=then, started_at=then).where(Audit.id == audit_id).execute()
    return audit_id


def add_stored(ran: float, stored: float) -> str:
    """An audit that ran and was stored so many days ago."""
    audit_id = add(days=stored)
    then = utc_now() - timedelta(days=ran)
    Audit.update(started_at=then).where(Audit.id == audit_id).execute()
    return audit_id


def ids() -> set[str]:
    return {audit.id for audit in Audit.select(Audit.id)}


def files(database: Any) -> set[str]:
    with bound(database):
        return stored_images()


def named() -> set[str]:
    return {shot.file_path for shot in AuditScreenshot.select()}


# ---- what goes and what stays ----


def test_audits_older_than_an_age_or_a_moment_go(script: Any) -> None:
    old, new = add(days=91), add(days=89)
    assert prune(older_than=timedelta(days=90)).audits == 1
    assert ids() == {new}
    assert prune(older_than=utc_now() - timedelta(days=88)).audits == 1
    assert ids() == set()
    assert [row.audit_id for row in RemovedAudit.select()] == [old, new]


def test_the_newest_of_each_site_stay(script: Any) -> None:
    kept = {add("a.example", 1), add("a.example", 2), add("b.example", 400), add("B.example", 300)}
    for days in (3, 4, 5):
        add("a.example", days)
    add("b.example", 500)
    assert prune(keep_newest=2).audits == 4
    assert ids() == kept
    assert prune(keep_newest=0).audits == 4


def test_the_newest_are_those_that_ran_last_however_late_an_older_one_was_stored(
    script: Any,
) -> None:
    last, late = add_stored(ran=1, stored=1), add_stored(ran=900, stored=0)
    assert [point.audit_id for point in trend(host="example.com").points] == [late, last]
    assert prune(keep_newest=1).audits == 1
    assert ids() == {last}


def test_age_counts_from_when_an_audit_was_stored(script: Any) -> None:
    late, long_ago = add_stored(ran=900, stored=1), add_stored(ran=10, stored=40)
    assert prune(older_than=timedelta(days=30)).audits == 1
    assert ids() == {late}
    assert long_ago not in ids()


def test_what_is_no_time_says_nothing_about_when_an_audit_ran(script: Any) -> None:
    odd, _ = add(days=1), add(days=2)
    script.execute_sql("UPDATE audits SET started_at = 5 WHERE id = ?", (odd,))
    assert prune(keep_newest=1).audits == 1
    assert ids() == {odd}


def test_a_site_is_what_the_filter_by_host_takes_for_one(script: Any) -> None:
    kept = add("bücher.example", 1)
    add("www.bücher.example", 2)
    add("xn--bcher-kva.example:8443", 3)
    assert prune(keep_newest=1).audits == 2
    assert ids() == {kept}


def test_with_both_limits_an_audit_goes_if_it_is_old_and_not_among_the_newest(script: Any) -> None:
    newest_but_old = add("a.example", 100)
    young = [add("b.example", days) for days in (1, 2, 3)]
    old_and_many = add("b.example", 100)
    prune(older_than=timedelta(days=90), keep_newest=1)
    assert ids() == {newest_but_old, *young}
    assert old_and_many not in ids()


@pytest.mark.parametrize("status", ["queued", "running"])
def test_an_audit_that_has_not_ended_never_goes_and_takes_nobodys_place(
    script: Any, status: str
) -> None:
    going = [add(days=days, status=status) for days in (0, 1, 500)]
    ended = add(days=200)
    assert prune(older_than=timedelta(0), keep_newest=1).audits == 0
    assert ids() == {*going, ended}
    assert prune(older_than=timedelta(0)).audits == 1
    assert ids() == set(going)


def test_what_is_taken_up_again_while_others_go_stays(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, again = add(days=2), add(days=1)
    pieces = []

    def take_up(done: int, total: int) -> None:
        pieces.append((done, total))
        if done == 1:
            operations.update_status(again, "running")

    monkeypatch.setattr("veritas_peewee.maintenance.prune.PIECE", 1)
    report = prune(older_than=timedelta(0), progress=take_up)
    assert (report.audits, report.skipped) == (1, 1)
    assert pieces == [(1, 2), (2, 2)]
    assert ids() == {again}
    assert first not in ids()


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "older_than, keep_newest, or both"),
        ({"older_than": timedelta(days=-1)}, "older_than: must be an age"),
        ({"older_than": datetime(2026, 1, 1)}, "older_than: must have a time zone"),
        ({"older_than": 90}, "older_than: must be an age"),
        ({"keep_newest": -1}, "keep_newest: must be a whole number"),
        ({"keep_newest": True}, "keep_newest: must be a whole number"),
        ({"keep_newest": 1.5}, "keep_newest: must be a whole number"),
    ],
)
def test_wrong_limits_are_refused_by_name(
    script: Any, limits: dict[str, Any], message: str
) -> None:
    add()
    with pytest.raises(InvalidAudit, match=message):
        prune(**limits)
    assert len(ids()) == 1


def test_an_age_beyond_all_dates_is_no_error(script: Any) -> None:
    add(days=1000)
    assert prune(older_than=timedelta.max).audits == 0
    assert prune(older_than=datetime.max.replace(tzinfo=UTC)).audits == 1


def test_inside_a_transaction_it_says_how_to_call_it(script: Any) -> None:
    add()
    with script.unit(), pytest.raises(StoreError, match="outside of a transaction"):
        prune(keep_newest=0)
    assert len(ids()) == 1


# ---- what is left ----


def test_rows_go_with_their_files_and_leave_a_trace(script: Any) -> None:
    gone, kept = [add(days=2) for _ in range(5)], add()
    events = {row.id for row in AuditEvent.select().where(AuditEvent.audit.in_(gone))}
    report = prune(older_than=timedelta(days=1))
    assert (report.audits, report.events, report.screenshots) == (5, len(events), 5)
    assert report.screenshot_bytes == 5 * len(make_png())
    assert files(script) == named()
    assert len(named()) == 1
    assert ids() == {kept}
    assert {row.event_id for row in RemovedEvent.select()} == events
    assert {row.audit_id for row in RemovedAudit.select()} == set(gone)


@pytest.mark.parametrize("how", ["delete", "prune"])
def test_files_go_when_the_removal_of_their_rows_is_on_disk(
    script: Any, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut the rows may be back, if their removal was only committed."""
    old = add(days=91)
    steps: list[str] = []
    for name in ("sync_commits", "remove"):
        owner = DatabaseFile if name == "sync_commits" else ScreenshotFolder
        real = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *a, name=name, real=real, **k: steps.append(name) or real(*a, **k)
        )
    if how == "delete":
        removal.delete(old)
    else:
        prune(older_than=timedelta(days=90))
    assert steps == ["sync_commits", "remove"]
    assert files(script) == set()


def test_a_file_that_an_audit_shows_which_stays_is_left(script: Any) -> None:
    gone, kept = add(days=2), add()
    (shared,) = [s.file_path for s in AuditScreenshot.select().where(AuditScreenshot.audit == gone)]
    digest = AuditScreenshot.get(AuditScreenshot.audit == gone)
    AuditScreenshot.create(
        audit=kept, file_path=shared, label="shared", index_num=1,
        file_size_bytes=digest.file_size_bytes, sha256=digest.sha256,
    )  # fmt: skip
    assert prune(older_than=timedelta(days=1)).screenshots == 0
    assert files(script) == named()
    assert shared in named()
    assert prune(keep_newest=0).screenshots == 2
    assert files(script) == set()


def test_a_dry_run_changes_nothing_and_tells_the_same(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path) as database:
        for days in range(6):
            add(f"{days % 2}.example", days)
        before = database.execute_sql("PRAGMA data_version").fetchone(), files(database), ids()
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    limits: dict[str, Any] = {"older_than": timedelta(days=1), "keep_newest": 1}
    with connect(path, read_only=True):
        dry = prune(**limits, dry_run=True)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == content
    with connect(path) as database:
        assert (files(database), ids()) == before[1:]
        real = prune(**limits)
        check_invariants()
    assert dry.dry_run
    assert not real.dry_run
    assert (dry.audits, dry.events, dry.screenshots, dry.screenshot_bytes) == (
        real.audits, real.events, real.screenshots, real.screenshot_bytes,
    )  # fmt: skip
    assert real.audits == 4


# ---- the space ----


def fill(audits: int = 40) -> None:
    for _ in range(audits):
        audit = operations.create("https://example.com")
        recorder.record_many(audit.id, [{"type": "log_entry", "message": "x" * 20_000}] * 5)
        operations.update_status(audit.id, "completed")


def test_a_new_file_becomes_smaller_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        fill()
        report = prune(keep_newest=4)
        check_invariants()
    assert report.bytes_after < report.bytes_before / 3
    assert report.free_bytes == 0
    assert path.stat().st_size == report.bytes_after


def test_an_older_file_keeps_its_free_space_until_it_is_rewritten_once(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        pass
    with closing(driver.connect(path)) as raw:  # as it was made by earlier versions
        raw.execute("PRAGMA auto_vacuum = NONE")
        raw.execute("VACUUM")
    with connect(path) as database:
        fill()
        report = prune(keep_newest=20)
        assert report.bytes_after == report.bytes_before
        assert report.free_bytes > report.bytes_after / 3
        assert database.pragma("auto_vacuum") == 0
        report = prune(keep_newest=20, vacuum=True)
        assert report.bytes_after < report.bytes_before * 2 / 3
        assert report.free_bytes == 0
        check_invariants()
        report = prune(keep_newest=4)
        assert report.bytes_after < report.bytes_before / 2
        check_invariants()
    assert path.stat().st_size == report.bytes_after


# ---- the whole file written anew ----


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of some 30 MB."""
    path = tmp_path / "audits.db"
    with connect(path):
        audit = operations.create("https://large.example/")
        for _ in range(30):
            recorder.record_many(audit.id, [{"type": "log_entry", "message": "x" * 10**6}])
    return path


def most_memory() -> int:
    """The most bytes of memory that this process has had; `getrusage` counts its parent's too."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def rewritten(path: Path) -> int:
    """By how many bytes a process grows while it rewrites a file."""
    with connect(path):
        prune(keep_newest=0)  # so that all is loaded
        before = most_memory()
        prune(keep_newest=0, vacuum=True)
        return most_memory() - before


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="NOT TESTED: needs /proc")
@pytest.mark.skipif(IN_MEMORY, reason="this SQLite was built to make no temporary files")
def test_a_file_is_rewritten_in_a_temporary_file_and_not_in_memory(large: Path) -> None:
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        grown = pool.submit(rewritten, large).result()
    assert grown < large.stat().st_size / 3


def test_writing_goes_on_as_before(large: Path, caplog: pytest.LogCaptureFixture) -> None:
    with connect(large) as database, patch.object(sqlite, "has_wal_reset_bug", lambda _: True):
        audit_id = add()
        prune(keep_newest=1, vacuum=True)
        assert database.pragma("temp_store") == 2
        recorder.record(audit_id, make_event("finding"))
        AuditFinding.update(description="changed").execute()
        check_invariants()
    assert caplog.messages == []  # of another connection that writes


@pytest.mark.parametrize("folder", ["temporary", "own"])
def test_without_room_for_a_copy_it_says_where_and_changes_nothing(
    large: Path, folder: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if IN_MEMORY and folder == "temporary":
        pytest.skip("this SQLite was built to make no temporary files")
    copies = tmp_path / "copies"
    copies.mkdir()
    monkeypatch.setenv("SQLITE_TMPDIR", str(copies))
    full = copies if folder == "temporary" else large.parent
    room = namedtuple("room", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda at: room(10**6 if at == full else 10**12))
    with connect(large):
        with pytest.raises(StoreFull, match=rf"in {full}, where 1.0 MB are free; {COPY}"):
            prune(keep_newest=0, vacuum=True)
        add()
        check_invariants()


def test_a_copy_that_fails_on_the_way_changes_nothing(large: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with connect(large):
        resource.setrlimit(resource.RLIMIT_FSIZE, (5 * 10**6, limits[1]))
        try:
            with pytest.raises(StoreError, match=rf"was not rewritten: SQLite: .*; {COPY}"):
                prune(keep_newest=0, vacuum=True)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        add()
        check_invariants()
        assert prune(keep_newest=0, vacuum=True).audits == 1


# ---- while others write ----


@pytest.mark.parametrize(("audits", "seconds"), [(40, 1000), (1000, 0.002)])
async def test_a_store_is_pruned_between_its_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, audits: int, seconds: float
) -> None:
    """Writers wait for one piece at most."""
    done: list[str] = []

    def piece(ids: list[str]) -> tuple[int, PruneReport]:
        done.append("piece")
        return remove_some(ids)

    def write() -> str:
        done.append("write")
        return str(operations.create("https://new.example").id)

    monkeypatch.setattr(pruning, "remove_some", piece)
    monkeypatch.setattr(pruning, "PIECE", audits)
    monkeypatch.setattr(removing, "PIECE_SECONDS", seconds)
    async with AuditStore.open(tmp_path / "audits.db") as store:
        await store.write(fill, amount(140, 300))
        await store.write(lambda: [add(days=2) for _ in range(20)])
        written: list[str] = []
        report = PruneReport()

        async def go_on() -> None:
            while not report.audits:
                written.append(await store.write(write))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(go_on)
            report = await prune_store(store, keep_newest=0)
        assert report.audits == amount(160, 320)
        assert report.screenshots == 20
        assert report.bytes_after < report.bytes_before / 3
        assert done.count("piece") >= amount(4, 8)
        assert ("piece", "piece") not in set(pairwise(done))

        def left() -> None:
            check_invariants()
            assert ids() == set(written)
            assert files(current_database()) == set()

        await store.read(left)


async def test_a_script_prunes_beside_a_store_that_writes(file_store: AuditStore) -> None:
    await file_store.write(fill, 150)
    path = file_store.location.path
    done = threading.Event()
    written = 0

    def script() -> PruneReport:
        try:
            with connect(path):
                return prune(keep_newest=0)
        finally:
            done.set()

    async with anyio.create_task_group() as tasks:

        async def go_on() -> None:
            nonlocal written
            while not done.is_set():
                await file_store.create("https://new.example")
                written += 1

        tasks.start_soon(go_on)
        report = await anyio.to_thread.run_sync(script)
    assert report.audits == 150
    assert written > 5
    assert await file_store.read(lambda: len(ids())) == written
    assert file_store.stats().failed == 0


async def test_a_store_in_memory_can_be_pruned_and_tried_dry() -> None:
    async with AuditStore.open(":memory:") as store:
        await store.write(lambda: [add(days=2), add()])
        report = await prune_store(store, older_than=timedelta(days=1), dry_run=True)
        assert (report.audits, report.screenshots) == (1, 1)
        report = await prune_store(store, older_than=timedelta(days=1))
        assert (report.audits, report.screenshots) == (1, 1)
        assert len((await store.history()).items) == 1
        with pytest.raises(InvalidAudit, match="or both"):
            await prune_store(store)
        with pytest.raises(StoreError, match="prune_store"):
            await store.write(prune, keep_newest=0)
        await store.read(check_invariants)


@pytest.mark.parametrize("pieces", [1, 4, 9])
def test_a_prune_that_is_killed_leaves_no_half_audit_and_no_row_without_its_file(
    tmp_path: Path, pieces: int
) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        before = {add(days=days) for days in range(60)}
        rows = dict(
            AuditEvent.select(AuditEvent.audit, fn.COUNT(AuditEvent.id))
            .group_by(AuditEvent.audit)
            .tuples()
        )
    with start("prune_until_killed.py", path) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(pieces)]
        os.kill(process.pid, 9)
        process.stdout.read()
    assert process.returncode == KILLED
    with connect(path) as database:
        check_invariants()
        left = ids()
        assert left < before
        assert len(before - left) >= told[-1]
        assert named() <= files(database)
        assert {row.audit_id for row in RemovedAudit.select()} == before - left
        for audit_id in left:
            assert AuditEvent.select().where(AuditEvent.audit == audit_id).count() == rows[audit_id]
        prune(keep_newest=0)
        check_invariants()
        assert ids() == set()


# ---- the command ----


def test_the_command_prunes_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "audits.db")
    with connect(path):
        add(days=100)
        kept = add()
    words = ["prune", "--database", path, "--older-than", "90d"]
    assert run([*words, "--dry-run"]) == 0
    assert "would be deleted: 1 audit, 3 events and 1 screenshot" in capsys.readouterr().out
    assert run([*words, "--yes", "--keep", "0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["audits"], told["screenshots"], told["dry_run"]) == (1, 1, False)
    assert run([*words, "--yes"]) == 0
    assert "deleted: 0 audits" in capsys.readouterr().out
    with connect(path):
        assert ids() == {kept}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--older-than, --keep, or both"),
        (["--keep", "1"], "give --yes"),
        (["--keep", "-1", "--yes"], "--keep"),
        (["--older-than", "9x", "--yes"], "neither an age such as"),
    ],
)
def test_wrong_usage_of_the_command_is_told_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    path = str(tmp_path / "audits.db")
    with connect(path):
        add(days=100)
    assert run(["prune", "--database", path, *words]) == 2
    assert told in capsys.readouterr().err
    with connect(path):
        assert len(ids()) == 1
