"""Remove audits, or import them, in one of several ways, and tell of each step.

    python -m torture.programs.remove DATABASE HOW [--source FILE] [--delay S] [--seconds S]
        [--slow] [--unsynced PART]

HOW is `delete`, `prune`, `fix` (remove rows with plain Peewee code, then the stray files),
`import`, or `twice` (two tasks of one store import the same file, and one is cancelled). Lines on
standard output, each in one write:

    open                          the database is open
    step NUMBER                   so many audits were removed, or so many imports are done
    imported AUDIT                an import has reported success, and the audit was new
    end                           there is nothing left to do

With `--delay` it begins so many seconds after it has opened the database, and with `--seconds` it
is done again and again for so long. With `--slow` each new name and removal takes a millisecond
longer. With `--unsynced wal`, or `files`, it does not wait for the disk there: for a control.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Callable, Iterator
from time import monotonic, sleep
from typing import Any
from unittest.mock import patch

import anyio

from torture.programs.record import tell
from veritas_peewee import Audit, AuditNotFound, AuditStore, connect, sync
from veritas_peewee.database.statements import execute
from veritas_peewee.files.database_files import DatabaseFile
from veritas_peewee.maintenance.prune import prune
from veritas_peewee.maintenance.repair import repair


def stored(condition: str = "TRUE") -> set[str]:
    """The ids of the audits that are there."""
    return {one for (one,) in execute(f"SELECT id FROM audits WHERE {condition}", ())}


def delete(source: str) -> Iterator[int]:
    for number, audit in enumerate(sorted(stored("status = 'completed'")), 1):
        try:
            sync.delete(audit)
        except AuditNotFound:
            continue  # another process was faster
        yield number


def prune_all(source: str) -> Iterator[int]:
    steps: list[int] = []
    prune(keep_newest=0, progress=lambda done, _: steps.append(done))
    yield from steps


def fix(source: str) -> Iterator[int]:
    removed: int = Audit.delete().where(Audit.status == "completed").execute()
    repair()
    yield removed


def import_all(source: str) -> Iterator[int]:
    before = stored()
    report = sync.import_(source, skip_existing=True)
    if report.audits and not report.refused:
        for audit in sorted(stored() - before):
            tell("imported", audit)
    yield report.audits


WAYS: dict[str, Callable[[str], Iterator[int]]] = {
    "delete": delete,
    "prune": prune_all,
    "fix": fix,
    "import": import_all,
}


def slow_down() -> None:
    """Have each step of another process find many chances to come in between."""
    for name in ("unlink", "rename", "link"):
        real = getattr(os, name)

        def slow(*args: Any, real: Callable[..., Any] = real, **named: Any) -> Any:
            sleep(0.001)
            return real(*args, **named)

        vars(os)[name] = slow


async def twice(database: str, source: str, seconds: float) -> None:
    """Two imports of one file in one store, of which one is cancelled at some time."""
    ends = monotonic() + seconds
    async with AuditStore.open(database) as store:
        tell("open")
        while True:
            scope = anyio.CancelScope()

            async def cancelled(scope: anyio.CancelScope = scope) -> None:
                with scope:
                    await store.import_(source, skip_existing=True)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(cancelled)
                tasks.start_soon(lambda: store.import_(source, skip_existing=True))
                await anyio.sleep(random.uniform(0, 0.5))
                scope.cancel()
            tell("step", 1)
            if monotonic() > ends:
                return


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("how", choices=[*WAYS, "twice"])
    parser.add_argument("--source", default="")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--unsynced", choices=["wal", "files"])
    return parser.parse_args()


def main() -> None:
    told = arguments()
    if told.unsynced == "wal":
        patch.object(DatabaseFile, "sync_commits").start()
    elif told.unsynced == "files":
        vars(os)["fsync"] = lambda handle: None
    if told.slow:
        slow_down()
    if told.how == "twice":
        anyio.run(twice, told.database, told.source, told.seconds)
    else:
        ends = monotonic() + told.delay + told.seconds
        with connect(told.database):
            tell("open")
            sleep(told.delay)
            while True:
                for number in WAYS[told.how](told.source):
                    tell("step", number)
                if monotonic() > ends:
                    break
                sleep(0.005)
    tell("end")


if __name__ == "__main__":
    main()
