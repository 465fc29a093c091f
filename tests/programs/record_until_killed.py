"""Record audits from 64 tasks at once, and print each write that the store has acknowledged.

usage: record_until_killed.py DATABASE BACKEND

Lines on standard output, each in one write: `event ID`, `many FIRST LAST COUNT`,
`ingest AUDIT EVENTS`, `delete AUDIT`; before a deletion, `deleting AUDIT`. Runs until killed.
"""

import os
import sys
from collections.abc import Iterator
from itertools import count
from typing import Any

import anyio

from veritas_peewee import AuditStore
from veritas_peewee.testing import make_event, make_finding, make_png

TASKS = 64
BATCH = 7


def shot(seed: int) -> dict[str, Any]:
    image = make_png(seed, size=8)
    return make_event("screenshot", label=f"shot {seed}", index=seed % 100, data=image)


def finding(number: int) -> dict[str, Any]:
    return make_event("finding", finding=make_finding(number))


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def one_by_one(store: AuditStore, seeds: Iterator[int]) -> None:
    """An audit recorded event by event, and never ended."""
    audit = await store.create("https://example.com/one-by-one")
    tell("event", await store.record(audit.id, {"type": "phase_start", "phase": "scout"}))
    for seed in seeds:
        tell("event", await store.record(audit.id, {"type": "log_entry", "message": f"{seed}"}))
        tell("event", await store.record(audit.id, finding(seed)))
        tell("event", await store.record(audit.id, shot(seed)))


async def in_batches(store: AuditStore, seeds: Iterator[int]) -> None:
    """An audit recorded in batches, all or none: each begins and ends with a marker."""
    audit = await store.create("https://example.com/in-batches")
    for seed in seeds:
        inner = [shot(seed), *(finding(seed * 100 + n) for n in range(BATCH - 3))]
        marker = {"type": "batch", "number": seed}
        ids = await store.record_many(audit.id, [marker, *inner, marker])
        tell("many", ids[0], ids[-1], len(ids))


async def whole(store: AuditStore, seeds: Iterator[int]) -> None:
    """Whole audits, ended when they are ingested."""
    for seed in seeds:
        result = {"url": f"https://example.com/whole/{seed}", "status": "completed"}
        events = [shot(seed), *(finding(n) for n in range(5))]
        events.append({"type": "audit_result", "result": {**result, "trust_score": 50}})
        events.append({"type": "audit_complete", "elapsed": 1})
        audit = await store.ingest(events)
        tell("ingest", audit.id, len(events))
        if seed % 7 == 0:
            tell("deleting", audit.id)
            await store.delete(audit.id)
            tell("delete", audit.id)


async def main() -> None:
    seeds = count(1)
    async with AuditStore.open(sys.argv[1]) as store, anyio.create_task_group() as tasks:
        for number in range(TASKS):
            tasks.start_soon((one_by_one, in_batches, whole)[number % 3], store, seeds)


anyio.run(main, backend=sys.argv[2])
