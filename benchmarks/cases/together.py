"""M1 writers and readers at once, L1 the event loop's lag."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable
from time import perf_counter

from benchmarks.cases.common import WARM_UP, check_saved, count_rows, with_peer
from benchmarks.files import AUDITS, cached_file, copy_of
from benchmarks.measure import Loop, closed_loop, lags_during, percentile
from benchmarks.model import Case, Metrics, Spec, View
from benchmarks.peers.base import Peer
from benchmarks.sample import audit_id, log_event

WRITERS, READERS = 16, 4
PAUSE = 0.02
"""Seconds between two reads of a paced reader."""
_SLOW = (
    "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {}) "
    "SELECT count(*) FROM c"
)


def writers_and_readers(spec: Spec) -> Metrics:
    """M1: 16 tasks record events and 4 load audits; alone and at once."""
    who, _, pace = spec.param.partition(", ")
    writers = WRITERS if who in ("writers", "both") else 0
    readers = READERS if who in ("readers", "both") else 0
    pause = PAUSE if pace == "paced" else 0.0
    dice = random.Random(1)

    async def use(peer: Peer) -> tuple[Loop, Loop, int]:
        async def write(number: int) -> None:
            await peer.write_event(audit_id(number % AUDITS), log_event(number))

        async def read(number: int) -> None:
            await peer.read_audit(audit_id(dice.randrange(AUDITS)))

        warm = await closed_loop(write, 1, WARM_UP)
        await closed_loop(read, READERS, WARM_UP)
        wrote, looked = await asyncio.gather(
            closed_loop(write, writers, spec.seconds),
            closed_loop(read, readers, spec.seconds, pause),
        )
        return wrote, looked, len(warm.latencies) + len(wrote.latencies)

    with copy_of(spec.data, "audits") as path:
        before = count_rows(path, "audit_events")
        wrote, looked, saved = with_peer(spec.peer, path, use)
        check_saved(path, "audit_events", before, saved)
    found = wrote.metrics("write_") if writers else {}
    return {**found, **(looked.metrics("read_") if readers else {})}


def loop_lag(spec: Spec) -> Metrics:
    """L1: how late a task that ticks every 2 ms is woken."""

    async def use(peer: Peer) -> list[float]:
        async def write(number: int) -> None:
            await peer.write_event(audit_id(number % 100), log_event(number))

        works: dict[str, Awaitable[object]] = {}
        if spec.param == "idle":
            works[spec.param] = asyncio.sleep(spec.seconds)
        elif spec.param == "W1 at 100":
            works[spec.param] = closed_loop(write, 100, spec.seconds)
        elif spec.param == "1 s query":
            works[spec.param] = peer.query(_SLOW.format(steps))
        else:
            works[spec.param] = peer.load(20_000)
        return await lags_during(works[spec.param])

    if spec.param == "large read":
        lags = with_peer(spec.peer, cached_file(spec.data, "history-100000"), use)
    else:
        steps = _steps_of_a_second() if spec.param == "1 s query" else 0
        with copy_of(spec.data, "queued") as path:
            lags = with_peer(spec.peer, path, use)
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "worst_ms": 1.0}
    return {name: percentile(lags, share) * 1000 for name, share in shares.items()}


def _steps_of_a_second() -> int:
    database = sqlite3.connect(":memory:")
    begin = perf_counter()
    database.execute(_SLOW.format(300_000)).fetchall()
    return int(300_000 / (perf_counter() - begin))


CASES = (
    Case(
        "M1",
        "16 writers (one event a write) and 4 readers (one audit) at once",
        writers_and_readers,
        ("writers", "readers", "both", "readers, paced", "both, paced"),
        ("ours", "sqlalchemy", "aiosqlite"),
        (
            View("write_per_s", "writes per second"),
            View("write_p99_ms", "p99 of a write, ms", 2),
            View("read_per_s", "reads per second"),
            View("read_p99_ms", "p99 of a read, ms", 2),
            View("write_errors", "writes that failed"),
        ),
        note="Readers ask again at once, or, where it says paced, 20 ms later.",
    ),
    Case(
        "L1",
        "the event loop's lag: a task that ticks every 2 ms",
        loop_lag,
        ("idle", "W1 at 100", "1 s query", "large read"),
        ("ours", "sqlalchemy", "aiosqlite"),
        (
            View("p99_ms", "p99 of the lag, ms", 2),
            View("p50_ms", "p50 of the lag, ms", 2),
            View("worst_ms", "longest stall, ms", 1),
        ),
        note="The query counts in SQLite for about a second; the large read loads 20,000 audits "
        "in one call (models; plain rows for aiosqlite).",
    ),
)
