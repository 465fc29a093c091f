"""A file, or the images beside it, that another program has changed: thousands of changes.

Each must be named by `verify` or be in the list of those that are not (`torture/alterations`), and
whatever the change: nothing ends in an error of its own, and recording continues beside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

from torture.alterations import expected
from torture.alterations.all import changes_of
from torture.alterations.judging import (
    AGAINST,
    AT_ITS_END,
    IMPOSSIBLE,
    NAMED,
    NOTED,
    UNNAMED,
    Verdict,
)
from torture.alterations.running import judged
from torture.alterations.specimens import Specimen, specimens
from torture.model import Row, Run, fault

ALL = 20_000
"""More rounds than there are changes: all of them."""
STATES = (NAMED, AGAINST, NOTED, AT_ITS_END, UNNAMED, IMPOSSIBLE)


@fault("alterations", "every column, row, image and part changed", rounds=ALL, quick=60)
def run(run: Run) -> Iterator[Row]:
    made = specimens(run.folder / "specimens")
    everything = [(one, len(changes_of(one))) for one in made]
    total = sum(number for _, number in everything)
    unmet = set(expected.UNNAMED)
    chance = run.chance
    rows = []
    for specimen, number in everything:
        share = min(number, max(1, run.rounds * number // total))
        numbers = sorted(chance.sample(range(number), share))
        row = _row(run, specimen, numbers, unmet)
        rows.append(row)
        yield row
    if run.rounds >= total:
        row = Row("alterations listed", len(expected.UNNAMED))
        for one in expected.UNNAMED:
            if one in unmet:
                row.problem(f"{one.pattern}: is listed, and there is no such unnamed change")
        yield row


def _row(run: Run, specimen: Specimen, numbers: list[int], unmet: set[expected.Unnamed]) -> Row:
    begin = perf_counter()
    row = Row(f"alterations {specimen.name}", len(numbers))
    for text in sorted(specimen.told):
        row.problem(f"unchanged: {text}")
    # A handful is done sooner than another process is started.
    processes = 1 if len(numbers) < 200 else None
    for verdict in judged(specimen, numbers, run.folder / "changed", processes):
        count(row, verdict, unmet)
    row.seconds = perf_counter() - begin
    return row


def count(row: Row, verdict: Verdict, unmet: set[expected.Unnamed]) -> None:
    """Count one verdict in the row, with what must not be; what is listed goes from `unmet`."""
    row.count(verdict.state)
    listed = expected.listed(verdict.change)
    if verdict.state == UNNAMED:
        if listed is None:
            row.problem(f"{verdict.change}: is not named, and not listed")
        else:
            row.count("of these listed")
            unmet.discard(listed)
    elif listed is not None and verdict.state != IMPOSSIBLE:
        row.problem(f"{verdict.change}: is listed ({listed.pattern}), and is {verdict.state}")
    for text in (*verdict.crashes, *verdict.stopped):
        row.problem(f"{verdict.change}: {text}")
    if verdict.forgotten:
        row.problem(f"{verdict.change}: was {verdict.state} until the store was written to")
    row.count("refused to write", bool(verdict.refused))
