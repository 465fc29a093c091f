"""`history`: a page of the audits, by the filters of the history."""

from __future__ import annotations

import typer

from veritas_peewee.cli import listing, terminal
from veritas_peewee.cli.filtering import By, OrderBy, filtered
from veritas_peewee.cli.options import (
    Cursor,
    Database,
    Json,
    Limit,
    as_usage_errors,
    existing,
)
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM
from veritas_peewee.queries.filters import Filters
from veritas_peewee.queries.history import history as history_page


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} history --status completed --max-score 39 --since 7d")(
        history
    )


@filtered
def history(
    database: Database = None,
    *,
    filters: Filters,
    order: By = OrderBy.NEWEST,
    limit: Limit = 20,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """List audits, newest first."""
    with existing(database, reading=True), as_usage_errors():
        page = history_page(limit=limit, cursor=cursor, order=order.value, **filters)
    if json:
        print_json(page)
        return
    console = terminal.console(wide=True)
    if page.items:
        console.print(listing.history_table(page.items, console.width))
    else:
        console.print("no audits")
    terminal.print_cursor(console, page.next_cursor)
