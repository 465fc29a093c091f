"""`head`, `keygen` and `vkey`: what a store holds, in short, to be kept elsewhere; and signed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veritas_peewee.cli.options import Database, Json, as_usage_errors, existing, looked_at
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM
from veritas_peewee.evidence import checkpoints, keys
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
    database: Database = None,
    json: Json = False,
) -> None:
    """Print the store's newest position and digest, to be kept elsewhere.

    Signed it is a checkpoint (C2SP): the size and the root of the log's tree, and the head.
    """
    if name is not None and signed is None:
        raise typer.BadParameter("is the name of a key: give --signed KEY too", param_hint="--name")
    if signed is None:
        with looked_at(database):
            found = checkpoints.head()
        if json:
            print_json({"head": str(found), **as_dict(found)})
        else:
            typer.echo(str(found))
        return
    # To store beside the log what makes the next checkpoint quick, where that can be written.
    with existing(database, reading=True), as_usage_errors("--signed"):
        made = checkpoints.head(key=signed, name=name)
    if json:
        print_json(made)
    else:
        typer.echo(made.note, nl=False)


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
        typer.echo(keys.make_key(file, name).vkey)


def vkey(
    file: Annotated[Path, typer.Argument(help="The key, private or public.", metavar="KEY")],
    name: _Name = None,
    pem: Annotated[bool, typer.Option("--pem", help="Print it as openssl takes it.")] = False,
) -> None:
    """Print the public key of a private one, to be given to those who check: in one line, as C2SP
    has it, or as PEM."""
    found = keys.public_key(file)
    if pem:
        typer.echo(found.pem, nl=False)
        return
    with as_usage_errors("--name"):
        typer.echo(keys.named(found, name).vkey)
