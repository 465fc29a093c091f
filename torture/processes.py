"""Many processes on one file, forks, cancellations, and opening and closing again and again.

python -m torture.processes share DATABASE SECONDS BACKEND AUDIT…
python -m torture.processes hold DATABASE         hold the write lock until asked to let go
python -m torture.processes open GATE=PATH…       open each path once its gate has ended
"""

from __future__ import annotations

import base64
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio

from torture.checks import select
from torture.followed import ROOT, TIMEOUT
from torture.hostile import check_whole, no_hang
from torture.model import Row, Run, fault
from torture.programs.record import png
from veritas_peewee import (
    Audit,
    AuditEvent,
    AuditNotFound,
    AuditStore,
    StoreBusy,
    StoreError,
    connect,
)
from veritas_peewee.database.current import current_database
from veritas_peewee.database.sqlite_errors import driver

TASKS = 32
SHARED = 4
"""Audits that all processes record into."""
OPENERS = 16
BACKENDS = ("asyncio", "trio")


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """This module as a process of its own."""
    command = [sys.executable, "-W", "error", "-m", "torture.processes", *map(str, arguments)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, cwd=ROOT, text=True, **{**pipes, **options})


def shot(seed: int) -> dict[str, Any]:
    data = base64.b64encode(png(seed)).decode()
    return {"type": "screenshot", "label": f"shot {seed}", "index": seed, "data": data}


def result(seed: int) -> list[dict[str, Any]]:
    told = {"url": f"https://example.com/{seed}", "status": "completed", "trust_score": 50}
    finding = {"pattern_type": "p", "severity": "low", "confidence": 1, "description": "d"}
    return [
        {"type": "finding", "finding": {"id": f"f{seed}", **finding}},
        shot(seed),
        {"type": "audit_result", "result": told},
        {"type": "audit_complete", "elapsed": 1},
    ]


# ---- two processes on one file ----


@fault("two-processes", "two processes with 32 tasks each on one file (rounds: seconds)",
       rounds=60, quick=3)  # fmt: skip
def two_processes(run: Run) -> Iterator[Row]:
    row = Row("two-processes", run.rounds)
    path = run.folder / "shared" / "audits.db"
    with connect(path):
        audits = [Audit.create(url="https://example.com").id for _ in range(SHARED)]
    running = [start("share", path, run.rounds, backend, *audits) for backend in BACKENDS]
    told: dict[str, list[int]] = {}
    whole: list[str] = []
    for process in running:
        out, err = process.communicate(timeout=run.rounds + 2 * TIMEOUT)
        if process.returncode or err:
            row.problem(f"a process ended with {process.returncode}: {err[-500:]}")
            continue
        answer = json.loads(out)
        for text in answer["errors"]:
            row.problem(text)
        for audit, ids in answer["events"].items():
            told.setdefault(audit, []).extend(ids)
        whole += answer["whole"]
    check_acknowledged(row, path, told, whole)
    check_chain(row, path)
    check_whole(row, path)
    yield row


def check_acknowledged(row: Row, path: Path, told: dict[str, list[int]], whole: list[str]) -> None:
    for audit, ids in told.items():
        row.acknowledged += len(ids)
        there = {
            one for (one,) in select(path, "SELECT id FROM audit_events WHERE audit_id = ?", audit)
        }
        row.missing += len(set(ids) - there)
        if len(set(ids)) != len(ids):
            row.problem(f"audit {audit}: an event's id was told twice")
    row.acknowledged += len(whole)
    sql = (
        "SELECT (SELECT COUNT(*) FROM audit_events WHERE audit_id = a.id), screenshots_count, "
        "status FROM audits a WHERE id = ?"
    )
    for audit in whole:
        found = select(path, sql, audit)
        row.missing += not found
        row.half_saved += bool(found) and found != [(len(result(0)), 1, "completed")]


def check_chain(row: Row, path: Path) -> None:
    """Each log's digests follow from one another, whichever process wrote them: computed again."""
    sql = (
        "SELECT event_type, timestamp, data, digest FROM audit_events WHERE audit_id = ? "
        "ORDER BY id"
    )
    for (audit,) in select(path, "SELECT id FROM audits"):
        before = audit.encode()
        for kind, moment, data, digest in select(path, sql, audit):
            text = f"\0{kind}\0{moment or ''}\0{data or ''}"
            linked = sha256(before + text.encode(errors="surrogatepass")).digest()
            if linked != digest:
                row.problem(f"audit {audit}: its log's chain is broken")
                break
            before = digest
            row.count("links checked")


