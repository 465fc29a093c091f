"""What is removed beside a check accuses nobody; what is really lost is named all the same."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.audits import fill
from tests.support.database_files import by_hand
from tests.support.processes import start
from veritas_peewee import AuditNotFound, AuditStore, connect
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.maintenance import backup as backups
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditScreenshot
from veritas_peewee.presentation.report import report_html
from veritas_peewee.recording import operations, removal
from veritas_peewee.transfer.exporting import export_jsonl


@pytest.fixture
def ids(path: Path) -> list[str]:
    with connect(path):
        fill()
    with connect(path):
        return [shot.audit_id for shot in AuditScreenshot.select().order_by(AuditScreenshot.id)]


@pytest.fixture
def before_reading(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something happen, once, before the first image is read."""

    def arrange(happens: Callable[[], object]) -> None:
        left = [happens]
        read = ScreenshotFolder.read

        def reading(folder: ScreenshotFolder, file: str) -> bytes:
            if left:
                left.pop()()
            return read(folder, file)

        monkeypatch.setattr(ScreenshotFolder, "read", reading)

    return arrange


def remove(path: Path, audit_id: str) -> Callable[[], None]:
    """Removes an audit in another process, to its end."""

    def happens() -> None:
        with start("delete_audit.py", path, audit_id) as process:
            process.communicate()
        assert process.returncode == 0

    return happens


@pytest.mark.parametrize("number", [0, 1])
def test_verify_accuses_nobody_of_what_was_removed_since(path, ids, before_reading, number) -> None:
    before_reading(remove(path, ids[number]))
    with connect(path, read_only=True):
        report = verify()
        assert (report.problems, report.unchecked, report.notes) == ([], [], [])
        assert (report.audits, report.files) == (4, 4)  # as they were in its snapshot
        assert not AuditScreenshot.select().where(AuditScreenshot.audit == ids[number]).exists()


async def test_a_store_s_read_does_not_either(file_store: AuditStore, before_reading) -> None:
    ids = await file_store.write(fill)
    before_reading(remove(file_store.location.path, ids[1]))
    report = await file_store.read(verify)
    assert (report.problems, report.audits) == ([], 4)


def test_a_lost_image_is_named_beside_a_removal(path, ids, before_reading) -> None:
    with connect(path, read_only=True) as opened:
        lost = AuditScreenshot.get(AuditScreenshot.audit == ids[2]).file_path
        (opened.location.screenshots / lost).unlink()
        before_reading(remove(path, ids[1]))
        (problem,) = verify().problems
        assert f"of audit {ids[2]}" in problem


def test_a_row_that_is_lost_in_this_very_transaction_is_asked_of_all(path, ids) -> None:
    """A script that verifies inside its own transaction sees the store as others do, too."""
    with connect(path) as opened, opened.atomic():
        removal.delete(ids[0])
        assert verify().problems == []
        shot = AuditScreenshot.get(AuditScreenshot.audit == ids[1])
        (opened.location.screenshots / shot.file_path).unlink()
        (problem,) = verify().problems
        assert f"of audit {ids[1]}" in problem


def test_an_export_leaves_out_an_audit_that_was_removed_while_it_was_read(
    path, ids, before_reading
) -> None:
    with connect(path, read_only=True):
        newest = operations.Audit.select().order_by(operations.Audit.created_at.desc()).get().id
        before_reading(remove(path, newest))
        target = io.BytesIO()
        report = export_jsonl(target)
        assert (report.ok, report.audits, report.screenshots) == (True, 3, 3)
        assert newest not in target.getvalue().decode()


def test_an_export_leaves_out_one_screenshot_that_was_removed(path, ids, before_reading) -> None:
    def happens() -> None:
        by_hand(path, f"DELETE FROM audit_screenshots WHERE audit_id = '{ids[0]}'")
        (path.parent / "screenshots" / file).unlink()

    with connect(path, read_only=True):
        file = AuditScreenshot.get(AuditScreenshot.audit == ids[0]).file_path
        before_reading(happens)
        report = export_jsonl(io.BytesIO(), ids=[ids[0]])
        assert (report.problems, report.audits, report.screenshots) == ([], 1, 0)


def test_a_report_of_an_audit_that_was_removed_meanwhile_is_none(path, ids, before_reading) -> None:
    before_reading(remove(path, ids[0]))
    with connect(path, read_only=True), pytest.raises(AuditNotFound):
        report_html(ids[0])


def test_a_backup_is_made_while_audits_are_removed(path, ids, before_reading, tmp_path) -> None:
    before_reading(remove(path, ids[0]))
    report: Any = backups.backup(tmp_path / "backup", database=path)
    assert (report.problems, report.deleted, report.audits) == ([], [ids[0]], 3)
