"""A damaged full-text index, or an odd row, stops no audit from ending, and is named and mended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.database_files import by_hand, verified
from veritas_peewee import Audit, connect, sync
from veritas_peewee.catalog.checking import INDEX_DISAGREES
from veritas_peewee.cli.app import run
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.maintenance.doctor import diagnose
from veritas_peewee.maintenance.removing import remove_some
from veritas_peewee.maintenance.verify import verify

ENDED = {"type": "audit_complete", "elapsed": 1}
NEWEST = "(SELECT MAX(segid) FROM search_index_idx)"
DAMAGED = {
    "a page of a segment to come": f"UPDATE search_index_idx SET segid = {NEWEST} + 1 "
    f"WHERE segid = {NEWEST}",
    "no pages": "DELETE FROM search_index_idx",
    "pages of other segments": "UPDATE search_index_idx SET segid = segid + 1000",
    "blocks that are no blocks": "UPDATE search_index_data SET block = x'00'",
    "no blocks": "DELETE FROM search_index_data",
    "another format": "UPDATE search_index_config SET v = 99",
    "no format": "DELETE FROM search_index_config",
    "no sizes": "DELETE FROM search_index_docsize",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "audits.db"
    with connect(path):
        for number in range(3):
            sync.record(sync.create(f"https://example.com/{number}").id, ENDED)
    return path


@pytest.mark.parametrize("how", DAMAGED)
def test_audits_end_beside_a_damaged_index(path: Path, how: str) -> None:
    by_hand(path, DAMAGED[how])
    with connect(path, read_only=True):
        assert verify().problems
    with connect(path):
        for number in range(3):
            audit = sync.create(f"https://example.org/{number}").id
            sync.record(audit, ENDED)
            assert sync.get(audit).status == "completed"
    with connect(path, read_only=True):
        assert verify().problems
    assert run(["verify", "--fix", "--database", str(path)]) == 0
    verified(path)
    with connect(path, read_only=True):
        assert len(sync.search("example").items) == 6


@pytest.mark.parametrize("counter", ["9e999", "9223372036854775807", "'x'", "-1"])
def test_a_counter_of_entries_that_is_at_its_end_stops_no_audit(path: Path, counter: str) -> None:
    by_hand(path, f"UPDATE sqlite_sequence SET seq = {counter} WHERE name = 'audit_catalog'")
    with connect(path):
        for number in range(2):
            sync.record(sync.create(f"https://example.org/{number}").id, ENDED)
        assert len(sync.search("example").items) == 5
    assert verified(path).problems == []


def test_doctor_names_pages_that_no_segment_has(path: Path) -> None:
    by_hand(path, DAMAGED["pages of other segments"])
    assert any(one.level == "problem" and INDEX_DISAGREES in one.text for one in diagnose(path))


@pytest.mark.parametrize(("column", "remove"), [
    ("created_at", sync.delete),
    ("created_at", lambda audit: remove_some([audit])),
    ("status", sync.delete),
    ("audit_tier", sync.delete),
], ids=["created_at", "created_at, pruned", "status", "audit_tier"])  # fmt: skip
def test_a_null_where_none_can_be_stops_neither_repair_nor_removal(
    path: Path, column: str, remove: Callable[[str], object]
) -> None:
    with closing(driver.connect(path, isolation_level=None)) as plain:
        sql = "SELECT sql FROM sqlite_master WHERE name = 'audits'"
        ((text,),) = plain.execute(sql).fetchall()
        before, after = text.split(f'"{column}"', 1)
        laxer = f'{before}"{column}"{after.replace(" NOT NULL", "", 1)}'
        (audit,) = plain.execute("SELECT MIN(id) FROM audits").fetchone()
    for made in (laxer, text):
        with closing(driver.connect(path, isolation_level=None)) as plain:
            plain.execute("PRAGMA writable_schema = ON")
            plain.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'audits'", (made,))
        if made is laxer:
            by_hand(path, f"UPDATE audits SET {column} = NULL WHERE id = '{audit}'")
    with connect(path, read_only=True):
        assert any(audit in problem for problem in verify().problems)
    assert run(["verify", "--fix", "--database", str(path)]) == 1
    with connect(path):
        remove(audit)
        assert not Audit.select().where(Audit.id == audit).exists()
        sync.record(sync.create("https://example.com/after").id, ENDED)
