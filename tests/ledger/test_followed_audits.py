"""An audit that a writer has begun is followed: its end is recorded without reading it again."""

from __future__ import annotations

import json
from functools import partial

import anyio
import pytest

from tests.support.loops import anyio_backend
from tests.support.tracing import traced
from tests.support.writes import Gate, outcome
from veritas_peewee import (
    Audit,
    AuditEvent,
    AuditFinding,
    AuditNotFound,
    AuditStore,
    InvalidAudit,
    sync,
)
from veritas_peewee.database.current import current_database
from veritas_peewee.ledger import followed
from veritas_peewee.ledger.memory import remembered
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.recording import recorder
from veritas_peewee.testing import make_event, make_finding

on_each_loop = anyio_backend()
END = make_event("audit_complete")
RESULT = make_event("audit_result")
RESULT["result"]["findings"] = [make_finding(), make_finding(9, description="another one")]


def finding(number):
    return {
        "type": "finding",
        "finding": make_finding(id=f"f{number}", description=f"no. {number}"),
    }


async def begin(store, rows=3):
    audit = await store.create("https://example.com")
    await store.record(audit.id, make_event("phase_start"))
    for number in range(rows):
        await store.record(audit.id, finding(number))
        await store.record(audit.id, make_event("screenshot", index=number))
    return audit.id


async def test_of_an_audit_that_a_writer_has_begun_only_its_findings_are_read_for_the_catalog(
    file_store,
):
    database = await file_store.write(current_database)
    audit_id = await begin(file_store)
    with traced(database) as told:
        await file_store.record(audit_id, finding(7))
        await file_store.record(audit_id, make_event("screenshot", index=7))
        await file_store.record(audit_id, RESULT)
        await file_store.record(audit_id, END)
    own = [sql for sql in told if sql.startswith("SELECT ") and "trigger" not in sql]
    assert [sql for sql in own if '"audit_events"' in sql or '"audits"' in sql] == []
    assert (await file_store.read(verify)).ok


async def test_what_ends_is_no_longer_held(store):
    database = await store.write(current_database)
    ended, runs = await begin(store), await begin(store)
    assert {ended, runs} <= {*remembered(database).followed}
    await store.record(ended, END)
    await store.record(runs, make_event("stats_update"))
    kept = remembered(database)
    assert runs in kept.followed
    assert ended not in {*kept.followed, *kept.stored, *kept.contents}


async def test_however_many_rows_there_are_only_so_many_are_held(store, monkeypatch):
    monkeypatch.setattr(followed, "MOST_FOLLOWED", 10)
    database = await store.write(current_database)
    audits = [await begin(store) for _ in range(4)]
    kept = remembered(database).followed.values()
    assert sum(len(one.findings) + len(one.screenshots) for one in kept) <= 10
    for audit_id in audits:
        await store.record(audit_id, END)
    assert (await store.read(verify)).ok


def take_the_last_event(audit_id):
    last = AuditEvent.select(AuditEvent.id).where(AuditEvent.audit == audit_id)
    newest = last.order_by(AuditEvent.id.desc()).limit(1).scalar()
    current_database().raw.execute(f"DELETE FROM audit_events WHERE id = {newest}")


def log_by_hand(audit_id):
    current_database().raw.execute(
        "INSERT INTO audit_events (audit_id, event_type, data, timestamp) "
        f"VALUES ('{audit_id}', 'note', '{{}}', '2026-01-01 00:00:00')"
    )


@pytest.mark.parametrize("change", [take_the_last_event, log_by_hand])
@pytest.mark.parametrize("at_once", [False, True])
async def test_what_a_function_of_a_callers_writes_by_the_driver_is_in_the_seal(
    tmp_path, change, at_once
):
    def write():
        change(audit_id)
        if at_once:
            sync.record(audit_id, END)

    def sealed():
        events = AuditEvent.select().where(AuditEvent.audit == audit_id).count()
        return events, Audit.get_by_id(audit_id).sealed_events

    async with AuditStore.open(tmp_path / "audits.db") as store:
        audit_id = await begin(store)
        await store.write(write)
        if not at_once:
            await store.record(audit_id, END)
        events, covered = await store.read(sealed)
        assert events == covered


