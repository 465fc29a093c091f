"""A power cut: the file system ends at an instant, and what it had not written is lost.

It shows the losses when the kernel is gone. It does not show the losses by a disk that lies: one
that reports data as written that is still in its own memory.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from time import perf_counter, sleep
from typing import NamedTuple

from torture.checks import check_store
from torture.model import Row, Run, fault
from torture.mounts import Disk, isolated
from torture.recording import Recording
from veritas_peewee import StoreError
from veritas_peewee.database.failures import DRIVER_ERRORS

LONGEST = 1.0
"""Seconds for which it records at most before the cut."""


class Mode(NamedTuple):
    """A way to record, and what it may lose."""

    options: tuple[str, ...]
    control: str = ""


MODES = {
    "full": Mode(("--durability", "full")),
    "normal": Mode(("--durability", "normal", "--keep"), "loses"),
    # If the last moments are lost, rows that were deleted then come back, but not their files.
    "normal, deleting": Mode(("--durability", "normal"), "breaks"),
    "synchronous=OFF": Mode(("--synchronous", "OFF"), "breaks"),
    "files unsynced": Mode(("--durability", "full", "--files-unsynced"), "breaks"),
}


@fault("power", "power cuts of a file-backed ext4, with controls", rounds=30, quick=2)
def run(run: Run) -> Iterator[Row]:
    yield from isolated(
        "power", "torture.faults.power:cuts", run, "mkfs.ext4", "losetup", loop=True
    )


def cuts(run: Run) -> Iterator[Row]:
    """In a namespace of its own: the rounds of each durability."""
    for name, mode in MODES.items():
        begin = perf_counter()
        row = Row(f"power {name}", control=mode.control)
        chance = run.chance
        while row.goes_on(run.rounds):
            _cut(row, run, mode.options, chance)
            row.rounds += 1
        row.seconds = perf_counter() - begin
        yield row


def _cut(row: Row, run: Run, options: tuple[str, ...], chance: random.Random) -> None:
    number = row.rounds
    folder = run.folder / "cut"
    disk = Disk(folder)
    path = disk.point / "store" / "audits.db"
    disk.mount()
    backend = ("asyncio", "trio")[number % 2]
    with Recording(path, "--backend", backend, *options) as recording:
        if number % 10 == 9:  # while it starts, too
            sleep(chance.uniform(0.2, 0.6))
        elif recording.wait_until_open():
            sleep(chance.uniform(0.1, LONGEST))
        else:
            row.problem(f"the process failed: {recording.errors}")
        disk.cut_power()
    disk.unmount()
    disk.mount()
    before = row.missing
    try:
        if path.is_file():
            check_store(row, path, recording.told)
        else:
            row.count("stores gone")
            row.acknowledged += len(recording.told.acks)
            row.missing += len(recording.told.acks)
    except (StoreError, *DRIVER_ERRORS) as error:
        row.count("stores unreadable")
        row.problem(f"cut {number}: the store cannot be opened: {error}")
        row.acknowledged += len(recording.told.acks)
        row.missing += len(recording.told.acks)
    row.count("cuts with loss", row.missing > before)
    row.most("most lost in a cut", row.missing - before)
    disk.unmount()
    shutil.rmtree(folder)
