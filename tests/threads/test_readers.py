"""Reads: in one snapshot, never waiting for the writer, never writing."""

import gc
import threading
import weakref
from contextvars import ContextVar
from functools import partial

import anyio
import pytest
from anyio import to_thread

from tests.support.on_server import by_hand
from tests.support.writes import count
from veritas_peewee import Audit, AuditStore, NoDatabase, ReadOnlyStore, StoreClosed
from veritas_peewee.database.current import current_database
from veritas_peewee.database.sqlite_driver import driver


async def test_a_read_finishes_while_a_write_transaction_is_held_open(file_store):
    await file_store.create("https://example.com/before")
    entered, release = threading.Event(), threading.Event()

    def hold():
        Audit.create(url="https://example.com/during")
        entered.set()
        assert release.wait(60)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(file_store.write, hold)
        await to_thread.run_sync(entered.wait, 60)
        page = await file_store.history()  # would hang here if it waited for the writer
        assert [audit.url for audit in page.items] == ["https://example.com/before"]
        release.set()
    assert await file_store.read(count) == 2


async def test_a_read_sees_one_snapshot(file_store):
    entered, release = threading.Event(), threading.Event()
    seen = []

    def twice():
        first = count()
        entered.set()
        assert release.wait(60)
        return first, count()

    async def read():
        seen.append(await file_store.read(twice))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await to_thread.run_sync(entered.wait, 60)
        await file_store.create("https://example.com")
        release.set()
    assert seen == [(0, 0)]
    assert await file_store.read(count) == 1


async def test_an_acknowledged_write_is_seen_by_the_next_read(file_store):
    for n in range(1, 50):
        await file_store.create("https://example.com")
        assert await file_store.read(count) == n


async def test_a_read_may_not_write(store):
    for attempt in (
        lambda: Audit.create(url="https://example.com"),
        lambda: Audit.delete().execute(),
        lambda: current_database().execute_sql("CREATE TABLE t (x integer)"),
    ):
        with pytest.raises(ReadOnlyStore, match=r"store\.write"):
            await store.read(attempt)
    assert await store.read(count) == 0
    await store.create("https://example.com")


async def test_an_exception_in_a_read_reaches_its_caller_and_costs_no_connection(store):
    for _ in range(20):
        with pytest.raises(ZeroDivisionError):
            await store.read(lambda: 1 / 0)
    assert await store.read(count) == 0


async def test_readers_run_at_once_up_to_their_number(tmp_path):
    async with AuditStore.open(tmp_path / "audits.db", readers=3) as store:
        barrier = threading.Barrier(3)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(store.read, barrier.wait, 60)
        running, most = [0], [0]
        lock = threading.Lock()

        def measured():
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            count()
            with lock:
                running[0] -= 1

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(store.read, measured)
        assert most[0] <= 3


async def test_other_peoples_blocking_code_does_not_starve_the_store(file_store):
    release = threading.Event()
    limiter = to_thread.current_default_thread_limiter()
    async with anyio.create_task_group() as tasks:
        for _ in range(int(limiter.total_tokens)):
            tasks.start_soon(to_thread.run_sync, release.wait, 60)
        await anyio.wait_all_tasks_blocked()
        audit = await file_store.create("https://example.com")
        assert (await file_store.get(audit.id)).id == audit.id
        await file_store.record_many(audit.id, [{"type": "log_entry"}])
        release.set()


async def test_a_cancelled_read_goes_on_at_once_and_sqlite_is_interrupted(file_store):
    endless = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n"
    )
    started = threading.Event()

    def run():
        started.set()
        return current_database().execute_sql(endless).fetchone()

    for _ in range(6):  # more often than there are readers
        started.clear()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(file_store.read, run)
                await to_thread.run_sync(started.wait, 60)
                scope.cancel()
    assert await file_store.read(count) == 0


@pytest.mark.ends_within(50)
async def test_a_cancelled_read_ends_on_the_server_too(server):
    active = (
        "SELECT COUNT(*) FROM pg_stat_activity "
        "WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
    )
    with server.new() as url:
        async with AuditStore.open(url) as store:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(
                    store.read, lambda: current_database().execute_sql("SELECT pg_sleep(60)")
                )
                while by_hand(url, active) != [(1,)]:
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
            while by_hand(url, active) != [(0,)]:
                await anyio.sleep(0.01)
            assert await store.read(count) == 0


async def test_closing_interrupts_a_read_that_would_not_end(tmp_path):
    endless = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n"
    )
    started = threading.Event()
    outcome = []

    def run():
        started.set()
        return current_database().execute_sql(endless).fetchone()

    store = await AuditStore.open(tmp_path / "audits.db")

    async def read():
        try:
            await store.read(run)
        except Exception as error:
            outcome.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await to_thread.run_sync(started.wait, 60)
        await store.close()
    assert isinstance(outcome[0], StoreClosed)
    with pytest.raises(StoreClosed):
        await store.read(count)


