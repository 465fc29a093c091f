"""An audit of which nobody knows how old it is stays, is named, and is in nobody's way."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from tests.support.audits import ended
from tests.support.command_line import run_here
from tests.support.database_files import by_hand
from veritas_peewee import Audit, AuditStore, connect
from veritas_peewee.maintenance.prune import prune, prune_store

ODD = ["5", "-1.5", "9e999", "x'00'", "''", "'hello'", "'2026'", "'9999'",
       "'2026-01-31T18:00:00.000000'", "CAST(x'ff' AS TEXT)", "'2026-13-01 00:00:00.000000'",
       "hex(zeroblob(100000))"]  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audits.db"


def with_odd(path: Path, value: str) -> str:
    """A store with two ended audits of one site; gives the id of the odd one."""
    with connect(path):
        odd = ended()
        ended()
    by_hand(path, f"UPDATE audits SET created_at = {value} WHERE id = '{odd}'")
    return odd


@pytest.mark.parametrize("value", ODD)
def test_an_audit_with_an_odd_moment_stays_and_is_named(path: Path, value: str) -> None:
    odd = with_odd(path, value)
    with connect(path):
        report = prune(older_than=timedelta(0), dry_run=True)
        assert (report.audits, report.undated) == (1, [odd])
        # It takes the place of none of those that are kept.
        assert prune(keep_newest=1).audits == 0
        report = prune(older_than=timedelta(0), keep_newest=0)
        assert (report.audits, report.undated) == (1, [odd])
        assert [audit.id for audit in Audit.select(Audit.id)] == [odd]


def test_the_command_names_it(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = with_odd(path, "5")
    done = run_here(capsys, "prune", "--keep", "0", "--yes", "--database", path)
    assert (done.code, done.err) == (0, "")
    assert f"left alone: audit {odd}, whose created_at is not a moment" in done.out
    again = run_here(capsys, "prune", "--keep", "0", "--yes", "--json", "--database", path)
    assert again.json["undated"] == [odd]


async def test_a_store_prunes_beside_it(path: Path) -> None:
    odd = await anyio.to_thread.run_sync(with_odd, path, "x'00'")
    async with AuditStore.open(path) as store:
        report = await prune_store(store, older_than=timedelta(0))
        assert (report.audits, report.undated) == (1, [odd])


def test_an_audit_of_the_last_year_there_is_goes_by_its_number_too(path: Path) -> None:
    with_odd(path, "'9999-12-31 23:59:59.999999'")
    with connect(path):
        assert prune(keep_newest=0).audits == 2
