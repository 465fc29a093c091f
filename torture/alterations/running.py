"""Judge many changes, in as many processes as there are processors."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from torture.alterations.all import changes_of
from torture.alterations.change import Change
from torture.alterations.judging import judge
from torture.alterations.specimens import Specimen, remove
from torture.alterations.verdict import Verdict

PIECE = 25
"""How many changes a process is given at once."""
THOROUGH = 7
"""Of so many changes, one is looked at with all commands of the program, which takes most of the
time; no divisor of the ways in which a column is changed, so that it is another way each time."""
APART = 150
"""Of so many, one is verified by a process of its own too."""
_known: dict[Path, list[Change]] = {}
"""This process's changes of each specimen, by its folder."""


def judged(
    specimen: Specimen, numbers: list[int], folder: Path, processes: int | None = None
) -> Iterator[Verdict]:
    """The verdicts on the changes of these numbers, in their order."""
    pieces = [numbers[first : first + PIECE] for first in range(0, len(numbers), PIECE)]
    workers = min(processes or os.cpu_count() or 1, len(pieces))
    if workers < 2:
        for piece in pieces:
            yield from _judge(specimen, piece, folder)
        return
    # Not forked: SQLite's locks do not survive that.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context) as pool:
        for verdicts in pool.map(_judge, [specimen] * len(pieces), pieces, [folder] * len(pieces)):
            yield from verdicts


def _judge(specimen: Specimen, numbers: list[int], folder: Path) -> list[Verdict]:
    changes = _known.get(specimen.folder) or changes_of(specimen)
    _known[specimen.folder] = changes
    verdicts = []
    for number in numbers:
        # Each in another place: what hung in the one before may still have its file open.
        place = folder / f"{specimen.name}-{number}"
        thorough, apart = number % THOROUGH == 0, number % APART == 0
        verdicts.append(judge(specimen, changes[number], place, thorough=thorough, apart=apart))
        remove(place)
    return verdicts
