"""Group commit: whole or absent, answered after COMMIT, and never without an answer."""

import asyncio
import gc
import sqlite3
import threading

import anyio
import anyio.lowlevel
import peewee
import pytest
import trio

from veritas_peewee import (
    Audit,
    AuditEvent,
    AuditStore,
    StoreBusy,
    StoreClosed,
    StoreError,
    WriteUndone,
)
from veritas_peewee.database import current_database


def add(url="https://example.com"):
    return Audit.create(url=url).id


def count():
    return Audit.select().count()


class Gate:
    """Holds the writer inside a write until it is let go."""

    def __init__(self):
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self):
        self.entered.set()
        assert self.release.wait(60)

    async def wait(self):
        await anyio.to_thread.run_sync(self.entered.wait, 60)


async def outcome(results, key, call, *args, **kwargs):
    try:
        results[key] = await call(*args, **kwargs)
    except Exception as error:
        results[key] = error


async def test_an_answer_comes_after_the_commit(file_store, tmp_path):
    for n in range(20):
        await file_store.write(add)
        with sqlite3.connect(tmp_path / "audits.db") as other:
            assert other.execute("SELECT COUNT(*) FROM audits").fetchone() == (n + 1,)
        other.close()


async def test_writes_that_wait_share_a_commit(store):
    gate = Gate()
    results = {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        before = store.stats().commits
        for n in range(200):
            tasks.start_soon(outcome, results, n, store.write, add)
        await anyio.wait_all_tasks_blocked()
        gate.release.set()
    assert store.stats().commits - before <= 3
    assert store.stats().writes >= 201
    assert len({results[n] for n in range(200)}) == 200
    assert await store.read(count) == 200


async def test_one_bad_write_among_many_fails_alone(store):
    def bad():
        add("https://example.com/bad")
        raise LookupError("mine")

    gate = Gate()
    results = {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        for n in range(20):
            tasks.start_soon(outcome, results, n, store.write, bad if n == 7 else add)
        await anyio.wait_all_tasks_blocked()
        gate.release.set()
    assert isinstance(results[7], LookupError)
    assert await store.read(count) == 19
    assert not await store.read(lambda: Audit.select().where(Audit.url.contains("bad")).exists())


async def test_an_error_that_ends_the_transaction_fails_the_whole_batch(store):
    """A RAISE(ROLLBACK) trigger ends the transaction inside SQLite, as a full disk does."""
    await store.write(
        lambda: current_database().execute_sql(
            "CREATE TRIGGER deadly BEFORE INSERT ON audits WHEN NEW.url LIKE '%deadly%' "
            "BEGIN SELECT RAISE(ROLLBACK, 'deadly row'); END"
        )
    )

    def nested():
        with current_database().atomic():
            add("https://example.com/deadly")

    for deadly in (lambda: add("https://example.com/deadly"), nested):
        gate = Gate()
        results = {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome, results, "gate", store.write, gate)
            await gate.wait()
            for n in range(10):
                tasks.start_soon(outcome, results, n, store.write, deadly if n == 4 else add)
            await anyio.wait_all_tasks_blocked()
            gate.release.set()
        assert isinstance(results[4], peewee.IntegrityError)
        assert "deadly row" in str(results[4])
        for n in set(range(10)) - {4}:
            assert isinstance(results[n], WriteUndone)
            assert "deadly row" in str(results[n])
        assert await store.read(count) == 0
    await store.write(add)
    assert await store.read(count) == 1


async def test_a_write_that_ends_the_transaction_itself_is_told(store):
    with pytest.raises(StoreError, match="transaction was ended"):
        await store.write(lambda: (add(), current_database().raw.execute("COMMIT")))
    await store.write(add)


async def test_a_write_may_use_atomic_inside(store):
    def half():
        add("https://example.com/kept")
        try:
            with current_database().atomic():
                add("https://example.com/undone")
                raise LookupError
        except LookupError:
            return count()

    assert await store.write(half) == 1
    assert await store.read(count) == 1


async def test_an_async_function_is_refused(store):
    async def wrong():
        raise AssertionError

    with pytest.raises(TypeError, match="plain function"):
        await store.write(wrong)


async def test_callers_wait_for_a_place_in_a_bounded_queue(database):
    async with AuditStore.open(database, max_pending=3) as store:
        gate = Gate()
        results = {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome, results, "gate", store.write, gate)
            await gate.wait()
            for n in range(50):
                tasks.start_soon(outcome, results, n, store.write, add)
            await anyio.wait_all_tasks_blocked()
            assert store.stats().pending <= 3
            gate.release.set()
        assert await store.read(count) == 50


async def test_a_cancelled_write_that_has_not_begun_never_happens(store):
    gate = Gate()
    results = {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as doomed:
                for n in range(10):
                    doomed.start_soon(outcome, results, n, store.write, add)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        gate.release.set()
    assert await store.read(count) == 0


async def test_a_cancelled_write_that_has_begun_completes(store):
    gate = Gate()

    def slow():
        gate()
        add()

    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.write, slow)
            await gate.wait()
            scope.cancel()
    assert scope.cancelled_caught
    gate.release.set()
    await store.write(count)  # comes after the one that was abandoned
    assert await store.read(count) == 1


async def test_random_cancellation_leaves_no_slot_and_no_transaction_behind(database):
    async with AuditStore.open(database, max_pending=5) as store:
        made = []

        async def one(n):
            with anyio.CancelScope() as scope:
                if n % 3 == 0:
                    scope.deadline = anyio.current_time() + (n % 7) / 5000
                made.append(await store.write(add))

        async with anyio.create_task_group() as tasks:
            for n in range(300):
                tasks.start_soon(one, n)
        await store.write(add)
        assert await store.read(count) >= len(made) + 1
        assert store.stats().pending == 0


async def test_close_finishes_what_is_queued_and_refuses_what_comes_later(tmp_path):
    path = tmp_path / "audits.db"
    store = await AuditStore.open(path)
    gate = Gate()
    results = {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        for n in range(30):
            tasks.start_soon(outcome, results, n, store.write, add)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(store.close)
        tasks.start_soon(store.close)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(outcome, results, "late", store.write, add)
        gate.release.set()
    assert isinstance(results["late"], StoreClosed)
    async with AuditStore.open(path) as again:
        assert await again.read(count) == 30


async def test_callers_waiting_for_a_place_are_told_when_the_store_closes(database):
    store = await AuditStore.open(database, max_pending=1)
    gate = Gate()
    results = {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        for n in range(5):
            tasks.start_soon(outcome, results, n, store.write, add)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(store.close)
        await anyio.wait_all_tasks_blocked()
        gate.release.set()
    assert results["gate"] is None
    assert all(isinstance(results[n], StoreClosed) for n in range(5))


@pytest.mark.parametrize("run", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_a_loop_that_goes_away_mid_write_does_not_kill_the_writer(tmp_path, run):
    path = tmp_path / "audits.db"
    gate = Gate()
    kept = []

    async def leave():
        store = await AuditStore.open(path)
        kept.append(store)

        async def write():
            await store.write(lambda: (gate(), add()))

        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                await gate.wait()
                scope.cancel()

    run(leave) if run is trio.run else run(leave())
    thread = kept[0]._writer._thread
    gate.release.set()

    async def elsewhere():
        with pytest.raises(StoreError, match="another event loop"):
            await kept[0].write(add)
        async with AuditStore.open(path) as other:
            await other.write(add)

    asyncio.run(elsewhere())
    assert thread.is_alive()

    def forget():
        kept.clear()
        gc.collect()

    with pytest.warns(ResourceWarning, match="was not closed"):
        forget()
    thread.join(60)
    assert not thread.is_alive()
    with sqlite3.connect(path) as file:
        assert file.execute("SELECT COUNT(*) FROM audits").fetchone() == (2,)
    file.close()


async def test_another_connection_that_holds_the_lock_past_the_timeout_is_store_busy(tmp_path):
    path = tmp_path / "audits.db"
    async with AuditStore.open(path) as store:
        await store.write(lambda: current_database().pragma("busy_timeout", 50))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy):
            await store.write(add)
        other.execute("ROLLBACK")
        other.close()
        await store.write(add)
        assert await store.read(count) == 1


async def test_the_stats_tell_what_the_writer_did(store):
    for _ in range(5):
        await store.write(add)
    with pytest.raises(ZeroDivisionError):
        await store.write(lambda: 1 / 0)
    stats = store.stats()
    assert stats.writes >= 6
    assert stats.failed == 1
    assert 0 < stats.p50 <= stats.p99
    assert await store.read(AuditEvent.select().count) == 0
