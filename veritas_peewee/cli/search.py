"""`search`: full text of the audits that have ended, within the filters of the history."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from veritas_peewee.cli import terminal
from veritas_peewee.cli.filtering import filtered
from veritas_peewee.cli.options import (
    Cursor,
    Database,
    Json,
    Limit,
    as_usage_errors,
    existing,
)
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.text import PROGRAM, clean, one_line
from veritas_peewee.queries.filters import Filters
from veritas_peewee.queries.search import search as find
from veritas_peewee.queries.snippets import Snippet


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} search '\"hidden cost\" subscri* -newsletter'")(search)


@filtered
def search(
    text: Annotated[
        list[str],
        typer.Argument(
            help="Words, \"an exact phrase\", -not, begin*; put '--' before one with a dash.",
            metavar="TEXT...",
        ),
    ],
    database: Database = None,
    *,
    filters: Filters,
    limit: Limit = 20,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """Search the urls, narratives, findings and errors of audits that have ended, best first."""
    with existing(database, reading=True), as_usage_errors():
        page = find(" ".join(text), limit=limit, cursor=cursor, **filters)
    if json:
        items = [
            {"score": hit.score, "snippet": hit.snippet, "audit": hit.audit} for hit in page.items
        ]
        print_json({"items": items, "next_cursor": page.next_cursor})
        return
    console = terminal.console()
    for hit in page.items:
        audit = hit.audit
        head = Text.assemble(
            (one_line(audit.id), "bold"), "  ", terminal.when(audit.created_at), "  ",
            terminal.status(audit.status), "  ", terminal.score(audit.trust_score), "  ",
            terminal.address(audit.url),
        )  # fmt: skip
        terminal.print_line(console, head, terminal.cells(one_line(audit.id)))
        console.print(_highlighted(hit.snippet), soft_wrap=not console.is_terminal)
    if not page.items:
        console.print("no audits match")
    terminal.print_cursor(console, page.next_cursor)


def _highlighted(snippet: Snippet) -> Text:
    text, end = Text("  "), 0
    for begin, after in snippet.matches:
        text.append(_flat(snippet.text[end:begin]), "dim")
        text.append(_flat(snippet.text[begin:after]), "bold yellow")
        end = after
    return text.append(_flat(snippet.text[end:]), "dim")


def _flat(text: str) -> str:
    """A text on one line; unlike `one_line` it leaves the spaces at both ends."""
    return " ".join(clean(text).replace("\n", " ").replace("\t", " ").split(" "))
