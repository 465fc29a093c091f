"""An image that was not in an import is a note ever after, and stops nothing."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.audits import fill
from tests.support.command_line import run_here
from tests.support.database_files import by_hand, select, verified
from veritas_peewee import connect
from veritas_peewee.database import current
from veritas_peewee.maintenance import backup as backups
from veritas_peewee.maintenance.repair import repair
from veritas_peewee.maintenance.restore import restore
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AbsentImage, AuditScreenshot
from veritas_peewee.presentation.report import report_html
from veritas_peewee.recording import removal
from veritas_peewee.testing import make_png
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "source" / "audits.db"


@pytest.fixture
def line(path: Path, ids: list[str]) -> dict[str, Any]:
    """An exported audit without its image."""
    target = io.BytesIO()
    with connect(path, read_only=True):
        assert export_jsonl(target, ids=ids[:1], images=False).ok
    found: dict[str, Any] = json.loads(target.getvalue())
    assert found["screenshots"][0]["image"] is None
    return found


@pytest.fixture
def store(line: dict[str, Any], tmp_path: Path) -> Path:
    """A store with audits of its own, and one that was imported without its image."""
    database = tmp_path / "store" / "audits.db"
    with connect(database):
        fill(1)
        done = import_jsonl(io.BytesIO(json.dumps(line).encode()))
        assert (done.problems, done.without_image) == ([], 1)
    return database


def absent(line: dict[str, Any]) -> str:
    file: str = line["screenshots"][0]["file_path"]
    return file


def test_verify_notes_it_and_nothing_is_wrong(store, line, capsys) -> None:
    report = verified(store)
    assert (report.problems, report.unchecked, report.ok) == ([], [], True)
    (note,) = report.notes
    assert absent(line) in note
    assert "was not in the import" in note
    told = run_here(capsys, "verify", "--database", store)
    assert (told.code, told.err) == (0, "")


def test_it_is_backed_up_and_restored(store, line, tmp_path, capsys) -> None:
    report = backups.backup(tmp_path / "backup", database=store)
    assert (report.problems, report.deleted) == ([], [])
    assert [absent(line) in note for note in report.notes] == [True]
    restore(tmp_path / "backup", tmp_path / "new" / "audits.db")
    assert len(verified(tmp_path / "new" / "audits.db").notes) == 1
    told = run_here(capsys, "backup", tmp_path / "again", "--database", store)
    assert (told.code, told.err) == (0, "")
    assert "was not in the import" in told.out


def test_it_is_exported_and_imported_again(store, line, tmp_path, capsys) -> None:
    with connect(store, read_only=True):
        report = export_jsonl(tmp_path / "x.jsonl", ids=[line["audit"]["id"]])
        assert (report.problems, report.ok, len(report.notes)) == ([], True, 1)
    with connect(":memory:"):
        assert import_jsonl(tmp_path / "x.jsonl").without_image == 1
        report = verify()
        assert (report.problems, len(report.notes)) == ([], 1)
    told = run_here(capsys, "export", "--output", tmp_path / "y.jsonl", "--database", store)
    assert (told.code, told.err) == (0, "")
    assert "note: " in told.out


def test_a_report_shows_it_as_what_it_is(store, line) -> None:
    with connect(store, read_only=True):
        page = report_html(line["audit"]["id"])
    assert "the image was not in the import that brought this audit" in page
    assert "is as it was written" in " ".join(page.split())
    assert "not as it was written" not in page


def test_an_image_that_is_there_but_another_one_is_a_problem(store, line) -> None:
    file = store.parent / "screenshots" / absent(line)
    file.parent.mkdir()
    file.write_bytes(b"x")
    (problem,) = verified(store).problems
    assert "was altered" in problem


def test_an_image_that_comes_later_is_missed_from_then_on(path, store, line) -> None:
    image = (path.parent / "screenshots" / absent(line)).read_bytes()
    with connect(store):
        assert repair() == []
        current.screenshot_folder().keep(absent(line), image)
        assert verify().notes == []
        (done,) = repair()
        assert "its image is there by now" in done
        assert AbsentImage.select().count() == 0
        (current.screenshot_folder().root / absent(line)).unlink()
        (problem,) = verify().problems
        assert absent(line) in problem


def test_an_image_of_the_store_s_own_that_is_lost_is_a_problem(store, line) -> None:
    with connect(store):
        own = AuditScreenshot.get(AuditScreenshot.file_path != absent(line))
        (current.screenshot_folder().root / own.file_path).unlink()
        (problem,) = verify().problems
        assert own.file_path in problem
        assert len(verify().notes) == 1


def test_the_mark_goes_with_its_row(store, line) -> None:
    with connect(store):
        removal.delete(line["audit"]["id"])
    assert select(store, "SELECT COUNT(*) FROM absent_images") == [(0,)]


def test_a_mark_that_was_added_by_hand_still_names_what_is_lost(store, line) -> None:
    with connect(store):
        own = AuditScreenshot.get(AuditScreenshot.file_path != absent(line))
        (current.screenshot_folder().root / own.file_path).unlink()
    by_hand(store, f"INSERT INTO absent_images VALUES ({own.id})")
    assert any(own.file_path in note for note in verified(store).notes)


def test_an_image_that_the_import_brought_is_not_marked(path, ids, tmp_path) -> None:
    with connect(path, read_only=True):
        export_jsonl(tmp_path / "x.jsonl", ids=ids[:2])
    lines = [json.loads(text) for text in (tmp_path / "x.jsonl").read_bytes().splitlines()]
    lines[1]["screenshots"][0]["image"] = None
    (tmp_path / "x.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in lines))
    with connect(":memory:"):
        assert import_jsonl(tmp_path / "x.jsonl").ok
        (mark,) = AbsentImage.select()
        assert mark.screenshot.file_path == lines[1]["screenshots"][0]["file_path"]


def test_another_file_under_its_name_is_not_taken_for_it(store, line) -> None:
    with connect(store):
        current.screenshot_folder().keep(absent(line), make_png(99))
        assert repair() == []
        assert AbsentImage.select().count() == 1
