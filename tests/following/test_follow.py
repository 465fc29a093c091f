"""Following: stored events, then new ones as they are committed, no gap and no double."""

from __future__ import annotations

import gc
import random
import threading
import weakref

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint

from tests.support.amount import amount
from tests.support.loops import anyio_backend
from tests.support.processes import start
from veritas_peewee import (
    Audit,
    AuditNotFound,
    AuditStore,
    InvalidAudit,
    StoreClosed,
    StoreError,
    connect,
)
from veritas_peewee.following import feed, hub, polling
from veritas_peewee.queries import lookups
from veritas_peewee.recording import operations, recorder, removal

on_each_loop = anyio_backend()
LOG = {"type": "log_entry"}
END = {"type": "audit_complete"}


async def ids_of(follower):
    return [event.id async for event in follower]


async def turns(number=50):
    for _ in range(number):
        await checkpoint()


async def until(condition):
    """For what another task or process will do soon."""
    with anyio.fail_after(30):
        while not condition():
            await anyio.sleep(0.001)


@pytest.mark.parametrize("tasks", [20])
async def test_each_follower_sees_what_comes_after_its_token_in_order_and_once(store, tasks):
    dice = random.Random(5)
    audits = [(await store.create(f"https://example.com/{n}")).id for n in range(tasks)]
    others = (await store.create("https://example.com/other")).id
    told: dict[str, list[int]] = {audit_id: [] for audit_id in audits}
    seen: list[tuple[str | None, int, list[int]]] = []

    async def record(audit_id):
        for _ in range(15):
            told[audit_id].append(await store.record(audit_id, LOG))
            told[audit_id] += await store.record_many(audit_id, [LOG] * dice.randrange(4))
            await store.record(others, LOG)
            if dice.random() < 0.3:
                await anyio.sleep(0.002)
        told[audit_id].append(await store.record(audit_id, END))

    async def follow(number):
        """Late, slow, in parts with a new follower for each, or straight on."""
        audit_id = audits[number % tasks]
        got: list[int] = []
        first = last = dice.choice(told[audit_id] or [0])
        await anyio.sleep(dice.random() * 0.05)
        ended = False
        while not ended:
            with anyio.move_on_after(dice.choice([0.003, 0.02, 60])):
                async for event in store.follow(audit_id, after=last):
                    got.append(event.id)
                    last = event.id
                    if number % 5 == 0:
                        await anyio.sleep(0.003)
                    if number % 7 == 0 and dice.random() < 0.1:
                        break
                else:
                    ended = True
        seen.append((audit_id, first, got))

    async def follow_every(after, got):
        async for event in store.follow_all(after=after):
            got.append(event.id)

    every: list[int] = []
    with anyio.fail_after(60):
        async with anyio.create_task_group() as forever:
            forever.start_soon(follow_every, 0, every)
            async with anyio.create_task_group() as group:
                for number in range(50):
                    group.start_soon(follow, number)
                    if number % 5 == 4:
                        for audit_id in audits[number // 5 * 2 :][:2]:
                            group.start_soon(record, audit_id)
            stored = await store.read(lambda: [e.id for a in told for e in lookups.events(a)])
            stored += await store.read(lambda: [e.id for e in lookups.events(others)])
            await until(lambda: len(every) == len(stored))
            forever.cancel_scope.cancel()
    assert every == sorted(stored)
    assert len(seen) == 50
    for audit_id, first, got in seen:
        assert got == [event_id for event_id in told[audit_id] if event_id > first]


async def test_an_event_is_given_with_all_that_it_holds(store):
    audit = await store.create("https://example.com")
    event = {"type": "phase_start", "phase": "scout", "message": "näh", "pct": 5}
    await store.record(audit.id, event)
    await store.record(audit.id, END)
    first, _ = [one async for one in store.follow(audit.id)]
    (stored, _) = await store.events(audit.id)
    assert first == stored
    assert (first.audit_id, first.event_type, first.data) == (audit.id, "phase_start", event)
    assert (first.timestamp, first.digest) == (stored.timestamp, stored.digest)


async def test_a_new_event_is_there_a_few_turns_after_its_commit_and_without_polling(
    store, monkeypatch
):
    monkeypatch.setattr(hub, "POLL", 3600)
    audit = await store.create("https://example.com")
    got: list[int] = []

    async def follow():
        async for event in store.follow(audit.id):
            got.append(event.id)

    late = 0
    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        await until(lambda: store._hub._alarm)
        for _ in range(100):
            event_id = await store.record(audit.id, LOG)
            # As long as two further writes take, which do as many things one after the other.
            await store.update(audit.id, narrative="one")
            await store.update(audit.id, narrative="two")
            late += event_id not in got
            await until(lambda event_id=event_id: event_id in got)
        group.cancel_scope.cancel()
    assert late < 50


async def test_what_is_too_much_for_one_look_is_not_left_until_the_next_poll(store, monkeypatch):
    monkeypatch.setattr(hub, "POLL", 3600)
    monkeypatch.setattr(feed, "BATCH", 10)
    audit = (await store.create("https://example.com")).id
    got = []

    async def follow():
        async for event in store.follow(audit):
            got.append(event.id)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await store.record(audit, LOG)
            await until(lambda: got)
            told = await store.record_many(audit, [LOG] * 35)
            await until(lambda: len(got) > 35)
            await store.record(audit, END)
    assert got[1:-1] == told


async def test_ten_followers_are_told_by_one_read(store, monkeypatch):
    audit = await store.create("https://example.com")
    reads, got = [], []
    fresh = feed.fresh
    monkeypatch.setattr(feed, "POLL", 3600)
    monkeypatch.setattr(hub, "POLL", 3600)
    monkeypatch.setattr(feed, "fresh", lambda *args: (reads.append(args), fresh(*args))[1])

    async def follow():
        async for event in store.follow(audit.id):
            got.append(event.id)

    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(follow)
        await until(lambda: len(store._hub._waiting) == 9)
        await until(lambda: store._hub._alarm)
        reads.clear()
        await store.record(audit.id, LOG)
        await until(lambda: len(got) == 10)
        # A server tells of one's own commit too, and then it is looked for later events.
        told = [args for args in reads if store.location.server is None or args[0] < got[0]]
        assert len(told) == 1
        group.cancel_scope.cancel()


async def test_a_huge_event_is_read_once_for_all_who_wait_for_it(store, monkeypatch):
    audit = await store.create("https://example.com")
    reads, got = [], []
    stored = feed.stored
    monkeypatch.setattr(hub, "CACHED_TEXT", 1)
    monkeypatch.setattr(feed, "stored", lambda *args: (reads.append(args), stored(*args))[1])

    async def follow(follower):
        async for event in follower:
            got.append(event.data["message"])

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(follow, store.follow(audit.id))
                group.start_soon(follow, store.follow_all(after=0))
            await until(lambda: len(store._hub._waiting) == 19 and store._hub._alarm)
            reads.clear()
            await store.record(audit.id, LOG | {"message": "x" * 100_000})
            await until(lambda: len(got) == 20)
            assert reads == []
            group.cancel_scope.cancel()


@pytest.mark.parametrize("kind", ["audit_complete", "audit_error", "audit_disconnected"])
async def test_a_follower_ends_with_its_audit(store, kind):
    audit = await store.create("https://example.com")
    got: list[int] = []

    async def follow():
        got.extend(await ids_of(store.follow(audit.id)))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            await turns()
            told = [await store.record(audit.id, LOG), await store.record(audit.id, {"type": kind})]
    assert got == told
    # What comes after the end is there for who asks for it.
    told.append(await store.record(audit.id, LOG))
    assert await ids_of(store.follow(audit.id)) == told
    assert await ids_of(store.follow(audit.id, after=told[1])) == told[2:]
    assert await ids_of(store.follow(audit.id, after=told[2])) == []


async def test_an_end_that_no_event_tells_is_noticed(store):
    audit = await store.create("https://example.com")
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(ids_of, store.follow(audit.id))
            await turns()
            query = Audit.update(status="error").where(Audit.id == audit.id)
            await store.write(query.execute)


async def test_a_deleted_audit_ends_its_followers_with_an_error(store):
    audit = await store.create("https://example.com")
    other = await store.create("https://example.com")
    got: list[int] = []
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(ids_of, store.follow(other.id))

            async def follow():
                with pytest.raises(AuditNotFound, match=audit.id):
                    async for event in store.follow(audit.id):
                        got.append(event.id)

            group.start_soon(follow)
            told = await store.record(audit.id, LOG)
            await until(lambda: got)
            await store.delete(audit.id)
            await store.record(other.id, END)
    assert got == [told]


async def test_what_cannot_be_followed_is_told_at_once(store):
    with pytest.raises(AuditNotFound, match="none"):
        await store.follow("none")
    with pytest.raises(AuditNotFound):
        await anext(store.follow("none\ud800"))
    audit = await store.create("https://example.com")
    for bad in (-1, "5", 1.5, True, 2**63):
        with pytest.raises(InvalidAudit, match="after"):
            store.follow(audit.id, after=bad)
    for bad in (None, 5, b"none", [], "", audit):
        with pytest.raises(AuditNotFound):  # None above all: not the events of all audits
            await store.follow(bad)
    with pytest.raises(InvalidAudit, match="after"):
        store.follow_all(after="5")
    newest = await store.record(audit.id, LOG)
    with pytest.raises(InvalidAudit, match=f"has no event {newest + 1}, its newest is {newest}"):
        await store.follow(audit.id, after=newest + 1)
    with pytest.raises(InvalidAudit, match="newest"):
        await store.follow_all(after=newest + 1)


async def test_without_a_token_an_audit_is_followed_from_its_first_event_on(store):
    audit = await store.create("https://example.com")
    told = [await store.record(audit.id, event) for event in (LOG, END)]
    for token in ({}, {"after": None}, {"after": 0}):
        assert await ids_of(store.follow(audit.id, **token)) == told


async def test_a_follower_belongs_to_the_event_loop_of_its_store(store):
    audit = await store.create("https://example.com")
    follower = await store.follow(audit.id)

    async def elsewhere():
        with anyio.fail_after(30), pytest.raises(StoreError, match="another event loop"):
            await anext(follower)

    def without_a_loop():
        with pytest.raises(StoreError, match="event loop"):
            store.follow(audit.id)

    async with anyio.create_task_group() as group:
        group.start_soon(ids_of, store.follow(audit.id))
        await until(lambda: store._hub._alarm)
        await to_thread.run_sync(anyio.run, elsewhere)
        await to_thread.run_sync(without_a_loop)
        group.cancel_scope.cancel()


async def test_of_all_audits_those_events_come_that_are_new_unless_told_otherwise(store):
    audit = await store.create("https://example.com")
    old = [await store.record(audit.id, LOG) for _ in range(3)]
    new = await store.follow_all()
    again = await store.follow_all(after=old[0])
    other = await store.create("https://example.com")
    told = [await store.record(one.id, END) for one in (audit, other)]
    assert [(await anext(new)).id for _ in told] == told
    assert [(await anext(again)).id for _ in range(4)] == [*old[1:], *told]


@pytest.mark.parametrize("leave", ["break", "cancel", "aclose", "drop"])
async def test_one_who_leaves_leaves_nothing_behind(store, leave):
    audit = await store.create("https://example.com")
    await store.record(audit.id, LOG)
    threads = threading.active_count()
    for _ in range(amount(2, 5)):
        follower = store.follow(audit.id)
        gone = weakref.ref(follower)
        if leave == "break":
            async for _event in follower:
                break
        elif leave == "cancel":
            with anyio.move_on_after(0.005):
                await ids_of(follower)
        elif leave == "aclose":
            async with anyio.create_task_group() as group:
                group.start_soon(ids_of, follower)  # ends, without an error
                await turns()
                await follower.aclose()
            await follower.aclose()
            assert await ids_of(follower) == []
        else:
            await follower
        del follower
        await until(lambda gone=gone: gc.collect() is not None and gone() is None)
    hub = store._hub
    assert not hub._channels
    assert not hub._waiting
    assert hub._leader is hub._appointed is hub._alarm is None
    if store._readers is not None:
        await until(lambda: not any(one.call for one in store._readers._threads))
        assert not store._readers._waiting
    assert threading.active_count() <= threads + 4  # idle worker threads of the event loop


async def test_a_follower_may_be_collected_while_the_channels_are_looked_through(store):
    held: list[hub.Channel] = []
    asked = False

    class Id(str):
        def __hash__(self):
            if asked:  # the collector runs just then
                held.clear()
            return super().__hash__()

    audit, other = [await store.create("https://example.com") for _ in range(2)]
    held.append(hub.Channel(0))
    store._hub._channels[Id(other.id)] = held[0]
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(ids_of, store.follow(audit.id))
            await until(lambda: store._hub._alarm)
            asked = True
            await store.record(audit.id, END)
    assert not held


async def test_when_the_one_who_reads_for_all_leaves_another_goes_on(store):
    audit = await store.create("https://example.com")
    got: dict[int, list[int]] = {}
    scopes: dict[int, anyio.CancelScope] = {}

    async def follow(number):
        with anyio.CancelScope() as scopes[number]:
            got[number] = []
            async for event in store.follow(audit.id):
                got[number].append(event.id)

    told = []
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for number in range(10):
                group.start_soon(follow, number)
            await until(lambda: len(store._hub._waiting) == 9)
            for number in range(9):
                told.append(await store.record(audit.id, LOG))
                if number % 2:
                    await turns()
                scopes[number].cancel()
            told.append(await store.record(audit.id, END))
    assert got[9] == told
    for number in range(9):
        assert got[number] == told[: len(got[number])]


async def test_a_cancelled_follower_goes_on_where_it_was(store):
    audit = await store.create("https://example.com")
    follower, got, told = store.follow(audit.id), [], []

    async def record():
        for _ in range(60):
            told.append(await store.record(audit.id, LOG))
            await checkpoint()
        told.append(await store.record(audit.id, END))

    async with anyio.create_task_group() as group:
        group.start_soon(record)
        ended, patience = False, 0.001
        while not ended:
            before = len(got)
            with anyio.move_on_after(patience):
                async for event in follower:
                    got.append(event.id)
                ended = True
            # Where nothing can be read in that time, longer.
            patience = 0.001 if len(got) > before else 2 * patience
    assert got == told


async def test_one_follower_is_for_one_task(store):
    audit = await store.create("https://example.com")
    follower = store.follow(audit.id)
    async with anyio.create_task_group() as group:
        group.start_soon(ids_of, follower)
        await turns()
        with pytest.raises(StoreError, match="another task"):
            await anext(follower)
        await follower.aclose()


async def test_closing_the_store_ends_its_followers(database):
    outcomes: dict[str, object] = {}
    async with anyio.create_task_group() as group:
        store = await AuditStore.open(database)
        audit = await store.create("https://example.com")
        idle = await store.follow(audit.id)

        async def follow(name, follower):
            try:
                outcomes[name] = await ids_of(follower)
            except StoreError as error:
                outcomes[name] = type(error)

        for number in range(5):
            group.start_soon(follow, f"one {number}", store.follow(audit.id))
            group.start_soon(follow, f"all {number}", store.follow_all(after=0))
        await until(lambda: len(store._hub._waiting) == 9)
        await store.close()
    assert outcomes == {f"one {n}": StoreClosed for n in range(5)} | {
        f"all {n}": [] for n in range(5)
    }
    with pytest.raises(StoreClosed):
        await anext(idle)
    with pytest.raises(StoreClosed):
        store.follow(audit.id)


async def test_a_store_that_was_followed_can_be_forgotten(database):
    store = await AuditStore.open(database)
    audit = await store.create("https://example.com")
    await store.follow(audit.id)
    with pytest.warns(ResourceWarning, match="not closed"):
        del store
    gc.collect()


async def test_a_slow_follower_holds_nobody_up_and_misses_nothing(file_store, monkeypatch):
    monkeypatch.setattr(hub, "CACHED_TEXT", 20_000)  # some 30 events
    store = file_store
    audit = await store.create("https://example.com")
    slow, fast = await store.follow(audit.id), store.follow(audit.id)
    got: list[int] = []

    async def follow():
        async for event in fast:
            got.append(event.id)

    told = []
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            for number in range(1, 61):
                told += await store.record_many(audit.id, [LOG] * 10)
                await until(lambda number=number: len(got) == number * 10)
                assert store._hub._cached_text <= 20_000
            assert sum(len(c.events) for c in store._hub._channels.values()) < 50
            told.append(await store.record(audit.id, END))
        assert await ids_of(slow) == told == got


async def test_followers_share_the_time_with_many_writers(file_store, monkeypatch):
    monkeypatch.setattr(hub, "BUSY", 0)  # hold back whenever anything is written
    store = file_store
    audits = [(await store.create(f"https://example.com/{n}")).id for n in range(10)]
    got: list[list[int]] = [[] for _ in range(200)]
    told: dict[str, list[int]] = {audit_id: [] for audit_id in audits}

    async def follow(number):
        async for event in store.follow(audits[number % 10]):
            got[number].append(event.id)

    async def record(audit_id):
        for _ in range(20):
            told[audit_id].append(await store.record(audit_id, LOG))
        told[audit_id].append(await store.record(audit_id, END))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(follow, number)
            for audit_id in audits:
                group.start_soon(record, audit_id)
    for number, ids in enumerate(got):
        assert ids == told[audits[number % 10]]


async def test_what_another_process_writes_arrives_too(file_store):
    audit = await file_store.create("https://example.com")
    path = str(file_store.location.path)
    got: list[int] = []
    told: list[int] = []
    process = start("record_events.py", path, audit.id)
    assert process.stdin
    assert process.stdout

    async def follow():
        async for event in file_store.follow(audit.id):
            got.append(event.id)

    with process, anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(follow)
            for number in range(4):
                process.stdin.write(f"line {number}\n")
                process.stdin.flush()
                told.append(int(await to_thread.run_sync(process.stdout.readline)))
                told.append(await file_store.record(audit.id, LOG))
                await until(lambda: got == told)
            process.stdin.close()
            told.append(int(await to_thread.run_sync(process.stdout.readline)))
    assert got == told
    assert process.returncode == 0


def test_a_look_at_what_is_new_asks_only_those_for_their_end_who_told_something(script):
    one, other = [operations.create("https://example.com").id for _ in range(2)]
    told = recorder.record(one, LOG)
    newest = recorder.record(one, END)
    removal.delete(other)

    def over(after, whole=False):
        return feed.fresh(after, [one, other], False, whole).over

    assert over(told) == [one]
    assert over(told, whole=True) == [one, other]
    assert over(newest) == [one, other]  # what was written is no event: a removal, perhaps


def test_a_script_follows_too(script, monkeypatch):
    audit = operations.create("https://example.com")
    other = operations.create("https://example.com")
    told = recorder.record_many(audit.id, [LOG] * 5)
    elsewhere = recorder.record(other.id, LOG)
    follower = polling.watch(audit.id, after=told[1], poll=0.001)
    assert [next(follower).id for _ in range(3)] == told[2:]
    told = recorder.record_many(audit.id, [LOG, END])
    assert [event.id for event in follower] == told
    every = polling.watch(after=elsewhere, poll=0.001)
    assert [next(every).id for _ in told] == told
    with pytest.raises(AuditNotFound):
        next(polling.watch("none"))
    monkeypatch.setattr(feed, "PIECE", 3)
    assert len(list(polling.watch(audit.id))) == 7


def test_no_step_of_following_scans_a_table(tmp_path):
    with connect(tmp_path / "audits.db") as database:
        texts = [
            feed._stored_sql(False),
            feed._stored_sql(True),
            feed._fresh_sql(),
            feed._ended_sql(),
            feed._gone_sql(),
        ]
        for text in texts:
            values = ["[]" if "json_each" in text else 1] * text.count("?")
            plan = [row[3] for row in database.execute_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            assert not [step for step in plan if step.startswith("SCAN") and "json" not in step]
            assert not [step for step in plan if "TEMP B-TREE" in step]
