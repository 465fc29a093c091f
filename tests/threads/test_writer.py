"""Group commit: whole or absent, answered after COMMIT, and never without an answer."""

import asyncio
import gc
import threading

import anyio
import anyio.lowlevel
import peewee
import pytest
import trio

from tests.support.loops import anyio_backend
from tests.support.writes import Gate, add, count, outcome
from veritas_peewee import (
    Audit,
    AuditEvent,
    AuditStore,
    StoreBusy,
    StoreClosed,
    StoreError,
    WriteUndone,
)
from veritas_peewee.database.current import current_database
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.testing import make_event

on_each_loop = anyio_backend()


async def test_an_answer_comes_after_the_commit(file_store, tmp_path):
    for n in range(20):
        await file_store.write(add)
        with driver.connect(tmp_path / "audits.db") as other:
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
            "CREATE TEMP TRIGGER deadly BEFORE INSERT ON audits WHEN NEW.url LIKE '%deadly%' "
            "BEGIN SELECT RAISE(ROLLBACK, 'deadly row'); END"
        )
    )

    def nested():
        with current_database().atomic():
            add("https://example.com/deadly")

    for deadly in (lambda: add("https://example.com/deadly"), nested):
        with pytest.raises(peewee.IntegrityError, match="deadly row"):
            await store.write(deadly)  # alone
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
    with pytest.raises(StoreError, match="ended the transaction"):
        await store.write(lambda: current_database().raw.execute("COMMIT"))
    await store.write(add)
    assert await store.read(count) == 1


def roll_back_and_begin():
    current_database().raw.execute("ROLLBACK")
    current_database().raw.execute("BEGIN")


@pytest.mark.parametrize(
    "rude",
    [
        roll_back_and_begin,
        lambda: current_database().rollback(),
        lambda: current_database().commit(),
        lambda: current_database().begin(),
        lambda: current_database().transaction().__enter__().rollback(),
        lambda: current_database().transaction().__enter__().commit(),
    ],
    ids=["driver", "rollback", "commit", "begin", "transaction.rollback", "transaction.commit"],
)
async def test_no_write_can_take_those_of_others_with_it_and_have_them_acknowledged(store, rude):
    gate = Gate()
    results = {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        for n in range(6):
            tasks.start_soon(outcome, results, n, store.write, rude if n == 3 else add)
        await anyio.wait_all_tasks_blocked()
        gate.release.set()
    acknowledged = {result for result in results.values() if isinstance(result, str)}
    assert isinstance(results[3], Exception)
    assert acknowledged == await store.read(lambda: {audit.id for audit in Audit.select()})
    await store.write(add)


async def test_a_callback_that_fails_after_the_commit_undoes_nothing(store, caplog):
    audit = await store.create("https://example.com")
    gate = Gate()
    results = {}
    shot = make_event("screenshot")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        tasks.start_soon(outcome, results, "shot", store.record, audit.id, shot)
        await anyio.sleep(0)

        def fail():
            return current_database().after_commit(lambda: 1 / 0)

        tasks.start_soon(outcome, results, "fail", store.write, fail)
        await anyio.wait_all_tasks_blocked()
        gate.release.set()
    assert isinstance(results["shot"], int)
    assert callable(results["fail"])
    assert "ZeroDivisionError" in caplog.text
    found = await store.get(audit.id)
    assert await store.screenshot(found.screenshots[0].file_path)


async def test_withdrawn_writes_do_not_let_the_queue_grow(database):
    async with AuditStore.open(database, max_pending=5) as store:
        gate = Gate()
        results = {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome, results, "gate", store.write, gate)
            await gate.wait()
            for _ in range(20):
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as doomed:
                        for n in range(20):
                            doomed.start_soon(outcome, results, n, store.write, add)
                        await anyio.wait_all_tasks_blocked()
                        scope.cancel()
            assert store.stats().pending <= 5
            gate.release.set()
        await store.write(add)
        assert await store.read(count) == 1


async def test_an_exception_that_cannot_be_told_does_not_stop_the_writer(store):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    def rude():
        current_database().raw.execute("ROLLBACK")
        raise Mute

    with pytest.raises(Mute):
        await store.write(rude)
    await store.write(add)


def test_native_cancellation_of_asyncio_leaves_no_thread_and_no_file(tmp_path):
    shot = make_event("screenshot")

    async def main():
        for n in range(20):
            store = AuditStore.open(tmp_path / "audits.db")
            task = asyncio.create_task(store._start())
            await asyncio.sleep(n / 5000)
            if not task.cancel():
                await store.close()  # it was open before it could be cancelled
            await asyncio.gather(task, return_exceptions=True)
        async with AuditStore.open(tmp_path / "audits.db") as store:
            audit = await store.create("https://example.com")

            async def one(n):
                async with asyncio.timeout(n / 5000):
                    await store.record(audit.id, shot)

            tasks = [asyncio.create_task(one(n % 20)) for n in range(100)]
            await asyncio.gather(*tasks, return_exceptions=True)
            await store.write(count)

        def files():
            return {
                str(path.relative_to(tmp_path / "screenshots"))
                for path in (tmp_path / "screenshots").rglob("*.png")
            }

        async with AuditStore.open(tmp_path / "audits.db") as store:
            kept = {s.file_path for s in (await store.get(audit.id)).screenshots}
        assert files() == kept

    asyncio.run(main())
    for thread in threading.enumerate():
        if thread.name == "veritas-writer":
            thread.join(60)
            assert not thread.is_alive()


async def test_a_write_that_never_ends_does_not_hold_up_closing_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("veritas_peewee.threads.writer.CLOSE_TIMEOUT", 0.2)
    store = await AuditStore.open(tmp_path / "audits.db")
    gate = Gate()
    results = {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        tasks.start_soon(outcome, results, "queued", store.write, add)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(StoreError, match=r"has not ended within 0\.2 s"):
            await store.close()
        gate.release.set()
    assert isinstance(results["queued"], StoreClosed)


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


async def test_callers_wait_for_a_slot_in_a_bounded_queue(database):
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


async def test_callers_waiting_for_a_slot_are_told_when_the_store_closes(database):
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
    with driver.connect(path) as file:
        assert file.execute("SELECT COUNT(*) FROM audits").fetchone() == (2,)
    file.close()


async def test_another_connection_that_holds_the_lock_past_the_timeout_is_store_busy(tmp_path):
    path = tmp_path / "audits.db"
    async with AuditStore.open(path) as store:
        await store.write(lambda: current_database().pragma("busy_timeout", 50))
        other = driver.connect(path, isolation_level=None)
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
