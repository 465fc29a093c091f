"""A file opened by another program: views with plain names for the usual questions."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.database_files import by_hand, verified
from veritas_peewee import connect, sync
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.maintenance.repair import repairing
from veritas_peewee.migrations.fresh import SEARCH_CONTENT
from veritas_peewee.migrations.fresh import VIEWS as ALL_VIEWS
from veritas_peewee.recording import ingest, removal

VIEWS = ALL_VIEWS - {SEARCH_CONTENT}


@pytest.fixture
def plain(path: Path, ids: list[str]) -> Iterator[driver.Connection]:
    """The file as any other program opens it, without a function of ours."""
    with closing(driver.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = driver.Row
        yield connection


def select(plain: driver.Connection, sql: str) -> list[dict[str, Any]]:
    return [dict(row) for row in plain.execute(sql)]


def test_completed_audits_tells_what_each_comes_to(plain, ids):
    rows = select(plain, "SELECT * FROM completed_audits")
    assert [row["id"] for row in rows] == ids[2::-1]
    assert rows[0]["url"] == "https://shop2.example/"
    assert (rows[0]["findings"], rows[0]["critical"], rows[0]["high"]) == (2, 0, 2)
    assert (rows[0]["trust_score"], rows[0]["screenshots"]) == (52.0, 1)


def test_findings_screenshots_and_events_come_with_their_address(plain, ids):
    findings = select(plain, f"SELECT * FROM findings_with_urls WHERE audit_id = '{ids[1]}'")
    assert [row["description"] for row in findings] == ["finding 0", "finding 1"]
    assert {row["url"] for row in findings} == {"https://shop1.example/"}
    shots = select(plain, "SELECT * FROM screenshots_with_urls ORDER BY id")
    assert [row["url"] for row in shots] == [f"https://shop{n}.example/" for n in range(4)]
    log = select(plain, f"SELECT * FROM event_log WHERE audit_id = '{ids[0]}' ORDER BY id")
    assert [row["event_type"] for row in log][:2] == ["phase_start", "finding"]
    assert json.loads(log[0]["data"])["phase"] == "scout"
    for row in (*findings, *shots, *log):
        assert len(bytes.fromhex(row["digest"])) == 32
        assert row["digest"] == row["digest"].lower()


SITES = {
    "shop.example": ["https://www.Shop.example:8080/a?b#c", "http://shop.example./x",
                     "https://u:p@shop.example", "shop.example", "http://shop.example?x=//y",
                     "http://shop.example#/x", "HTTP://WWW.SHOP.EXAMPLE"],
    "::1": ["https://[::1]:80/", "https://[::1]"],
    "www.com": ["https://www.com/"],
    "wwwx.example": ["https://wwwx.example"],
    "": [""],
}  # fmt: skip


def test_the_latest_audit_of_each_site_whatever_its_address_looks_like(path):
    with connect(path) as database:
        number, newest = 0, {}
        for site, urls in SITES.items():
            for url in urls:
                number += 1
                database.execute_sql(
                    "INSERT INTO audits (id, url, created_at, updated_at) VALUES (?, ?, ?, ?)",
                    (f"a{number}", url, f"2026-01-{number:02} 00:00:00.000000", "x"),
                )
                newest[site] = (f"a{number}", url, len(urls))
    with closing(driver.connect(path)) as plain:
        rows = plain.execute("SELECT site, id, url, audits FROM latest_audit_of_each_site")
        assert {site: rest for site, *rest in rows.fetchall()} == {
            site: list(told) for site, told in newest.items()
        }


def test_the_latest_audit_of_a_site_is_the_one_that_ran_last(path):
    """Not the one that was stored last: an old result may be ingested after a newer one."""
    with connect(path):
        for audit_id, moment in (("new", 1_790_000_000), ("old", 1_600_000_000)):
            told = {"url": "https://shop.example/", "status": "completed", "start_time": moment,
                    "elapsed_seconds": 5}  # fmt: skip
            ingest.ingest(told, audit_id=audit_id, url="https://shop.example/")
        trend = sync.trend(host="shop.example").points
    with closing(driver.connect(path)) as plain:
        rows = plain.execute("SELECT id, audits FROM latest_audit_of_each_site").fetchall()
        plan = plain.execute("EXPLAIN QUERY PLAN SELECT * FROM latest_audit_of_each_site")
        assert any("idx_audits_host_time" in step[3] for step in plan)
    assert rows == [("new", 2)]
    assert trend[-1].audit_id == "new"


def test_removed_tells_what_is_left(path, ids):
    with connect(path):
        removal.delete(ids[1])
    with closing(driver.connect(path)) as plain:
        ((audit_id, _, removed_at, events),) = plain.execute("SELECT * FROM removed")
        assert (audit_id, events) == (ids[1], 8)
        assert removed_at > "2026"


def test_a_view_that_is_missing_is_told_and_made_again(path, ids):
    by_hand(path, *(f"DROP VIEW {name}" for name in VIEWS))
    assert verified(path).problems == [f"the view {name} is missing" for name in sorted(VIEWS)]
    with repairing(path) as done:
        assert done == [f"the view {name} was missing, and is made again" for name in sorted(VIEWS)]
    with repairing(path) as done:
        assert done == []
    assert verified(path).problems == []


def test_a_table_that_the_user_has_under_such_a_name_stays(path, ids):
    by_hand(path, "DROP VIEW removed", "CREATE TABLE removed (mine TEXT)")
    assert verified(path).problems == []
    with repairing(path) as done:
        assert done == []
    assert verified(path).problems == []


def test_a_view_reads_its_rows_by_index(plain, ids):
    for question in (
        f"SELECT * FROM findings_with_urls WHERE audit_id = '{ids[0]}'",
        f"SELECT * FROM screenshots_with_urls WHERE audit_id = '{ids[0]}'",
        f"SELECT * FROM event_log WHERE audit_id = '{ids[0]}'",
        "SELECT * FROM findings_with_urls WHERE pattern_type = 'x'",
        "SELECT * FROM completed_audits LIMIT 20",
    ):
        plan = [row[3] for row in plain.execute(f"EXPLAIN QUERY PLAN {question}")]
        assert not [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step], plan


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="there is no sqlite3 shell")
def test_the_sqlite3_shell_shows_them(path, ids):
    done = subprocess.run(
        ["sqlite3", "-readonly", "-header", str(path),
         "SELECT url, trust_score FROM completed_audits ORDER BY url LIMIT 1"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout == "url|trust_score\nhttps://shop0.example/|50.0\n"
