"""A file that is damaged, or is not a database at all."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import anyio

from torture.faults.read_only import read_only
from torture.model import Row, Run, fault
from torture.reading import FILES, Sample, dump, make_sample, read_current
from veritas_peewee import AuditStore, StoreError, connect
from veritas_peewee.database.failures import DRIVER_ERRORS, error_code
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.maintenance.verify import verify

WITHIN = 10.0
"""Seconds after which there must be an answer, also on a busy machine: whoever waits for a lock
that is never given waits three times as long."""

Damage = Callable[[Path, random.Random], str]
"""Damages a file; returns a text that says how."""


@fault("damage", "files that are damaged, no database, or read-only", rounds=200, quick=12)
def run(run: Run) -> Iterator[Row]:
    yield from read_only(run)
    yield no_database(run)
    sample = make_sample(run.folder / "sample")
    for name in FILES:
        which = "wal" if name.endswith("wal") else "file"
        yield damaged(f"damage flip-{which}", run, sample, name, flip)
        yield damaged(f"damage cut-{which}", run, sample, name, cut)


def flip(path: Path, chance: random.Random) -> str:
    """Change one byte."""
    place = chance.randrange(path.stat().st_size)
    with open(path, "r+b") as file:
        file.seek(place)
        old = file.read(1)[0]
        new = old ^ chance.randrange(1, 256)
        file.seek(place)
        file.write(bytes((new,)))
    return f"byte {place} from {old} to {new}"


def cut(path: Path, chance: random.Random) -> str:
    """Cut the end off, at times everything."""
    size = path.stat().st_size
    length = 0 if chance.random() < 0.02 else chance.randrange(size)
    os.truncate(path, length)
    return f"cut from {size} to {length} bytes"


def damaged(name: str, run: Run, sample: Sample, file: str, damage: Damage) -> Row:
    """Damage one file of the sample, again and again: is it noticed, and what is read?"""
    begin = perf_counter()
    row = Row(name, run.rounds)
    chance = run.chance
    row.figures = dict.fromkeys(("changed something", "of these reported"), 0)
    folder = run.folder / "damaged"
    for _ in range(run.rounds):
        sample.copy(folder)
        how = damage(folder / file, chance)
        kept = (folder / file).read_bytes()

        def fresh(kept: bytes = kept) -> Path:
            path = sample.copy(folder)
            (folder / file).write_bytes(kept)
            return path

        changed = _has_changed(fresh(), sample)
        reported = _is_reported(row, how, fresh(), sample)
        if changed and not reported and dump(fresh(), sealed=True) == sample.sealed:
            row.count("changed only what no digest covers")
            changed = False
        row.count("changed something", changed)
        row.count("of these reported", changed and reported)
        row.count("reported though no row changed", reported and not changed)
        if changed and not reported:
            row.problem(f"{how}: rows changed, and verify does not say so")
        _use(row, how, fresh(), sample)
    row.seconds = perf_counter() - begin
    return row


def _has_changed(path: Path, sample: Sample) -> bool:
    try:
        return dump(path) != sample.dump
    except (driver.Error, UnicodeError):
        return True


def _is_reported(row: Row, how: str, path: Path, sample: Sample) -> bool:
    begin = perf_counter()
    try:
        with connect(path, read_only=True, screenshots=sample.folder / "screenshots"):
            return not verify(against=sample.head).ok
    except StoreError:
        return True
    except Exception as error:
        row.problem(f"{how}: verify: {type(error).__name__}: {error}")
        return True
    finally:
        _check_time(row, f"{how}: verify", begin)


def _use(row: Row, how: str, path: Path, sample: Sample) -> None:
    """Open the store, read all of it and write to it: each is done, or a typed error in time."""
    screenshots = sample.folder / "screenshots"

    async def use() -> None:
        async with AuditStore.open(path, screenshots=screenshots) as store:
            begin = perf_counter()
            try:
                same = await store.read(read_current) == sample.current
                row.count("reads as before" if same else "reads that differ without an error")
            except StoreError:
                row.count("reads refused")
            _check_time(row, f"{how}: read", begin)
            begin = perf_counter()
            try:
                await store.create("https://example.com/after")
                row.count("writes done")
            except StoreError:
                row.count("writes refused")
            _check_time(row, f"{how}: write", begin)

    begin = perf_counter()
    try:
        anyio.run(use)
    except StoreError:
        row.count("openings refused")
        _check_time(row, f"{how}: opening", begin)
    except Exception as error:
        if error_code(error) == 1:
            # A name in the schema has changed: SQLite calls that wrong SQL.
            row.count("uses with SQLite's own error")
        else:
            row.problem(f"{how}: {type(error).__name__}: {error}")


def _check_time(row: Row, what: str, begin: float) -> None:
    took = perf_counter() - begin
    row.most("slowest answer, s", took)
    if took > WITHIN:
        row.problem(f"{what}: took {took:.1f} s")


# ---- files that are not databases ----


def no_database(run: Run) -> Row:
    """A file at the path that is not a database is refused in time and stays as it is."""
    begin = perf_counter()
    row = Row("damage no-database")
    chance = run.chance
    path = run.folder / "none" / "audits.db"
    path.parent.mkdir()
    for name, content in _strangers(path.parent / "other.db", chance).items():
        for looking in (True, False):
            row.rounds += 1
            path.write_bytes(content)
            started = perf_counter()
            try:
                with connect(path, read_only=looking):
                    row.problem(f"{name}: was opened")
            except StoreError as error:
                row.count(type(error).__name__)
            except (*DRIVER_ERRORS, OSError, ValueError) as error:
                row.problem(f"{name}: {type(error).__name__}: {error}")
            _check_time(row, name, started)
            if path.read_bytes() != content:
                row.problem(f"{name}: was changed")
    row.seconds = perf_counter() - begin
    return row


def _strangers(other: Path, chance: random.Random) -> dict[str, bytes]:
    connection = driver.connect(other)
    connection.execute("CREATE TABLE bookmarks (id INTEGER PRIMARY KEY, url TEXT)")
    connection.commit()
    connection.close()
    foreign = other.read_bytes()
    # A file of one byte is an empty one for SQLite, which once made such files itself.
    found = {f"{size} random bytes": chance.randbytes(size) for size in (2, 99, 4096, 100_000)}
    return found | {
        "text": b"these are notes, not rows. " * 400,
        "zeros": bytes(8192),
        "another program's database": foreign,
        "a header alone": foreign[:100],
        "a header and noise": foreign[:100] + chance.randbytes(8092),
        "a page of noise": foreign[:4096] + chance.randbytes(4096),
    }
