"""A text of an audit is stored once, and whoever changes its rows, the index knows its words."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.support.audits import ended, found
from tests.support.database_files import by_hand, select, verified, with_texts_twice
from tests.support.invariants import check_invariants
from veritas_peewee import Audit, ReadOnlyStore, connect, migrations, sync
from veritas_peewee.catalog import checking, filling
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.maintenance.repair import repair
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import CatalogEntry
from veritas_peewee.queries.search import search
from veritas_peewee.recording import operations

NOT_NULL = "SELECT COUNT(*) FROM audit_catalog WHERE {} IS NOT NULL"


def stored(path: Path, column: str) -> int:
    """How many entries have a text of their own."""
    return int(select(path, NOT_NULL.format(column))[0][0])


def test_plain_texts_are_stored_once_and_folded_ones_twice(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        one = ended("https://one.example/", "a timer", "a “second” one", narrative="Plain — words")
        two = ended("https://two.example/", "fée", narrative="取消")
        assert found("timer second plain") == [one]
        assert found("fee 取消") == [two]
        check_invariants()
    assert [stored(path, name) for name in ("url", "narrative", "findings")] == [0, 1, 1]


PATTERN = "INSERT {}INTO audit_findings (id, audit_id, pattern_type, severity, confidence, "
PATTERN += "description) VALUES ({}, {}, 'p', 'low', 1, 'added {}')"
CHANGES = {
    "an url": "UPDATE audits SET url = 'https://changed.example/' WHERE id = :id",
    "a narrative": "UPDATE audits SET narrative = 'changed' WHERE id = :id",
    "no narrative": "UPDATE audits SET narrative = NULL WHERE id = :id",
    "a status": "UPDATE audits SET status = 'running', narrative = 'changed' WHERE id = :id",
    "a status back": "UPDATE audits SET status = 'completed' WHERE id = :id",
    "a description": "UPDATE audit_findings SET description = 'changed' WHERE audit_id = :id",
    "a category": "UPDATE audit_findings SET category = NULL WHERE audit_id = :id",
    "a finding more": PATTERN.format("", "NULL", ":id", "one"),
    "a finding instead": PATTERN.format("OR REPLACE ", "1", ":id", "instead"),
    "a finding less": "DELETE FROM audit_findings WHERE audit_id = :id",
    "another's finding": "UPDATE audit_findings SET audit_id = :id WHERE id = 2",
    "another number": "UPDATE audit_findings SET id = id + 100 WHERE audit_id = :id AND id < 9",
    "itself again": "INSERT OR REPLACE INTO audits (id, url, status, audit_tier, verdict_mode, "
    "created_at, updated_at) VALUES (:id, 'https://again.example/', 'completed', 'quick', "
    "'expert', '2026-01-01 00:00:00.000000', '2026-01-01 00:00:00.000000')",
    "another's number": "UPDATE OR REPLACE audit_findings SET id = 5 "
    "WHERE audit_id = :id AND id IN (1, 4)",
    "another's id": "UPDATE OR REPLACE audits SET id = (SELECT MAX(id) FROM audits) WHERE id = :id",
    "another's place": "INSERT OR REPLACE INTO audits (rowid, id, url, status, audit_tier, "
    "verdict_mode, created_at, updated_at) SELECT rowid, 'other', url, 'completed', 'quick', "
    "'expert', created_at, updated_at FROM audits WHERE id = :id",
    "nothing of it": "DELETE FROM audits WHERE id = :id",
}


@settings(max_examples=amount(40, 200), deadline=None)
@given(
    changes=st.lists(st.tuples(st.sampled_from(sorted(CHANGES)), st.integers(0, 2)), max_size=5),
    keys=st.booleans(),
)
def test_whatever_another_program_changes_the_index_has_the_words_of_its_entries(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[str, int]], keys: bool
) -> None:
    path = tmp_path_factory.mktemp("store") / "audits.db"
    with connect(path):
        ids = [ended(f"https://s{n}.example/", f"odd timer {n}", f"more {n}") for n in range(3)]
    with closing(driver.connect(path, isolation_level=None)) as other:
        other.execute(f"PRAGMA foreign_keys = {int(keys)}")
        for name, number in changes:
            with suppress(driver.IntegrityError):  # an id that a finding names
                other.execute(CHANGES[name], {"id": ids[number]})
    with connect(path):
        assert checking.disagreements(thoroughly=True) == []
        # An entry's words are those that it had, until this library renews it.
        repair()
        assert checking.disagreements(thoroughly=True) == []
        for audit in Audit.select().where(Audit.status == "completed"):
            assert audit.id in found(audit.url)
            if audit.narrative:
                assert audit.id in found(audit.narrative)


@pytest.mark.parametrize("name", ["an url", "a narrative", "a description", "a finding more"])
def test_a_change_by_another_program_is_named_and_the_audit_is_found_as_before(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        audit_id = ended("https://old.example/", "odd timer", narrative="old story")
    with closing(driver.connect(path, isolation_level=None)) as other:
        other.execute(CHANGES[name], {"id": audit_id})
    with connect(path):
        assert found("old.example odd timer story") == [audit_id]
        assert found("changed") == found("added") == []
        told = f"audit {audit_id}: its entry in the catalog is not what it holds"
        assert told in verify().problems
        repair()
        assert found("changed" if "finding" not in name else "added") == [audit_id]


def test_a_text_that_was_kept_and_is_the_same_is_right(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        ended("https://a.example/", "odd timer")
    by_hand(path, "UPDATE audit_findings SET id = id + 100")
    assert stored(path, "findings") == 1
    assert verified(path).problems == []
    by_hand(path, "UPDATE audit_catalog SET findings = findings || 'x'")
    assert any("its entry in the catalog" in problem for problem in verified(path).problems)


def test_an_audit_that_is_deleted_by_another_program_takes_its_words_along(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        gone, stays = ended("https://a.example/", "one"), ended("https://b.example/", "two")
    by_hand(path, "PRAGMA foreign_keys = ON", f"DELETE FROM audits WHERE id = '{gone}'")
    with connect(path):
        assert found("example") == [stays]
        assert checking.disagreements(thoroughly=True) == []
    assert len(select(path, "SELECT 1 FROM search_index_docsize")) == 1


def test_an_audit_that_comes_again_is_not_taken_for_the_one_whose_entry_was_left(
    tmp_path: Path,
) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        ended("https://a.example/", "one")
        again = ended("https://b.example/", "two")
    columns = "(id, url, narrative, status, audit_tier, verdict_mode, created_at, updated_at)"
    moment = "2026-01-01 00:00:00.000000"
    by_hand(
        path,
        # The other's row is replaced, which no trigger is told.
        "UPDATE OR REPLACE audits SET rowid = 2 WHERE rowid = 1",
        f"INSERT INTO audits {columns} VALUES ('{again}', 'https://again.example/', "
        f"'{'many words ' * 50}', 'completed', 'quick', 'expert', '{moment}', '{moment}')",
    )
    with connect(path):
        assert checking.INDEX_DISAGREES in verify().problems
        sync.delete(again)
        repair()
        assert checking.disagreements(thoroughly=True) == []
        assert found("many words") == []


def test_a_finding_is_recorded_beside_an_index_that_cannot_be_opened(tmp_path: Path) -> None:
    """The triggers on an audit's rows reach neither the index nor the counts."""
    path = tmp_path / "audits.db"
    with connect(path):
        ended()
        running = operations.create("https://running.example/").id
    by_hand(path, "UPDATE search_index_config SET v = 99")
    finding = {"id": "f", "category": "c", "severity": "low", "description": "odd timer"}
    with connect(path):
        sync.record(running, {"type": "finding", "finding": finding})
        sync.record(running, {"type": "audit_complete"})
        assert sync.get(running).status == "completed"
        sync.record(running, {"type": "finding", "finding": finding | {"id": "g"}})
        assert len(sync.get(running).findings) == 2


