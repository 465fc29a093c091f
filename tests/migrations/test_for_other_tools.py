"""A file of before is brought to what other tools can read, and loses nothing by it."""

from __future__ import annotations

from pathlib import Path
from sqlite3 import SQLITE_IGNORE, SQLITE_OK, SQLITE_PRAGMA
from typing import Any

import pytest

from tests.support.audits import ended, found
from tests.support.database_files import before_other_tools, by_hand, opened, select, verified
from veritas_peewee import StoreError, connect, sync
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.maintenance.repair import repairing
from veritas_peewee.migrations import parts

INDEX = "SELECT sql FROM sqlite_master WHERE name = 'search_index'"
COUNTS = "SELECT * FROM audit_counts ORDER BY 1, 2, 3, 4, 5, 6"


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    path = tmp_path / "audits.db"
    with connect(path):
        for number in range(3):
            ended(f"https://s{number}.example/", f"timer {number}", narrative="fée" * number)
        ended("https://s0.example/", "timer 3", risk_level="high_risk", site_type="")
    return path


def test_a_file_of_before_is_upgraded_to_the_schema_and_the_rows_of_a_new_one(filled: Path) -> None:
    with connect(filled):
        facets = sync.facets()
    wanted = select(filled, COUNTS)
    sites = select(filled, "SELECT * FROM latest_audit_of_each_site")
    before_other_tools(filled)
    assert {type(row[2]) for row in select(filled, COUNTS)} == {str, bytes}
    assert sorted(select(filled, "SELECT * FROM latest_audit_of_each_site")) == sorted(sites)
    with connect(filled) as database:
        assert not parts.differences(database)
        assert sync.facets() == facets
        assert len(found("example timer")) == 4
    assert select(filled, COUNTS) == wanted
    assert verified(filled).problems == []


def test_what_is_stored_is_of_its_columns_type(filled: Path) -> None:
    """Only BLOBs are BLOBs, so that no tool that goes by the types stops."""
    with opened(filled) as file:
        tables = [row[0] for row in file.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%'"
            "AND name NOT LIKE 'search_index%' AND name NOT LIKE 'sqlite%'"
        )]  # fmt: skip
        for table in tables:
            for _, column, declared, *_ in file.execute(f"PRAGMA table_info({table})").fetchall():
                kinds = {"BLOB": {"blob"}, "INTEGER": {"integer"}, "FLOAT": {"real"}}
                wanted = kinds.get(declared, {"text"})
                rows = file.execute(
                    f'SELECT DISTINCT typeof("{column}") FROM {table} WHERE "{column}" IS NOT NULL'
                )
                assert {row[0] for row in rows} <= wanted, (table, column)


def test_the_index_is_not_made_anew_but_declared_anew(filled: Path) -> None:
    before_other_tools(filled)
    pages = select(filled, "SELECT * FROM search_index_data")
    with connect(filled):
        pass
    assert select(filled, "SELECT * FROM search_index_data") == pages
    assert 'content="audit_catalog_texts"' in select(filled, INDEX)[0][0]


def test_an_entry_that_is_changed_or_removed_after_the_upgrade_leaves_no_count(
    filled: Path,
) -> None:
    before_other_tools(filled)
    with connect(filled):
        for audit in sync.history(status="completed").items:
            sync.update(audit.id, risk_level="suspicious")
            sync.delete(audit.id)
        assert sync.facets().total == 0
    assert select(filled, "SELECT * FROM audit_counts WHERE audits <> 0") == []


@pytest.mark.parametrize(
    "damage",
    [
        ["DROP TABLE audit_counts"],
        ["DROP TABLE search_index"],
        ["DROP TABLE audit_catalog"],
        ["DROP VIEW audit_catalog_texts"],
        ["DROP VIEW latest_audit_of_each_site"],
        # The same count in both forms: a part of it would be lost if one took the other's place.
        ["UPDATE audit_counts SET audits = audits - 1 WHERE risk_level = X''",
         "INSERT INTO audit_counts SELECT slice, status, char(0), site_type, audit_tier, "
         "pattern_type, 1 FROM audit_counts WHERE risk_level = X''"],
    ],
)  # fmt: skip
def test_what_another_program_did_to_the_derived_tables_stops_no_upgrade(
    filled: Path, damage: list[str]
) -> None:
    before_other_tools(filled)
    by_hand(filled, *damage)
    with repairing(filled):
        pass
    with connect(filled):
        assert sync.facets().total == 4
        assert len(found("example timer")) == 4
    assert verified(filled).problems == []


def test_a_table_that_the_user_has_under_the_name_of_a_view_stays(filled: Path) -> None:
    before_other_tools(filled)
    by_hand(
        filled,
        "DROP VIEW latest_audit_of_each_site",
        "CREATE TABLE latest_audit_of_each_site (mine TEXT)",
    )
    with connect(filled):
        pass
    assert select(filled, "SELECT COUNT(*) FROM latest_audit_of_each_site") == [(0,)]
    assert verified(filled).problems == []


def test_a_table_that_the_user_has_under_the_name_of_one_of_ours_is_named(filled: Path) -> None:
    before_other_tools(filled)
    by_hand(filled, "CREATE TABLE Store_tree (mine TEXT)", "INSERT INTO Store_tree VALUES ('x')")
    names = select(filled, "SELECT name FROM veritas_migrations")
    with pytest.raises(StoreError, match=r"a table Store_tree .*RENAME TO"), connect(filled):
        pass
    assert select(filled, "SELECT name FROM veritas_migrations") == names
    by_hand(filled, "ALTER TABLE Store_tree RENAME TO mine")
    with connect(filled):
        assert len(found("example timer")) == 4
    assert select(filled, "SELECT * FROM mine") == [("x",)]
    assert verified(filled).problems == []


def test_where_nobody_may_change_the_schema_by_hand_the_index_is_made_anew(
    filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_other_tools(filled)
    connected = SqliteStore._connect

    def defensive(self: SqliteStore) -> Any:
        """As a SQLite that is defensive does: it passes over the PRAGMA."""
        made = connected(self)
        made.set_authorizer(
            lambda action, name, *_: (
                SQLITE_IGNORE
                if action == SQLITE_PRAGMA and name == "writable_schema"
                else SQLITE_OK
            )
        )
        return made

    monkeypatch.setattr(SqliteStore, "_connect", defensive)
    with connect(filled) as database:
        assert not parts.differences(database)
        assert len(found("example timer")) == 4
    assert 'content="audit_catalog_texts"' in select(filled, INDEX)[0][0]
    assert verified(filled).problems == []
