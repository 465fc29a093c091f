"""`demo`: the samples as audits that run at the same time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, chdir
from pathlib import Path
from time import perf_counter
from typing import Annotated

import anyio
import typer

from veritas_peewee.cli import demo_view
from veritas_peewee.cli.demo_run import Run, Sample
from veritas_peewee.cli.options import Database, Json
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, complain
from veritas_peewee.config import Location, locate
from veritas_peewee.errors import InvalidAudit, StoreError
from veritas_peewee.recording import output
from veritas_peewee.recording.live import NO_END
from veritas_peewee.recording.output import IMAGE_EVENT, RESULT_EVENT, Event
from veritas_peewee.recording.recorder import end_of_output
from veritas_peewee.store import AuditStore

SAMPLES = Path("data", "samples")
_SUFFIXES = (".json", ".jsonl", ".txt")


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} demo --copies 20 --speed 0")(demo)


def demo(
    copies: Annotated[
        int, typer.Option(min=1, max=1000, help="How many audits of each sample run at once.")
    ] = 5,
    speed: Annotated[
        float, typer.Option(min=0, help="Events a second in each audit; 0: as fast as it goes.")
    ] = 20,
    ack: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Append a line `audit event` for each acknowledged event."
        ),
    ] = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Run the samples as concurrent audits, and show what the store kept.

    It may be run again and again: each run adds its audits to the database.
    """
    location = locate(database)
    with ExitStack() as stack:
        log = stack.enter_context(ack.open("a", encoding="ascii")) if ack else None
        # The samples name their screenshots relative to the project's folder.
        stack.enter_context(chdir(_project()))
        run = Run(_samples(), copies, speed, log)
        try:
            anyio.run(_demo, run, location, json)
        except BaseExceptionGroup as group:
            raise _first(group) from None


async def _demo(run: Run, location: Location, json: bool) -> None:
    async with AuditStore.open(location.given) as store:
        with demo_view.progress(run.samples, run.copies, quiet=json) as view:
            began = perf_counter()
            async with anyio.create_task_group() as tasks:
                for sample in run.samples * run.copies:
                    tasks.start_soon(_play, store, run, sample, view)
            run.seconds = perf_counter() - began
        stats = store.stats()
        stored = 0
        for audit_id in run.audits:
            stored += len(await store.events(audit_id))
        if json:
            print_json(
                {
                    "database": location.name,
                    "audits": run.audits,
                    "events_acknowledged": run.acknowledged,
                    "events_read_back": stored,
                    "seconds": round(run.seconds, 3),
                    "writer": stats,
                }
            )
        else:
            page = await store.history(limit=min(len(run.audits), 12))
            longest = await store.get(run.longest[1])
            demo_view.show(run, location.name, page, longest, stats, stored)
    if stored != run.acknowledged:
        raise StoreError(f"{run.acknowledged} events were acknowledged, {stored} were read back")


async def _play(store: AuditStore, run: Run, sample: Sample, view: demo_view.View) -> None:
    """Run one sample as one audit."""
    if sample.whole:
        if run.speed:
            await anyio.sleep(random.uniform(0, 30 / run.speed))
        audit = await store.ingest(list(sample.events))
        stored = await store.events(audit.id)
        for row in stored:
            run.acknowledge(audit.id, row.id)
        view.advance(sample, len(stored))
    else:
        audit = await store.create(sample.url)
        for event in sample.events:
            if run.speed:
                await anyio.sleep(random.uniform(0.5, 1.5) / run.speed)
            if "audit_id" in event:
                event = {**event, "audit_id": audit.id}
            try:
                run.acknowledge(audit.id, await store.record(audit.id, event))
            except InvalidAudit as error:
                run.refused += 1
                complain(f"{sample.name}: {error}")
            view.advance(sample, 1)
        await store.write(end_of_output, audit.id, NO_END)
        audit = await store.get(audit.id)
    run.audits.append(audit.id)
    run.longest = max(run.longest, (len(sample.events), audit.id))
    view.ended(sample, audit)


def _project() -> Path:
    """The folder whose `data/samples` is to be used: this one, a wheel's, or a checkout."""
    package = Path(__file__).parents[1]
    for folder in (Path.cwd(), package, package.parent):
        if (folder / SAMPLES).is_dir():
            return folder
    raise StoreError(
        f"there are no samples: {SAMPLES} is neither in this folder nor in the package nor "
        "beside it; install the package anew, or run the demo in a checkout of the project"
    )


def _samples() -> list[Sample]:
    found = []
    for path in sorted(SAMPLES.iterdir()):
        if path.suffix in _SUFFIXES:
            events, _ = output.parse(path.read_bytes())
            whole = all(event["type"] in (IMAGE_EVENT, RESULT_EVENT) for event in events)
            url = next(_addresses(events), f"https://{path.stem}.example/")
            found.append(Sample(path.name, url, events, whole))
    if not found:
        raise StoreError(f"{SAMPLES.absolute()}: there are no samples in it")
    return found


def _addresses(events: list[Event]) -> Iterator[str]:
    """The audited addresses in the result and the events, the last one first."""
    for event in reversed(events):
        result = event.get("result")
        for value in (result.get("url") if isinstance(result, dict) else None, event.get("url")):
            if isinstance(value, str) and value.startswith(("http://", "https://")):
                yield value


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error in a group: the others mostly follow from it."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
