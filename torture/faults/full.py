"""A disk that fills up and then has space again; a limit on the size of a file."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, perf_counter, sleep

from torture.checks import check_store
from torture.model import Row, Run, fault
from torture.mounts import isolated, mounted_tmpfs, remount
from torture.recording import Recording
from veritas_peewee import StoreError, StoreFull, connect

FILLS = 5
"""How often the disk of one process fills up."""
FIRST, STEP = 3500, 2500
"""KiB that the disk has at first, and KiB that are added in each round."""
STAYS_FULL = 0.15
"""Seconds for which the disk stays full."""
GOES_ON = 1.0
"""Seconds within which writing must work again once there is space."""
KINDS = frozenset(("create", "event", "shot", "many", "ingest"))


@fault("full", "a disk that fills up and has space again; a limit on files", rounds=50, quick=5)
def run(run: Run) -> Iterator[Row]:
    yield from isolated("full disk", "torture.faults.full:fills", run)
    yield file_limit(run)


def fills(run: Run) -> Iterator[Row]:
    """In a namespace of its own: a small tmpfs is filled, and enlarged, again and again."""
    row = Row("full disk", run.rounds)
    chance = run.chance
    for first in range(0, run.rounds, FILLS):
        kibibytes = FIRST + chance.randrange(STEP)
        with mounted_tmpfs(run.folder / "small", f"{kibibytes}k") as point:

            def enlarge() -> None:
                nonlocal kibibytes
                kibibytes += STEP + chance.randrange(STEP)
                remount(point, f"size={kibibytes}k")

            path = point / "store" / "audits.db"
            with Recording(path, "--patient", "--backend", _backend(first)) as recording:
                for _ in range(min(FILLS, run.rounds - first)):
                    _wait_and_make_space(row, recording, enlarge)
                _end(row, recording, chance.random() < 0.5)
            _open_when_full(row, path)
            enlarge()  # to look at it takes room too
            check_store(row, path, recording.told)
    yield row


def file_limit(run: Run) -> Row:
    """A limit on the size of a file that is reached, and raised, again and again."""
    begin = perf_counter()
    row = Row("full file-limit", run.rounds)
    chance = run.chance
    for first in range(0, run.rounds, FILLS):
        limit = 500_000 + chance.randrange(200_000)
        folder = run.folder / "limited"
        path = folder / "audits.db"
        options = ("--patient", "--backend", _backend(first), "--file-limit", limit)
        with Recording(path, *options) as recording:

            def enlarge() -> None:
                nonlocal limit
                limit += 700_000 + chance.randrange(700_000)
                _, hard = resource.prlimit(recording.process.pid, resource.RLIMIT_FSIZE)
                resource.prlimit(recording.process.pid, resource.RLIMIT_FSIZE, (limit, hard))

            for _ in range(min(FILLS, run.rounds - first)):
                _wait_and_make_space(row, recording, enlarge)
            _end(row, recording, chance.random() < 0.5)
        check_store(row, path, recording.told)
        shutil.rmtree(folder)
    row.seconds = perf_counter() - begin
    return row


def _backend(number: int) -> str:
    return ("asyncio", "trio")[number // FILLS % 2]


def _wait_and_make_space(row: Row, recording: Recording, enlarge: Callable[[], None]) -> None:
    told = recording.told
    if not recording.wait_until_open() or not recording.wait_for_refusal():
        row.problem(f"no write was refused: {recording.errors}")
        return
    row.count("fills")
    sleep(STAYS_FULL)
    enlarge()
    space = monotonic()
    first: dict[str, float] = {}
    seen = len(told.acks)
    while monotonic() < space + GOES_ON and not first.keys() >= KINDS:
        while seen < len(told.acks):
            ack = told.acks[seen]
            if ack.read > space:
                first.setdefault(ack.words[0], ack.read - space)
            seen += 1
        sleep(0.001)
    if first:
        row.most("slowest first write, s", min(first.values()))
    else:
        row.problem(f"nothing was written within {GOES_ON:g} s of space")
    # The disk may be full again before each kind was written: only the first write must succeed.
    row.count(f"with all kinds of writes within {GOES_ON:g} s", first.keys() >= KINDS)


def _end(row: Row, recording: Recording, kill: bool) -> None:
    if kill:
        recording.kill()
    elif not recording.close():
        row.problem(f"the store was not closed in order: {recording.errors}")
    for kind, number in recording.told.refused.items():
        row.count(f"{kind} told", number)
        if kind != "StoreFull":
            row.problem(f"{number} callers were told {kind}: {recording.told.texts[kind]}")
    if recording.process.returncode not in (0, -signal.SIGKILL):
        row.problem(f"the process ended with {recording.process.returncode}: {recording.errors}")


def _open_when_full(row: Row, path: Path) -> None:
    """On a disk without one free byte, the store opens or the error says that the disk is full."""
    ballast = path.with_name("ballast")
    handle = os.open(ballast, os.O_CREAT | os.O_WRONLY, 0o600)
    try:
        while os.write(handle, bytes(1 << 16)):
            pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.close(handle)
    try:
        with connect(path):
            row.count("opened on a full disk")
    except StoreFull:
        row.count("StoreFull at opening")
    except StoreError as error:
        row.problem(f"opening on a full disk: {type(error).__name__}: {error}")
    ballast.unlink()
