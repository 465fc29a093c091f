"""The catalog, the full-text index and the counts follow the audits, and are made again."""

from __future__ import annotations

import contextlib
import runpy
from contextlib import closing
from pathlib import Path
from threading import Thread
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peewee import fn

from tests.support.amount import amount
from tests.support.audits import VOCABULARY, ended, found
from tests.support.database_files import with_texts_twice
from tests.support.places import Databases
from veritas_peewee import Audit, AuditStore, DatabaseCorrupt, connect, migrations
from veritas_peewee.catalog import vectors
from veritas_peewee.database.current import current_database
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.maintenance.repair import repair, repairing
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditFinding, AuditPattern, CatalogEntry
from veritas_peewee.queries import counting
from veritas_peewee.queries.counting import facets
from veritas_peewee.recording import operations, recorder, removal

CHANGES = st.recursive(
    st.tuples(st.sampled_from(["tell", "find", "end", "run", "delete", "add"]),
              st.integers(0, 5), st.sampled_from(VOCABULARY)),
    lambda inner: st.tuples(st.just("all or none"), st.booleans(), st.lists(inner, max_size=4)),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=amount(20, 60), deadline=None)
@given(changes=st.lists(CHANGES, max_size=6))
def test_the_index_follows_what_is_kept_and_what_is_undone(changes: list[Any]) -> None:
    follow(":memory:", changes)


@settings(max_examples=amount(6, 60), deadline=None)
@given(changes=st.lists(CHANGES, max_size=6))
def test_the_index_on_a_server_follows_what_is_kept_and_what_is_undone(
    server: Databases, changes: list[Any]
) -> None:
    with server.new() as url:
        follow(url, changes)


def follow(database: str, changes: list[Any]) -> None:
    """Make changes in a new store; what is found must be what is there."""

    def make(change: Any) -> None:
        kind, which, told = change
        if kind == "all or none":
            with contextlib.suppress(ZeroDivisionError), current_database().atomic():
                for one in told:
                    make(one)
                _ = 1 / int(which)
        elif kind == "add":
            ended(f"https://s{which}.example/", told)
        elif ids := [row.id for row in Audit.select(Audit.id).order_by(Audit.created_at)]:
            audit_id = ids[which % len(ids)]
            if kind == "delete":
                Audit.delete().where(Audit.id == audit_id).execute()
            elif kind == "find":
                AuditFinding.create(audit=audit_id, pattern_type=told, severity="low",
                                    confidence=1, description=told)  # fmt: skip
            else:
                status = {"run": "running", "end": "error"}.get(kind)
                changed = {"status": status} if status else {"narrative": told}
                Audit.update(**changed).where(Audit.id == audit_id).execute()

    with connect(database):
        for number in range(3):
            ended(f"https://s{number}.example/", "timer")
        for change in changes:
            make(change)
        assert verify().problems == []
        assert repair() == []
        for word in VOCABULARY:
            having = set()
            for row in Audit.select().where(Audit.status.not_in(["queued", "running"])):
                texts = [row.narrative or "", *(finding.description for finding in row.findings)]
                if word in " ".join(texts).split():
                    having.add(row.id)
            assert set(found(word)) >= having


def test_an_audit_is_found_from_its_end_on(script: Any) -> None:
    audit_id = operations.create("https://shop.example/").id
    recorder.record(audit_id, {"type": "finding", "finding": {
        "id": "f", "category": "c", "severity": "low", "description": "odd timer"}})  # fmt: skip
    assert found("timer") == found("shop.example") == []
    recorder.record(audit_id, {"type": "audit_complete"})
    assert found("timer") == found("shop.example") == [audit_id]
    operations.update(audit_id, status="running")
    assert found("timer") == []
    recorder.record(audit_id, {"type": "audit_error", "error": "went wrong"})
    assert found("timer wrong") == [audit_id]
    assert verify().problems == []


