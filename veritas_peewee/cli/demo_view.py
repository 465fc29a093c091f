"""What the demo shows: bars while it runs, then what the store holds."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from veritas_peewee.cli import listing, render, terminal
from veritas_peewee.cli.demo_run import Run, Sample
from veritas_peewee.cli.text import PROGRAM, one_line
from veritas_peewee.config import locate
from veritas_peewee.models import Audit
from veritas_peewee.queries.paging import Page
from veritas_peewee.store import WriterStats


class View:
    """On a terminal a bar for each sample, elsewhere a line for each audit that ends."""

    def __init__(self, console: Console, bars: Progress | None, quiet: bool) -> None:
        self.console = console
        self.bars = bars
        self.quiet = quiet
        self.tasks: dict[str, TaskID] = {}
        self.running: dict[str, int] = {}

    def add(self, sample: Sample, copies: int) -> None:
        """Add a sample that will be played."""
        self.running[sample.name] = copies
        if self.bars is not None:
            total = len(sample.events) * copies
            self.tasks[sample.name] = self.bars.add_task(sample.name, total=total, left=copies)

    def advance(self, sample: Sample, events: int) -> None:
        """Events of a sample have been stored."""
        if self.bars is not None:
            self.bars.advance(self.tasks[sample.name], events)

    def ended(self, sample: Sample, audit: Audit) -> None:
        """An audit of a sample has ended."""
        self.running[sample.name] -= 1
        if self.bars is not None:
            self.bars.update(self.tasks[sample.name], left=self.running[sample.name])
        elif not self.quiet:
            line = f"{audit.id}  {audit.status:<12}  {terminal.score(audit.trust_score)!s:>5}"
            self.console.print(f"{line}  {terminal.address(audit.url)}", soft_wrap=True)


@contextmanager
def progress(samples: Sequence[Sample], copies: int, *, quiet: bool) -> Iterator[View]:
    """Show a run while it lasts; with `quiet` nothing is printed."""
    console = terminal.console()
    total = len(samples) * copies
    if not quiet:
        console.print(Text(f"{total} audits at once", "bold"))
    bars = None
    if console.is_terminal and not quiet:
        bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("events"),
            TextColumn("{task.fields[left]:>3} running"),
            console=console,
            expand=True,
        )
    view = View(console, bars, quiet)
    for sample in samples:
        view.add(sample, copies)
    if bars is None:
        yield view
    else:
        with bars:
            yield view


def show(
    run: Run, database: str, page: Page[Audit], audit: Audit, stats: WriterStats, stored: int
) -> None:
    """What a run left in the store, and what the writer did for it."""
    console = terminal.console()
    wide = terminal.console(wide=True)
    _title(console, f"The newest {len(page.items)} of the history")
    wide.print(listing.history_table(page.items, wide.width))
    _title(console, "One audit in full")
    render.show_audit(console, audit)
    _title(console, "What the writer did")
    table = terminal.columns()
    table.show_header = False
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    whole = "all of them read back" if stored == run.acknowledged else f"only {stored} read back"
    table.add_row("audits", f"{len(run.audits)} at once, in {run.seconds:.2f} s")
    table.add_row("events", f"{run.acknowledged:,} acknowledged, {whole}")
    if run.refused:
        table.add_row("refused", f"{run.refused:,} events")
    table.add_row(
        "writes",
        f"{stats.writes:,} in {stats.commits:,} commits: "
        f"{stats.writes / max(stats.commits, 1):.1f} writes per commit",
    )
    table.add_row(
        "latency", f"p50 {stats.p50 * 1000:.2f} ms, p99 {stats.p99 * 1000:.2f} ms, until committed"
    )
    pace = f"held to {run.speed:g} events/s in each audit" if run.speed else "flat out"
    table.add_row("rate", f"{stats.writes / max(run.seconds, 1e-9):,.0f} writes/s, {pace}")
    table.add_row("database", one_line(database))
    if database != ":memory:":
        named = "" if database == locate().name else f" --database {shlex.quote(database)}"
        table.add_row("in a browser", one_line(f"{PROGRAM} serve --open{named}"))
    console.print(table)


def _title(console: Console, text: str) -> None:
    console.print()
    console.rule(Text(text, "bold"), align="left", style="dim")
