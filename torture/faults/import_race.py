"""Imports beside whatever removes the same audits, and beside each other; some are ended."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, sleep

from torture.checks import select
from torture.model import Row, Run, fault
from torture.removing import Removing, age, check_images, fill
from veritas_peewee import connect, sync
from veritas_peewee.maintenance.repair import repair

AUDITS, IMAGES = 5, 30
SECONDS = 1.0
"""How long a round imports again and again, if that is not ended before."""
BESIDE = ("delete", "prune", "fix", "import", "twice")
ENDS = ("", "", "interrupt", "kill")
"""What becomes of one of the two processes."""


@fault("import-race", "imports beside delete, prune, --fix and imports", rounds=60, quick=10)
def run(run: Run) -> Iterator[Row]:
    chance = run.chance
    source = run.folder / "all.jsonl"
    fill(run.folder / "other" / "audits.db", AUDITS, IMAGES)
    with connect(run.folder / "other" / "audits.db", read_only=True):
        sync.export(source)
    rows = {beside: Row(f"import-race {beside}") for beside in BESIDE}
    for number in range(run.rounds):
        row = rows[BESIDE[number % len(BESIDE)]]
        begin = perf_counter()
        path = run.folder / f"{number}" / "audits.db"
        with connect(path):
            removes = row.fault.split()[1] in ("delete", "prune", "fix")
            if removes:
                sync.import_(source)
        age(path)
        options = ("--source", source, "--slow")
        first = Removing(path, "import", *options, "--seconds", SECONDS)
        # What removes does it once, so that the last word is an import's.
        other = (*options, "--delay", SECONDS / 4) if removes else options
        both = [first, Removing(path, row.fault.split()[1], *other)]
        ending, ended = chance.choice(ENDS), chance.choice(both)
        if ending:
            ended.wait_for("open")
            sleep(chance.uniform(0, SECONDS / 2))
            getattr(ended, ending)()
            row.count(f"ended by {ending}")
        for process in both:
            code = process.end()
            row.count("imports", sum(line.startswith("imported") for line in process.lines))
            if code and process is not ended:
                row.problem(f"{process.how} failed: {process.errors}")
        there = check_images(row, path)
        if not removes:
            told = {line.split()[1] for one in both for line in one.lines if "imported" in line}
            row.missing += len(told - there)
        _check_strays(row, path)
        row.rounds += 1
        row.seconds += perf_counter() - begin
        shutil.rmtree(path.parent)
    yield from rows.values()


def _check_strays(row: Row, path: Path) -> None:
    """After `verify --fix`, no file is there that no row names."""
    age(path)
    with connect(path):
        repair()
    root = path.parent / "screenshots"
    named = {file for (file,) in select(path, "SELECT file_path FROM audit_screenshots")}
    files = {file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()}
    for stray in sorted(files - named)[:3]:
        row.problem(f"a file remains that no row names: {stray}")
    check_images(row, path)
