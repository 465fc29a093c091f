"""`doctor`: any file is told about, whatever its state, and none is changed by the look."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import run_program
from tests.support.older_store import ONE_AUDIT
from tests.support.processes import held_open
from veritas_peewee import StoreError, connect
from veritas_peewee.database import sqlite as module
from veritas_peewee.database.sqlite import has_wal_reset_bug
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.maintenance.doctor import Finding, diagnose
from veritas_peewee.migrations import HISTORY, KNOWN
from veritas_peewee.recording import operations, recorder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audits.db"


@pytest.fixture
def good(path: Path) -> Path:
    with connect(path):
        for number in range(3):
            audit = operations.create(f"https://shop{number}.example/")
            recorder.record(audit.id, {"type": "phase_start", "phase": "scout"})
        recorder.record(audit.id, {"type": "audit_complete"})
    return path


def find(found: list[Finding], name: str) -> Finding:
    return next(finding for finding in found if finding.name == name)


def levels(found: list[Finding], *wanted: str) -> list[tuple[str, str]]:
    return [(finding.level, finding.name) for finding in found if finding.level in wanted]


def problems(found: list[Finding]) -> list[str]:
    return [finding.text for finding in found if finding.level == "problem"]


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(file): (file.read_bytes(), file.stat().st_mode)
        for file in folder.rglob("*")
        if file.is_file() and not file.name.endswith(("-wal", "-shm"))
    }


# ---- each kind of file ----


def test_a_good_file_has_no_problem_and_is_told_in_full(good):
    before = state(good.parent)
    found = diagnose(good)
    assert levels(found, "warning", "problem") == []
    assert find(found, "contents").value == {
        "audits": 3, "events": 4, "by_status": {"completed": 1, "running": 2},
    }  # fmt: skip
    assert find(found, "schema").value == {"applied": list(KNOWN), "pending": []}
    assert find(found, "journal_mode").value == "wal"
    assert find(found, "file").value["bytes"] == good.stat().st_size
    assert find(found, "space").value > 0
    writer = find(found, "pragmas of a writer").value
    reader = find(found, "pragmas of a reader").value
    assert (writer["synchronous"], writer["wal_autocheckpoint"], writer["foreign_keys"]) == (
        1, 1000, 1,
    )  # fmt: skip
    assert (reader["query_only"], reader["wal_autocheckpoint"]) == (1, 0)
    version = find(found, "sqlite").value
    assert version["wal_reset_bug"] == has_wal_reset_bug(version["version"])
    assert (version["version"], version["driver"]) in (
        (driver.sqlite_version, "sqlite3"), (driver.sqlite_version, "pysqlite3"),
    )  # fmt: skip
    assert state(good.parent) == before


def test_a_missing_file_is_a_problem_and_is_not_made(path):
    assert problems(diagnose(path)) == [f"{path}: there is no such database"]
    assert not path.exists()
    assert problems(diagnose(path.parent / "no" / "folder.db"))


def test_an_empty_file_is_told(path):
    path.touch(mode=0o600)
    found = diagnose(path)
    assert levels(found, "warning", "problem") == [("warning", "file")]
    assert "is empty" in find(found, "file").text
    assert path.stat().st_size == 0


def test_a_folder_is_no_database(tmp_path):
    assert problems(diagnose(tmp_path)) == [f"{tmp_path}: is not a file"]


def test_what_is_no_database_is_a_problem(path):
    path.write_bytes(b"a letter to a friend\n" * 500)
    path.chmod(0o600)
    (problem,) = problems(diagnose(path))
    assert "damaged or is not a SQLite database" in problem


@pytest.mark.parametrize("part", range(1, 6))
def test_damaged_pages_are_a_problem_wherever_they_are(good, part):
    size = good.stat().st_size
    with good.open("r+b") as file:
        file.seek(size * part // 6)
        file.write(b"\xff" * (size // 6))
    before = state(good.parent)
    found = diagnose(good)
    assert problems(found)
    assert len(problems(found)) == len(set(problems(found)))
    assert find(found, "file").level == "ok"
    assert state(good.parent) == before


def test_a_file_of_another_program_is_a_problem(path):
    with closing(driver.connect(path)) as other, other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    path.chmod(0o600)
    (problem,) = problems(diagnose(path))
    assert "belongs to another program" in problem


def test_a_file_of_a_newer_version_is_a_problem(good):
    with closing(driver.connect(good)) as other, other:
        other.execute(f"INSERT INTO {HISTORY} (name, applied) VALUES ('9999_x', '2030-01-01')")
    (problem,) = problems(diagnose(good))
    assert "newer version" in problem


def test_a_file_of_the_older_store_is_told_and_not_upgraded(path):
    with closing(driver.connect(path)) as other, other:
        other.executescript(ONE_AUDIT)
    path.chmod(0o600)
    before = state(path.parent)
    found = diagnose(path)
    assert levels(found, "warning", "problem") == [("warning", "schema")]
    assert "older SQLAlchemy store" in find(found, "schema").text
    assert find(found, "schema").value == {"applied": [], "pending": list(KNOWN)}
    assert find(found, "contents").value["by_status"] == {"completed": 1}
    assert state(path.parent) == before


def test_a_file_that_others_can_read_is_a_warning(good):
    good.chmod(0o644)
    (warned,) = levels(diagnose(good), "warning", "problem")
    assert warned == ("warning", "permissions")


def test_a_file_on_a_medium_that_cannot_be_written_is_told(good, tmp_path_factory):
    disk = tmp_path_factory.mktemp("disk")
    bound = subprocess.run(
        ["mount", "--bind", str(good.parent), str(disk)], capture_output=True
    ).returncode
    if bound:
        pytest.skip("NOT TESTED: this needs the right to mount a file system")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], check=True)
        found = diagnose(disk / good.name)
        assert problems(found) == []
        assert find(found, "contents").value["audits"] == 3
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_half_copies_of_the_dead_are_told(good):
    (good.parent / ".saved.0123456789abcdef.partial").mkdir()
    assert [f.level for f in diagnose(good) if f.name == "leftover"] == ["note"]


def test_no_path_at_all_is_an_error(path):
    with pytest.raises(StoreError, match="in memory"):
        diagnose(":memory:")


# ---- others ----


def test_another_process_that_has_it_open_is_named(good):
    with held_open(good, "SELECT COUNT(*) FROM audits") as pid:
        found = diagnose(good)
    if sys.platform != "linux":
        pytest.skip("NOT TESTED: only Linux tells who has a file open")
    holder = find(found, "holder")
    assert holder.value["pid"] == pid
    assert "hold_open.py" in holder.value["command"]
    assert problems(found) == []


def test_a_process_that_runs_audits_is_told(good):
    with connect(good):
        audit = operations.create("https://example.com/")
        recorder.record(audit.id, {"type": "phase_start", "phase": "scout"})
        assert find(diagnose(good), "sessions").value == {"alive": 1, "dead": 0}
    assert [f for f in diagnose(good) if f.name == "sessions"] == []


@pytest.mark.parametrize("what", ["the folder", "a session"])
def test_a_session_that_cannot_be_looked_at_is_told(good, tmp_path, what):
    folder = good.with_name(f"{good.name}-sessions")
    if what == "the folder":
        shutil.rmtree(folder, ignore_errors=True)
        folder.symlink_to(tmp_path)
    else:
        (folder / "0123456789abcdef").mkdir(parents=True)
    told = [one.text for one in diagnose(good) if (one.level, one.name) == ("warning", "sessions")]
    assert len(told) == 1
    assert "looked at" in told[0]


def test_a_file_that_is_being_written_without_a_wal_is_not_read_past_its_lock(good):
    with closing(driver.connect(good, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        found = diagnose(good)
        other.execute("ROLLBACK")
    assert "locked" in find(found, "database").text
    assert not [one for one in found if one.name == "contents"]


def test_a_locked_file_is_told_soon(good):
    with held_open(good, "PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE"):
        found = diagnose(good)
    assert ("warning", "database") in levels(found, "warning")
    assert problems(found) == []


# ---- SQLite's bug ----


@pytest.mark.parametrize(
    ("version", "has"),
    [
        ("3.6.23.1", False), ("3.7.0", True), ("3.40.1", True), ("3.44.5", True),
        ("3.44.6", False), ("3.44.9", False), ("3.45.0", True), ("3.50.6", True),
        ("3.50.7", False), ("3.51.0", True), ("3.51.2", True), ("3.51.3", False),
        ("3.52.0", False), ("4.0.0", False),
    ],
)  # fmt: skip
def test_which_versions_have_the_wal_reset_bug(version, has):
    assert has_wal_reset_bug(version) is has


@pytest.fixture
def buggy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_warned", set())
    monkeypatch.setattr(module, "has_wal_reset_bug", lambda version: True)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "WAL-reset" in r.getMessage()]


def test_a_second_process_that_writes_is_told_once(good, buggy, caplog):
    write = "UPDATE audits SET risk_level = risk_level"
    with caplog.at_level(logging.WARNING, "veritas_peewee"), connect(good):
        operations.create("https://example.com/")
        for _ in range(3):
            with held_open(good, write):
                pass
            operations.create("https://example.com/")
    (told,) = warnings_of(caplog)
    assert str(good) in told


def test_one_process_alone_is_told_nothing(good, buggy, caplog):
    with caplog.at_level(logging.WARNING, "veritas_peewee"), connect(good):
        for _ in range(3):
            operations.create("https://example.com/")
            with held_open(good, "SELECT COUNT(*) FROM audits"):
                pass
    assert warnings_of(caplog) == []


def test_a_sound_version_is_told_nothing(good, buggy, caplog, monkeypatch):
    monkeypatch.setattr(module, "has_wal_reset_bug", lambda version: False)
    with caplog.at_level(logging.WARNING, "veritas_peewee"), connect(good):
        operations.create("https://example.com/")
        with held_open(good, "UPDATE audits SET risk_level = risk_level"):
            pass
        operations.create("https://example.com/")
    assert warnings_of(caplog) == []


# ---- real processes ----


def test_doctor_as_a_program(good, tmp_path):
    done = run_program("doctor", "--database", good)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 audits" in done.stdout
    done = run_program("doctor", "--database", good, "--json")
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["ok"] is True
    assert {"level", "name", "text", "value"} == set(told["findings"][0])
    done = run_program("doctor", "--database", tmp_path / "none.db", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["ok"] is False
    assert run_program("doctor", "--wrong").returncode == 2


@pytest.mark.parametrize(("more", "level"), [(-1, "warning"), (0, "ok")])
def test_there_must_be_room_for_a_copy_of_the_file(
    good: Path, monkeypatch: pytest.MonkeyPatch, more: int, level: str
) -> None:
    monkeypatch.setattr("veritas_peewee.maintenance.doctor.LITTLE_SPACE", 0)
    free = good.stat().st_size + more
    usage = shutil.disk_usage(good)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    found = find(diagnose(good), "space")
    assert (found.level, found.value) == (level, free)
