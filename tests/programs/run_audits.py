"""Do as each line on standard input says with a store, and say `done` and what came of it.

usage: run_audits.py DATABASE

    start N     run N audits                  → done ID…
    finish ID…  end these audits              → done
    session     begin the session, no more    → done
    close       close the store and end       → done
"""

import sys

import anyio

from veritas_peewee import AuditStore
from veritas_peewee.database.current import current_database


async def main() -> None:
    async with AuditStore.open(sys.argv[1]) as store:
        print("open", flush=True)
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            command, *words = line.split()
            made = []
            if command == "start":
                for _ in range(int(words[0])):
                    audit = await store.create("https://example.com")
                    await store.record(audit.id, {"type": "phase_start", "phase": "scout"})
                    made.append(audit.id)
            elif command == "finish":
                for audit_id in words:
                    await store.record(audit_id, {"type": "audit_complete"})
            elif command == "session":
                await store.write(lambda: current_database().session.id)
            elif command == "close":
                break
            print("done", *made, flush=True)
    print("done", flush=True)


anyio.run(main)
