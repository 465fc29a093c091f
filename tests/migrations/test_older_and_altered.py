"""An older file that another program has changed is upgraded all the same, or refused with a name.

What stops or mends a file of this version is no other for one that is upgraded first.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from peewee import OperationalError

from tests.support.audits import ended, found
from tests.support.database_files import by_hand, select, with_texts_twice
from veritas_peewee import ReadOnlyStore, connect
from veritas_peewee.maintenance.repair import repairing
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.migrations import parts

OF_ENTRIES = [
    f"DROP TRIGGER catalog_{name}" for name in ("insert", "delete", "text_update", "counts_update")
]
DERIVED = {
    "no counts": ["DROP TABLE audit_counts"],
    "no patterns": ["DROP TABLE audit_patterns"],
    "no entries": ["DROP TABLE audit_catalog"],
    "no index": ["DROP TABLE search_index"],
    "no JSON": [*OF_ENTRIES, "UPDATE audit_catalog SET patterns = '{'"],
    "no errors": [*OF_ENTRIES, "ALTER TABLE audit_catalog DROP COLUMN errors"],
    "another index": [
        "DROP INDEX idx_audits_history",
        "CREATE INDEX idx_audits_history ON audits (created_at DESC)",
    ],
}
LAST = "SELECT MAX(name) FROM veritas_migrations"


@pytest.fixture
def older(tmp_path: Path) -> Path:
    path = tmp_path / "audits.db"
    with connect(path):
        for number in range(3):
            ended(f"https://s{number}.example/", f"timer {number}", narrative="fée" * number)
    with_texts_twice(path)
    return path


@pytest.mark.parametrize("name", DERIVED)
def test_what_is_derived_is_made_again_by_the_upgrade(older: Path, name: str) -> None:
    first = select(older, "SELECT MAX(id) FROM audit_catalog")[0][0] + 1
    by_hand(older, *DERIVED[name])
    with connect(older):
        assert len(found("example timer")) == 3
        assert len(found("feefee")) == 1
        assert verify().problems == []
    if name in ("no JSON", "no errors"):  # no id is given out twice
        assert select(older, "SELECT MIN(id) FROM audit_catalog") == [(first,)]


@pytest.mark.parametrize(
    "table", ["audits", "audit_findings", "audit_screenshots", "audit_events", "absent_images"]
)
def test_a_lost_table_is_named_and_made_again_beside_an_upgrade(older: Path, table: str) -> None:
    by_hand(older, f"DROP TABLE {table}")
    with (
        pytest.raises(ReadOnlyStore, match=f"the table {table}; nothing is written"),
        connect(older),
    ):
        pass
    with repairing(older) as done:
        assert f"made the table {table}, which was missing, without any row" in done
    with connect(older) as opened:
        assert not parts.differences(opened)


def test_values_in_a_column_that_is_not_ours_stop_the_upgrade(older: Path) -> None:
    by_hand(older, "ALTER TABLE audit_catalog ADD COLUMN mine", "UPDATE audit_catalog SET mine = 5")
    before = select(older, LAST)
    with pytest.raises(ReadOnlyStore, match="audit_catalog has a column mine"), connect(older):
        pass
    assert select(older, LAST) == before
    assert select(older, "SELECT DISTINCT mine FROM audit_catalog") == [(5,)]


def test_a_table_of_the_name_of_our_view_does_not_pass_for_the_upgrade(older: Path) -> None:
    by_hand(older, "CREATE TABLE audit_catalog_texts (id)")
    before = select(older, LAST)
    with (
        pytest.raises(OperationalError, match="audit_catalog_texts already exists"),
        connect(older),
    ):
        pass
    assert select(older, LAST) == before


@pytest.mark.parametrize("odd", ["x'6162'", "'nul' || char(0) || 'x'", "CAST(x'61ff' AS TEXT)"])
def test_an_id_that_another_program_made_stops_no_upgrade(older: Path, odd: str) -> None:
    by_hand(
        older,
        f"UPDATE audit_findings SET audit_id = {odd} WHERE id = 1",
        f"UPDATE audits SET id = {odd} WHERE rowid = 1",
        "DROP TABLE audit_catalog",
    )
    with connect(older):
        assert len(found("example timer")) >= 2
        entries = select(older, "SELECT findings FROM audit_catalog_texts")
        assert all("timer" in told for (told,) in entries)
