"""What several commands have in common: options, and opening the database they name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Annotated, cast

import typer

from veritas_peewee.cli.text import PROGRAM, one_line
from veritas_peewee.config import DATABASE_VARIABLE, DEFAULT_DATABASE, locate
from veritas_peewee.database.failures import DRIVER_ERRORS, store_error
from veritas_peewee.errors import InvalidAudit, ReadOnlyStore, StoreError
from veritas_peewee.queries import history
from veritas_peewee.queries.paging import MAX_LIMIT
from veritas_peewee.startup import connect, is_there
from veritas_peewee.values import moments
from veritas_peewee.values.addresses import check_url
from veritas_peewee.values.ids import check_id


def _database(value: str | None) -> str | None:
    try:
        locate(value)
    except StoreError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def audit_id(value: str | None) -> str | None:
    """Refuse a text that cannot be an audit's id as wrong usage."""
    return _checked(value, check_id)


def audit_url(value: str | None) -> str | None:
    """Refuse a text that is not an http(s) address as wrong usage."""
    return _checked(value, check_url)


def _checked(value: str | None, check: object) -> str | None:
    try:
        if value is not None and callable(check):
            check(value)
    except StoreError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def moment(value: str) -> datetime:
    """The moment that a text means, in the forms of `moments.moment`; else it is wrong usage."""
    try:
        return cast(datetime, moments.moment("date", value))
    except InvalidAudit:
        raise typer.BadParameter(f"{value!r} is no date such as {moments.DATES}") from None


Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="PATH",
        callback=_database,
        show_default=f"${DATABASE_VARIABLE}, else {DEFAULT_DATABASE}",
        help="The database: a path, or a sqlite:/// or postgresql:// URL.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]
Limit = Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="Audits a page.")]
Cursor = Annotated[str | None, typer.Option(help="Continue after the page that told this cursor.")]


@contextmanager
def opened(database: str | None) -> Iterator[None]:
    """Open a database for writing; it is created or upgraded if need be."""
    with typed(database), connect(database):
        yield


@contextmanager
def existing(database: str | None, *, reading: bool = False) -> Iterator[None]:
    """Open a database that must exist; for `reading` it may be one that cannot be written."""
    must_exist(database)
    with typed(database, reading=reading), ExitStack() as stack:
        try:
            stack.enter_context(connect(database))
        except ReadOnlyStore:
            if not reading:
                raise
            stack.enter_context(connect(database, read_only=True))
        yield


def must_exist(database: str | None) -> None:
    """Raise StoreError if there is no such database; it says how to create one."""
    option = "" if database is None else f" --database {_shown(database)}"
    check_exists(database, f"; `{PROGRAM} init{option}` creates it")


def _shown(database: str) -> str:
    location = locate(database)
    return database if location.server is None else location.name


def check_exists(database: str | None, hint: str = "") -> None:
    """Raise StoreError, with a hint, if there is no such database, or something that is no file."""
    location = locate(database)
    path = location.path
    if location.server is not None and not is_there(location):
        raise StoreError(f"{location.name}: there is no store in this database{hint}")
    if path is not None and not path.is_file():
        if os.path.lexists(path):
            raise StoreError(f"{path}: is no file, and so no database")
        raise StoreError(f"{path}: there is no such database{hint}")


@contextmanager
def looked_at(database: str | None) -> Iterator[None]:
    """Open a database that must exist, without changing anything of it."""
    check_exists(database)
    with typed(database, reading=True), connect(database, read_only=True):
        yield


@contextmanager
def typed(database: str | None, *, reading: bool = False) -> Iterator[None]:
    """Raise the store's own errors for those of the driver."""
    try:
        yield
    except DRIVER_ERRORS as error:
        name = locate(database).name
        raise (store_error(error, name, reading=reading) or error) from error


@contextmanager
def as_usage_errors(option: str | None = None) -> Iterator[None]:
    """Report a value that the store refuses as wrong usage, of `option` if one is given."""
    try:
        yield
    except InvalidAudit as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def complete_id(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """The newest audits' ids, for the shell to complete; none if there is any trouble."""
    try:
        with connect(ctx.params.get("database"), read_only=True):
            items = history.history(limit=200).items
        return [
            (audit.id, one_line(audit.url)) for audit in items if audit.id.startswith(incomplete)
        ]
    except Exception:  # an error would be printed into the line that is being typed
        return []
