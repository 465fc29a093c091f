"""`head`, `keygen` and `vkey`: what a store holds, in short, to be kept elsewhere; and signed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veritas_peewee.cli.options import Database, Json, as_usage_errors, existing, looked_at
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, one_line, say
from veritas_peewee.errors import NotProven
from veritas_peewee.evidence import checkpoints, keys, timestamps
from veritas_peewee.presentation.data import as_dict

_Name = Annotated[
    str | None,
    typer.Option("--name", help="The key's name, if its file does not say it.", metavar="NAME"),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog=f"Example: {PROGRAM} head > head.txt, and keep it on another machine")(head)
    app.command(epilog=f"Example: {PROGRAM} keygen store.key --name audits.example.org/store")(
        keygen
    )
    app.command(epilog=f"Example: {PROGRAM} vkey store.key --pem > store.pem")(vkey)


def head(
    signed: Annotated[
        Path | None,
        typer.Option(
            "--signed",
            help="Sign it with this private key: a checkpoint, which others can check.",
            metavar="KEY",
        ),
    ] = None,
    name: _Name = None,
    timestamp_request: Annotated[
        Path | None,
        typer.Option(
            help="Write a request (RFC 3161) to stamp this checkpoint beside it, for an authority.",
            metavar="CHECKPOINT",
        ),
    ] = None,
    timestamp: Annotated[
        Path | None,
        typer.Option(
            help="Check this reply of an authority, and keep it beside the --checkpoint.",
            metavar="REPLY",
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="The checkpoint that was stamped.", metavar="FILE")
    ] = None,
    authority: Annotated[
        Path | None,
        typer.Option(help="The certificates that the authority has, in PEM.", metavar="FILE"),
    ] = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Print the store's newest position and digest, to be kept elsewhere.

    Signed it is a checkpoint (C2SP): the size and the root of the log's tree, and the head. A time
    stamp proves when it was there; how its request is sent is yours to choose.
    """
    if timestamp is None and (checkpoint, authority) != (None, None):
        raise typer.BadParameter("--checkpoint and --authority belong to --timestamp REPLY")
    if sum(one is not None for one in (signed, timestamp_request, timestamp)) > 1:
        raise typer.BadParameter(
            "one at a time: --signed, then --timestamp-request, then --timestamp"
        )
    if name is not None and signed is None:
        raise typer.BadParameter("is the name of a key: give --signed KEY too", param_hint="--name")
    if timestamp_request is not None:
        _ask_for_time(timestamp_request, json)
        return
    if timestamp is not None:
        if checkpoint is None or authority is None:
            raise typer.BadParameter(
                "needs what was stamped and by whom: --checkpoint FILE --authority FILE",
                param_hint="--timestamp",
            )
        _keep_time(timestamp, checkpoint, authority, json)
        return
    if signed is None:
        with looked_at(database):
            found = checkpoints.head()
        if json:
            print_json({"head": str(found), **as_dict(found)})
        else:
            say(found)
        return
    # To store beside the log what makes the next checkpoint quick, where that can be written.
    with existing(database, reading=True), as_usage_errors("--signed"):
        made = checkpoints.head(key=signed, name=name)
    if json:
        print_json(made)
    else:
        say(made.note, end="")


def _ask_for_time(checkpoint: Path, json: bool) -> None:
    try:
        checkpoints.read_checkpoint(timestamps.read_file(checkpoint), None)
    except NotProven as error:
        raise NotProven(f"{checkpoint}: {error}") from None
    written = timestamps.write_request(checkpoint)
    if json:
        print_json({"request": str(written)})
        return
    reply = f"{checkpoint}{timestamps.REPLY}"
    say(
        f"{one_line(written)}: written; it is sent to an authority for example with\n"
        "  curl -H 'Content-Type: application/timestamp-query' --data-binary "
        f"@{one_line(written)} URL > {one_line(reply)}"
    )


def _keep_time(reply: Path, checkpoint: Path, authority: Path, json: bool) -> None:
    kept, found = timestamps.keep_reply(reply, checkpoint, authority)
    if json:
        print_json({"reply": str(kept), **as_dict(found)})
    else:
        time = found.time.strftime("%Y-%m-%d %H:%M:%S")
        whose = f" by {one_line(found.authority)}" if found.authority else ""
        say(f"{one_line(kept)}: {one_line(checkpoint)} was there at {time} UTC{whose}")


def keygen(
    file: Annotated[Path, typer.Argument(help="Where to write the private key.", metavar="FILE")],
    name: Annotated[
        str,
        typer.Option(
            help="The name under which it signs, such as audits.example.org/store.", metavar="NAME"
        ),
    ],
) -> None:
    """Make a key that signs checkpoints, in a file that only its owner can read.

    It prints the public key, as `vkey` does. Whoever has the private key can sign in your name:
    keep it apart from the store.
    """
    with as_usage_errors("--name"):
        say(keys.make_key(file, name).vkey)


def vkey(
    file: Annotated[Path, typer.Argument(help="The key, private or public.", metavar="KEY")],
    name: _Name = None,
    pem: Annotated[bool, typer.Option("--pem", help="Print it as openssl takes it.")] = False,
) -> None:
    """Print the public key of a private one, to be given to those who check: in one line, as C2SP
    has it, or as PEM."""
    found = keys.public_key(file)
    if pem:
        say(found.pem, end="")
        return
    with as_usage_errors("--name"):
        say(keys.named(found, name).vkey)
