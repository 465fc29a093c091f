"""A check that lacks means of its own says so, and calls nothing damaged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.support.audits import fill
from tests.support.command_line import run_here
from tests.support.database_files import verified
from tests.support.posix_modules import resource
from veritas_peewee import DatabaseCorrupt, StoreError, connect
from veritas_peewee.catalog import full_text_upkeep
from veritas_peewee.database.failures import lacking
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.files.platform import Folder
from veritas_peewee.ledger import seals
from veritas_peewee.maintenance import backup as backups
from veritas_peewee.maintenance import verify as verifying
from veritas_peewee.presentation.report import report_html

OF_THE_SYSTEM = [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM]
OF_THE_FILE = [errno.ENOENT, errno.EIO, errno.ELOOP, errno.ENOTDIR]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "audits.db"
    with connect(path):
        fill(2)
    with connect(path):
        return path


def refuse(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def opened(folder: Folder, name: str) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Folder, "open_to_read", opened)


@pytest.mark.parametrize("code", OF_THE_SYSTEM, ids=os.strerror)
def test_an_image_that_cannot_be_looked_at_is_not_missing(path, monkeypatch, capsys, code) -> None:
    refuse(monkeypatch, code)
    report = verified(path)
    assert (report.problems, report.ok) == ([], False)
    assert len(report.unchecked) == 3
    assert os.strerror(code) in report.unchecked[0]
    told = run_here(capsys, "verify", "--database", path)
    assert told.code == 3
    assert "could not be checked" in told.err
    found = run_here(capsys, "verify", "--json", "--database", path).json
    assert (found["ok"], found["problems"], len(found["unchecked"])) == (False, [], 3)


@pytest.mark.parametrize("code", OF_THE_FILE, ids=os.strerror)
def test_an_image_that_is_not_there_or_is_another_thing_is_a_problem(
    path, monkeypatch, capsys, code
) -> None:
    refuse(monkeypatch, code)
    report = verified(path)
    assert (len(report.problems), report.unchecked) == (3, [])
    assert run_here(capsys, "verify", "--database", path).code == 1


@pytest.mark.parametrize("code", OF_THE_SYSTEM, ids=os.strerror)
def test_an_image_that_cannot_be_copied_is_no_damage_of_the_store(
    path, monkeypatch, tmp_path, code
) -> None:
    refuse(monkeypatch, code)
    with pytest.raises(StoreError, match=f"not backed up: .*{os.strerror(code)}") as caught:
        backups.backup(tmp_path / "backup", database=path)
    assert not isinstance(caught.value, DatabaseCorrupt)
    assert not (tmp_path / "backup").exists()


def test_a_backup_that_cannot_be_verified_says_that(path, monkeypatch, tmp_path) -> None:
    read, calls = ScreenshotFolder.read, []

    def reading(folder: ScreenshotFolder, file: str) -> bytes:
        calls.append(file)
        if len(calls) > 3:  # the copies have been made
            raise StoreError("no descriptors") from OSError(errno.EMFILE, "too many")
        return read(folder, file)

    monkeypatch.setattr(ScreenshotFolder, "read", reading)
    with pytest.raises(StoreError, match="cannot be verified here") as caught:
        backups.backup(tmp_path / "backup", database=path)
    assert not isinstance(caught.value, DatabaseCorrupt)
    assert not (tmp_path / "backup").exists()


def test_a_report_is_not_made_without_means_to_look(path, monkeypatch) -> None:
    with connect(path, read_only=True):
        audit_id = seals.Audit.select().get().id
        refuse(monkeypatch, errno.EMFILE)
        with pytest.raises(StoreError, match=os.strerror(errno.EMFILE)):
            report_html(audit_id)


def test_without_descriptors_nothing_is_called_damaged(path) -> None:
    with connect(path, read_only=True):
        verifying.verify()  # whatever is imported and opened once
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = len(os.listdir("/proc/self/fd"))
        try:
            for spare in range(4):
                resource.setrlimit(resource.RLIMIT_NOFILE, (used + spare, hard))
                report = verifying.verify()
                assert report.problems == []
                assert report.audits == 3
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert verifying.verify().ok


def test_no_memory_is_no_damage(path, monkeypatch) -> None:
    def without(audit_id: str) -> None:
        raise MemoryError

    monkeypatch.setattr(verifying.seals, "stored_audit", without)
    report = verified(path)
    assert report.problems == []
    assert "there is not enough memory" in report.unchecked[0]


def test_the_words_are_compared_where_there_is_no_temporary_folder(path, monkeypatch) -> None:
    """SQLITE_TMPDIR is only one of the folders that SQLite tries, so a driver stands in here."""
    code = driver.OperationalError("unable to open database file")
    code.sqlite_errorcode = 14
    tried = []
    agrees = full_text_upkeep._agrees_with_new_one

    def without_files(scratch: str) -> bool:
        tried.append(scratch)
        if scratch == "":
            raise code
        return agrees(scratch)

    monkeypatch.setattr(full_text_upkeep, "_agrees_with_new_one", without_files)
    assert verified(path).ok
    assert tried == ["", ":memory:"]


# The names are SQLite's own (sqlite.org/rescode.html).
SYSTEM = {"PERM": 3, "BUSY": 5, "LOCKED": 6, "NOMEM": 7, "FULL": 13, "CANTOPEN": 14,
          "PROTOCOL": 15, "IOERR_WRITE": 778, "IOERR_NOMEM": 3082, "IOERR_LOCK": 3850,
          "IOERR_SHMOPEN": 4618, "IOERR_SHMSIZE": 4874, "IOERR_SHMMAP": 5386,
          "IOERR_GETTEMPPATH": 6410}  # fmt: skip
FILE = {"ERROR": 1, "CORRUPT": 11, "NOTADB": 26, "IOERR_READ": 266, "IOERR_SHORT_READ": 522}


@pytest.mark.parametrize("name", [*SYSTEM, *FILE])
def test_what_the_system_did_not_give_is_no_damage_of_the_file(name: str) -> None:
    error = driver.OperationalError("no")
    error.sqlite_errorcode = (SYSTEM | FILE)[name]
    assert (lacking(error) is None) is (name in FILE)
