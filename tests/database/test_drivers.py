"""Errors and rows are the same by Python's own SQLite and by pysqlite3's."""

from __future__ import annotations

import resource
from contextlib import closing
from pathlib import Path
from typing import Any

import peewee
import pytest

from tests.support.database_files import by_hand
from veritas_peewee import Audit, DatabaseCorrupt, StoreFull, connect, sync
from veritas_peewee.database.failures import error_code, store_error
from veritas_peewee.database.sqlite import scratch
from veritas_peewee.database.sqlite_driver import READS_AHEAD, driver
from veritas_peewee.models import AuditFinding
from veritas_peewee.testing import make_event

REFUSED = {
    "INSERT INTO one VALUES (1, 2)": (1555, "IntegrityError"),
    "INSERT INTO one VALUES (2, NULL)": (1299, "IntegrityError"),
    "INSERT INTO one VALUES (2, 0)": (275, "IntegrityError"),
    "INSERT INTO one VALUES (2, 1)": (2067, "IntegrityError"),
    "INSERT INTO two VALUES (7)": (787, "IntegrityError"),
    "INSERT INTO two VALUES (9)": (1811, "IntegrityError"),
    "INSERT INTO one VALUES ('x', 3)": (20, "IntegrityError"),
    "SELECT * FROM three": (1, "OperationalError"),
}


@pytest.mark.parametrize("statement", REFUSED)
def test_an_error_has_its_extended_code_and_the_class_of_its_primary_one(statement: str) -> None:
    with closing(scratch()) as connection:
        connection.executescript(
            "PRAGMA foreign_keys = ON; "
            "CREATE TABLE one (x INTEGER PRIMARY KEY, y INTEGER NOT NULL UNIQUE CHECK (y > 0)); "
            "CREATE TABLE two (x INTEGER REFERENCES one (x)); INSERT INTO one VALUES (1, 1); "
            "CREATE TRIGGER no BEFORE INSERT ON two WHEN NEW.x = 9 "
            "BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        cursor = connection.cursor()
        for run in (connection.execute, cursor.execute, connection.executescript):
            with pytest.raises(driver.Error) as caught:
                run(statement)
            kind = type(caught.value)
            assert (caught.value.sqlite_errorcode, kind.__name__) == REFUSED[statement]
            assert kind is getattr(driver, kind.__name__)


def test_peewee_catches_what_it_catches_by_the_other_driver(path: Path) -> None:
    with connect(path):
        audit = sync.create("https://a.example/")
        with pytest.raises(peewee.IntegrityError) as caught:
            Audit.insert(id=audit.id, url="https://b.example/").execute()
        assert error_code(caught.value) == 1555
        same, created = Audit.get_or_create(id=audit.id, defaults={"url": "https://c.example/"})
        assert (same.url, created) == (audit.url, False)
        with pytest.raises(peewee.IntegrityError) as caught:
            AuditFinding.insert(
                audit="x", pattern_type="p", severity="low", confidence=1, description="d"
            ).execute()
        assert error_code(caught.value) == 787


def test_a_limit_on_the_size_of_files_is_a_full_disk(path: Path) -> None:
    """SQLITE_IOERR_WRITE: by its primary code alone it could be a broken disk."""
    with connect(path):
        audit = sync.create("https://a.example/")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, limits[1]))
        try:
            with pytest.raises(StoreFull):
                for _ in range(100):
                    sync.record(audit.id, make_event("log_entry", message="x" * 10_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        sync.record(audit.id, make_event("log_entry"))


def test_a_damaged_index_of_words_is_told_from_a_damaged_file(path: Path) -> None:
    with connect(path):
        for number in range(3):
            sync.record(sync.create(f"https://{number}.example/").id, make_event("audit_complete"))
    by_hand(path, "DELETE FROM search_index_data")
    with connect(path, read_only=True) as database:
        with pytest.raises(driver.DatabaseError) as caught:
            database.raw.execute(
                "SELECT rowid FROM search_index WHERE search_index MATCH 'example'"
            ).fetchall()
        assert caught.value.sqlite_errorcode == 267
        assert isinstance(found := store_error(caught.value), DatabaseCorrupt)
        assert "verify --fix" in str(found)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
@pytest.mark.parametrize("read_only", [True, False], ids=["reading", "writing"])
def test_each_row_is_given_where_one_is_no_text(path: Path, at: int, read_only: bool) -> None:
    with connect(path):
        ids = [sync.create(f"https://{number}.example/").id for number in range(4)]
    by_hand(path, f"UPDATE audits SET narrative = CAST(x'61ff' AS TEXT) WHERE id = '{ids[at]}'")
    sql = "SELECT id, narrative FROM audits ORDER BY created_at, id"

    def one_by_one(rows: Any) -> list[Any]:
        found = []
        while (row := rows.fetchone()) is not None:
            found.append(row)
        return found

    expected = [(one, "a\\xff" if one == ids[at] else None) for one in sorted(ids)]
    for read in (list, one_by_one):
        with connect(path, read_only=read_only) as database:
            assert sorted(read(database.execute_sql(sql))) == expected
    with connect(path, read_only=read_only):
        assert sorted(Audit.select(Audit.id, Audit.narrative).tuples()) == expected


@pytest.mark.parametrize("ordered", [True, False])
def test_no_row_is_passed_over_whose_fellows_are_changed_while_they_are_read(
    path: Path, ordered: bool
) -> None:
    with connect(path):
        ids = [sync.create(f"https://{n}.example/").id for n in range(10)]
    by_hand(path, f"UPDATE audits SET narrative = CAST(x'41ff42' AS TEXT) WHERE id = '{ids[5]}'")
    done = []

    def run_queued() -> None:
        query = Audit.select().where(Audit.status == "queued")
        for audit in query.order_by(Audit.url) if ordered else query:
            Audit.update(status="running").where(Audit.id == audit.id).execute()
            done.append(audit.id)

    with connect(path):
        if READS_AHEAD:
            with pytest.raises(DatabaseCorrupt, match="read them again"):
                run_queued()
        run_queued()
    assert sorted(done) == sorted(ids)