def test_peewee_code_of_ones_own_is_followed(script: Any) -> None:
    audit_id = ended("https://shop.example/", "old words")
    AuditFinding.update(description="new words").where(AuditFinding.audit == audit_id).execute()
    assert (found("old"), found("new")) == ([], [audit_id])
    AuditFinding.create(audit=audit_id, pattern_type="p", severity="low", confidence=1,
                        description="added")  # fmt: skip
    assert found("new added") == [audit_id]
    with current_database().atomic():
        Audit.update(narrative="a story").where(Audit.id == audit_id).execute()
        row = Audit.create(url="https://raw.example/", status="completed", narrative="raw tale")
    assert (found("story"), found("tale")) == ([audit_id], [row.id])
    with pytest.raises(ZeroDivisionError), current_database().atomic():
        Audit.update(narrative="undone").where(Audit.id == audit_id).execute()
        _ = 1 / 0
    assert (found("undone"), found("story")) == ([], [audit_id])
    AuditFinding.delete().where(AuditFinding.audit == audit_id).execute()
    assert found("added") == []
    assert AuditPattern.select().where(AuditPattern.audit_id == audit_id).count() == 0
    values = {name: getattr(row, name) for name in Audit._meta.fields if name != "narrative"}
    added = Audit.insert(**values, narrative="replaced")
    added.on_conflict(conflict_target=[Audit.id], preserve=[Audit.narrative]).execute()
    assert (found("tale"), found("replaced")) == ([], [row.id])
    Audit.delete().execute()
    assert found("https") == []
    assert CatalogEntry.select().count() == 0
    assert verify().problems == []


def test_a_row_that_is_replaced_is_followed(tmp_path: Path) -> None:
    with connect(tmp_path / "audits.db"):
        row = Audit.create(url="https://raw.example/", status="completed", narrative="raw tale")
        values = {name: getattr(row, name) for name in Audit._meta.fields if name != "narrative"}
        Audit.replace(**values, narrative="replaced").execute()
        assert (found("tale"), found("replaced")) == ([], [row.id])
        assert verify().problems == []


def test_the_index_outlives_a_vacuum(tmp_path: Path) -> None:
    with connect(tmp_path / "audits.db"):
        ids = [ended(f"https://s{n}.example/", f"word{n}") for n in range(6)]
        for audit_id in ids[:3]:
            removal.delete(audit_id)
        current_database().execute_sql("VACUUM")
        assert [found(f"word{n}") for n in range(6)] == [[], [], [], *([i] for i in ids[3:])]
        assert verify().problems == []


SPOILED = {
    "DELETE FROM audit_catalog WHERE id = 1": "its entry in the catalog is not what it holds",
    "UPDATE audit_catalog SET narrative = 'x' WHERE id = 1": "its entry in the catalog",
    "UPDATE audit_counts SET audits = audits + 1": "the counts of audits are not those",
    "DELETE FROM audit_patterns": "the patterns of audits are not those",
    "INSERT INTO search_index (search_index) VALUES ('delete-all')": "the full-text index is not",
    "INSERT INTO search_index (rowid, url) VALUES (99, 'x')": "the full-text index is not",
    "DELETE FROM search_index_docsize WHERE id = 2": "the full-text index is not",
    "UPDATE search_index_docsize SET sz = zeroblob(4) WHERE id = 2": "the full-text index is not",
    "DROP TRIGGER catalog_delete": "the trigger catalog_delete is missing",
    # In the middle of the words, so that the comparison ends there.
    "INSERT INTO search_index (rowid, url) VALUES (1, 'aaa')": "the full-text index is not",
    "DELETE FROM search_index": "the full-text index is not",
    "DELETE FROM search_index_data": "the full-text index is not",
    "DELETE FROM search_index_data WHERE id = 1": "the catalog cannot be read",
    "DELETE FROM search_index_data WHERE id = 10": "the full-text index is not",
    "DELETE FROM search_index_data WHERE id > 10": "the catalog cannot be read",
    "DELETE FROM search_index_config": "the catalog cannot be read",
    "DROP TABLE search_index_data": "the table search_index_data is missing",
    "DROP TABLE search_index_idx": "the table search_index_idx is missing",
    "DROP TABLE search_index": "the table search_index is missing",
    "DROP TABLE audit_catalog": "the table audit_catalog is missing",
    "DROP TABLE audit_patterns": "the table audit_patterns is missing",
    "DROP TABLE audit_counts": "the table audit_counts is missing",
    "UPDATE audit_catalog SET audit_id = 'nobody' WHERE id = 1": "is missing",
    "DROP TRIGGER catalog_counts_update; UPDATE audit_catalog SET patterns = '?'": "catalog",
    "DROP TRIGGER catalog_delete; DELETE FROM audit_catalog": "its entry in the catalog",
}


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM search_index_data", "DELETE FROM search_index_config"],
)
def test_a_catalog_that_is_lost_is_told_with_what_makes_it_again(
    tmp_path: Path, statement: str
) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        kept = ended(narrative="kept words")
    with closing(driver.connect(path, isolation_level=None)) as other:
        other.execute(statement)

    async def use() -> str:
        async with AuditStore.open(path) as store:
            audit = await store.create("https://shop.example/")
            await store.record(audit.id, {"type": "audit_complete"})
            with pytest.raises(DatabaseCorrupt, match="verify --fix"):
                await store.search("kept")
            return audit.id

    audit_id = anyio.run(use)
    with connect(path):
        assert Audit.get_by_id(audit_id).status == "completed"
        assert repair()
        assert found("kept") == [kept]
        assert set(found("shop.example")) == {audit_id, kept}
        assert verify().problems == []


