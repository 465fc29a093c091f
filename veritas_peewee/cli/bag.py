"""`export --format bag` and `check`: one audit with a proof that others can check."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from veritas_peewee.cli import terminal
from veritas_peewee.cli.options import Json, as_usage_errors, existing
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, complain, one_line, say
from veritas_peewee.errors import NotProven, StoreError
from veritas_peewee.evidence import bags
from veritas_peewee.evidence.bag_check import check_bag
from veritas_peewee.files.platform import os_error
from veritas_peewee.presentation.data import as_dict
from veritas_peewee.transfer.bags import BagExport, export_bag
from veritas_peewee.transfer.files import Target

UNCHECKED = 3
"""The exit code if nothing is wrong and nothing is proven: all is as it should be by the bag's own
key, or it could not be looked at."""
_MOST = 1 << 20
"""The most bytes that are read of a file that goes into a bag."""

CheckpointFile = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint", help="The signed checkpoint that proves a bag's audit.", metavar="FILE"
    ),
]
TimestampFile = Annotated[
    Path | None,
    typer.Option(
        "--timestamp", help="The reply of a time stamp authority over it.", metavar="FILE"
    ),
]
CertificatesFile = Annotated[
    Path | None,
    typer.Option("--certificates", help="The authority's certificates (PEM).", metavar="FILE"),
]
Key = Annotated[
    str | None,
    typer.Option("--key", help="The store's public key: a vkey, or a file.", metavar="KEY"),
]
Without = Annotated[
    list[str] | None,
    typer.Option(
        "--without", help="An image to leave out of a bag; may be repeated.", metavar="NAME"
    ),
]


@dataclass(frozen=True, slots=True)
class BagParts:
    """What the options of `export` say of a bag."""

    checkpoint: Path | None
    timestamp: Path | None
    certificates: Path | None
    key: str | None
    images: bool
    without: list[str]

    def refuse(self, *, with_images: bool) -> None:
        """Refuse what only a bag has, as wrong usage; images may be left out `with_images` only."""
        if not (self.images or with_images):
            raise typer.BadParameter("is for --format jsonl or bag", param_hint="--no-images")
        for name in ("checkpoint", "timestamp", "certificates", "key", "without"):
            if getattr(self, name):
                raise typer.BadParameter("is for --format bag", param_hint=f"--{name}")


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} check bag --key store.vkey")(check)


def write_bag(
    ids: list[str] | None,
    target: Target,
    output: str | None,
    parts: BagParts,
    has_filters: bool,
    database: str | None,
    json: bool,
) -> None:
    """Write the bag of one audit, and say what is in it."""
    if ids is None or len(ids) != 1 or has_filters:
        raise typer.BadParameter("a bag has one audit: give its id, and no filter or order")
    if parts.checkpoint is None:
        raise typer.BadParameter(
            f"a bag needs a signed one: `{PROGRAM} head --signed KEY.pem` makes it",
            param_hint="--checkpoint",
        )
    if not isinstance(target, str) and sys.stdout.isatty():
        raise typer.BadParameter("name a folder, or a file .zip", param_hint="--output")
    with existing(database, reading=True), as_usage_errors():
        report = export_bag(
            ids[0],
            target,
            checkpoint=_content(parts.checkpoint),
            timestamp=None if parts.timestamp is None else _content(parts.timestamp),
            certificates=None if parts.certificates is None else _content(parts.certificates),
            key=parts.key,
            images=parts.images,
            without=parts.without,
        )
    _print_export(report, output if isinstance(target, str) else None, json)


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST + 1)
    except OSError as error:
        raise os_error(error, file, "read") from error
    if len(data) > _MOST:
        raise StoreError(f"{file}: is larger than {_MOST} bytes, and so not what goes into a bag")
    return data


def _print_export(report: BagExport, output: str | None, json: bool) -> None:
    for text in report.problems:
        complain(text)
    if json:
        print_json({"file": output, "ok": report.ok, **as_dict(report)})
    elif output is not None:
        console = terminal.console(wide=True)
        for text in report.notes:
            console.print(f"note: {one_line(text)}", style="dim", soft_wrap=True)
        extent = [
            terminal.counted(report.events, "event"),
            terminal.counted(len(report.images), "image"),
        ]
        if report.withheld:
            extent.append(f"{len(report.withheld)} withheld")
        console.print(f"{', '.join(extent)}: {one_line(output)}", soft_wrap=True)
    if not report.ok:
        raise typer.Exit(1)


def check(
    bag: Annotated[
        Path | None, typer.Argument(help="The folder or .zip file of a bag.", show_default=False)
    ] = None,
    key: Key = None,
    root: Annotated[
        Path | None,
        typer.Option(
            "--authority",
            help="The root certificate of the time stamp authority (PEM).",
            metavar="FILE",
        ),
    ] = None,
    script: Annotated[
        bool, typer.Option("--script", help="Print the shell script that asks the same.")
    ] = False,
    json: Json = False,
) -> None:
    """Check a bag that `export --format bag` has made; needs no store.

    The key, and the root certificate, must come from elsewhere than the bag. It ends with 1 if the
    bag is not proven, and with 3 if it could not be checked, or if all fits, but no key was given
    to check the signature by.
    """
    if script:
        if bag is not None:
            raise typer.BadParameter("prints the script, and checks no bag", param_hint="--script")
        say(bags.script().decode(), end="")
        return
    if bag is None:
        raise typer.BadParameter("name the bag", param_hint="BAG")
    try:
        report = check_bag(bag, key, root=root)
    except NotProven as error:
        if json:
            print_json({"ok": False, "problem": str(error)})
        complain(f"not proven: {error}")
        raise typer.Exit(1) from None
    except StoreError as error:  # this says nothing of the bag, for good or bad
        if json:
            print_json({"ok": False, "problem": f"not checked: {error}"})
        complain(f"not checked: {error}")
        raise typer.Exit(UNCHECKED) from None
    if json:
        print_json({"ok": report.key == "given", "problem": None, **as_dict(report)})
    else:
        for line in report.lines():
            say(line)
    if report.key != "given":
        complain("the key that signed it is only in the bag itself: give the store's, by --key")
        raise typer.Exit(UNCHECKED)
