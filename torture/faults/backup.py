"""Backups of a store that 64 tasks write to; each is restored, and verified."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from torture.checks import check_store
from torture.model import Row, Run, fault
from torture.recording import Recording, Told
from veritas_peewee import StoreError
from veritas_peewee.maintenance.backup import backup, restore

BACKUPS = 2
"""How many are taken of one store before a new one is begun."""


@fault("backup", "backups under full load, each restored and verified", rounds=50, quick=2)
def run(run: Run) -> Iterator[Row]:
    row = Row("backup", run.rounds)
    for first in range(0, run.rounds, BACKUPS):
        folder = run.folder / f"{first}"
        backend = ("asyncio", "trio")[first // BACKUPS % 2]
        with Recording(folder / "audits.db", "--backend", backend) as recording:
            if not recording.wait_until_open():
                row.problem(f"the process failed: {recording.errors}")
                continue
            for number in range(first, min(first + BACKUPS, run.rounds)):
                recording.wait_for_acks(run.chance.randrange(50, 400))
                try:
                    _back_up(row, run.folder / f"backup-{number}", folder / "audits.db", recording)
                except StoreError as error:
                    row.problem(f"backup {number}: {type(error).__name__}: {error}")
        for kind, text in recording.told.texts.items():
            row.problem(f"a write was refused: {kind}: {text}")
        shutil.rmtree(folder)
    yield row


def _back_up(row: Row, target: Path, path: Path, recording: Recording) -> None:
    told = Told()
    told.acks = list(recording.told.acks)  # must be in it
    begin = perf_counter()
    report = backup(target, database=path)
    row.most("slowest backup, s", perf_counter() - begin)
    row.count("writes acknowledged meanwhile", len(recording.told.acks) - len(told.acks))
    told.deleting = set(recording.told.deleting)  # meanwhile, or just before
    restored = target.with_name(f"{target.name}-restored") / "audits.db"
    begin = perf_counter()
    if restore(target, restored).head != report.head:
        row.problem(f"{target.name}: the restored store has another head")
    row.most("slowest restore, s", perf_counter() - begin)
    check_store(row, restored, told)
    shutil.rmtree(target)
    shutil.rmtree(restored.parent)
