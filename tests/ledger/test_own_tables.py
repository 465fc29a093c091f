"""Whatever is in the store's own tables, `verify` names it and ends, and recording goes on."""

from __future__ import annotations

import pytest

from tests.support.amount import one_in
from tests.support.database_files import by_hand, verified
from veritas_peewee import connect
from veritas_peewee.ledger.heads import HEAD_EVERY, newest_head, parse_head
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.recording import operations, recorder, removal

ENTRY = {"type": "log_entry", "message": "x"}
VALUES = {
    "not UTF-8": "CAST(x'ff' AS TEXT)", "a BLOB": "x'00ff'", "a number": "-7", "a text": "'many'",
    "great": str(2**63 - 1),
}  # fmt: skip
COLUMNS = [
    ("removed_events", "event_id"), ("removed_events", "audit_id"), ("removed_events", "digest"),
    ("removed_audits", "id"), ("removed_audits", "audit_id"), ("removed_audits", "created_at"),
    ("removed_audits", "removed_at"), ("store_changes", "id"), ("store_changes", "number"),
    ("store_heads", "event_id"), ("store_heads", "digest"),
    ("veritas_migrations", "name"),
    ("sqlite_sequence", "seq"), ("sqlite_sequence", "name"),
]  # fmt: skip
CHANGES = [
    (table, column, value)
    for table, column in COLUMNS
    for value in (("-7", str(2**63 - 1)) if column in ("event_id", "id") else VALUES.values())
]  # SQLite has only whole numbers in a key


@pytest.fixture
def store(path, ids):
    with connect(path):
        removal.delete(ids[0])
        recorder.record_many(ids[1], [ENTRY] * HEAD_EVERY)
        assert verify().problems == []
    return path


@pytest.mark.parametrize(("table", "column", "value"), one_in(2, CHANGES))
def test_an_odd_value_is_named_and_nothing_stops(store, ids, table, column, value):
    key = f"rowid = (SELECT MAX(rowid) FROM {table})"
    if table == "sqlite_sequence":
        key = "name = 'audit_events'"
    with connect(store):  # open before: a file with a strange migration is not opened any more
        by_hand(store, f"UPDATE {table} SET {column} = {value} WHERE {key}")
        report = verify()
        assert report.problems != []
        assert not any("cannot be read" in text for text in report.problems)
        head = newest_head()
        assert parse_head(str(head)) == head
        recorder.record(ids[1], ENTRY)
        recorder.record_many(ids[2], [ENTRY] * HEAD_EVERY)
        operations.create("https://new.example")
        removal.delete(ids[2])
        operations.update(ids[1], narrative="x")
        later = verify(against=head)
        assert not any("cannot be read" in text for text in later.problems)
        if table != "sqlite_sequence":  # SQLite itself puts this one right
            assert later.problems != []


@pytest.mark.parametrize(
    ("table", "column"),
    [
        one
        for one in COLUMNS
        if one[0] not in ("veritas_migrations", "sqlite_sequence")
        and one[1] not in ("event_id", "id")
    ],
)
def test_nothing_stops_for_whoever_opens_the_file_then(store, ids, table, column):
    """A connection that has met no odd text yet reads each text as what it should be."""
    value = VALUES["not UTF-8"]
    by_hand(
        store,
        f"UPDATE {table} SET {column} = {value} WHERE rowid = (SELECT MAX(rowid) FROM {table})",
    )
    for write in (
        lambda: recorder.record(ids[1], ENTRY),
        lambda: operations.update(ids[1], narrative="x"),
        lambda: operations.create("https://new.example"),
        lambda: removal.delete(ids[2]),
    ):
        with connect(store):
            write()


@pytest.mark.parametrize("statement", [
    "DELETE FROM store_changes", "INSERT INTO store_changes VALUES (2, 5)",
    "DELETE FROM removed_audits", "DELETE FROM removed_events WHERE event_id = 3",
    "INSERT INTO removed_events VALUES (5000, 'x', NULL)",
    "INSERT INTO removed_events SELECT 20, audit_id, digest FROM removed_events LIMIT 1",
    "DELETE FROM veritas_migrations WHERE name = '0003_hosts'",
    "DELETE FROM sqlite_sequence",
])  # fmt: skip
def test_rows_that_came_or_went_are_named(store, statement):
    with connect(store):
        by_hand(store, statement)
        assert verify().problems != []


def test_changes_that_are_no_number_stay_so(store):
    by_hand(store, "UPDATE store_changes SET number = 'many'")
    with connect(store):
        removal.delete(operations.create("https://new.example").id)
    told = "row 1 of store_changes: its number was not written by this library"
    assert told in verified(store).problems


def test_a_running_audit_that_was_sealed_by_hand_is_named(path):
    with connect(path):
        audit_id = operations.create("https://example.com").id
        recorder.record(audit_id, ENTRY)
        by_hand(path, "UPDATE audits SET sealed_events = 1")
        assert any(audit_id in text for text in verify().problems)