@pytest.mark.parametrize(
    "table", ["search_index", "search_index_idx", "audit_counts", "audit_catalog"]
)
def test_a_catalog_without_one_of_its_tables_is_made_again_when_it_is_opened(
    tmp_path: Path, table: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        kept = ended(narrative="kept words")
    with closing(driver.connect(path, isolation_level=None)) as other:
        other.execute(f"DROP TABLE {table}")

    async def use() -> str:
        async with AuditStore.open(path) as store:
            audit = await store.create("https://shop.example/")
            await store.record(audit.id, {"type": "audit_complete"})
            assert (await store.facets()).total == 2
            return audit.id

    anyio.run(use)
    assert "made the catalog and the full-text index anew" in caplog.text
    with connect(path):
        assert found("kept") == [kept]
        assert verify().problems == []


@pytest.mark.parametrize("statement", SPOILED)
def test_what_is_out_of_step_is_named_and_built_again(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        ids = [ended(f"https://s{n}.example/", f"word{n}") for n in range(3)]
    with closing(driver.connect(path, isolation_level=None)) as other:
        other.executescript(statement)
    with connect(path, read_only=True):
        assert SPOILED[statement] in "; ".join(verify().problems)
    with repairing(path) as done:
        assert done
        assert verify().problems == []
        assert [found(f"word{n}") for n in range(3)] == [[audit_id] for audit_id in ids]
        if statement == "DROP TABLE search_index":
            # Cursors know entries by their ids: none is given out twice.
            assert CatalogEntry.select(fn.MIN(CatalogEntry.id)).scalar() > 3
        assert repair() == []


def test_a_page_of_the_index_that_is_not_found_is_named_and_built_again(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    words = [f"w{n:05}" for n in range(6000)]
    with connect(path):
        audit_id = ended("https://s.example/", narrative=" ".join(words))
    with closing(driver.connect(path, isolation_level=None)) as other:
        removed = other.execute("DELETE FROM search_index_idx WHERE pgno / 2 % 2 = 0").rowcount
        assert removed > 2
    with connect(path):
        assert not all(found(word) for word in words)
        assert "the full-text index is not that of the catalog" in verify().problems
        repair()
        assert all(found(word) == [audit_id] for word in words[::50])
        assert verify().problems == []


def test_an_audit_that_was_removed_without_its_entry_is_not_found(tmp_path: Path) -> None:
    """The `sqlite3` shell has foreign keys off."""
    path = tmp_path / "audits.db"
    with connect(path):
        gone, stays = (ended(f"https://s{n}.example/", "timer") for n in range(2))
    with closing(driver.connect(path, isolation_level=None)) as other:
        other.execute("DELETE FROM audits WHERE id = ?", (gone,))
    with connect(path):
        assert CatalogEntry.select().count() == counting.count() == 1
        assert found("timer") == [stays]
        assert repair() == []
    with closing(driver.connect(path, isolation_level=None)) as other:
        other.execute("DROP TRIGGER catalog_audit_delete")
        other.execute("DELETE FROM audits WHERE id = ?", (stays,))
    with repairing(path) as done:
        assert "removed the catalog's entries of 1 audits that are missing" in done
        assert found("timer") == []
        assert counting.count() == 0
        assert repair() == []


def test_an_older_file_is_indexed_when_it_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        audit_id = ended("https://shop.example/", "The cancel link is hidden below the fold")
        seal = Audit.get_by_id(audit_id).seal
    with_texts_twice(path)
    with closing(driver.connect(path, isolation_level=None)) as other:
        for table in ("search_index", "audit_catalog", "audit_patterns", "audit_counts"):
            other.execute(f"DROP TABLE {table}")
        other.execute("DROP INDEX idx_audits_tier_history")
        other.execute("DROP TABLE import_heads")
        other.execute("DROP TABLE absent_images")
        other.execute("DROP VIEW latest_audit_of_each_site")
        other.execute("DELETE FROM veritas_migrations WHERE name >= '0004_search'")
    with connect(path):
        assert found("cancel fold") == [audit_id]
        assert Audit.get_by_id(audit_id).seal == seal
        assert verify().problems == []


def test_a_file_whose_counts_had_no_slices_is_counted_when_it_is_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        ids = [ended(f"https://shop{n}.example/", "It nags", trust_score=n) for n in range(3)]
        removal.delete(ids.pop())  # its entry's id is not given out again
        told = facets(), facets(min_score=1), facets(min_severity="high"), facets(since="1d")
        entries = list(CatalogEntry.select(CatalogEntry.id, CatalogEntry.audit).tuples())
    before = runpy.run_path(str(migrations.DIRECTORY / "0004_search.py"))
    names = [name for name in CatalogEntry._meta.sorted_field_names if name != "slices"]
    old = ", ".join(CatalogEntry._meta.fields[name].column_name for name in names)
    with_texts_twice(path)
    with closing(driver.connect(path, isolation_level=None)) as other:
        kept = other.execute(f"SELECT {old} FROM audit_catalog").fetchall()
        for table in ("search_index", "audit_catalog", "audit_patterns", "audit_counts"):
            other.execute(f"DROP TABLE {table}")
        for statement in (*before["TABLES"], *before["TRIGGERS"]):
            other.execute(statement)
        other.executemany(f"INSERT INTO audit_catalog ({old}) VALUES ({', '.join('?' * 12)})", kept)
        other.execute("UPDATE sqlite_sequence SET seq = 3 WHERE name = 'audit_catalog'")
        other.execute("DROP TABLE import_heads")
        other.execute("DROP TABLE absent_images")
        other.execute("DROP VIEW latest_audit_of_each_site")
        other.execute("DELETE FROM veritas_migrations WHERE name >= '0006_slices'")
    with connect(path):
        assert verify().problems == []
        again = facets(), facets(min_score=1), facets(min_severity="high"), facets(since="1d")
        assert again == told
        assert list(CatalogEntry.select(CatalogEntry.id, CatalogEntry.audit).tuples()) == entries
        assert found("hidden cancel") == ids[::-1]
        ended()
        assert CatalogEntry.select(fn.MAX(CatalogEntry.id)).scalar() == 4


def test_what_a_thread_cuts_texts_with_is_closed_when_it_ends() -> None:
    used = []
    thread = Thread(target=lambda: used.append(vectors._cutter()))
    thread.start()
    thread.join()
    with pytest.raises(driver.ProgrammingError, match="closed"):
        used[0].execute("SELECT 1")