async def share(path: str, seconds: float, audits: list[str]) -> None:
    """Write in every way from many tasks; at the end, print which writes were acknowledged."""
    events: dict[str, list[int]] = {audit: [] for audit in audits}
    whole: list[str] = []
    errors: list[str] = []
    stats: dict[str, Any] = {"type": "stats_update", "stats": {"pages_scanned": 1}}
    end = perf_counter() + seconds

    async def work(store: AuditStore, number: int) -> None:
        chance = random.Random(f"{os.getpid()} {number}")
        while perf_counter() < end and len(errors) < 20:
            audit, pick = chance.choice(audits), chance.random()
            try:
                if pick < 0.6:
                    events[audit].append(
                        await store.record(audit, {"type": "log_entry", "n": pick})
                    )
                elif pick < 0.8:
                    batch = [stats, {"type": "log_entry"}]
                    events[audit] += await store.record_many(audit, batch)
                elif pick < 0.9:
                    await store.update(audit, narrative=f"{pick}")
                elif pick < 0.93:
                    events[audit].append(await store.record(audit, shot(number)))
                elif pick < 0.97:
                    await store.history(limit=5)
                    await store.get(audit)
                else:
                    made = (await store.ingest(result(number))).id
                    if chance.random() < 0.5:
                        await store.delete(made)
                    else:
                        whole.append(made)
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")

    # It warns of SQLite's own bug where the version has it, which is no failure here.
    logging.getLogger("veritas_peewee").setLevel(logging.ERROR)
    async with AuditStore.open(path) as store, anyio.create_task_group() as tasks:
        for number in range(TASKS):
            tasks.start_soon(work, store, number)
    print(json.dumps({"events": events, "whole": whole, "errors": errors}))


# ---- a lock that is held too long ----


@fault("held-lock", "another process holds the write lock past the timeout", rounds=20, quick=3)
def held_lock(run: Run) -> Iterator[Row]:
    row = Row("held-lock", run.rounds)
    path = run.folder / "held" / "audits.db"

    async def main() -> None:
        async with AuditStore.open(path) as store:
            audit = await store.create("https://example.com")
            # Waiting for the lock as usual, but for 0.1 s instead of 30 s.
            await store.write(lambda: current_database().raw.execute("PRAGMA busy_timeout = 100"))
            for number in range(run.rounds):
                before = await store.read(lambda: [t.select().count() for t in (Audit, AuditEvent)])
                files = _files(store)
                with start("hold", path) as other:
                    assert other.stdout is not None
                    assert other.stdin is not None
                    other.stdout.readline()
                    for call in (
                        store.create("https://example.com"),
                        store.record(audit.id, {"type": "log_entry"}),
                        store.record_many(audit.id, [{"type": "x"}, shot(number)]),
                        store.record(audit.id, shot(number)),
                        store.ingest(result(number)),
                        store.update(audit.id, narrative="x"),
                        store.delete(audit.id),
                    ):
                        try:
                            await call
                            row.problem("a write went through a lock that another process held")
                        except StoreBusy:
                            row.count("StoreBusy")
                        except Exception as error:
                            row.problem(f"{type(error).__name__} came through: {error}")
                    await store.get(audit.id)  # reading goes on
                    other.stdin.write("end\n")
                    other.stdin.flush()
                    other.stdout.readline()
                after = await store.read(lambda: [t.select().count() for t in (Audit, AuditEvent)])
                if after != before or _files(store) != files:
                    row.half_saved += 1
                await store.record(audit.id, shot(number))
                row.acknowledged += 1

    anyio.run(main)
    check_whole(row, path)
    yield row


def _files(store: AuditStore) -> list[str]:
    assert store.location.screenshots is not None
    return sorted(os.fspath(one) for one in store.location.screenshots.rglob("*"))


