"""Many who follow a store on a server, in several processes, while all of these write:
`python -m benchmarks.on_postgres --rounds 0 --followers 1000` prints how late they have events.

Each process has its share of the followers, spread over all audits, and of the writes, which come
at a steady rate whatever becomes of those before. How late an event is, is the time from the return
of the call that recorded it, in whichever process, until its follower has it.

    python -m benchmarks.followers_on_postgres URL LOOP NUMBER RATE SECONDS FOLLOWERS   one process
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from statistics import median
from time import time
from typing import Any

import anyio
from anyio import to_thread

from benchmarks.sample import log_event
from torture.servers import Server

ROOT = Path(__file__).resolve().parents[1]
LOOPS = "asyncio", "trio"
PROCESSES, AUDITS = 4, 100
TICK = 0.02
"""Seconds between two handfuls of events that a process records."""
QUIET = 2.0
"""Seconds without a new event after which nothing more is waited for."""
Told = dict[str, Any]


async def _play(url: str, number: int, rate: float, seconds: float, followers: int) -> Told:
    """One process: what it has written, and what its followers have seen."""
    from veritas_peewee import AuditStore

    written: list[tuple[int, float]] = []
    seen: list[list[tuple[int, float]]] = [[] for _ in range(followers)]
    last = 0.0

    async def follow(place: int, events: Any) -> None:
        nonlocal last
        async for event in events:
            last = time()
            seen[place].append((event.id, last))

    async def write(audit_id: str, event: int) -> None:
        event_id = await store.record(audit_id, log_event(event))
        written.append((event_id, time()))

    async with AuditStore.open(url) as store, anyio.create_task_group() as tasks:
        ids = sorted(audit.id for audit in (await store.history(limit=AUDITS)).items)
        # One who came first would see what the others' beginning costs.
        chosen = [ids[(number * followers + place) % AUDITS] for place in range(followers)]
        for place, audit_id in enumerate(chosen):
            tasks.start_soon(follow, place, await store.follow(audit_id))
        print("ready", flush=True)
        await to_thread.run_sync(sys.stdin.readline)
        began, sent = time(), 0
        used = getrusage(RUSAGE_SELF)
        while (gone := time() - began) < seconds:
            while sent < gone * rate:
                tasks.start_soon(write, ids[(sent * PROCESSES + number) % AUDITS], sent)
                sent += 1
            await anyio.sleep(TICK)
        took = time() - began
        now = getrusage(RUSAGE_SELF)
        busy = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        while len(written) < sent or time() - last < QUIET:
            await anyio.sleep(0.1)
        tasks.cancel_scope.cancel()
    return {"written": written, "seen": seen, "audits": chosen, "took": took, "busy": busy,
            "at_end": sum(one[1] <= began + took for one in written)}  # fmt: skip


def _round(started: Server, loop: str, followers: int, rate: float, seconds: float) -> Told:
    """What one run has shown; raises AssertionError if an event was missed or came twice."""
    from veritas_peewee import connect, sync

    url = started.new_database()
    with connect(url):
        for number in range(AUDITS):
            sync.create(f"https://s{number}.example/")
    command = [sys.executable, "-m", "benchmarks.followers_on_postgres", url, loop]
    running = [
        subprocess.Popen(
            [*command, *map(str, (number, rate / PROCESSES, seconds, followers // PROCESSES))],
            cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for number in range(PROCESSES)
    ]  # fmt: skip
    for one in running:
        assert one.stdout is not None
        if one.stdout.readline() != "ready\n":
            raise RuntimeError("the followers could not be started")
    for one in running:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    found = [json.loads(one.communicate()[0]) for one in running]
    with connect(url) as opened:
        rows = opened.execute_sql("SELECT audit_id, id FROM audit_events ORDER BY id").fetchall()
    started.drop_database(url)
    of_audit: dict[str, list[int]] = {}
    for audit_id, event_id in rows:
        of_audit.setdefault(audit_id, []).append(event_id)
    committed = {event_id: at for one in found for event_id, at in one["written"]}
    late = []
    for one in found:
        for audit_id, seen in zip(one["audits"], one["seen"], strict=True):
            wanted = of_audit.get(audit_id, [])
            got = [event_id for event_id, _ in seen]
            if got != wanted:
                twice = [event_id for event_id, times in Counter(got).items() if times > 1]
                missed = set(wanted) - set(got)
                raise AssertionError(f"{audit_id}: {len(missed)} missed, {len(twice)} twice")
            late += [max(0.0, at - committed[event_id]) for event_id, at in seen]
    late.sort()
    took = max(one["took"] for one in found)
    return {"written_per_s": sum(one["at_end"] for one in found) / took, "given": len(late),
            "p50": median(late), "p99": late[len(late) * 99 // 100], "most": late[-1],
            "busy": sum(one["busy"] for one in found) / took}  # fmt: skip


def show(started: Server, followers: int, rate: float = 1000.0, seconds: float = 10.0) -> None:
    for loop in LOOPS:
        told = _round(started, loop, followers, rate, seconds)
        print(
            f"{followers} followers in {PROCESSES} processes, {loop}: {told['written_per_s']:.0f} "
            f"of {rate:.0f} events/s, {told['given']} given, each once; later than their commit "
            f"p50 {told['p50'] * 1000:.1f} ms, p99 {told['p99'] * 1000:.1f}, "
            f"most {told['most'] * 1000:.0f}; processes busy {told['busy']:.2f}"
        )


def main() -> None:
    _, url, loop, number, rate, seconds, followers = sys.argv
    values = (url, int(number), float(rate), float(seconds), int(followers))
    print(json.dumps(anyio.run(_play, *values, backend=loop)))


if __name__ == "__main__":
    main()