def before(path: Path) -> tuple[list[Any], list[Any]]:
    with connect(path):
        entries = list(CatalogEntry.select(CatalogEntry.id, CatalogEntry.audit).tuples())
        hits = [(hit.audit.id, hit.score, hit.snippet) for hit in search("example timer").items]
    return entries, hits


@pytest.mark.parametrize("damage", [(), ("UPDATE search_index_config SET v = 99",)])
def test_a_file_of_before_is_upgraded_with_its_entries_and_finds_the_same(
    tmp_path: Path, damage: tuple[str, ...]
) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        for number in range(5):
            ended(f"https://s{number}.example/", f"timer {number}", narrative="fée" * number)
    told = before(path)
    with_texts_twice(path)
    assert stored(path, "narrative") == 5
    by_hand(path, *damage)
    with connect(path):
        pass
    assert stored(path, "narrative") == 4
    assert stored(path, "url") == stored(path, "findings") == 0
    assert before(path) == told
    assert verified(path).problems == []
    assert select(path, "SELECT name FROM veritas_migrations")[-1] == (migrations.KNOWN[-1],)


def test_a_file_whose_catalog_was_lost_before_the_upgrade_gets_it_again(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        audit_id = ended(narrative="kept words")
    with_texts_twice(path)
    by_hand(path, "DROP TRIGGER catalog_delete", "DELETE FROM audit_catalog")
    with connect(path):
        assert not filling.are_lost()
        assert found("kept words") == [audit_id]
        assert verify().problems == []


def test_a_table_that_has_the_name_of_the_view_stops_writing_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        ended()
    by_hand(path, "DROP VIEW audit_catalog_texts", "CREATE TABLE audit_catalog_texts (id)")
    with (
        pytest.raises(ReadOnlyStore, match="audit_catalog_texts cannot be made again"),
        connect(path),
    ):
        pass
