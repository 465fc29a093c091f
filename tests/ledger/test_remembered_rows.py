"""The rows of running audits are remembered by their writer only as long as they are right."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from itertools import pairwise

import pytest

from tests.support.database_files import by_hand
from tests.support.tracing import traced
from veritas_peewee import Audit, connect
from veritas_peewee.database.current import bound, current_database
from veritas_peewee.ledger import formulas, log, memory, seals
from veritas_peewee.ledger.heads import newest_head
from veritas_peewee.ledger.memory import remembered
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.queries import lookups
from veritas_peewee.queries.images import current_images
from veritas_peewee.recording import operations, recorder
from veritas_peewee.recording.preparing import prepare_all
from veritas_peewee.testing import make_event, make_finding

STATS = {"type": "stats_update", "stats": {"pages_scanned": 7}}
ERROR = {"type": "phase_error", "error": "no answer"}


def remembers(audit_id):
    return audit_id in remembered(current_database()).stored


@pytest.fixture
def audit_id(script):
    audit = operations.create("https://example.com")
    recorder.record(audit.id, STATS)
    assert remembers(audit.id)
    return audit.id


def by_peewee(audit_id):
    Audit.update(errors=["mine"]).where(Audit.id == audit_id).execute()


def by_the_driver(audit_id):
    current_database().raw.execute("UPDATE audits SET errors = '[\"mine\"]'")


@pytest.mark.parametrize("change", [by_peewee, by_the_driver])
def test_what_else_changes_it_is_seen(script, audit_id, change):
    with script.atomic():
        change(audit_id)
        recorder.record(audit_id, ERROR)
    assert lookups.get(audit_id).errors == ["mine", "no answer"]
    if script.backend != "sqlite" and change is by_the_driver:
        return  # on a server it is another program's, for it is committed by itself
    change(audit_id)
    recorder.record(audit_id, ERROR)
    assert lookups.get(audit_id).errors == ["mine", "no answer"]


def test_a_row_that_is_replaced_is_forgotten(script, audit_id):
    with suppress(KeyError), script.atomic():
        row = Audit.select().where(Audit.id == audit_id).dicts().get()
        if script.backend == "sqlite":
            Audit.replace(row | {"errors": ["mine"]}).execute()
        else:
            Audit.insert(row | {"errors": ["mine"]}).on_conflict(
                conflict_target=[Audit.id], preserve=[Audit.errors]
            ).execute()
        assert not remembers(audit_id)
        raise KeyError  # its events have gone with the old row


def test_what_is_undone_is_forgotten(script, audit_id):
    for scope in (script.atomic, script.unit):
        before = lookups.get(audit_id).errors
        with script.atomic():
            with suppress(KeyError), scope():
                recorder.record(audit_id, ERROR)
                raise KeyError
            recorder.record(audit_id, ERROR)
        with suppress(KeyError), scope():
            recorder.record(audit_id, ERROR)
            raise KeyError
        recorder.record(audit_id, ERROR)
        assert lookups.get(audit_id).errors == [*before, "no answer", "no answer"]


def test_what_another_connection_writes_is_read(path):
    with connect(path) as one, connect(path) as two:
        audit = operations.create("https://example.com")
        for database in (one, two, one, one, two):
            with bound(database):
                recorder.record(audit.id, ERROR)
        assert lookups.get(audit.id).errors == ["no answer"] * 5
        assert verify().problems == []
        with bound(one):
            recorder.record(audit.id, STATS)
            assert remembers(audit.id)
            by_hand(path, "UPDATE audits SET errors = '[\"forged\"]'")
            recorder.record(audit.id, ERROR)
        assert lookups.get(audit.id).errors == ["forged", "no answer"]
        assert any(audit.id in text for text in verify().problems)


def test_an_audit_that_ends_or_is_removed_is_forgotten(script, audit_id):
    recorder.record(audit_id, {"type": "audit_complete"})
    assert remembers(audit_id) is script.reads_ahead  # until others have written
    recorder.record(audit_id, ERROR)
    assert lookups.get(audit_id).errors == ["no answer"]
    Audit.delete().where(Audit.id == audit_id).execute()
    operations.create("https://example.org", id=audit_id)
    recorder.record(audit_id, STATS)
    assert (lookups.get(audit_id).url, lookups.get(audit_id).errors) == ("https://example.org", [])


def test_a_head_counts_each_change_of_one(script, audit_id):
    counted = []
    for event in (STATS, ERROR, {"type": "log_entry"}, ERROR):
        before = newest_head().changes
        recorder.record(audit_id, event)
        assert remembers(audit_id)
        counted.append(newest_head().changes - before)
    assert counted == [1, 1, 0, 1]


def test_of_long_rows_the_last_few_are_remembered(script, monkeypatch):
    monkeypatch.setattr(memory, "MOST_LONG_ROWS", 2)
    ids = [operations.create("https://example.com").id for _ in range(3)]
    for audit_id in ids:
        operations.update(audit_id, narrative="x" * 5000)
        recorder.record(audit_id, ERROR)
    assert [remembers(audit_id) for audit_id in ids] == [False, True, True]
    recorder.record(ids[1], STATS)  # so that the other one is the oldest
    for _ in range(2):
        recorder.record(ids[0], ERROR)
    assert [remembers(audit_id) for audit_id in ids] == [True, True, False]
    with suppress(KeyError), script.atomic():
        recorder.record(ids[2], ERROR)
        recorder.record(ids[1], ERROR)
        raise KeyError
    for audit_id in ids:
        recorder.record(audit_id, STATS)
    assert [len(lookups.get(audit_id).errors) for audit_id in ids] == [3, 1, 1]
    assert len(remembered(script).long_rows) == 2
    assert [remembered(script).is_cached(audit_id) for audit_id in ids] == [False, True, True]
    operations.update(ids[0], narrative="short")
    recorder.record(ids[0], STATS)
    assert ids[0] not in remembered(script).long_rows
    assert remembers(ids[0])
    assert verify().problems == []


def test_however_often_a_transaction_changes_a_long_row_it_is_held_a_few_times(script, audit_id):
    operations.update(audit_id, narrative="x" * 200_000)
    recorder.record(audit_id, ERROR)
    assert remembers(audit_id)
    tracemalloc.start()
    with script.atomic():
        for _ in range(100):
            recorder.record(audit_id, ERROR)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert remembers(audit_id)
        assert peak < 20 * 200_000
        with suppress(KeyError), script.atomic():
            recorder.record(audit_id, ERROR)
            raise KeyError
        recorder.record(audit_id, ERROR)
    assert len(lookups.get(audit_id).errors) == 102
    assert verify().problems == []


def test_a_row_that_is_too_long_is_read_each_time(script, audit_id, monkeypatch):
    monkeypatch.setattr(memory, "MOST_LONG", 5000)
    operations.update(audit_id, narrative="x" * 5000)
    recorder.record(audit_id, ERROR)
    assert not remembers(audit_id)
    recorder.record(audit_id, STATS)
    assert not remembers(audit_id)
    assert verify().problems == []


def test_a_row_is_sealed_once_with_its_change(script, audit_id, monkeypatch):
    made = []
    make = formulas.running_seal_of
    monkeypatch.setattr(seals, "running_seal_of", lambda *of: made.append(of) or make(*of))
    with traced(script) as written:
        recorder.record(audit_id, ERROR)
    assert [one for one in written if '"audits"' in one and not one.startswith("UPDATE")] == []
    assert len({one for one in written if one.startswith('UPDATE "audits"')}) == 1
    assert len(made) == 1
    assert verify().problems == []


def test_a_host_follows_the_url_that_an_event_sets(script, audit_id):
    event = {"type": "audit_update", "changes": {"url": "https://other.example/"}}
    recorder.record(audit_id, event)
    assert lookups.get(audit_id).host == "other.example"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "stats_update", "stats": {"elapsed_seconds": -0.0}},
        {"type": "stats_update", "stats": {"elapsed_seconds": 5, "pages_scanned": 2**62}},
        {"type": "stats_update", "stats": {"elapsed_seconds": 2**60}},
        {"type": "site_type", "site_type": "12", "confidence": -0.0},
        {"type": "audit_update", "changes": {"trust_score": -0.0, "risk_level": "007"}},
        {"type": "audit_update", "changes": {"narrative": "1e5", "signal_scores": {"a": -0.0}}},
        make_event("finding", finding=make_finding(1, confidence=-0.0, pattern_type="1")),
    ],
)
def test_what_sqlite_stores_in_another_form_is_sealed_as_it_is_stored(script, audit_id, event):
    for _ in range(2):
        recorder.record(audit_id, event)
        assert verify().problems == []


def test_a_change_before_an_event_is_sealed_with_it_whatever_becomes_of_the_event(script, audit_id):
    with script.atomic():
        Audit.update(trust_score=50).where(Audit.id == audit_id).execute()
        with suppress(KeyError), script.atomic():
            recorder.record(audit_id, ERROR)
            raise KeyError
    assert verify().problems == []
    with script.atomic():
        recorder.record(audit_id, ERROR)
        Audit.update(url="https://b.example/").where(Audit.id == audit_id).execute()
        recorder.record(audit_id, ERROR)
    assert lookups.get(audit_id).host == "b.example"
    with script.atomic():
        changes = {"type": "audit_update", "changes": {"url": "https://c.example/"}}
        recorder.record(audit_id, changes)
        recorder.record(audit_id, ERROR)
    assert (lookups.get(audit_id).host, verify().problems) == ("c.example", [])


def test_what_is_derived_is_made_right_by_what_is_recorded(script, audit_id, finding):
    Audit.update(screenshots_count=7).where(Audit.id == audit_id).execute()
    recorder.record(audit_id, make_event("screenshot", label="home", index=1))
    assert (lookups.get(audit_id).screenshots_count, verify().problems) == (1, [])
    # By another program: nothing tells this connection in memory of it.
    script.keeper.stored.clear()
    script.raw.execute("UPDATE audits SET host = 'evil'")
    nonsense = finding(1, severity="nonsense")
    recorder.record(audit_id, nonsense)
    recorder.record(audit_id, ERROR)
    assert (lookups.get(audit_id).host, verify().problems) == ("example.com", [])


SHOT = make_event("screenshot", label="home", index=1)
RESULT = {"type": "audit_result", "result": {"url": "https://example.com", "status": "completed"}}


@pytest.mark.parametrize("between", [RESULT, ERROR, STATS, {"type": "audit_complete"}])
def test_screenshots_before_and_after_whatever_else_changes_are_sealed(script, audit_id, between):
    for scope in (script.unit, script.atomic):
        with scope():
            recorder.record(audit_id, SHOT)
            recorder.record(audit_id, between)
            recorder.record(audit_id, SHOT)
            with suppress(KeyError), scope():
                recorder.record(audit_id, SHOT)
                raise KeyError
            recorder.record(audit_id, between)
        assert verify().problems == []
    assert lookups.get(audit_id).screenshots_count == 4


def test_a_screenshot_with_a_new_url_before_it_is_sealed_with_the_new_host(script, audit_id):
    with script.atomic():
        changes = {"type": "audit_update", "changes": {"url": "https://c.example/"}}
        recorder.record_many(audit_id, [changes, SHOT])
        recorder.record(audit_id, SHOT)
    assert (lookups.get(audit_id).host, verify().problems) == ("c.example", [])
    recorder.record(audit_id, SHOT)
    assert (lookups.get(audit_id).screenshots_count, verify().problems) == (3, [])


def test_what_plain_sql_takes_back_is_forgotten(script, audit_id, finding):
    with script.atomic():
        script.execute_sql("SAVEPOINT theirs")
        Audit.update(errors=["undone"]).where(Audit.id == audit_id).execute()
        recorder.record(audit_id, finding(1))
        recorder.record(audit_id, make_event("screenshot", label="home", index=1))
        script.execute_sql("ROLLBACK TO theirs")
        recorder.record(audit_id, ERROR)
    assert lookups.get(audit_id).errors == ["no answer"]
    assert lookups.get(audit_id).findings == []


def test_a_log_goes_on_where_it_ended_however_many_are_remembered(script, monkeypatch):
    monkeypatch.setattr(log, "MOST_CHAINS", 3)
    ids = [operations.create("https://example.com").id for _ in range(6)]
    for audit_id in ids:
        recorder.record(audit_id, ERROR)
    for first, second in pairwise(ids):
        events = prepare_all(first, [ERROR] * 3, current_images())
        with script.unit():
            recorder.apply_together(list(zip([first, second, first], events, strict=True)))
    assert verify().problems == []
