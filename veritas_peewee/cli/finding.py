"""`history`, `search` and `stats`: which audits there are, by the same filters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from veritas_peewee import counting, queries
from veritas_peewee.cli import render, terminal
from veritas_peewee.cli.options import Database, Json, audit_url, existing, moment
from veritas_peewee.cli.serialize import audit_values, print_json
from veritas_peewee.cli.text import PROGRAM, clean, one_line
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.filters import Filters
from veritas_peewee.models import AuditStatus, Severity
from veritas_peewee.paging import MAX_LIMIT
from veritas_peewee.search import search as find
from veritas_peewee.snippets import Snippet


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command(epilog=f"Example: {PROGRAM} history --status completed --max-score 39 --since 7d")(
        history
    )
    app.command(epilog=f"Example: {PROGRAM} search '\"hidden cost\" subscri* -newsletter'")(search)
    app.command(epilog=f"Example: {PROGRAM} stats --since 2026-01 --min-severity high")(stats)


class OrderBy(StrEnum):
    """The orders of the history."""

    NEWEST = "newest"
    OLDEST = "oldest"
    HIGHEST = "highest"
    LOWEST = "lowest"


Status = Annotated[AuditStatus | None, typer.Option(help="Only with this status.")]
Risk = Annotated[str | None, typer.Option(help="Only with this risk level.")]
Url = Annotated[str | None, typer.Option(help="Only audits of this address.", callback=audit_url)]
Host = Annotated[
    str | None, typer.Option(help="Only audits of this site, by its name or any address of it.")
]
SiteType = Annotated[str | None, typer.Option(help="Only this type of site.")]
Tier = Annotated[str | None, typer.Option(help="Only of this tier, such as standard_audit.")]
MinScore = Annotated[float | None, typer.Option(help="The lowest trust score.")]
MaxScore = Annotated[float | None, typer.Option(help="The highest trust score.")]
Pattern = Annotated[
    str | None, typer.Option(help="Only with a finding of this pattern type.", metavar="TYPE")
]
MinSeverity = Annotated[
    Severity | None, typer.Option(help="Only with a finding (of that type) this grave or graver.")
]
Since = Annotated[
    datetime | None,
    typer.Option(
        parser=moment,
        metavar="DATE",
        help="Created at or after: 2026-01-31, 2026-01, 7d ago; UTC unless it has a zone.",
    ),
]
Until = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="DATE", help="Created before.")
]
By = Annotated[OrderBy, typer.Option(help="By date or by score.")]
Limit = Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="Audits a page.")]
Cursor = Annotated[str | None, typer.Option(help="Continue after the page that told this cursor.")]


@contextmanager
def _asked(database: str | None) -> Iterator[None]:
    with existing(database, reading=True):
        try:
            yield
        except InvalidAudit as error:
            raise typer.BadParameter(str(error)) from None


def history(
    database: Database = None,
    status: Status = None,
    risk: Risk = None,
    url: Url = None,
    host: Host = None,
    site_type: SiteType = None,
    tier: Tier = None,
    min_score: MinScore = None,
    max_score: MaxScore = None,
    pattern: Pattern = None,
    min_severity: MinSeverity = None,
    since: Since = None,
    until: Until = None,
    order: By = OrderBy.NEWEST,
    limit: Limit = 20,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """List audits, newest first."""
    filters = Filters(
        status=status, risk_level=risk, url=url, host=host, site_type=site_type, audit_tier=tier,
        min_score=min_score, max_score=max_score, pattern_type=pattern,
        min_severity=min_severity, since=since, until=until,
    )  # fmt: skip
    with _asked(database):
        page = queries.history(limit=limit, cursor=cursor, order=order.value, **filters)
    if json:
        items = [audit_values(audit) for audit in page.items]
        print_json({"items": items, "next_cursor": page.next_cursor})
        return
    console = terminal.console(wide=True)
    if page.items:
        console.print(render.history_table(page.items, console.width))
    else:
        console.print("no audits")
    _more(console, page.next_cursor)


def _more(console: Console, cursor: str | None) -> None:
    if cursor:
        console.print(f"more: --cursor {cursor}", style="dim", soft_wrap=True)


def search(
    text: Annotated[
        list[str],
        typer.Argument(
            help="Words, \"an exact phrase\", -not, begin*; put '--' before one with a dash.",
            metavar="TEXT...",
        ),
    ],
    database: Database = None,
    status: Status = None,
    risk: Risk = None,
    url: Url = None,
    host: Host = None,
    site_type: SiteType = None,
    tier: Tier = None,
    min_score: MinScore = None,
    max_score: MaxScore = None,
    pattern: Pattern = None,
    min_severity: MinSeverity = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    json: Json = False,
) -> None:
    """Search the urls, narratives, findings and errors of audits that have ended, best first."""
    filters = Filters(
        status=status, risk_level=risk, url=url, host=host, site_type=site_type, audit_tier=tier,
        min_score=min_score, max_score=max_score, pattern_type=pattern,
        min_severity=min_severity, since=since, until=until,
    )  # fmt: skip
    with _asked(database):
        page = find(" ".join(text), limit=limit, cursor=cursor, **filters)
    if json:
        items = [
            {"score": hit.score, "snippet": hit.snippet._asdict(), "audit": audit_values(hit.audit)}
            for hit in page.items
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
        console.print(head, no_wrap=True, overflow="ellipsis")
        console.print(_highlighted(hit.snippet), soft_wrap=not console.is_terminal)
    if not page.items:
        console.print("no audits match")
    _more(console, page.next_cursor)


def _highlighted(snippet: Snippet) -> Text:
    text, end = Text("  "), 0
    for begin, after in snippet.matches:
        text.append(_flat(snippet.text[end:begin]), "dim")
        text.append(_flat(snippet.text[begin:after]), "bold yellow")
        end = after
    return text.append(_flat(snippet.text[end:]), "dim")


def _flat(text: str) -> str:
    """On one line, with the spaces at its ends."""
    return " ".join(clean(text).replace("\n", " ").replace("\t", " ").split(" "))


def stats(
    database: Database = None,
    status: Status = None,
    risk: Risk = None,
    url: Url = None,
    host: Host = None,
    site_type: SiteType = None,
    tier: Tier = None,
    min_score: MinScore = None,
    max_score: MaxScore = None,
    pattern: Pattern = None,
    min_severity: MinSeverity = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
) -> None:
    """Count audits by status, risk level, site type, tier and pattern type."""
    filters = Filters(
        status=status, risk_level=risk, url=url, host=host, site_type=site_type, audit_tier=tier,
        min_score=min_score, max_score=max_score, pattern_type=pattern,
        min_severity=min_severity, since=since, until=until,
    )  # fmt: skip
    with _asked(database):
        found = counting.facets(**filters)
    if json:
        # As pairs: a name of JSON cannot be null.
        kinds = {name: list(map(list, counts.items())) for name, counts in _kinds(found)}
        print_json({"total": found.total, **kinds})
        return
    console = terminal.console()
    console.print(terminal.counted(found.total, "audit"), style="bold")
    for name, counts in _kinds(found):
        if counts:
            console.print()
            console.print(
                _table(name, counts, found.total, terminal.status if name == "status" else None)
            )


def _kinds(found: counting.Facets) -> list[tuple[str, Mapping[Any, int]]]:
    return [(name, counts) for name, counts in found._asdict().items() if name != "total"]


def _table(
    name: str, counts: Mapping[Any, int], total: int, style: Callable[[object], Text] | None
) -> Any:
    table = terminal.columns()
    table.add_column(name.replace("_", " ").capitalize(), no_wrap=True, min_width=24)
    table.add_column("Audits", justify="right", no_wrap=True)
    table.add_column("Share", justify="right", no_wrap=True)
    for kind, number in counts.items():
        told = one_line(terminal.NONE if kind is None else kind)
        table.add_row(
            style(told) if style else told, f"{number:,}", f"{number / total:.0%}" if total else ""
        )
    return table
