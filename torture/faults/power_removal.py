"""Power cuts while audits are removed or imported: then rows come back, and their files must too.

Another process records beside it, whose syncs bring to disk what the first one has done to files.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from time import perf_counter, sleep
from typing import NamedTuple

from torture.model import Row, Run, fault
from torture.mounts import Disk, isolated
from torture.recording import Recording
from torture.removing import Removing, check_images, fill
from veritas_peewee import StoreError, connect, sync
from veritas_peewee.database.failures import DRIVER_ERRORS

AUDITS, IMAGES = 40, 3
LONGEST = 1.0
"""Seconds for which it goes on at most before the cut."""


class Mode(NamedTuple):
    """A way to remove or to import, how the other process records, and what is left out."""

    how: str
    durability: str
    unsynced: str = ""


MODES = {
    "delete": Mode("delete", "normal"),
    "prune": Mode("prune", "normal"),
    "verify --fix": Mode("fix", "normal"),
    "import": Mode("import", "full"),
    "prune, WAL unsynced": Mode("prune", "normal", "wal"),
    "verify --fix, WAL unsynced": Mode("fix", "normal", "wal"),
    "import, files unsynced": Mode("import", "full", "files"),
}


@fault("power-removal", "power cuts while audits are removed or imported", rounds=20, quick=2)
def run(run: Run) -> Iterator[Row]:
    yield from isolated(
        "power-removal", "torture.faults.power_removal:cuts", run, "mkfs.ext4", "losetup", loop=True
    )


def cuts(run: Run) -> Iterator[Row]:
    """In a namespace of its own: the rounds of each way."""
    for name, mode in MODES.items():
        begin = perf_counter()
        row = Row(f"power-removal {name}", control="breaks" if mode.unsynced else "")
        while row.goes_on(run.rounds):
            _cut(row, run, mode)
            row.rounds += 1
        row.seconds = perf_counter() - begin
        yield row


def _cut(row: Row, run: Run, mode: Mode) -> None:
    folder, chance = run.folder / "cut", run.chance
    for _ in range(row.rounds):
        chance.random()  # another moment in each round
    disk = Disk(folder)
    disk.mount()
    path, source = disk.point / "store" / "audits.db", folder / "all.jsonl"
    if mode.how == "import":
        fill(folder / "other" / "audits.db", AUDITS, IMAGES)
        with connect(folder / "other" / "audits.db", read_only=True):
            sync.export(source)
        with connect(path):
            pass
    else:
        fill(path, AUDITS, IMAGES)
    os.sync()
    options = ["--source", source, *(["--unsynced", mode.unsynced] if mode.unsynced else [])]
    with Recording(path, "--tasks", 3, "--keep", "--durability", mode.durability) as recording:
        if not recording.wait_until_open():
            row.problem(f"the process failed: {recording.errors}")
        removing = Removing(path, mode.how, *options)
        if not removing.wait_for("open"):
            row.problem(f"the process failed: {removing.errors}")
        if row.rounds % 2:
            sleep(chance.uniform(0, LONGEST))
        else:  # what was done is written to disk by the other one's syncs
            removing.wait_for("end")
            sleep(chance.uniform(0, 0.2))
        disk.cut_power()
        removing.kill()
    disk.unmount()
    disk.mount()
    before = row.missing
    try:
        check_images(row, path)
    except (StoreError, *DRIVER_ERRORS) as error:
        row.problem(f"cut {row.rounds}: the store cannot be opened: {error}")
        row.missing += 1
    row.count("cuts with loss", row.missing > before)
    disk.unmount()
    shutil.rmtree(folder)
