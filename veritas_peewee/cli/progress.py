"""How far a long piece of work is, on standard error while it is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
)

from veritas_peewee.cli import terminal

Advance = Callable[[int, int | None], object]
"""Called with how much is done, and of how much if that is known."""
AdvancePart = Callable[[str, int, int | None], object]
"""The same for work in several parts, with the part's name first."""


@contextmanager
def parts(*columns: ProgressColumn, shown: bool = True) -> Iterator[AdvancePart | None]:
    """A line for each part of the work, from the part's first report on; None without a terminal.

    Behind the part's name come `columns`, by default a bar and how many of how many.
    """
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    extent = columns or (BarColumn(), MofNCompleteColumn())
    name = TextColumn("{task.description}", markup=False)
    with Progress(name, *extent, console=terminal.console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def advance(part: str, done: int, total: int | None) -> None:
            if part not in tasks:
                tasks[part] = bar.add_task(part, total=None)
            bar.update(tasks[part], completed=done, total=total)

        yield advance


@contextmanager
def whole(noun: str, *columns: ProgressColumn, shown: bool = True) -> Iterator[Advance | None]:
    """One line for the whole work, which counts in `noun`; shown before anything is done."""
    with parts(*(columns or (MofNCompleteColumn(),)), shown=shown) as advance:
        if advance is None:
            yield None
            return
        advance(noun, 0, None)
        yield lambda done, total: advance(noun, done, total)
