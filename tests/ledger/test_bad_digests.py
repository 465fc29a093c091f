"""A digest that is no digest any more costs its own row, which is named; recording goes on."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.support.database_files import by_hand, select, verified
from veritas_peewee import AuditStore, connect
from veritas_peewee.ledger.heads import HEAD_EVERY, newest_head
from veritas_peewee.maintenance.prune import prune
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditEvent
from veritas_peewee.recording import ingest, operations, recorder, removal
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl

ENTRY = {"type": "log_entry", "message": "x"}
FINDING = {"type": "finding", "finding": {"id": "new", "category": "c", "severity": "low",
                                          "confidence": 0.5, "description": "d"}}  # fmt: skip
ODD = {
    "a text": "CAST(digest AS TEXT)",
    "no UTF-8": "CAST(x'ff' || digest AS TEXT)",
    "a number": "5",
    "a fraction": "0.5",
    "too short": "x'00'",
    "empty": "x''",
    "nothing": "NULL",
    "the same in hexadecimal": "hex(digest)",
}


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
@pytest.mark.parametrize("which", ["last of a running log", "in the middle", "of an ended audit"])
def test_a_digest_of_an_event_stops_nothing_and_is_named_ever_after(path, ids, value, which):
    *_, ended, running = ids
    audit, at = {"last of a running log": (running, "MAX(id)"),
                 "in the middle": (running, "MAX(id) - 2"),
                 "of an ended audit": (ended, "MAX(id)")}[which]  # fmt: skip
    at = f"(SELECT {at} FROM audit_events WHERE audit_id = '{audit}')"
    ((event_id,),) = select(path, f"SELECT {at}")
    by_hand(path, f"UPDATE audit_events SET digest = {value} WHERE id = {event_id}")
    told = f"event {event_id} of audit {audit} was"

    def named() -> bool:
        return any(told in problem for problem in verify().problems)

    with connect(path):
        assert named()
        new = operations.create("https://new.example/").id
        for audit_id in (new, audit, ids[0]):
            recorder.record(audit_id, ENTRY)
            recorder.record(audit_id, FINDING)
            recorder.record_many(audit_id, [ENTRY] * 3)
            operations.update(audit_id, narrative="x")
        ingest.ingest({"url": "https://other.example/", "status": "completed"})
        assert named()
        others = [text for text in verify().problems if audit not in text]
        assert others == []
        recorder.record_many(new, [ENTRY] * HEAD_EVERY)  # stores a head over it
        assert str(newest_head())
        target = io.BytesIO()
        export_jsonl(target)
        done = import_jsonl(io.BytesIO(target.getvalue()), skip_existing=True)
        assert (done.skipped, done.refused) == (5, 1)
        assert named()
        removal.delete(ids[0])
        prune(keep_newest=1)
        head = str(newest_head())
    report = verified(path, against=head)
    assert not any("cannot be read" in problem for problem in report.problems)


@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_a_digest_of_a_removed_event_stops_nothing(path, ids, value):
    with connect(path):
        removal.delete(ids[0])
    head = newest_head_of(path)
    by_hand(path, f"UPDATE removed_events SET digest = {value} WHERE event_id = 2")
    with connect(path):
        recorder.record_many(ids[1], [ENTRY] * HEAD_EVERY)
        recorder.record(ids[1], FINDING)
        removal.delete(ids[2])
    problems = verified(path, against=head).problems
    if value != "NULL":  # an event of another program has none
        assert any("row 2 of removed_events: its digest" in text for text in problems), problems
    assert any("not what it was when the head was kept" in text for text in problems), problems


def newest_head_of(path):
    with connect(path, read_only=True):
        return str(newest_head())


@pytest.mark.parametrize("table", ["audit_findings", "audit_screenshots"])
@pytest.mark.parametrize("value", ODD.values(), ids=ODD)
def test_a_digest_of_a_row_stops_nothing_and_is_named(path, ids, table, value):
    *_, running = ids
    at = f"(SELECT MAX(id) FROM {table} WHERE audit_id = '{running}')"
    ((row_id,),) = select(path, f"SELECT {at}")
    by_hand(path, f"UPDATE {table} SET digest = {value} WHERE id = {row_id}")
    with connect(path):
        recorder.record(running, FINDING)
        recorder.record(running, {"type": "audit_complete", "elapsed": 1})
        operations.update(running, narrative="x")
        problems = verify().problems
    name = table.removeprefix("audit_")[:-1]
    assert any(f"{name} {row_id} of audit {running} was" in text for text in problems), problems
    assert all(running in text for text in problems)


async def test_all_audits_are_recorded_beside_one_bad_digest(path):
    async with AuditStore.open(path) as store:
        await beside_a_bad_digest(store, path)


async def beside_a_bad_digest(file_store: AuditStore, path: Path) -> None:
    bad = await file_store.create("https://bad.example/")
    await file_store.record_many(bad.id, [ENTRY] * 3)
    by_hand(path, "UPDATE audit_events SET digest = CAST(digest AS TEXT) WHERE id = 2")
    audit = await file_store.create("https://good.example/")
    await file_store.record(audit.id, ENTRY)
    await file_store.record_many(audit.id, [ENTRY, FINDING])
    await file_store.record(bad.id, FINDING)
    report = await file_store.read(verify)
    assert report.problems == [
        f"event 2 of audit {bad.id} was altered, or one before it is missing"
    ]


# ---- SQLite's own counter, and ids that are none ----

COUNTERS = {
    "text": "seq = 'many'",
    "not UTF-8": "seq = CAST(x'ff' AS TEXT)",
    "NULL": "seq = NULL",
    "nothing": "seq = 0",
    "negative": "seq = -5",
    "a fraction": "seq = 1.5",
    "the greatest": f"seq = {2**63 - 1}",
    "too large": f"seq = {2**60}",
}


@pytest.mark.parametrize("change", COUNTERS.values(), ids=COUNTERS)
def test_a_counter_that_is_none_is_named_and_events_are_counted_on(path, ids, change):
    with connect(path):
        removal.delete(ids[-1])  # so that the newest event is one that was removed
        before = log_position()
    by_hand(path, f"UPDATE sqlite_sequence SET {change} WHERE name = 'audit_events'")
    assert any("SQLite's counter" in text for text in verified(path).problems)
    with connect(path):
        assert recorder.record(ids[0], ENTRY) == before + 1
        # Once more, so that what the connection remembers does not help.
        by_hand(path, f"UPDATE sqlite_sequence SET {change} WHERE name = 'audit_events'")
        assert recorder.record_many(ids[0], [ENTRY, FINDING, ENTRY])[0] > before + 1
    problems = verified(path).problems
    assert all("SQLite's counter" in text for text in problems), problems


def log_position() -> int:
    return newest_head().position


def test_a_counter_that_jumped_ahead_does_not_hold_up_the_next_head(path, ids):
    by_hand(path, f"UPDATE sqlite_sequence SET seq = {2**50} WHERE name = 'audit_events'")
    with connect(path):
        recorder.record_many(ids[0], [ENTRY] * (HEAD_EVERY + 10))
        head = str(newest_head())
    problems = verified(path, against=head).problems
    assert problems == [f"event 31 to {2**50}: missing from the store"]


@pytest.mark.parametrize("new", [2**63 - 1, 2**60, -7])
def test_an_event_s_id_that_is_none_stops_nothing_and_is_named(path, ids, new):
    by_hand(path, f"UPDATE audit_events SET id = {new} WHERE id = 3")
    with connect(path):
        # Opening it has recorded an event: the audit that was running is disconnected.
        assert recorder.record_many(ids[1], [ENTRY, FINDING]) == [32, 33]
        created = operations.create("https://new.example/").id
        assert recorder.record(created, ENTRY) == 34
        head = newest_head()
        assert head.position == 34
    problems = verified(path, against=str(head)).problems
    assert "event 3: missing from the store" in problems


@pytest.mark.parametrize("digest", ["NULL", "zeroblob(32)"])
async def test_an_event_that_was_inserted_under_the_greatest_id_stops_nothing(path, digest):
    async with AuditStore.open(path) as store:
        audit, other = [await store.create(f"https://{n}.example/") for n in "ab"]
        assert await store.record_many(audit.id, [ENTRY] * 3) == [1, 2, 3]
        by_hand(path, "INSERT INTO audit_events (id, audit_id, event_type, timestamp, digest) "
                f"VALUES ({2**63 - 1}, '{audit.id}', 'mine', '2026-01-01', {digest})")  # fmt: skip
        for number in (4, 6):
            assert await store.record(audit.id, ENTRY) == number
            assert await store.record(other.id, FINDING) == number + 1
        assert (await store.head()).position == 7
    async with AuditStore.open(path) as store:  # a connection that remembers nothing
        assert await store.record_many(other.id, [ENTRY, ENTRY]) == [8, 9]
        problems = (await store.read(verify)).problems
    assert any(str(2**63 - 1) in text or audit.id in text for text in problems), problems
    assert not any(other.id in text for text in problems)


async def test_followers_are_not_led_astray_by_an_id_that_is_none(path):
    async with AuditStore.open(path) as store:
        await astray(store, path)


async def astray(file_store: AuditStore, path: Path) -> None:
    audit = await file_store.create("https://one.example/")
    await file_store.record_many(audit.id, [ENTRY] * 3)
    by_hand(path, f"UPDATE audit_events SET id = {2**63 - 1} WHERE id = 2")
    await file_store.record(audit.id, {"type": "audit_complete"})
    seen = [event.id async for event in file_store.follow(audit.id, after=0)]
    assert seen == [1, 3, 4]


# ---- heads ----


@pytest.mark.parametrize(
    "value", ["CAST(x'ff' AS TEXT)", "5", "x'00'", "'x'", "'" + "0" * 64 + "'"]
)
def test_a_stored_head_that_is_none_is_named_and_heads_go_on(path, ids, value):
    with connect(path):
        recorder.record_many(ids[0], [ENTRY] * HEAD_EVERY)
    by_hand(path, f"UPDATE store_heads SET digest = {value} WHERE event_id = {HEAD_EVERY}")
    with connect(path):
        recorder.record_many(ids[0], [ENTRY] * HEAD_EVERY)
        assert str(newest_head())
    problems = verified(path).problems
    assert f"up to event {HEAD_EVERY} the log is not what it was" in problems


@pytest.mark.parametrize("at", [2**63 - 1, 2**40, -5, 7])
def test_a_stored_head_of_an_event_that_is_none_is_named(path, ids, at):
    with connect(path):
        recorder.record_many(ids[0], [ENTRY] * HEAD_EVERY)
    head = newest_head_of(path)
    by_hand(path, f"INSERT INTO store_heads VALUES ({at}, '{'ab' * 32}')")
    assert newest_head_of(path).split("-")[0] == head.split("-")[0]
    with connect(path):
        recorder.record_many(ids[0], [ENTRY] * HEAD_EVERY)
    assert select(path, f"SELECT 1 FROM store_heads WHERE event_id = {2 * HEAD_EVERY}")
    problems = verified(path).problems
    assert any(str(at) in text for text in problems), problems


def test_a_stored_head_that_is_missing_between_others_is_named(path, ids):
    with connect(path):
        recorder.record_many(ids[0], [ENTRY] * 3 * HEAD_EVERY)
    by_hand(path, f"DELETE FROM store_heads WHERE event_id = {HEAD_EVERY}")
    assert verified(path).problems == ["the head that is stored for event 1000 is missing"]


def test_the_same_head_is_printed_whoever_wrote_the_events(path):
    """Events of Peewee code of one's own pass a thousand too."""
    with connect(path):
        audit = operations.create("https://example.com/").id
        for number in range(2):
            recorder.record(audit, ENTRY)
            AuditEvent.insert_many(
                [(audit, "note", {"n": n}) for n in range(HEAD_EVERY - 1 + number)],
                fields=[AuditEvent.audit, AuditEvent.event_type, AuditEvent.data],
            ).execute()
        head = str(newest_head())
        recorder.record(audit, ENTRY)
    assert verified(path, against=head).problems == []
