"""A file, or the images beside it, that another program has changed: thousands of changes.

Each must be named by `verify` or be in the list of those that are not (`torture/alterations`), and
whatever the change: nothing ends in an error of its own, and recording continues beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from torture.alterations.all import changes_of
from torture.alterations.expected import MENDED, STOPPING, UNNAMED, Listed, listed
from torture.alterations.running import judged
from torture.alterations.specimens import Specimen, specimens
from torture.alterations.verdict import IMPOSSIBLE, NOT_NAMED, Verdict
from torture.model import Row, Run, fault

ALL = 20_000
"""More rounds than there are changes: all of them."""
FEW = 200
"""So few changes are judged sooner than other processes are started."""


@fault("alterations", "every column, row, image and part changed", rounds=ALL, quick=60)
def run(run: Run) -> Iterator[Row]:
    made = [(one, len(changes_of(one))) for one in specimens(run.folder / "specimens")]
    total = sum(number for _, number in made)
    chance, met = run.chance, set[Listed]()
    for specimen, number in made:
        share = min(number, max(1, run.rounds * number // total))
        yield _row(run, specimen, sorted(chance.sample(range(number), share)), met)
    if run.rounds >= total:
        yield unmet(met)


def _row(run: Run, specimen: Specimen, numbers: list[int], met: set[Listed]) -> Row:
    begin = perf_counter()
    row = Row(f"alterations {specimen.name}", len(numbers))
    for text in sorted(specimen.told):
        row.problem(f"unchanged: {text}")
    processes = 1 if len(numbers) < FEW else None
    for verdict in judged(specimen, numbers, run.folder / "changed", processes):
        count(row, verdict, met)
    row.seconds = perf_counter() - begin
    return row


def count(row: Row, verdict: Verdict, met: set[Listed]) -> None:
    """Count one verdict in the row, with what must not be; add the entries it belongs to."""
    change = verdict.change
    row.count(verdict.state)
    if verdict.state == IMPOSSIBLE:
        return
    entry = listed(UNNAMED, change)
    if entry is not None and verdict.state == NOT_NAMED:
        met.add(entry)
    elif entry is not None and entry.always:
        row.problem(f"{change}: is {verdict.state}, and listed as unnamed: {entry.changes}")
    elif verdict.state == NOT_NAMED:
        row.problem(f"{change}: is not named, and not listed")
    for text in verdict.crashes:
        row.problem(f"{change}: {text}")
    for entries, problems in (
        (STOPPING, verdict.stopped),
        (MENDED, [f"{verdict.state} until something was recorded"] if verdict.forgotten else []),
    ):
        entry = listed(entries, change)
        if problems and entry is not None:
            met.add(entry)
            continue
        for text in problems:
            row.problem(f"{change}: {text}")
    row.count("refused to write", bool(verdict.refused))


def unmet(met: set[Listed]) -> Row:
    """A row for the lists: each entry must be met by a change."""
    row = Row("alterations listed", sum(map(len, (UNNAMED, MENDED, STOPPING))))
    for entry in (*UNNAMED, *MENDED, *STOPPING):
        if entry not in met:
            row.problem(f"{entry.changes}: is listed, and no change is like that")
    return row
