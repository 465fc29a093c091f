"""Follow audits, and perhaps run them; say what each viewer sees, and how it ends.

    python -m torture.programs.follow DATABASE BACKEND SEED HOURS LINGER [run] AUDIT[=TOKEN]...

HOURS are added to the clock with which events are recorded, and LINGER are the most seconds from a
result to the end of its engine. Lines on standard output:

    open
    event AUDIT ID TOKEN
    ended AUDIT HOW
    error AUDIT KIND TEXT
    closed                        every audit has ended, and the store is closed
"""

from __future__ import annotations

import random
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio

from veritas_peewee import AuditStore, StoreError
from veritas_peewee.recording import operations, recorder
from veritas_peewee.values.moments import utc_now

ENGINE = Path(__file__).with_name("engine.py")


def say(*words: object) -> None:
    print(*words, flush=True)


def shift_clock(hours: float) -> None:
    modules: tuple[Any, ...] = (operations, recorder)
    for module in modules:
        module.utc_now = lambda: utc_now() + timedelta(hours=hours)


async def view(store: AuditStore, audit: str, token: str) -> None:
    try:
        follower = store.follow(audit, after=token or None)
        async for event in follower:
            say("event", audit, event.id, event.token)
        say("ended", audit, follower.ended)
    except StoreError as error:
        say("error", audit, type(error).__name__, " ".join(str(error).split()))


async def by_itself(store: AuditStore, audit: str, linger: float, chance: random.Random) -> None:
    """The engine is a part of this program."""
    if not await store.claim(audit):
        return
    await store.record(audit, {"type": "phase_start", "phase": "scout"})
    for number in range(chance.randrange(8)):
        await store.record(audit, {"type": "log_entry", "message": f"line {number}"})
        await anyio.sleep(chance.random() * 0.02)
    await store.record(audit, {"type": "audit_result", "result": {"status": "completed"}})
    await anyio.sleep(linger)
    await store.record(audit, {"type": "log_entry", "message": "the browser has ended"})
    await store.record(audit, {"type": "audit_complete", "elapsed": 3})


async def as_a_child(store: AuditStore, audit: str, linger: float, chance: random.Random) -> None:
    command = [sys.executable, "-S", str(ENGINE), str(chance.randrange(10**6)), str(linger)]
    try:
        await store.run(audit, command)
    except StoreError as error:
        if "is not queued" not in str(error):
            raise


async def main(path: str, seed: int, linger: float, runs: bool, audits: list[str]) -> None:
    chance = random.Random(seed)
    async with AuditStore.open(path) as store, anyio.create_task_group() as tasks:
        say("open")
        for one in audits:
            audit, _, token = one.partition("=")
            tasks.start_soon(view, store, audit, token)
            if runs:
                engine = chance.choice([by_itself, as_a_child])
                # Most engines end soon, some late.
                wait = linger * chance.random() ** 4
                tasks.start_soon(engine, store, audit, wait, random.Random(chance.random()))
    say("closed")


if __name__ == "__main__":
    path, backend, seed, hours, linger, *rest = sys.argv[1:]
    shift_clock(float(hours))
    runs = rest[:1] == ["run"]
    anyio.run(partial(main, path, int(seed), float(linger), runs, rest[runs:]), backend=backend)
