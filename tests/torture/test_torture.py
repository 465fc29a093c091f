"""The torture harness in its quick form: few rounds of each fault, through the same functions.

The full form is `make torture`.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.amount import ALL, amount
from torture import faults, report
from torture.__main__ import main
from torture.checks import check_store
from torture.model import FAULTS, OK, Fault, Row, Run
from torture.recording import Recording
from veritas_peewee.database.sqlite_errors import driver

assert faults

ROUNDS = {
    "kill": amount(2, 3), "full": amount(1, 2), "rollback": amount(2, 4), "damage": amount(2, 4),
    "upgrade": amount(2, 4), "backup": 1, "power": 1,
    "alterations": amount(10, 60), "beside": amount(2, 8), "broken": amount(8, 16),
    "bags": amount(3, 200), "import-race": amount(1, 2), "followers": 1, "server-kill": 1,
    "server-cut": amount(1, 2),
}  # fmt: skip
if ALL:  # ten machines without power, for what test_order sees call by call
    ROUNDS["power-removal"] = 1


@pytest.mark.filterwarnings("always:NOT RUN:UserWarning")
@pytest.mark.parametrize("name", ROUNDS)
def test_the_store_stands(name: str) -> None:
    rows = FAULTS[name].run(ROUNDS[name], seed=7)
    bad = [row for row in rows if row.verdict != OK and not row.not_run]
    if name == "power-removal":  # one cut: a control need not lose anything in it
        bad = [row for row in bad if not row.control or row.problems]
    assert rows
    assert not bad, report.as_table(bad)
    if lacking := "; ".join(f"{row.fault}: {row.verdict}" for row in rows if row.not_run):
        warnings.warn(f"NOT RUN: {lacking}", stacklevel=1)
        pytest.skip(lacking)


def test_every_fault_is_run_here_too_or_is_known_not_to_be() -> None:
    # In test_hostile_values, test_hostile_files, test_processes and test_machines.
    elsewhere = {
        "hostile-values", "hostile-files", "two-processes", "held-lock", "open-race", "fork",
        "cancellations", "open-close", "signals",
    }  # fmt: skip
    # These take a minute each.
    by_hand = {
        "script", "server-crash", "server-paused", "server-opened", "server-replaced",
        "server-full", "strangers",
    }  # fmt: skip
    assert set(FAULTS) - set(ROUNDS) - {"power-removal"} == by_hand | elsewhere


# ---- the harness itself ----


def damaged_store(path: Path, sql: str) -> Row:
    """What is told of a store whose process was killed, and that lost something besides."""
    with Recording(path) as recording:
        assert recording.wait_for_acks(400)
    with closing(driver.connect(path)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.executescript(sql)
    row = Row("test")
    check_store(row, path, recording.told)
    return row


def test_a_lost_write_is_told(tmp_path: Path) -> None:
    sql = "DELETE FROM audit_events WHERE event_type = 'log_entry'"
    row = damaged_store(tmp_path / "audits.db", sql)
    assert row.missing
    assert row.figures["missing event"] == row.missing
    assert "missing" in row.verdict


def test_a_half_saved_audit_and_a_lost_file_are_told(tmp_path: Path) -> None:
    sql = (
        "DELETE FROM audit_findings WHERE id = (SELECT MAX(f.id) FROM audit_findings f "
        "JOIN audits a ON a.id = f.audit_id WHERE url LIKE '%/whole/%');"
        "UPDATE audit_screenshots SET file_path = 'nowhere.png' WHERE id = 1"
    )
    row = damaged_store(tmp_path / "audits.db", sql)
    assert row.half_saved
    assert row.figures["bad files"] == 1
    assert any(text.startswith("verify: ") for text in row.problems)


@pytest.fixture
def torture(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[int, str, list[dict[str, object]]]]:
    """The program with one fault, `test`, that yields the given rows: code, table, JSON."""

    def run(row: Row, *arguments: str) -> tuple[int, str, list[dict[str, object]]]:
        def function(run: Run) -> Iterator[Row]:
            row.rounds = run.rounds
            yield row

        monkeypatch.setitem(FAULTS, "test", Fault("test", "a test", 9, 3, function))
        out = tmp_path / "torture.json"
        words = ["torture", "--fault", "test", "--out", str(out), *arguments]
        monkeypatch.setattr(sys, "argv", words)
        code = main()
        return code, capsys.readouterr().out, json.loads(out.read_text())["rows"]

    return run


Torture = Callable[..., tuple[int, str, list[dict[str, object]]]]


def test_a_good_row_ends_well(torture: Torture) -> None:
    code, table, rows = torture(Row("test", acknowledged=1234), "--quick")
    assert code == 0
    assert "1,234" in table
    assert (rows[0]["rounds"], rows[0]["verdict"]) == (3, "ok")


@pytest.mark.parametrize(
    "row",
    [
        Row("test", missing=1),
        Row("test", half_saved=1),
        Row("test", problem_count=1, problems=["a file is gone"]),
        Row("test", control="loses"),
        Row("test", control="breaks"),
        Row("test", control="loses", missing=1, half_saved=1),
    ],
)
def test_a_bad_row_or_a_control_without_loss_fails(torture: Torture, row: Row) -> None:
    code, table, rows = torture(row)
    assert code == 1
    assert "BAD: " in table
    assert all(text in table for text in row.problems)
    assert rows[0]["rounds"] == 9


def test_a_control_that_loses_is_good(torture: Torture) -> None:
    code, table, _ = torture(Row("test", control="loses", missing=5))
    assert code == 0
    assert "test (control)" in table


def test_what_could_not_be_run_says_so_and_fails_unless_it_may_be_missing(
    torture: Torture,
) -> None:
    row = Row("test", not_run="needs root to mount")
    code, table, _ = torture(row)
    assert code == 1
    assert "NOT RUN: needs root to mount" in table
    assert torture(row, "--allow-missing")[0] == 0


def test_a_fault_that_fails_itself_is_a_bad_row() -> None:
    def function(run: Run) -> Iterator[Row]:
        yield Row("test", run.rounds)
        raise OSError("no such disk")

    good, bad = Fault("test", "a test", 1, 1, function).run(1)
    assert good.verdict == OK
    assert bad.problems == ["the fault could not be run: OSError: no such disk"]
    assert bad.verdict == "BAD: 1 problems"