async def test_readers_never_checkpoint(file_store, tmp_path):
    await file_store.create("https://example.com")
    wal = tmp_path / "audits.db-wal"
    before = wal.stat().st_size
    for _ in range(10):
        assert await file_store.read(lambda: current_database().wal_autocheckpoint) == 0
        assert await file_store.read(count) == 1
    assert wal.stat().st_size == before > 0


async def test_the_database_of_a_read_is_not_left_behind_in_its_thread(file_store):
    await file_store.read(count)
    for _ in range(8):
        with pytest.raises(NoDatabase, match="no database is open in this thread"):
            await to_thread.run_sync(count)


async def test_a_plain_reader_beside_the_store_sees_what_is_committed(file_store, tmp_path):
    audit = await file_store.create("https://example.com")
    beside = driver.connect(tmp_path / "audits.db")
    assert beside.execute("SELECT id FROM audits").fetchall() == [(audit.id,)]
    beside.close()


async def test_a_traceback_that_is_collected_later_never_touches_a_busy_connection(file_store):
    """Collecting a cursor resets it, and that waits until its connection is idle.

    An interrupted read leaves its cursor in a traceback; the loop's thread may collect it while
    the next read is using the connection.
    """
    started, release = threading.Event(), threading.Event()
    kept = []

    def fail():
        query = Audit.select()
        kept.append(iter(query))
        current_database().execute_sql("SELECT no_such_column FROM audits")

    def hold():
        started.set()
        assert release.wait(60)
        return count()

    for run in (file_store.read, file_store.write):
        await file_store.create("https://example.com")
        started.clear()
        release.clear()
        with pytest.raises(Exception, match="no_such_column") as caught:
            await run(fail)
        frames = []
        trace = caught.value.__traceback__
        while trace is not None:
            frames.append(trace.tb_frame)
            trace = trace.tb_next
        cursors = [
            value
            for frame in frames
            for value in frame.f_locals.values()
            if isinstance(value, driver.Cursor)
        ]
        assert cursors
        for cursor in cursors:
            with pytest.raises(driver.ProgrammingError, match="closed"):
                cursor.fetchone()


async def test_a_reader_cannot_be_made_a_writer(file_store):
    def rude():
        current_database().pragma("query_only", 0)
        Audit.create(url="https://example.com")

    for _ in range(6):
        with pytest.raises(ReadOnlyStore):
            await file_store.read(rude)
    assert await file_store.read(count) == 0


async def test_reads_that_are_stuck_in_python_do_not_pile_up_threads(tmp_path):
    release = threading.Event()
    async with AuditStore.open(tmp_path / "audits.db", readers=2) as store:
        before = threading.active_count()
        for _ in range(20):
            with anyio.move_on_after(0.01):
                await store.read(release.wait, 60)
        assert threading.active_count() <= before + 2 * 2  # at work, and idle ones
        release.set()
        assert await store.read(count) == 0


async def test_an_abandoned_read_holds_its_thread_until_it_has_ended(tmp_path):
    started, release = threading.Event(), threading.Event()

    def stuck():
        started.set()
        assert release.wait(60)

    async with AuditStore.open(tmp_path / "audits.db", readers=1) as store:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.read, stuck)
                await to_thread.run_sync(started.wait, 60)
                scope.cancel()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.read, count)
            await anyio.wait_all_tasks_blocked()
            assert len(store._readers._waiting) == 1
            release.set()


async def test_closing_waits_no_longer_than_the_reads_under_way(tmp_path, monkeypatch):
    patience = 20.0
    monkeypatch.setattr("veritas_peewee.threads.readers.CLOSE_TIMEOUT", patience)
    started, release = threading.Event(), threading.Event()

    def slow():
        started.set()
        assert release.wait(60)

    store = await AuditStore.open(tmp_path / "audits.db")
    readers = store._readers
    begun = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.read, slow)
        await to_thread.run_sync(started.wait, 60)
        tasks.start_soon(store.close)
        while not readers._closing:
            await anyio.sleep(0)
        await anyio.wait_all_tasks_blocked()
        release.set()
    assert anyio.current_time() - begun < patience


async def test_a_read_that_outlives_the_store_closes_its_connection(tmp_path, monkeypatch):
    monkeypatch.setattr("veritas_peewee.threads.readers.CLOSE_TIMEOUT", 0.1)
    started, release, kept = threading.Event(), threading.Event(), []

    def stuck():
        kept.append(current_database())
        started.set()
        assert release.wait(60)

    store = await AuditStore.open(tmp_path / "audits.db")
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.read, stuck)
            await to_thread.run_sync(started.wait, 60)
            scope.cancel()
    await store.close()
    assert not kept[0].is_closed()
    release.set()
    deadline = anyio.current_time() + 60
    while not kept[0].is_closed() and anyio.current_time() < deadline:
        await anyio.sleep(0.001)
    assert kept[0].is_closed()


