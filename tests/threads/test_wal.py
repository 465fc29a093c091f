"""The WAL: it is watched, told of, and given back; and readers have no part in that."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from time import perf_counter

import anyio
import pytest
from anyio import to_thread

from tests.support.processes import environment
from tests.support.writes import count
from veritas_peewee import Audit, AuditStore, connect
from veritas_peewee.config import locate
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.recording import operations
from veritas_peewee.startup import open_reader
from veritas_peewee.threads.readers import Readers
from veritas_peewee.threads.wal import Wal

MB = 2**20
LIMIT, WARNING = 5 * MB, 7 * MB


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("LIMIT", LIMIT), ("WARNING", WARNING), ("IDLE", 0.02)):
        monkeypatch.setattr(f"veritas_peewee.threads.wal.{name}", value)
    monkeypatch.setattr("veritas_peewee.threads.wal.LOOK_EVERY", 0.001)
    monkeypatch.setattr("veritas_peewee.threads.wal.PATIENCE", 0.01)


def add() -> None:
    Audit.create(url="https://example.com", narrative="x" * 250_000)


async def grow(store: AuditStore, size: int) -> None:
    """Write until the WAL is larger than `size`."""
    with anyio.fail_after(60):
        while store.stats().wal_bytes <= size:
            await store.write(add)


async def returned(store: AuditStore, *, writing: bool) -> None:
    """Wait until the WAL is no larger than its limit."""
    with anyio.fail_after(60):
        while store.stats().wal_bytes > LIMIT:
            await (store.create("https://example.com") if writing else anyio.sleep(0.005))


@asynccontextmanager
async def held(store: AuditStore) -> AsyncIterator[None]:
    """A read that holds its snapshot."""
    entered, release = threading.Event(), threading.Event()
    counts = []

    def hold() -> None:
        counts.append(count())
        entered.set()
        assert release.wait(60)
        counts.append(count())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.read, hold)
        await to_thread.run_sync(entered.wait, 60)
        try:
            yield
        finally:
            release.set()
    assert counts[0] == counts[1]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and "the WAL has grown" in record.getMessage()
    ]


async def told(store: AuditStore, caplog: pytest.LogCaptureFixture, times: int) -> None:
    """Write until that many warnings are in the log."""
    with anyio.fail_after(60):
        while len(warnings(caplog)) < times:
            await store.create("https://example.com")


@pytest.mark.parametrize("writing", [True, False], ids=["writing", "idle"])
async def test_a_wal_that_a_read_lets_grow_is_told_of_once_and_given_back_after_it(
    file_store: AuditStore, caplog: pytest.LogCaptureFixture, writing: bool
) -> None:
    for episode in (1, 2):
        async with held(file_store):
            await grow(file_store, WARNING)
            await told(file_store, caplog, episode)
            await grow(file_store, 2 * WARNING)
            assert len(warnings(caplog)) == episode
        await returned(file_store, writing=writing)
        await anyio.sleep(0.002)  # longer than LOOK_EVERY: the next write ends the episode
        await file_store.create("https://example.com")
    assert "a read has been holding on to it for" in warnings(caplog)[0]


async def test_a_wal_that_another_process_lets_grow_is_told_of_and_given_back(
    file_store: AuditStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with reading_process(tmp_path / "audits.db"):
        await grow(file_store, WARNING)
        await told(file_store, caplog, 1)
    assert "another process" in warnings(caplog)[0]
    await returned(file_store, writing=False)


async def test_without_a_long_read_the_wal_stays_within_its_limit(
    file_store: AuditStore, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(80):
        await file_store.write(add)
    assert file_store.stats().wal_bytes <= LIMIT
    assert warnings(caplog) == []


async def test_short_reads_that_overlap_without_a_pause_do_not_let_the_wal_grow(
    file_store: AuditStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a slow machine, too, the reads of this test are short ones.
    monkeypatch.setattr("veritas_peewee.threads.wal.PATIENCE", 5.0)
    turns = [threading.Event(), threading.Event()]
    stop = threading.Event()
    rounds = 0

    def overlap(mine: int) -> None:
        """Begin, let the other one end, and end only once the next has begun."""
        count()
        turns[mine].clear()
        turns[1 - mine].set()
        while not (turns[mine].wait(0.001) or stop.is_set()):
            pass

    async def read(mine: int) -> None:
        nonlocal rounds
        while not stop.is_set():
            await file_store.read(overlap, mine)
            rounds += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, 0)
        tasks.start_soon(read, 1)
        try:
            for _ in range(3):
                # Were there an instant without a read, it would not get so large.
                await grow(file_store, LIMIT + 2 * MB)
                await returned(file_store, writing=True)
        finally:
            stop.set()  # else the readers' threads would outlive a failure, and the test run
    assert rounds > 4


@pytest.mark.parametrize("others", [False, True], ids=["alone", "while another process reads"])
def test_what_is_asked_of_the_wal_leaves_the_patience_with_locks_as_it_was(
    path: Path, others: bool
) -> None:
    with connect(path) as database:
        operations.create("https://example.com")
        before = database.pragma("busy_timeout")
        with reading_process(path) if others else nullcontext():
            operations.create("https://example.com")
            assert database.checkpoint(truncate=True, patience=0.0) == (not others)
            assert database.pragma("busy_timeout") == before >= 30_000
            assert database.is_alone() == (not others)
            assert database.pragma("busy_timeout") == before


@pytest.mark.parametrize("longest", [0.0, 60.0], ids=["short reads", "a long read"])
def test_a_large_wal_is_restarted_where_no_read_would_be_waited_for_in_vain(
    path: Path, monkeypatch: pytest.MonkeyPatch, longest: float
) -> None:
    with connect(path) as database:
        tried: list[float] = []

        def refuse(*, truncate: bool, patience: float) -> bool:
            tried.append(patience)
            return truncate

        monkeypatch.setattr(database, "checkpoint", refuse)
        wal = Wal(database, lambda: longest)
        monkeypatch.setattr(wal, "size", lambda: LIMIT + 1)
        now = perf_counter()
        wal.look(now)
        assert tried == ([0.01] if longest == 0.0 else [])
        wal.look(now)  # too soon after one that was in vain
        assert len(tried) < 2
        assert wal.is_large


async def test_a_store_in_memory_has_no_wal() -> None:
    async with AuditStore.open(":memory:") as store:
        await store.create("https://example.com")
        assert store.stats().wal_bytes == 0


# ---- readers have no part in it ----


@contextmanager
def reading_process(path: Path) -> Iterator[None]:
    """Another process that holds a snapshot."""
    program = (
        "import sys\n"
        "from veritas_peewee import connect, Audit\n"
        "with connect(sys.argv[1], read_only=True) as db, db.unit():\n"
        "    print(Audit.select().count(), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        try:
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
    assert process.returncode == 0


def die_with_a_wal(path: Path) -> None:
    """Have a process write, and be killed before it could empty the WAL."""
    program = (
        "import os, signal, sys\n"
        "from veritas_peewee import connect\n"
        "from veritas_peewee.recording import operations\n"
        "with connect(sys.argv[1]) as db:\n"
        "    db.pragma('wal_autocheckpoint', 0)\n"
        "    for n in range(200):\n"
        "        operations.create(f'https://example.com/{n}')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], env=environment())


def contents(path: Path) -> list[str]:
    """What is in the database and in its WAL; nobody has them open here."""
    return [
        hashlib.sha256(file.read_bytes()).hexdigest()
        for file in (path, path.with_name(path.name + "-wal"))
    ]


async def test_readers_never_checkpoint_not_even_the_last_one_when_it_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audits.db"
    die_with_a_wal(path)
    before = contents(path)

    def many() -> int:
        for _ in range(1200):  # more pages than would set off a checkpoint
            count()
        return count()

    readers = Readers(lambda: open_reader(locate(path)), 3)
    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(readers.run, many)
    assert await readers.run(count) == 200
    await to_thread.run_sync(readers.close)
    assert contents(path) == before
    await to_thread.run_sync(view, path)
    assert contents(path) == before
    await to_thread.run_sync(write, path)
    assert not path.with_name(path.name + "-wal").exists()  # the last writer's close does


def view(path: Path) -> None:
    with connect(path, read_only=True):
        assert count() == 200


def write(path: Path) -> None:
    with connect(path):
        operations.create("https://example.com")


def test_a_checkpoint_waits_for_a_read_as_long_as_it_is_told(path: Path) -> None:
    with connect(path) as database:
        other = driver.connect(path, check_same_thread=False, isolation_level=None)
        other.execute("BEGIN")
        assert other.execute("SELECT COUNT(*) FROM audits").fetchone() == (0,)
        operations.create("https://example.com")
        assert not database.checkpoint(truncate=False, patience=0.0)
        release = threading.Timer(0.3, other.execute, ["COMMIT"])
        release.start()
        assert database.checkpoint(truncate=False, patience=60.0)  # by now the other has let go
        release.join()
        other.close()


@pytest.mark.parametrize("inside", [False, True], ids=["done", "refused inside a transaction"])
def test_a_write_after_a_checkpoint_waits_for_others_as_before(
    tmp_path: Path, inside: bool
) -> None:
    path = tmp_path / "audits.db"
    with connect(path) as database:
        patience = database.pragma("busy_timeout")
        with database.unit() if inside else nullcontext():
            assert database.checkpoint(truncate=True, patience=0.0) == (not inside)
        assert database.pragma("busy_timeout") == patience
        other = driver.connect(path, check_same_thread=False, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.3, other.execute, ["COMMIT"])
        release.start()
        operations.create("https://example.com")  # by now the other has let go
        release.join()
        assert not other.in_transaction
        other.close()
