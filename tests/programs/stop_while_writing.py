"""Have 5,000 writes queued when a signal comes, and print what became of each.

usage: stop_while_writing.py DATABASE BACKEND handler|plain|forget

handler: SIGTERM and SIGINT are received, and the store is closed; plain: Ctrl-C is Python's own;
forget: no signal, the script ends without closing its store. Prints `ready`, then `id N` for
each write that was acknowledged, and at the end `told N` for how many callers had any answer.
"""

import os
import signal
import sys
import threading

import anyio
from anyio.abc import TaskGroup

from veritas_peewee import AuditStore, StoreClosed

path, backend, way = sys.argv[1:]
CALLS = 5000
answers: list[int | str] = []
held, go_on = threading.Event(), threading.Event()


def hold() -> None:
    held.set()
    go_on.wait(60)


def tell(text: str) -> None:
    os.write(1, f"{text}\n".encode())


async def one(store: AuditStore, audit_id: str) -> None:
    try:
        answers.append(await store.record(audit_id, {"type": "log_entry"}))
    except StoreClosed:
        answers.append("closed")
    except BaseException:
        answers.append("cancelled")
        raise


async def fill(store: AuditStore, tasks: TaskGroup) -> None:
    audit = await store.create("https://example.com")
    for _ in range(100):
        answers.append(await store.record(audit.id, {"type": "log_entry"}))
    answers.clear()
    tasks.start_soon(store.write, hold)
    await anyio.to_thread.run_sync(held.wait, 60)
    for _ in range(CALLS):
        tasks.start_soon(one, store, audit.id)
    while store.stats().pending + store.stats().waiting < CALLS:
        await anyio.sleep(0.001)
    tell("ready")


async def handled() -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        store = await AuditStore.open(path, max_pending=CALLS // 2)
        async with anyio.create_task_group() as tasks:
            await fill(store, tasks)
            async for _ in signals:
                break
            tasks.start_soon(store.close)
            await anyio.wait_all_tasks_blocked()
            go_on.set()


async def plain() -> None:
    opened = AuditStore.open(path, max_pending=CALLS // 2)
    async with opened as store, anyio.create_task_group() as tasks:
        try:
            await fill(store, tasks)
            # asyncio sees a Ctrl-C that comes as it goes to wait only when something wakes it.
            while True:
                await anyio.sleep(0.05)
        finally:
            go_on.set()


async def forget() -> None:
    store = await AuditStore.open(path)
    audit = await store.create("https://example.com")
    await store.record(audit.id, {"type": "log_entry"})
    globals()["kept"] = store
    tell("ready")


try:
    anyio.run({"handler": handled, "plain": plain, "forget": forget}[way], backend=backend)
finally:
    for answer in answers:
        if isinstance(answer, int):
            tell(f"id {answer}")
    tell(f"told {len(answers)}")