@pytest.mark.parametrize("readers", [1, 2, 4])
async def test_answers_that_are_held_back_do_not_wait_for_a_long_read(
    tmp_path, monkeypatch, readers
):
    monkeypatch.setattr("veritas_peewee.threads.readers.HOLD_BACK", 60.0)
    endless = (
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT COUNT(*) FROM n"
    )
    begin, release = threading.Event(), threading.Event()

    def in_sqlite():
        current_database().execute_sql(endless).fetchone()

    def in_python():
        assert release.wait(60)

    # Nobody relieves a read that SQLite itself reports as long.
    for long, patience in ((in_sqlite, 600.0), (in_python, 0.2)):
        monkeypatch.setattr("veritas_peewee.threads.readers.TAKE_OVER_AFTER", patience)
        async with AuditStore.open(tmp_path / "audits.db", readers=readers) as store:
            begin.clear()
            release.clear()
            answered = []

            async def short(answered=answered):
                answered.append(await store.read(count))

            async with anyio.create_task_group() as tasks:
                # So that the long one comes last, in whatever order tasks begin.
                for first in (partial(store.read, begin.wait, 60), *[short] * 5):
                    tasks.start_soon(first)
                    await anyio.wait_all_tasks_blocked()
                tasks.start_soon(store.read, long)
                await anyio.wait_all_tasks_blocked()
                begin.set()
                with anyio.fail_after(30):
                    while len(answered) < 5:
                        await anyio.sleep(0.001)
                release.set()
                tasks.cancel_scope.cancel()


async def test_short_reads_are_done_one_after_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr("veritas_peewee.threads.readers.TAKE_OVER_AFTER", 60.0)
    running, most, order = [0], [0], []

    def measured(number):
        running[0] += 1
        most[0] = max(most[0], running[0])
        order.append(number)
        count()
        running[0] -= 1

    async with AuditStore.open(tmp_path / "audits.db") as store:
        for _ in range(5):
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(store.read, measured, number)
    assert most[0] == 1
    assert [sorted(order[at : at + 20]) for at in range(0, 100, 20)] == [list(range(20))] * 5


async def test_a_read_that_was_cancelled_before_it_began_never_runs(tmp_path):
    started, release, ran = threading.Event(), threading.Event(), []

    def stuck():
        started.set()
        assert release.wait(60)

    async with AuditStore.open(tmp_path / "audits.db", readers=1) as store:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.read, stuck)
            await to_thread.run_sync(started.wait, 60)
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as later:
                    later.start_soon(store.read, ran.append, 1)
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
            assert not store._readers._waiting
            release.set()
        assert await store.read(count) == 0
    assert ran == []


async def test_a_read_sees_its_callers_context(file_store):
    variable: ContextVar[str] = ContextVar("variable")

    async def read(value):
        variable.set(value)
        assert await file_store.read(variable.get) == value

    async with anyio.create_task_group() as tasks:
        for value in "abc":
            tasks.start_soon(read, value)


async def test_what_a_read_returned_is_not_kept_by_its_thread(file_store):
    class Large:
        pass

    gone = weakref.ref(await file_store.read(Large))
    assert gone() is None

    class OwnError(Exception):
        pass

    def fail():
        raise OwnError

    gc.disable()  # its error does not wait for the garbage collection either
    try:
        with pytest.raises(OwnError) as caught:
            await file_store.read(fail)
        gone = weakref.ref(caught.value)
        del caught
        assert gone() is None
    finally:
        gc.enable()


async def test_the_readers_of_a_store_that_was_forgotten_end(tmp_path):
    store = await AuditStore.open(tmp_path / "audits.db")
    await store.read(count)
    threads = [reader.thread for reader in store._readers._threads]
    assert threads
    kept = [store]
    del store
    with pytest.warns(ResourceWarning, match="not closed"):
        kept.clear()
    for thread in threads:
        await to_thread.run_sync(thread.join, 60)
        assert not thread.is_alive()


async def test_peewees_log_has_the_statements_of_a_read(file_store, caplog):
    audit = await file_store.create("https://example.com")
    with caplog.at_level("DEBUG", "peewee"):
        await file_store.get(audit.id)
    assert sum('FROM "audit_findings"' in record.message for record in caplog.records) == 1


async def test_a_connection_that_has_read_much_frees_its_cache(path):
    seen = []

    def trace():
        current_database().raw.set_trace_callback(seen.append)

    async with AuditStore.open(path, readers=1) as store:
        await store.read(trace)
        for _ in range(10):
            await store.read(count)
        assert "PRAGMA shrink_memory" not in seen
        for _ in range(1000):
            await store.read(count)
        assert "PRAGMA shrink_memory" in seen
