"""How an audit ends for those who follow it: by whoever runs it, and never by any time."""

from __future__ import annotations

import json
from datetime import timedelta

import anyio
import pytest
from anyio import to_thread

from tests.support.processes import start
from veritas_peewee import Audit, AuditNotFound, AuditStore, Ended, StoreClosed, connect, sync
from veritas_peewee.following import feed, hub, polling
from veritas_peewee.ledger import log_questions
from veritas_peewee.models import AuditRunner
from veritas_peewee.queries import lookups
from veritas_peewee.recording import recorder

BEGIN = {"type": "phase_start", "phase": "scout"}
LOG = {"type": "log_entry"}
RESULT = {"type": "audit_result", "result": {"status": "completed", "trust_score": 46}}
FAILED = {"type": "audit_result", "result": {"status": "error", "error_message": "no DNS"}}
END = {"type": "audit_complete"}
STORE_S_OWN = ("audit_complete", "audit_error", "audit_disconnected")


async def until(condition):
    with anyio.fail_after(60):
        while not condition():
            await anyio.sleep(0.002)


class Viewer:
    """Follows the audit `one` with its ears open."""

    def __init__(self, store, after=None):
        self.follower = store.follow("one", after=after)
        self.got = []
        self.audit = None

    async def watch(self):
        async for event in self.follower:
            assert self.follower.ended is None
            self.got.append(event)

    @property
    def types(self):
        return [event.event_type for event in self.got]


@pytest.fixture
def quick(monkeypatch):
    """Polls often; counts the looks at everything."""
    looks = []
    fresh = feed.fresh
    monkeypatch.setattr(hub, "POLL", 0.01)
    monkeypatch.setattr(feed, "fresh", lambda *args: (looks.append(args), fresh(*args))[1])
    return looks


# ---- within one process ----


@pytest.mark.parametrize("begun", [True, False], ids=["running", "still queued"])
async def test_a_result_is_not_the_end_however_long_its_engine_takes(store, quick, begun):
    await store.create("https://example.com", id="one")
    viewer = Viewer(store)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(viewer.watch)
            if begun:
                await store.record("one", BEGIN)
            await store.record("one", RESULT)
            await until(lambda: "audit_result" in viewer.types)
            assert (await store.get("one")).status == "completed"
            # A change of a column in between is no end either.
            await store.update("one", narrative="told late")
            for event in (LOG, END):
                quick.clear()
                await until(lambda: len(quick) > 5)  # these all see the status
                assert viewer.follower.ended is None
                await store.record("one", event)
    assert viewer.types == [
        *["phase_start"] * begun, "audit_result", "audit_update", "log_entry", "audit_complete",
    ]  # fmt: skip
    assert viewer.follower.ended is Ended.COMPLETED


@pytest.mark.parametrize("hours", [-24, 24])
async def test_a_clock_that_jumps_changes_no_end(store, quick, monkeypatch, hours):
    await store.create("https://example.com", id="one")
    viewer = Viewer(store)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(viewer.watch)
            await store.record_many("one", [BEGIN, RESULT])
            now = recorder.utc_now
            monkeypatch.setattr(recorder, "utc_now", lambda: now() + timedelta(hours=hours))
            await until(lambda: viewer.got)
            quick.clear()
            await until(lambda: len(quick) > 5)
            assert viewer.follower.ended is None
            await store.record("one", END)
    assert viewer.types == ["phase_start", "audit_result", "audit_complete"]


@pytest.mark.parametrize(
    ("closing", "how"),
    [
        ({"type": "audit_error", "error": "gone"}, "error"),
        ({"type": "audit_disconnected"}, "disconnected"),
        ("error", "error"),
        ("completed", "completed"),
    ],
)
async def test_whatever_closes_an_audit_says_how(store, closing, how):
    await store.create("https://example.com", id="one")
    await store.record_many("one", [BEGIN, RESULT])
    if isinstance(closing, str):
        await store.update_status("one", closing)
    else:
        await store.record("one", closing)
    viewer = Viewer(store)
    with anyio.fail_after(30):
        await viewer.watch()
    assert viewer.follower.ended == how == (await store.get("one")).status