def hold(path: str) -> None:
    with closing(driver.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        print("held", flush=True)
        sys.stdin.readline()
        connection.execute("ROLLBACK")
        print("released", flush=True)
        sys.stdin.readline()


# ---- the first to open ----


@fault("open-race", f"{OPENERS} processes open new files at one instant", rounds=100, quick=8)
def open_race(run: Run) -> Iterator[Row]:
    row = Row("open-race", run.rounds)
    paths = [run.folder / f"new-{number}" / "audits.db" for number in range(run.rounds)]
    gates = [os.pipe() for _ in paths]
    named = [f"{gate}={path}" for (gate, _), path in zip(gates, paths, strict=True)]
    readable = [gate for gate, _ in gates]
    running = [start("open", *named, pass_fds=readable) for _ in range(OPENERS)]
    for gate in readable:
        os.close(gate)
    with no_hang(600):
        for _, opens in gates:
            for process in running:
                assert process.stdout is not None
                process.stdout.readline()
            os.close(opens)
        for process in running:
            out, err = process.communicate()
            row.acknowledged += out.count("opened")
            if process.returncode or err or "failed" in out:
                row.problem(f"a process ended with {process.returncode}: {out[-200:]} {err[-300:]}")
    for path in paths:
        audits = select(path, "SELECT COUNT(*) FROM audits")
        row.missing += OPENERS - audits[0][0]
        if os.listdir(path.parent) != ["audits.db"]:
            row.problem(f"left beside the file: {os.listdir(path.parent)}")
    for path in paths[:: max(len(paths) // 10, 1)]:
        check_whole(row, path)
    yield row


def open_each(named: list[str]) -> None:
    for one in named:
        gate, _, path = one.partition("=")
        print("ready", flush=True)
        os.read(int(gate), 1)
        with connect(path):
            Audit.create(url="https://example.com")
        print("opened", flush=True)


# ---- forks ----


@fault("fork", "forks while the store writes", rounds=50, quick=6)
def forks(run: Run) -> Iterator[Row]:
    row = Row("fork", run.rounds)
    path = run.folder / "forked" / "audits.db"

    async def main() -> None:
        async with AuditStore.open(path) as store:
            audit = await store.create("https://example.com")
            await store.update_status(audit.id, "running")
            ids: list[int] = []
            stop = anyio.Event()

            async def write() -> None:
                while not stop.is_set():
                    ids.append(await store.record(audit.id, {"type": "log_entry"}))

            async with anyio.create_task_group() as tasks:
                for _ in range(8):
                    tasks.start_soon(write)
                for _ in range(run.rounds):
                    await anyio.sleep(run.chance.random() / 100)
                    child = _forked(lambda: _in_child(store))
                    status = await anyio.to_thread.run_sync(os.waitpid, child, 0)
                    if status[1]:
                        row.problem(f"a child ended with {os.waitstatus_to_exitcode(status[1])}")
                stop.set()
            row.acknowledged += len(ids)
            log = {event.id for event in await store.events(audit.id)}
            row.missing += len(set(ids) - log)
            if (await store.get(audit.id)).status != "running":
                row.problem("a child has ended its parent's session")

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
        anyio.run(main)
    check_chain(row, path)
    check_whole(row, path)
    yield row


def _forked(fn: Callable[[], int]) -> int:
    child = os.fork()
    if child == 0:
        code = 9
        try:
            signal.alarm(60)
            code = fn()
        finally:
            os._exit(code)
    return child


def _in_child(store: AuditStore) -> int:
    """Whatever is asked of the parent's store in a child is refused."""
    for coroutine in (
        store.get("x"),
        store.create("https://example.com"),
        store.record("x", {"type": "x"}),
        store.history(),
    ):
        try:
            coroutine.send(None)
            return 3
        except AuditNotFound:
            return 4
        except StoreError as error:
            if "fork" not in str(error):
                return 5
    with suppress(RuntimeError):  # NoDatabase is a RuntimeError
        Audit.select().count()
        return 6
    return 0


# ---- cancellations ----


@fault("cancellations", "calls that are cancelled at any instant", rounds=10_000, quick=600)
def cancellations(run: Run) -> Iterator[Row]:
    for backend in BACKENDS:
        row = Row(f"cancellations {backend}", run.rounds // len(BACKENDS))
        begin = perf_counter()
        path = run.folder / backend / "audits.db"
        threads = threading.active_count()
        with no_hang(600):
            anyio.run(cancel, row, path, run.chance, backend=backend)
        for thread in threading.enumerate():
            if thread.name == "veritas-writer":
                thread.join(TIMEOUT)
        row.figures["threads more"] = max(threading.active_count() - threads, 0)
        if any(thread.name == "veritas-writer" for thread in threading.enumerate()):
            row.problem("the writer's thread has not ended")
        check_chain(row, path)
        check_whole(row, path)
        check_files(row, path)
        row.seconds = perf_counter() - begin
        yield row


_BATCH: list[dict[str, Any]] = [{"type": "batch"}] * 4
_CALLS: tuple[Callable[[AuditStore, str, int], Any], ...] = (
    lambda store, audit, seed: store.record(audit, {"type": "log_entry"}),
    lambda store, audit, seed: store.record(audit, {"type": "log_entry"}),
    lambda store, audit, seed: store.record(audit, shot(seed)),
    lambda store, audit, seed: store.record_many(audit, [*_BATCH, {"type": "batch"}]),
    lambda store, audit, seed: store.record_many(audit, [*_BATCH, shot(seed), {"type": "batch"}]),
    lambda store, audit, seed: store.ingest(result(seed)),
    lambda store, audit, seed: store.update(audit, narrative="x"),
    lambda store, audit, seed: store.create(f"https://example.com/{seed}"),
    lambda store, audit, seed: store.history(limit=10),
    lambda store, audit, seed: store.get(audit),
)


async def cancel(row: Row, path: Path, chance: random.Random) -> None:
    """Random calls, 50 at once, each with its own deadline; what came back must be stored."""
    events: list[int] = []
    whole: list[str] = []
    left = row.rounds

    async def work(store: AuditStore, audit: str) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            seed = left
            number = chance.randrange(len(_CALLS))
            with anyio.CancelScope() as scope:
                scope.deadline = anyio.current_time() + chance.choice((0, 0.0005, 0.003, 0.02, 0.1))
                found = await _CALLS[number](store, audit, seed)
                row.acknowledged += 1
                if number < 3:
                    events.append(found)
                elif number < 5:
                    events.extend(found)
                elif number == 5:
                    whole.append(found.id)
            row.count("cancelled", scope.cancelled_caught)

    async with AuditStore.open(path, max_pending=20) as store:
        audits = [(await store.create("https://example.com")).id for _ in range(5)]
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(work, store, audits[number % len(audits)])
        if await store.write(lambda: current_database().raw.in_transaction) is not True:
            row.problem("a write does not run in a transaction")
        if (pending := store.stats().pending) > 0:
            row.problem(f"{pending} writes are pending")
    log = {one for (one,) in select(path, "SELECT id FROM audit_events")}
    row.missing += len(set(events) - log)
    for audit in whole:
        row.missing += not select(path, "SELECT 1 FROM audits WHERE id = ?", audit)
    # Each batch is written at once, so all five are there; no other call writes such events.
    (batches,) = select(path, "SELECT COUNT(*) FROM audit_events WHERE event_type = 'batch'")[0]
    row.half_saved += batches % 5
    halves = (
        "SELECT COUNT(*) FROM audits WHERE url LIKE '%.com/%' AND id IN "
        "(SELECT audit_id FROM audit_events) AND (SELECT COUNT(*) FROM audit_events "
        "WHERE audit_id = audits.id) <> 4"
    )
    row.half_saved += select(path, halves)[0][0]


def check_files(row: Row, path: Path) -> None:
    """Each image has a row: calls that never happened have left no file."""
    known = {file for (file,) in select(path, "SELECT file_path FROM audit_screenshots")}
    folder = path.parent / "screenshots"
    there = {str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file()}
    if there != known:
        row.problem(f"{len(there - known)} images without a row, {len(known - there)} rows without")


# ---- opening and closing ----


@fault("open-close", "opened and closed again and again", rounds=200, quick=40)
def open_close(run: Run) -> Iterator[Row]:
    row = Row("open-close", run.rounds)
    path = run.folder / "again" / "audits.db"

    async def once(number: int) -> None:
        async with AuditStore.open(path) as store:
            audit = await store.create("https://example.com")
            await store.record(audit.id, shot(number))
            await store.get(audit.id)
            row.acknowledged += 1

    def leftovers() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    for number in range(3):
        anyio.run(once, number, backend=BACKENDS[number % 2])
    before = leftovers()
    for number in range(run.rounds):
        anyio.run(once, number, backend=BACKENDS[number % 2])
        with connect(path):
            pass
    if (after := leftovers()) > before:
        row.problem(f"(descriptors, threads) were {before} and are {after}")
    check_whole(row, path)
    yield row


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "share":
        anyio.run(share, rest[0], float(rest[1]), rest[3:], backend=rest[2])
    elif what == "hold":
        hold(rest[0])
    elif what == "open":
        open_each(rest)
