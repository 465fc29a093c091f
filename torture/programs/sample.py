"""Make a store with something of every kind in its file and in its WAL; then be killed.

    python -m torture.programs.sample DATABASE AUDITS

Prints the store's head, then ends by SIGKILL, so that the WAL is still there.
"""

from __future__ import annotations

import os
import signal
import sys
from itertools import count

from torture.programs.record import finding, log_entry, shot
from veritas_peewee import Audit, connect, sync

seeds = count(1)


def fill(audits: int) -> None:
    """Audits of all kinds: recorded event by event, stored whole, changed, and deleted again."""
    for number in range(audits):
        audit = sync.create(f"https://example.com/{number}").id
        told = [{"type": "phase_start", "phase": "scout"}, shot(next(seeds))]
        told += [finding(next(seeds)), log_entry(next(seeds)), finding(next(seeds))]
        sync.record_many(audit, told)
        if number % 3:
            sync.record(audit, {"type": "audit_complete", "elapsed": 1})
        result = {"url": "https://example.com/whole", "status": "completed", "trust_score": 50}
        events = [shot(next(seeds)), finding(1), {"type": "audit_result", "result": result}]
        whole = sync.ingest([*events, {"type": "audit_complete", "elapsed": 2}]).id
        sync.update(whole, narrative=f"# Verdict {number}\n" + "It nags. " * 40)
        if number % 4 == 1:
            sync.delete(whole)
        if number % 5 == 2:
            Audit.update(site_type="shop").where(Audit.id == audit).execute()


def main() -> None:
    path, audits = sys.argv[1], int(sys.argv[2])
    with connect(path) as database:
        fill(audits * 2 // 3)
        database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        fill(audits - audits * 2 // 3)
        print(sync.head(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