async def test_an_audit_that_is_taken_up_again_goes_on(store):
    await store.create("https://example.com", id="one")
    await store.record_many("one", [BEGIN, {"type": "audit_error", "error": "crashed"}])
    first = Viewer(store)
    await first.watch()
    assert first.follower.ended == "error"
    await store.update_status("one", "queued")
    assert await store.claim("one")
    again = Viewer(store, after=first.got[-1].token)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(again.watch)
            await store.record_many("one", [RESULT, END])
    assert again.types == ["audit_update", "audit_update", "audit_result", "audit_complete"]
    assert again.follower.ended == "completed"


async def test_an_audit_without_events_ends_at_once_and_says_how(store):
    await store.create("https://example.com", id="one")
    await store.write(Audit.update(status="completed", trust_score=46).execute)
    viewer = Viewer(store)
    with anyio.fail_after(30):
        await viewer.watch()
    assert (viewer.got, viewer.follower.ended) == ([], "completed")
    assert (await store.events("one")) == []


async def test_other_ends_are_told_apart(database):
    async with AuditStore.open(database) as store:
        for audit_id in ("one", "two"):
            await store.create("https://example.com", id=audit_id)
        with pytest.raises(AuditNotFound):
            await store.follow("none")
        left, deleted, closed = (store.follow(name) for name in ("one", "two", "one"))
        every = await store.follow_all()
        await left.aclose()
        assert left.ended == "left"
        async with anyio.create_task_group() as group:

            async def sees(follower, error):
                with pytest.raises(error):
                    await anext(follower)

            group.start_soon(sees, deleted, AuditNotFound)
            await store.delete("two")
        assert deleted.ended == "deleted"
        await closed
    with pytest.raises(StoreClosed):
        await anext(closed)
    assert [event async for event in every] == []
    assert closed.ended == every.ended == "closing"


async def test_the_whole_output_of_an_engine_leaves_nobody_running(store):
    for number, events in enumerate(([BEGIN, RESULT], [RESULT], [BEGIN, RESULT, END])):
        audit = await store.ingest(events, audit_id=f"a{number}", url="https://example.com")
        follower = store.follow(audit.id)
        with anyio.fail_after(30):
            assert len([event async for event in follower]) == len(events)
        assert follower.ended == "completed"
    assert await store.read(AuditRunner.select().count) == 0


# ---- other processes ----


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "audits.db"
    with connect(path):
        sync.create("https://example.com", id="one")
    return path


