"""A store on a file system that is frozen, in a mount namespace of its own.

usage: unshare --mount --propagation private python stalled_disk.py FOLDER BACKEND

Prints what became of each caller, one line for each, and `no mount` if nothing can be mounted.
"""

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import anyio

from veritas_peewee import Audit, AuditStore
from veritas_peewee.threads import writer

FREEZE, THAW = 0xC0045877, 0xC0045878
folder, backend = Path(sys.argv[1]), sys.argv[2]
disk, image = folder / "disk", folder / "disk.ext4"
disk.mkdir()
with open(image, "wb") as file:
    file.truncate(32 << 20)
try:
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True, capture_output=True)
except (OSError, subprocess.CalledProcessError):
    print("no mount")
    sys.exit()
handle = os.open(disk, os.O_RDONLY)
writer.CLOSE_TIMEOUT = 0.5


async def outcome(name: str, call: object, *args: object) -> None:
    try:
        print(name, "done", await call(*args), flush=True)
    except Exception as error:
        print(name, type(error).__name__, str(error)[:100], flush=True)


async def main() -> None:
    store = await AuditStore.open(disk / "audits.db", max_pending=5)
    audit = await store.create("https://example.com")
    await store.read(Audit.select().count)
    fcntl.ioctl(handle, FREEZE, 0)
    # Whatever happens, it thaws: a process that waits for a frozen disk cannot be killed.
    guard = threading.Timer(30, fcntl.ioctl, (handle, THAW, 0))
    guard.start()
    try:
        async with anyio.create_task_group() as tasks:

            async def deadline(name: str) -> None:
                with anyio.fail_after(0.2):
                    await store.record(audit.id, {"type": name})

            for number in range(8):  # one begun, some queued, some waiting for a slot
                tasks.start_soon(outcome, "deadline", deadline, f"deadline-{number}")
            await anyio.wait_all_tasks_blocked()
            await outcome("read", store.read, Audit.select().count)
        print("begun", 5 - store.stats().pending, flush=True)
        async with anyio.create_task_group() as tasks:
            for number in range(8):
                call = (store.record, audit.id, {"type": f"patient-{number}"})
                tasks.start_soon(outcome, "patient", *call)
            await anyio.wait_all_tasks_blocked()
            await outcome("close", store.close)
    finally:
        guard.cancel()
        guard.join()
        fcntl.ioctl(handle, THAW, 0)
    print("frozen", "is over", flush=True)


async def afterwards() -> None:
    async with AuditStore.open(disk / "audits.db") as store:
        kinds = await store.read(lambda: [e.event_type for a in Audit.select() for e in a.events])
        print("stored", len(kinds), "patient" in "".join(kinds))
        await outcome("again", store.write, Audit.select().count)


try:
    anyio.run(main, backend=backend)
    for thread in threading.enumerate():
        if thread.name == "veritas-writer":
            thread.join()
    anyio.run(afterwards, backend=backend)
finally:
    os.close(handle)
    subprocess.run(["umount", disk], check=True)
