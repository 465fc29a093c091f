"""Whatever is in a file, `verify` judges every part and row, and names what it cannot judge."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest
from peewee import OperationalError

from tests.support.amount import one_in
from tests.support.audits import fill
from tests.support.command_line import run_here
from tests.support.database_files import by_hand, verified
from veritas_peewee import connect
from veritas_peewee.catalog import checking, entries
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.ledger.heads import newest_head
from veritas_peewee.maintenance import on_file
from veritas_peewee.maintenance import verify as verifying

ODD = ["'x'", "x'00ff'", "-1", "1.5", "9e999", "''", "CAST(x'ff' AS TEXT)"]
COLUMNS = ["audits.sealed_events", "audits.seal", "audits.id", "audits.status", "audits.host",
           "audit_events.digest", "audit_events.timestamp", "audit_findings.digest",
           "audit_screenshots.file_path", "audit_screenshots.sha256"]  # fmt: skip


@pytest.fixture
def ids(path: Path) -> list[str]:
    with connect(path):
        ids = fill(2)
    with connect(path):
        return ids


@pytest.mark.parametrize(("column", "value"), one_in(3, list(product(COLUMNS, ODD))))
def test_an_odd_value_is_named_and_the_rest_is_judged(path, ids, capsys, column, value) -> None:
    table, _, name = column.partition(".")
    with connect(path, read_only=True) as opened:
        head = str(newest_head())
        lost = opened.execute_sql(
            "SELECT file_path FROM audit_screenshots WHERE audit_id = ?", (ids[1],)
        ).fetchone()[0]
        (opened.location.screenshots / lost).unlink()
    row = f"rowid = (SELECT MIN(rowid) FROM {table})"
    by_hand(path, "PRAGMA foreign_keys = OFF", f"UPDATE {table} SET {name} = {value} WHERE {row}")
    for options in ({}, {"against": head}):
        report = verified(path, **options)
        assert any(lost in problem for problem in report.problems)
        assert len(report.problems) > 1
        assert report.unchecked == []
        assert report.audits == 3
    for words in ([], ["--against", head], ["--fix"]):
        told = run_here(capsys, "verify", *words, "--database", path)
        assert told.code == 1
        assert "an error of the program" not in told.err
        assert lost in told.err


def test_an_id_that_is_not_valid_text_is_told_and_not_taken_for_a_lost_row(path, ids) -> None:
    change = f"UPDATE audits SET id = CAST(x'6fff' AS TEXT) WHERE id = '{ids[0]}'"
    by_hand(path, "PRAGMA foreign_keys = OFF", change)
    told = [problem for problem in verified(path).problems if problem.startswith("audit o")]
    assert told == [r"audit o\xff: its id is not valid text, and it can be read by no other"]


class _Odd(Exception):
    pass


@pytest.mark.parametrize(
    ("module", "name", "part"),
    [
        (on_file.parts, "differences", "the schema"),
        (checking, "disagreements", "the catalog"),
        (verifying, "check_log", "the log"),
        (verifying, "_check_file", "the file"),
        (verifying, "_check_rows", "audit "),
        (entries, "is_current", "its entry in the catalog"),
        (verifying.seals, "host_in", "its host"),
    ],
)
def test_an_error_of_one_part_leaves_the_others(path, ids, monkeypatch, module, name, part) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise _Odd("what is in the file")

    monkeypatch.setattr(module, name, fails)
    report = verified(path)
    assert all("what is in the file" in problem for problem in report.problems)
    assert part in report.problems[0]
    assert (report.audits, report.files) == (3, 3)
    assert not report.ok


@pytest.mark.parametrize("error", [_Odd("mine"), TypeError("mine"), KeyboardInterrupt("mine")])
def test_an_error_of_the_caller_s_progress_is_the_caller_s(path, ids, error) -> None:
    def progress(done: int, total: int) -> None:
        raise error

    with (
        connect(path, read_only=True),
        pytest.raises(type(error), match="mine") as caught,
    ):
        verifying.verify(progress=progress)
    assert caught.value is error


def test_a_check_that_is_interrupted_ends(path, ids, monkeypatch) -> None:
    with connect(path, read_only=True) as opened:
        opened.cancel_when(lambda: True, 1)
        try:
            with pytest.raises((OperationalError, driver.OperationalError)):
                verifying.verify()
        finally:
            opened.cancel_when(lambda: False, 1000)
        assert verifying.verify().ok
