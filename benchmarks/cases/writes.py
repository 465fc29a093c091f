"""W1 single log entries, W2 whole audits, W3 bulk."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from time import perf_counter

import anyio

from benchmarks import peers
from benchmarks.cases.common import WARM_UP, check_saved, count_rows, with_peer
from benchmarks.files import WRITERS, cached_file, copy_of, result_files
from benchmarks.measure import Loop, closed_loop
from benchmarks.model import Case, Metrics, Spec, Unsupported, View
from benchmarks.peers.base import Peer
from benchmarks.peers.by_hand import Ready
from benchmarks.peers.plain import _Plain, ready_audit, ready_events
from benchmarks.sample import EVENTS, audit_id, log_event, whole_audit

BULK = 100_000
CHUNK = 1000
"""Events in one call of W3."""
INGESTS = 16
"""How many result files are under way at once."""


def single_events(spec: Spec) -> Metrics:
    """W1: each task records one event at a time and waits for it."""
    tasks = int(spec.param)
    with copy_of(spec.data, "queued") as path:
        loop, saved = with_peer(spec.peer, path, lambda peer: _record(peer, tasks, spec.seconds))
        check_saved(path, "audit_events", 0, saved)
    return loop.metrics()


async def _record(peer: Peer, tasks: int, seconds: float) -> tuple[Loop, int]:
    if isinstance(peer, _Plain):
        events = [log_event(n) for n in range(BULK)]
        ready = [ready_events(audit_id(n % WRITERS), [one]) for n, one in enumerate(events)]
        return _insert(peer, ready, tasks, seconds)

    async def write(number: int) -> None:
        await peer.write_event(audit_id(number % WRITERS), log_event(number))

    warm = await closed_loop(write, 1, WARM_UP)
    loop = await closed_loop(write, tasks, seconds)
    return loop, len(warm.latencies) + len(loop.latencies)


def _insert(peer: _Plain, ready: list[Ready], tasks: int, seconds: float) -> tuple[Loop, int]:
    """For the limits: insert prepared rows, in transactions of `group_of` rows."""
    if peer.group_of is None:
        raise Unsupported("for result files only")
    size = peer.group_of or tasks
    loop = Loop()
    begin = perf_counter()
    for start in range(0, len(ready), size):
        group = ready[start : start + size]
        started = perf_counter()
        if size > 1000:  # one call for all of them
            tables: dict[str, list[tuple[object, ...]]] = {}
            for piece in group:
                for sql, rows in piece:
                    tables.setdefault(sql, []).extend(rows)
            peer.insert([list(tables.items())])
        else:
            peer.insert(group)
        ended = perf_counter()
        loop.latencies += [ended - started] * len(group)
        if ended - begin > seconds:
            break
    loop.seconds = perf_counter() - begin
    return loop, len(loop.latencies)


def whole_audits(spec: Spec) -> Metrics:
    """W2: 56 rows an audit, all or nothing, from so many tasks."""
    tasks = int(spec.param)
    with copy_of(spec.data, "queued") as path:
        loop, saved = with_peer(spec.peer, path, lambda peer: _whole(peer, tasks, spec.seconds))
        check_saved(path, "audits", WRITERS, saved)
        check_saved(path, "audit_events", 0, saved * EVENTS)
        check_saved(path, "audit_findings", 0, saved * 20)
        check_saved(path, "audit_screenshots", 0, saved * 5)
    return loop.metrics()


async def _whole(peer: Peer, tasks: int, seconds: float) -> tuple[Loop, int]:
    if isinstance(peer, _Plain):
        ready = [ready_audit(whole_audit(WRITERS + number)) for number in range(1000)]
        return _insert(peer, ready, tasks, seconds)
    first = iter(range(WRITERS, 10**9))

    async def write(number: int) -> None:
        await peer.write_audit(whole_audit(next(first)))

    warm = await closed_loop(write, 1, WARM_UP)
    loop = await closed_loop(write, tasks, seconds)
    return loop, len(warm.latencies) + len(loop.latencies)


def bulk(spec: Spec) -> Metrics:
    """W3: many events of one audit, or the result files of many audits."""
    with copy_of(spec.data, "queued") as path:
        if spec.param == "events":
            count = BULK // 5 if spec.quick else BULK
            seconds = with_peer(spec.peer, path, lambda peer: _bulk_events(peer, count))
            check_saved(path, "audit_events", 0, count)
            return {"per_s": count / seconds, "seconds": seconds}
        files = result_files(spec.data)
        seconds = with_peer(spec.peer, path, lambda peer: _ingest(peer, spec.data, files))
        check_saved(path, "audits", WRITERS, len(files))
        expected = count_rows(cached_file(spec.data, "results"), "audit_findings")
        check_saved(path, "audit_findings", 0, expected)
        return {"per_s": len(files) / seconds, "seconds": seconds}


async def _bulk_events(peer: Peer, count: int) -> float:
    events = [log_event(number) for number in range(count)]
    chunks = [events[start : start + CHUNK] for start in range(0, count, CHUNK)]
    if isinstance(peer, _Plain):
        if peer.name.startswith("parse"):
            raise Unsupported("these events come as objects, there is nothing to parse")
        ready = ready_events(audit_id(0), events)
        begin = perf_counter()
        peer.insert([ready])
        return perf_counter() - begin
    begin = perf_counter()
    for chunk in chunks:
        await peer.write_events(audit_id(0), chunk)
    return perf_counter() - begin


async def _ingest(peer: Peer, data: Path, files: list[Path]) -> float:
    if isinstance(peer, _Plain):
        ready = _rows_of_results(data)
        begin = perf_counter()
        if peer.name.startswith("parse"):
            for file in files:
                json.dumps(json.loads(file.read_bytes()), ensure_ascii=False)
        peer.insert([ready])
        return perf_counter() - begin
    store = getattr(peer, "store", None)
    if store is None:
        raise Unsupported("knows nothing of the engine's results")
    rest = iter(files)

    async def ingest_rest() -> None:
        for file in rest:
            await store.ingest(file)

    begin = perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(INGESTS):
            group.start_soon(ingest_rest)
    return perf_counter() - begin


def _rows_of_results(data: Path) -> Ready:
    """Exactly the rows that ingesting the files makes, as INSERTs."""
    ready: Ready = []
    with closing(sqlite3.connect(cached_file(data, "results"))) as database:
        for table in ("audits", "audit_findings", "audit_events"):
            rows = database.execute(f"SELECT * FROM {table}").fetchall()
            marks = ", ".join("?" * len(rows[0]))
            ready.append((f"INSERT INTO {table} VALUES ({marks})", rows))
    return ready


_RATE = View("per_s", "per second")
CASES = (
    Case(
        "W1",
        "one log entry a write, by the number of tasks",
        single_events,
        ("1", "16", "100", "1000"),
        (*peers.LIBRARIES, *peers.LIMITS),
        (
            View("per_s", "writes per second"),
            View("p50_ms", "p50 of a write, ms", 3),
            View("p99_ms", "p99 of a write, ms", 3),
        ),
        quick_params=("1", "16", "100"),
        only={"sqlite3-row": ("1",), "executemany": ("100",)},
        note="A log entry is the one event that changes no other row (MIX has the others). The "
        "limits get rows that are ready to insert, on the calling thread.",
    ),
    Case(
        "W2",
        "a whole audit atomically (20 findings, 5 screenshot rows, 30 events), by tasks",
        whole_audits,
        ("1", "16"),
        (*peers.LIBRARIES, *peers.LIMITS[:2]),
        (View("per_s", "audits per second"), View("p50_ms", "p50, ms", 2)),
        note="Ours: store.write() of create, record_many of the 30 events (20 of them become "
        "findings, each checked and told apart), and 5 screenshot rows; no image files.",
    ),
    Case(
        "W3",
        "bulk: 100,000 events in calls of 1,000; 1,000 result files",
        bulk,
        ("events", "results"),
        (*peers.LIBRARIES[:5], "executemany", "parse+executemany"),
        (_RATE,),
        note="executemany gets the very rows, ready, in one transaction. The result files "
        "(10 kB each) are read, parsed and checked by ours, 16 ingest() at once; "
        "parse+executemany reads, parses and encodes them too.",
    ),
)
