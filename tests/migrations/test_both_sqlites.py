"""A file that one SQLite has made answers alike by another, and is whole and changed there."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.both_sqlites import FIXTURES, answers, change
from tests.support.database_files import by_hand, verified
from tests.support.processes import PROGRAMS, environment
from veritas_peewee import connect
from veritas_peewee.database.expressions import blob_as_read
from veritas_peewee.database.statements import execute, text_of
from veritas_peewee.models import AuditEvent

MADE_BY = sorted(file.name.removesuffix(".db.gz") for file in FIXTURES.glob("*.db.gz"))


def by(which: str, path: Path, what: str) -> dict[str, Any]:
    """What a store answers by a driver, in a process of its own."""
    if which == "pysqlite3":
        pytest.importorskip("pysqlite3")
    told = subprocess.run(
        [sys.executable, PROGRAMS / "by_sqlite.py", which, path, what],
        env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found


@pytest.fixture(params=MADE_BY)
def made_by(request: pytest.FixtureRequest, path: Path) -> str:
    path.parent.mkdir()
    path.write_bytes(gzip.decompress((FIXTURES / f"{request.param}.db.gz").read_bytes()))
    name: str = request.param
    return name


def test_there_are_files_of_an_older_and_a_newer_sqlite() -> None:
    versions = [tuple(map(int, name.split("."))) for name in MADE_BY]
    assert versions[0] < (3, 44) < (3, 53) <= versions[-1]


def test_it_gives_what_it_gave_where_it_was_made(made_by: str, path: Path) -> None:
    then = json.loads((FIXTURES / f"{made_by}.json").read_text())
    with connect(path):  # brings it to the schema of now
        pass
    before = path.read_bytes()
    with connect(path, read_only=True):
        assert answers() == then
    with connect(path):
        assert answers() == then
    assert path.read_bytes() == before


def test_it_is_changed_and_verified_here(made_by: str, path: Path) -> None:
    with connect(path):
        change()
    assert verified(path).problems == []
    with connect(path) as database:
        assert database.pragma("integrity_check") == "ok"
        assert len(answers()["found"]["ราคาพิเศษ"]) == 2


@pytest.mark.parametrize(
    ("first", "then"),
    [("sqlite3", "pysqlite3"), ("pysqlite3", "sqlite3")],
    ids=["Python's first", "pysqlite3's first"],
)
def test_two_sqlites_take_turns(path: Path, first: str, then: str) -> None:
    path.parent.mkdir()
    made = by(first, path, "fill")
    changed = by(then, path, "change")
    assert made["problems"] == changed["problems"] == []
    assert made.pop("sqlite") != changed["sqlite"]
    again = by(first, path, "ask")
    assert {**again, "sqlite": ""} == {**changed, "sqlite": ""}
    assert made != again


def test_the_newest_sqlite_finds_it_whole(made_by: str, path: Path) -> None:
    """By apsw, of which there is a wheel for each SQLite soon after it."""
    apsw = pytest.importorskip("apsw")
    with connect(path):
        change()
    with closing(apsw.Connection(str(path))) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        check = "INSERT INTO search_index (search_index, rank) VALUES ('integrity-check', 1)"
        other.execute(check)
        words = "SELECT COUNT(*) FROM search_index WHERE search_index MATCH '\"timer\"'"
        assert other.execute(words).fetchall() == [(1,)]
        for (name,) in other.execute("SELECT name FROM sqlite_master WHERE type = 'view'"):
            other.execute(f"SELECT COUNT(*) FROM {name}").fetchall()
        # Our triggers, by that SQLite.
        other.execute("PRAGMA foreign_keys = ON")
        other.execute("DELETE FROM audits WHERE id = (SELECT MIN(id) FROM audits)")
        other.execute(check)
    assert "the full-text index" not in "; ".join(verified(path).problems)


@pytest.mark.parametrize(
    ("stored", "read"),
    [("0.1 + 0.2", b"real:"), ("7", b"integer:37"), ("'x'", b"text:78"), ("x'00'", b"\0")],
)
def test_what_is_no_digest_is_the_same_bytes_by_each(path: Path, stored: str, read: bytes) -> None:
    fill_one = f"UPDATE audit_events SET digest = {stored}"
    path.parent.mkdir()
    path.write_bytes(gzip.decompress((FIXTURES / f"{MADE_BY[0]}.db.gz").read_bytes()))
    with connect(path):  # brings it to the schema of now
        pass
    by_hand(path, fill_one)
    with connect(path, read_only=True):
        rows = execute(text_of(AuditEvent.select(blob_as_read(AuditEvent.digest))), ())
    assert set(rows) == {(read,)}
