"""Run the audit `one` of a store as far as told, one step for each line of input.

    python run_one.py DATABASE [HOURS]

A step is an event as JSON, `claim`, `close` (the store is closed and the program ends) or `kill`.
Each is answered by a line. HOURS are added to the times of what it records.
"""

import json
import os
import sys
from datetime import timedelta

import anyio

from veritas_peewee import AuditStore
from veritas_peewee.recording import operations, recorder
from veritas_peewee.values.moments import utc_now


def shift_clock(hours):
    for module in (operations, recorder):
        module.utc_now = lambda: utc_now() + timedelta(hours=hours)


async def main():
    shift_clock(float(sys.argv[2]) if len(sys.argv) > 2 else 0)
    async with AuditStore.open(sys.argv[1]) as store:
        print("open", flush=True)
        while (step := (await anyio.to_thread.run_sync(sys.stdin.readline)).strip()) != "close":
            if step == "kill":
                os.kill(os.getpid(), 9)
            told = await (
                store.claim("one") if step == "claim" else store.record("one", json.loads(step))
            )
            print(told, flush=True)


anyio.run(main)
