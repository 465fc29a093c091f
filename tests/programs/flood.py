"""Submit many writes to a store at once or, to compare, have as many tasks wait for something else.

usage: flood.py DATABASE BACKEND CALLS record|wait

Prints the bytes by which the peak of the memory has grown, and the events that are stored.
"""

import sys

import anyio

from veritas_peewee import AuditEvent, AuditStore

path, backend, calls, mode = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]


def peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    import resource  # of POSIX alone

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


async def main() -> None:
    async with AuditStore.open(path, max_pending=calls // 10) as store:
        audit = await store.create("https://example.com")
        for _ in range(500):
            await store.record(audit.id, {"type": "warm-up"})
        all_there = anyio.Event()
        told = []

        def event(number: int) -> dict[str, object]:
            return {"type": "log_entry", "agent": "scout", "message": f"page {number} is loaded"}

        async def record(number: int) -> None:
            told.append(await store.record(audit.id, event(number)))

        async def wait(number: int) -> None:
            kept = event(number)
            await all_there.wait()
            told.append(len(kept))

        before = peak()
        async with anyio.create_task_group() as tasks:
            for number in range(calls):
                tasks.start_soon(record if mode == "record" else wait, number)
            await anyio.wait_all_tasks_blocked() if mode == "wait" else None
            all_there.set()
        assert len(told) == calls
        stored = await store.read(
            AuditEvent.select().where(AuditEvent.event_type != "warm-up").count
        )
        print(peak() - before, stored, len(set(told)), store.stats().failed)


anyio.run(main, backend=backend)
