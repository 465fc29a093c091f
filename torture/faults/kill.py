"""kill -9 at a random instant while 64 tasks record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import sleep

from torture.checks import check_store
from torture.model import Row, Run, fault
from torture.recording import Recording, Told

LONGEST = 0.6
"""Seconds for which it records at most before it is killed."""
LIVES = 4
"""How often the same store is recorded to and killed."""


@fault("kill", "kill -9 at a random instant of 64-way recording", rounds=200, quick=4)
def run(run: Run) -> Iterator[Row]:
    row = Row("kill", run.rounds)
    chance = run.chance
    told, path = Told(), Path()
    for number in range(run.rounds):
        if number % LIVES == 0:
            told, path = Told(), run.folder / f"{number}" / "audits.db"
        backend = ("asyncio", "trio")[number % 2]
        with Recording(path, "--backend", backend, told=told) as recording:
            if number % 10 == 9:  # while it starts, too
                sleep(chance.uniform(0.2, 0.6))
            elif recording.wait_until_open():
                sleep(chance.uniform(0, LONGEST))
            recording.kill()
            if recording.errors:
                row.problem(f"the process failed: {recording.errors}")
        for kind in told.refused:
            row.problem(f"a write was refused: {kind}: {told.texts[kind]}")
        last = number % LIVES == LIVES - 1 or number == run.rounds - 1
        # What was acknowledged in earlier lives must be there to the last.
        before = row.acknowledged
        check_store(row, path, told)
        if not last:
            row.acknowledged = before
    yield row
