"""A disk that stalls, a writer that dies, a loop that ends, threads that are taken: nobody waits
for ever, and each caller is told by a typed error or by a deadline of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import to_thread

from tests.support.invariants import check_invariants
from tests.support.processes import PROGRAMS, environment, held_open
from tests.support.writes import Gate, add, count, outcome
from veritas_peewee import AuditStore, StoreClosed, StoreError
from veritas_peewee.database.current import current_database
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.testing import make_event

# ---- a stalled disk ----


@pytest.mark.skipif(
    getattr(os, "geteuid", os.getpid)() != 0 or shutil.which("unshare") is None,
    reason="needs root to freeze a disk",
)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_on_a_frozen_disk_deadlines_fire_reads_go_on_and_closing_ends(
    tmp_path: Path, backend: str
) -> None:
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private",
         sys.executable, PROGRAMS / "stalled_disk.py", tmp_path, backend],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )  # fmt: skip
    if "no mount" in done.stdout or "unshare" in done.stderr:
        pytest.skip("no disk can be mounted here")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    told = Counter(" ".join(line.split()[:2]) for line in lines)
    assert told["deadline TimeoutError"] == 8
    assert told["patient StoreClosed"] == 8
    assert told["read done"] == told["close StoreError"] == told["again done"] == 1
    assert lines.index("frozen is over") == 19
    # What had begun, which may be the first alone, completes; what had not never happens.
    (begun,) = [int(line.split()[1]) for line in lines if line.startswith("begun ")]
    assert 1 <= begun <= 5
    assert f"stored {begun} False" in lines


async def test_while_another_process_holds_the_lock_deadlines_fire_and_closing_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veritas_peewee.threads.writer.CLOSE_TIMEOUT", 0.2)
    path = tmp_path / "audits.db"
    store = await AuditStore.open(path, max_pending=3)
    audit = await store.create("https://example.com")
    results: dict[Any, Any] = {}

    async def hurried(number: int) -> None:
        with anyio.fail_after(0.05):
            await store.record(audit.id, {"type": f"hurried-{number}"})

    with held_open(path, "BEGIN IMMEDIATE"):
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(outcome, results, number, hurried, number)
        assert all(isinstance(results[number], TimeoutError) for number in range(8))
        assert (await store.get(audit.id)).id == audit.id
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                call = (store.record, audit.id, {"type": "patient"})
                tasks.start_soon(outcome, results, number, *call)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(StoreError, match="has not ended within"):
                await store.close()
        assert all(isinstance(results[number], StoreClosed) for number in range(8))
    for thread in threading.enumerate():
        if thread.name == "veritas-writer":
            await to_thread.run_sync(thread.join, 60)
    async with AuditStore.open(path) as again:
        kinds = [event.event_type for event in await again.events(audit.id)]
        assert "patient" not in kinds
        await again.read(check_invariants)


# ---- a writer that dies ----


async def test_a_writer_that_dies_tells_everybody_why(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A write that closes the driver's connection leaves the writer nothing to go on with."""
    store = await AuditStore.open(database, max_pending=3)
    gate, results = Gate(), {}

    def rude() -> None:
        gate()
        current_database().raw.close()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "rude", store.write, rude)
        await gate.wait()
        for number in range(10):  # queued, and waiting for a place
            tasks.start_soon(outcome, results, number, store.write, add)
        await anyio.wait_all_tasks_blocked()
        gate.release.set()
    assert isinstance(results["rude"], Exception)
    for number in range(10):
        assert isinstance(results[number], StoreClosed)
        assert "closed database" in str(results[number])
    with anyio.fail_after(60):
        for _ in range(5):  # more than there are slots
            with pytest.raises(StoreClosed, match=r"the writer has stopped: .*closed database"):
                await store.write(add)
        if database != ":memory:":
            assert await store.read(count) == 0
        await store.close()
    assert "the writer has stopped" in caplog.text
    if database != ":memory:":
        async with AuditStore.open(database) as again:
            await again.write(add)
            await again.read(check_invariants)


# ---- a loop that ends ----


def test_a_loop_that_is_closed_with_writes_under_way_leaves_the_writer_to_finish(
    tmp_path: Path,
) -> None:
    """Nobody cancels the tasks: the loop is stopped, and closed with them in it."""
    path = tmp_path / "audits.db"
    gate = Gate()
    loop = asyncio.new_event_loop()
    kept: list[Any] = []

    async def main() -> None:
        store = await AuditStore.open(path, max_pending=60)
        kept.append(store)
        for fn in (gate, *[add] * 100):
            kept.append(asyncio.ensure_future(store.write(fn)))
        await gate.wait()
        await anyio.wait_all_tasks_blocked()

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.set_exception_handler(lambda *_: None)  # tasks that are destroyed while they wait
    loop.close()
    gate.release.set()
    store = kept[0]
    store._writer.stop()
    store._writer._thread.join(60)
    assert not store._writer._thread.is_alive()
    with closing(driver.connect(path)) as file:
        assert file.execute("SELECT COUNT(*) FROM audits").fetchone() == (59,)
    store._writer = None
    for task in kept[1:]:
        task.get_coro().close()
        task._log_destroy_pending = False


# ---- threads that are taken ----


async def test_the_store_works_while_all_shared_threads_are_blocked(tmp_path: Path) -> None:
    """Each kind of call, from the opening to the end, under a deadline."""
    release = threading.Event()
    limiter = to_thread.current_default_thread_limiter()
    shot = make_event("screenshot")
    async with anyio.create_task_group() as tasks:
        for _ in range(int(limiter.total_tokens)):
            tasks.start_soon(to_thread.run_sync, release.wait, 60)
        await anyio.wait_all_tasks_blocked()
        assert limiter.available_tokens == 0
        try:
            with anyio.fail_after(30):
                async with AuditStore.open(tmp_path / "audits.db") as store:
                    audit = await store.create("https://example.com")
                    await store.record(audit.id, {"type": "log_entry"})
                    await store.record(audit.id, shot)
                    await store.record_many(audit.id, [{"type": "log_entry"}] * 3)
                    whole = await store.ingest({"url": "https://a.example", "status": "completed"})
                    found = await store.get(audit.id)
                    assert await store.screenshot(found.screenshots[0].file_path)
                    assert len((await store.history()).items) == 2
                    await store.delete(whole.id)
                    assert await store.read(count) == 1
        finally:
            release.set()