async def together(store, *calls):
    """The outcomes of calls that wait for one another's batch."""
    gate, results = Gate(), {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        for number, (call, *args) in enumerate(calls):
            tasks.start_soon(lambda n, c, a: outcome(results, n, c, *a), number, call, args)
            await anyio.wait_all_tasks_blocked()
        gate.release.set()
    return [results[number] for number in range(len(calls))]


async def test_an_image_stays_when_all_is_run_again_because_of_another_write(store):
    audit_id = await begin(store, rows=0)
    other = await store.create("https://other.example")
    shown, _, absent, _ = await together(
        store,
        (store.record, audit_id, make_event("screenshot", index=1)),
        (store.claim, other.id),
        (store.record, "absent", make_event("phase_start")),
        (store.record, audit_id, make_event("stats_update")),
    )
    assert isinstance(shown, int)
    assert isinstance(absent, AuditNotFound)
    (screenshot,) = (await store.get(audit_id)).screenshots
    assert await store.screenshot(screenshot.file_path)


async def test_of_writes_that_wait_each_sees_those_before_it(store):
    create = partial(store.create, "https://example.com", id="a")
    event = make_event("phase_start")
    early, created, late = await together(
        store, (store.record, "a", event), (create,), (store.record, "a", event)
    )
    assert isinstance(early, AuditNotFound)
    assert (created.id, type(late)) == ("a", int)
    gone, again, last = await together(
        store, (store.delete, "a"), (create,), (store.record, "a", event)
    )
    assert (gone, again.id, type(last)) == (None, "a", int)


@pytest.mark.parametrize("later", [make_event("screenshot", index=7), END], ids=["image", "end"])
async def test_a_model_that_is_saved_as_it_was_read_before_takes_nothing_back(store, later):
    def save():
        audit.narrative = "by hand"
        audit.save()
        (one,) = found
        one.plain_english = "by hand"
        one.save()

    audit_id = await begin(store, rows=1)
    audit = await store.read(Audit.get_by_id, audit_id)
    found = await store.read(lambda: list(AuditFinding.select()))
    await store.record(audit_id, later)
    await store.write(save)
    assert (await store.read(verify)).ok
    now = await store.get(audit_id)
    assert (now.narrative, now.findings[0].plain_english) == ("by hand", "by hand")
    assert now.screenshots_count == len(now.screenshots)


async def test_a_copy_of_a_row_is_a_row_of_its_own(store):
    def copy():
        (found,) = AuditFinding.select().where(AuditFinding.audit == audit_id)
        found.id, found.description = None, "another one"
        found.save()
        audit = Audit.get_by_id(audit_id)
        audit.id = "copy"
        audit.save(force_insert=True)

    audit_id = await begin(store, rows=1)
    await store.write(copy)
    await store.record(audit_id, END)
    assert (await store.read(verify)).ok


async def test_where_only_what_was_set_is_saved_nothing_else_is(store, monkeypatch):
    def save():
        audit.narrative = "by hand"
        audit.save()

    monkeypatch.setattr(Audit._meta, "only_save_dirty", True)
    audit_id = await begin(store, rows=0)
    audit = await store.read(Audit.get_by_id, audit_id)
    await store.record(audit_id, END)
    await store.write(save)
    now = await store.get(audit_id)
    assert (now.status, now.narrative) == ("completed", "by hand")


@pytest.mark.parametrize("kind", ["finding", "screenshot"])
async def test_what_a_caller_changes_after_another_store_has_added_rows_is_sealed(
    database, anyio_backend, kind
):
    def change():
        Audit.update(narrative="by hand").where(Audit.id == audit_id).execute()

    if database == ":memory:":
        pytest.skip("a store in memory has no other one beside it")
    async with AuditStore.open(database) as store, AuditStore.open(database) as other:
        audit_id = await begin(store, rows=1)
        await other.record(audit_id, make_event(kind))
        await store.write(change)
        assert (await store.read(verify)).ok


async def test_of_writes_that_fail_together_each_is_told_its_own_error(store):
    await store.create("https://example.com", id="there")
    event = make_event("phase_start")
    taken, one, other, fine = await together(
        store,
        (partial(store.create, "https://example.com", id="there"),),
        (store.record, "absent", event),
        (store.record, "gone", event),
        (store.record, "there", event),
    )
    assert isinstance(taken, InvalidAudit)
    assert isinstance(one, AuditNotFound)
    assert isinstance(other, AuditNotFound)
    assert ("absent" in str(one), "gone" in str(other)) == (True, True)
    assert isinstance(fine, int)


@pytest.mark.parametrize("again", ["ingest", "import"])
async def test_of_an_audit_in_the_place_of_another_the_findings_are_known(store, again, tmp_path):
    await store.create("https://example.com", id="a")
    plain = {"type": "finding", "finding": {**make_finding(), "id": None}}
    events = [make_event("phase_start"), plain]
    if again == "import":
        async with AuditStore.open(tmp_path / "other.db") as other:
            await other.create("https://example.com", id="a")
            await other.record_many("a", events)
            await other.export(tmp_path / "a.jsonl")
    await store.delete("a")
    if again == "import":
        await store.import_(tmp_path / "a.jsonl")
    else:
        await store.ingest(events, audit_id="a", url="https://example.com")
    await store.record("a", plain)
    assert len((await store.get("a")).findings) == 1


@pytest.mark.parametrize("odd", [[], {}, 0, False, 1, [1]], ids=repr)
async def test_an_id_of_a_finding_that_is_no_text_is_none_however_it_is_recorded(store, odd):
    first = {"type": "finding", "finding": {**make_finding(), "id": odd}}
    as_text = json.dumps(odd, separators=(",", ":"))
    other = {"type": "finding", "finding": {**make_finding(description="2"), "id": as_text}}
    result = make_event("audit_result")
    result["result"]["findings"] = [{**make_finding(description="3"), "id": as_text}]
    events = [first, other, result]
    audit_id = await begin(store, rows=0)
    for event in events:
        await store.record(audit_id, event)
    many = (await store.create("https://example.com")).id
    await store.record_many(many, events)
    whole = (await store.ingest(events, url="https://example.com/")).id

    def again():
        stored = list(AuditEvent.select().where(AuditEvent.audit == audit_id))
        sync.create("https://example.com", id="again")
        recorder.replay("again", stored)

    await store.write(again)
    for one in (audit_id, many, whole, "again"):
        found = (await store.get(one)).findings
        assert len(found) == 2, one  # the result reports the second one again


class Once:
    """Events that can be read once, though they are no iterator."""

    def __init__(self, events):
        self._events = events

    def __iter__(self):
        yield from self._events
        self._events = []


class Attributes(dict):
    """A dict whose keys are its attributes, as some callers have them."""

    __getattr__ = dict.__getitem__


async def test_what_a_caller_gives_is_read_once_and_asked_for_nothing(store):
    audit_id = await begin(store, rows=0)
    events = await store.events(audit_id)
    await store.create("https://example.com", id="again")
    ids, _, created = await together(
        store,
        (store.write, recorder.replay, "again", Once(events)),
        (store.record, "absent", make_event("phase_start")),
        (partial(store.create, "https://example.com", options=Attributes(depth=2)),),
    )
    assert len(ids) == len(await store.events("again")) == len(events)
    assert [one.data["options"] for one in await store.events(created.id)] == [{"depth": 2}]


async def test_what_a_callback_writes_by_the_driver_is_in_the_seal(tmp_path):
    def call():
        sync.create("https://example.com", id="a")
        sync.record("a", make_event("phase_start"))
        log_by_hand("a")

    def write():
        current_database().after_commit(call)

    async with AuditStore.open(tmp_path / "audits.db") as store:
        await store.write(write)
        await store.record("a", END)
        assert (await store.read(lambda: Audit.get_by_id("a").sealed_events)) == 3
