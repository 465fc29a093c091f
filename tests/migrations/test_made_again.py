"""A process makes the schema by its scripts once, and the same schema again for the next files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.database_files import by_hand, select
from tests.support.invariants import check_invariants
from veritas_peewee import connect
from veritas_peewee.migrations import again
from veritas_peewee.migrations.history import HISTORY

SCHEMA = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
NAMES = "SELECT id, name, LENGTH(applied), typeof(applied) FROM veritas_migrations ORDER BY id"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process has made no schema yet."""
    monkeypatch.setattr(again, "_statements", ())


@pytest.mark.usefixtures("scripts")
def test_it_is_what_the_scripts_make(tmp_path: Path) -> None:
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    with connect(first):
        pass
    assert again._statements
    with connect(second):
        pass
    assert select(second, SCHEMA) == select(first, SCHEMA)
    assert select(second, NAMES) == select(first, NAMES)
    for (name,) in select(first, "SELECT name FROM sqlite_master WHERE type = 'table'"):
        if name not in (HISTORY, "sqlite_sequence"):  # the latter has a 0, which means nothing
            rows = f"SELECT * FROM {name}"
            assert select(second, rows) == select(first, rows), name
    with connect(second):
        check_invariants()


@pytest.mark.usefixtures("scripts")
@pytest.mark.parametrize("known", [False, True])
def test_a_file_with_anything_in_it_gets_what_it_lacks(tmp_path: Path, known: bool) -> None:
    if known:
        with connect(":memory:"):
            pass
    path = tmp_path / "audits.db"
    by_hand(path, "CREATE VIEW theirs AS SELECT 1 AS one")
    with connect(path):
        pass
    assert select(path, "SELECT one FROM theirs") == [(1,)]
    with connect(tmp_path / "other.db"):
        pass
    ours = [row for row in select(path, SCHEMA) if row[1] != "theirs"]
    assert ours == select(tmp_path / "other.db", SCHEMA)