class Runner:
    """Another process that runs the audit."""

    def __init__(self, path, hours=0):
        self.process = start("run_one.py", path, hours)
        assert self.process.stdout.readline() == "open\n"

    def step(self, step):
        self.process.stdin.write((step if isinstance(step, str) else json.dumps(step)) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.communicate()


async def follow_one(path, steps, hours=0, how="kill"):
    """A viewer in this process while another takes the steps and then ends; the viewer."""
    async with AuditStore.open(path) as store:
        viewer = Viewer(store)
        every = await store.follow_all(after=0)
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(viewer.watch)
                runner = await to_thread.run_sync(Runner, path, hours)
                for step in steps:
                    await to_thread.run_sync(runner.step, step)
                await until(lambda: len(viewer.got) == len(steps))
                assert viewer.follower.ended is None
                await to_thread.run_sync(runner.step, how)
                await to_thread.run_sync(runner.end)
        stored = await store.events("one")
        assert [event.id for event in viewer.got] == [event.id for event in stored]
        with anyio.fail_after(30):
            assert [(await anext(every)).id for _ in stored] == [event.id for event in stored]
        assert await store.read(AuditRunner.select().count) == 0
        viewer.audit = await store.get("one")
        return viewer


@pytest.mark.parametrize(
    ("steps", "status", "last"),
    [
        (["claim"], "disconnected", "audit_disconnected"),
        ([BEGIN, LOG], "disconnected", "audit_disconnected"),
        ([BEGIN, RESULT], "completed", "audit_complete"),
        ([RESULT, LOG], "completed", "audit_complete"),
        ([BEGIN, FAILED], "error", "audit_error"),
    ],
)
async def test_a_process_that_is_killed_ends_its_audit_for_viewers_in_another(
    path, steps, status, last
):
    viewer = await follow_one(path, steps, hours=len(steps) * 24 - 36)
    assert viewer.types[-1] == last
    assert viewer.follower.ended == status
    assert viewer.audit.status == status
    if status == "error":
        assert viewer.audit.error_message == "no DNS"
    assert "the process that was running" in str(viewer.got[-1].data)


async def test_a_process_that_ends_by_itself_without_closing_its_audit_does_too(path):
    viewer = await follow_one(path, [BEGIN, RESULT], how="close")
    assert viewer.types[-1] == "audit_complete"


def test_the_next_opening_closes_what_a_killed_process_left(path):
    runner = Runner(path)
    for step in (BEGIN, RESULT, "kill"):
        runner.step(step)
    runner.end()
    for mode in ({"read_only": True}, {}, {}):
        with connect(path, **mode):
            types = [event.event_type for event in lookups.events("one")]
            assert types == ["phase_start", "audit_result", *["audit_complete"] * (not mode)]
            assert lookups.get("one").status == "completed"


def test_a_script_sees_the_end_of_a_killed_process_too(path, monkeypatch):
    runner = Runner(path)
    runner.step(BEGIN)
    with connect(path):
        watcher = polling.watch("one", poll=0.01)
        assert next(watcher).event_type == "phase_start"
        runner.step("kill")
        runner.end()
        assert [event.event_type for event in watcher] == ["audit_disconnected"]
        assert watcher.ended == "disconnected"


def test_one_who_may_only_read_is_told_how_it_ended_without_a_closing_event(path):
    runner = Runner(path)
    for step in (BEGIN, RESULT):
        runner.step(step)
    with connect(path, read_only=True):
        watcher = polling.watch("one", poll=0.01)
        assert [next(watcher).event_type for _ in range(2)] == ["phase_start", "audit_result"]
        runner.step("kill")
        runner.end()
        assert list(watcher) == []
        assert watcher.ended == "completed"


# ---- who runs it ----


def test_of_two_processes_that_find_an_audit_queued_one_gets_it(path):
    runners = [Runner(path) for _ in range(2)]
    for runner in runners:
        runner.process.stdin.write("claim\n")
        runner.process.stdin.flush()
    told = [runner.process.stdout.readline().strip() for runner in runners]
    assert sorted(told) == ["False", "True"]
    for runner in runners:
        runner.step("close")
        runner.end()


async def test_an_audit_can_be_claimed_once(store):
    await store.create("https://example.com", id="one")
    claimed = []

    async def claim():
        claimed.append(await store.claim("one"))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(claim)
    assert sorted(claimed) == [False] * 19 + [True]
    assert (await store.get("one")).status == "running"
    (event,) = await store.events("one")
    assert event.data["changes"] == {"status": "running"}
    assert not await store.write(lambda: sync.claim("one"))
    with pytest.raises(AuditNotFound):
        await store.claim("none")


def test_the_type_of_the_last_event(script):
    audit = sync.create("https://example.com")
    assert log_questions.last_event(audit.id) is None
    recorder.record_many(audit.id, [LOG, BEGIN])
    assert log_questions.last_event(audit.id) == "phase_start"


async def test_a_server_that_stops_ends_its_viewers_and_still_answers(store):
    audit = await store.create("https://example.com")
    follower = await store.follow(audit.id)
    told = []

    async def follow() -> None:
        with pytest.raises(StoreClosed):
            async for event in follower:
                told.append(event.id)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        first = await store.record(audit.id, {"type": "log_entry"})
        with anyio.fail_after(30):
            while not told:
                await anyio.sleep(0.001)
        store.stop_following()
    assert (told, follower.ended) == ([first], Ended.CLOSING)
    assert await store.record(audit.id, {"type": "log_entry"}) == first + 1
    late = await store.follow(audit.id)
    with pytest.raises(StoreClosed):
        [event async for event in late]
    assert late.ended is Ended.CLOSING
