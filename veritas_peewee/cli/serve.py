"""`serve`: the audits in a browser, and the JSON API."""

from __future__ import annotations

import socket
import webbrowser
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veritas_peewee.cli.options import Database, as_usage_errors, must_exist, opened
from veritas_peewee.cli.text import PROGRAM, complain, say
from veritas_peewee.errors import InvalidAudit, StoreError
from veritas_peewee.evidence.keys import signing_key

if TYPE_CHECKING:
    from fastapi import FastAPI

GRACE = 4
"""Seconds that requests have to end in when the server stops."""


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} serve --open")(serve)


def serve(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let requests record and remove audits.")
    ] = False,
    engine: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="What runs an audit, with {url}, {tier} … in it; needs --writable.",
        ),
    ] = None,
    engines: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", show_default="8", help="How many engines run at once; for --engine."
        ),
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Answer only requests with the token in this file."),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name of this server besides localhost."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Offer signed checkpoints, and audits as bags, signed with this private key.",
        ),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Show it in the browser of this machine.")
    ] = False,
    database: Database = None,
) -> None:
    """Serve the audits to browsers, and to programs as JSON, until it is interrupted.

    Only this machine is served unless --host says otherwise, and nothing can be changed unless
    --writable is given, which other machines may use with a token only.
    """
    token = None if token_file is None else _token_in(token_file)
    if engine is not None and not writable:
        raise typer.BadParameter("needs --writable", param_hint="--engine")
    if engine is None and engines is not None:
        raise typer.BadParameter("needs --engine", param_hint="--engines")
    if writable and token is None and not _is_local(host):
        raise typer.BadParameter(
            "whoever reaches this address could change audits: give --token-file",
            param_hint="--writable",
        )
    if key is not None:
        with as_usage_errors("--key"):
            signing_key(key)
    if not writable:
        must_exist(database)
    try:
        from veritas_peewee.web.application import create_app
        from veritas_peewee.web.engines import ENGINES
        from veritas_peewee.web.guard import LOCAL, host_name
        from veritas_peewee.web.serving import Server
    except ModuleNotFoundError as error:
        raise StoreError(
            f"{error.name} is not installed: pip install 'veritas-peewee[web]'"
        ) from error
    try:
        names = [*LOCAL, *map(host_name, allowed_host or ())]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--allowed-host") from None
    with suppress(ValueError):  # what cannot be listened at is told below
        names.append(host_name(host))
    try:
        app = create_app(
            database, engine=engine, engines=engines or ENGINES, writable=writable, key=key,
            token=token, allowed_hosts=names,
        )  # fmt: skip
    except InvalidAudit as error:
        raise typer.BadParameter(str(error), param_hint="--engine") from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--token-file") from None
    if token is None and not _is_local(host):
        complain(f"whoever reaches {host}:{port} can read all audits: see --token-file")
    with opened(database):
        pass  # what is wrong with it is one line here, and a traceback of the server's below
    listening = _listen(host, port)
    with listening:
        address = f"http://{_shown(host)}:{listening.getsockname()[1]}/"
        say(f"{address} (Ctrl-C ends it)")
        if open_browser:
            with suppress(webbrowser.Error):
                webbrowser.open(address if token is None else f"{address}?token={token}")
        _run(Server, app, listening)


def _run(server: Any, app: FastAPI, listening: socket.socket) -> None:
    server(app, GRACE).run(sockets=[listening])


def _token_in(file: Path) -> str:
    try:
        return file.read_text("utf-8-sig").strip()  # some editors begin a file with a mark
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
    except UnicodeDecodeError:
        reason = "is not text"
    raise typer.BadParameter(f"{file}: {reason}", param_hint="--token-file")


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()  # so that whoever reads the address can ask already
        except BaseException:
            listening.close()
            raise
        return listening
    except OSError as error:
        raise StoreError(
            f"{host}:{port}: cannot be listened at: {error.strerror or error}"
        ) from error


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _shown(host: str) -> str:
    """The host as a part of an address that leads here."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host
