"""`export` and `import`: audits as JSON Lines, tables or pages."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TimeRemainingColumn

from veritas_peewee.cli import progress, terminal
from veritas_peewee.cli.bag import (
    BagParts,
    CertificatesFile,
    CheckpointFile,
    Key,
    TimestampFile,
    Without,
    write_bag,
)
from veritas_peewee.cli.filtering import By, OrderBy, filtered
from veritas_peewee.cli.options import (
    Database,
    Json,
    as_usage_errors,
    complete_id,
    existing,
    opened,
)
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.progress import Advance
from veritas_peewee.cli.streams import standard_input, standard_output
from veritas_peewee.cli.text import PROGRAM, complain, one_line
from veritas_peewee.files.platform import os_error
from veritas_peewee.ledger.problems import Problems
from veritas_peewee.presentation.data import as_dict
from veritas_peewee.presentation.report import report_parts
from veritas_peewee.queries.filters import Filters
from veritas_peewee.transfer.exporting import ExportReport, export_jsonl
from veritas_peewee.transfer.files import Target, new_file
from veritas_peewee.transfer.importing import ImportReport, import_jsonl
from veritas_peewee.transfer.selection import Selection
from veritas_peewee.transfer.tables import export_csv

PIPE = "-"
_PATH = "--output"


class Format(StrEnum):
    """What an export can be."""

    JSONL = "jsonl"
    CSV = "csv"
    HTML = "html"
    BAG = "bag"


class What(StrEnum):
    """The rows of a table."""

    AUDITS = "audits"
    FINDINGS = "findings"
    EVENTS = "events"


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(
        epilog=f"Examples: {PROGRAM} export --output audits.jsonl.gz\n\n"
        f"{PROGRAM} export --format csv --what findings --since 2026-01-01 > findings.csv\n\n"
        f"{PROGRAM} export --format html vrts_0a1b2c3d4e5 --output report.html\n\n"
        f"{PROGRAM} export --format bag vrts_0a1b2c3d4e5 --checkpoint checkpoint --output bag"
    )(export)
    app.command("import", epilog=f"Example: {PROGRAM} import audits.jsonl.gz")(import_)


@filtered
def export(
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            help="The audits' ids; without any, all that the options leave.",
            autocompletion=complete_id,
            metavar="[ID]...",
        ),
    ] = None,
    format: Annotated[
        Format,
        typer.Option(
            help="jsonl can be imported again; csv is a table; html a page an audit; bag one audit "
            "with the proof that others can check."
        ),
    ] = Format.JSONL,
    output: Annotated[
        str | None,
        typer.Option(
            help="A new file (.gz: packed), for several pages a folder, for a bag a folder or a "
            "file .zip; else standard output.",
            metavar="PATH",
        ),
    ] = None,
    what: Annotated[
        What | None, typer.Option(help="The rows of a csv table.", show_default="audits")
    ] = None,
    images: Annotated[bool, typer.Option(help="Take the screenshots along (jsonl, bag).")] = True,
    checkpoint: CheckpointFile = None,
    timestamp: TimestampFile = None,
    certificates: CertificatesFile = None,
    key: Key = None,
    without: Without = None,
    *,
    filters: Filters,
    order: By = OrderBy.NEWEST,
    database: Database = None,
    json: Json = False,
) -> None:
    """Write audits to a file, to be taken along, worked on or read.

    A JSON Lines file holds all of an audit on one line, from which `import` makes the same again.
    """
    if what is not None and format is not Format.CSV:
        raise typer.BadParameter("is for --format csv", param_hint="--what")
    if json and output in (None, PIPE):
        raise typer.BadParameter(
            "what was done can be told only beside a file", param_hint="--json"
        )
    parts = BagParts(checkpoint, timestamp, certificates, key, images, without or [])
    if format is Format.BAG:
        # 0 is a score, and so a filter.
        chosen = order is not OrderBy.NEWEST or any(one is not None for one in filters.values())
        write_bag(ids, _target(output), output, parts, chosen, database, json)
        return
    parts.refuse(with_images=format is Format.JSONL)
    target: Target | None = None if format is Format.HTML else _target(output)
    options: dict[str, Any] = {"ids": ids or None, "order": order.value, **filters}
    with (
        existing(database, reading=True),
        _bar(output, "audits") as advance,
        as_usage_errors(),
    ):
        if target is None:
            report = _pages(output, options, advance)
        elif format is Format.CSV:
            table: Any = (what or What.AUDITS).value
            report = export_csv(target, what=table, progress=advance, **options)
        else:
            report = export_jsonl(target, images=images, progress=advance, **options)
    _print_export(report, output, json)


def _target(output: str | None) -> Target:
    return output if output not in (None, PIPE) else standard_output()


def _pages(output: str | None, options: dict[str, Any], advance: Advance | None) -> ExportReport:
    """One page to a file or standard output, several into a folder."""
    audits, problems = 0, Problems()
    folder = None if output in (None, PIPE) else Path(str(output))
    ids = options["ids"]
    single = ids is not None and len(set(ids)) == 1
    if folder is None and not single:
        raise typer.BadParameter("several pages need a folder", param_hint=_PATH)
    selection = Selection(**options)
    for audit_id in selection:
        target: Target
        if folder is None:
            target = standard_output()
        elif single and not folder.is_dir():
            target = folder
        else:
            if "/" in audit_id or audit_id.startswith("."):
                problems.add(f"audit {audit_id}: no file can have this name")
                continue
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise os_error(error, folder, "made a folder") from error
            target = folder / f"{audit_id}.html"
        with new_file(target) as file:
            for part in report_parts(audit_id):
                file.write(part.encode())
        audits += 1
        if advance is not None:
            advance(audits, selection.total)
    return ExportReport(audits, problems=problems)


def _print_export(report: ExportReport, output: str | None, json: bool) -> None:
    for text in report.problems:
        complain(text)
    if json:
        print_json({"file": output, "ok": report.ok, **as_dict(report)})
    elif output not in (None, PIPE):
        extent = [terminal.counted(report.audits, "audit")]
        extent += [
            terminal.counted(number, noun)
            for number, noun in (
                (report.findings, "finding"),
                (report.screenshots, "screenshot"),
                (report.events, "event"),
            )
            if number
        ]
        console = terminal.console(wide=True)
        for text in report.notes:
            console.print(f"note: {one_line(text)}", style="dim", soft_wrap=True)
        console.print(f"{', '.join(extent)}: {one_line(output)}", soft_wrap=True)
    if not report.ok:
        raise typer.Exit(1)


def import_(
    file: Annotated[
        str, typer.Argument(help="A file of JSON Lines that `export` wrote, or - for a pipe.")
    ],
    skip_existing: Annotated[
        bool,
        typer.Option("--skip-existing", help="Leave audits as they are that are there already."),
    ] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Store exported audits as they were: the same rows, times and seals.

    Each audit is stored whole, or refused by its line. After an interruption, run it again with
    --skip-existing.
    """
    source: Target = standard_input() if file == PIPE else file
    with opened(database), _bar(file, "audits imported", bytes_read=True) as advance:
        report = import_jsonl(
            source,
            skip_existing=skip_existing,
            progress=None if advance is None else lambda _, done, size: advance(done, size),
        )
    for text in report.problems:
        complain(text)
    if json:
        print_json({"file": file, "ok": report.ok, **as_dict(report)})
    else:
        _print_import(report)
    if not report.ok:
        raise typer.Exit(1)


def _print_import(report: ImportReport) -> None:
    console = terminal.console(wide=True)
    counts = [f"imported {terminal.counted(report.audits, 'audit')}"]
    counts += [f"{report.skipped} were there already"] if report.skipped else []
    counts += [f"{report.refused} refused"] if report.refused else []
    console.print(", ".join(counts))
    if report.without_image:
        number = terminal.counted(report.without_image, "screenshot")
        console.print(f"note: {number} came without the image", style="dim")
    if report.new_ids:
        number = terminal.counted(report.new_ids, "event")
        console.print(f"note: {number} got another id than before", style="dim")


def _bar(
    file: str | None, noun: str, *, bytes_read: bool = False
) -> AbstractContextManager[Advance | None]:
    """A progress bar, unless the export or import itself uses the same terminal."""
    extent = DownloadColumn() if bytes_read else MofNCompleteColumn()
    shown = file not in (None, PIPE) or not sys.stdout.isatty()
    return progress.whole(noun, BarColumn(), extent, TimeRemainingColumn(), shown=shown)
