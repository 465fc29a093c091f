"""`trend`: a site over time, as a line, a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from veritas_peewee.cli import chart, terminal
from veritas_peewee.cli.options import (
    Database,
    Json,
    as_usage_errors,
    audit_url,
    existing,
    moment,
)
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.render import SEVERITY
from veritas_peewee.cli.terminal import NONE, address, columns, when
from veritas_peewee.cli.text import PROGRAM, one_line
from veritas_peewee.errors import StoreError
from veritas_peewee.queries import trends
from veritas_peewee.queries.trends import Trend, TrendPoint

_BARS, _PLAIN_BARS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
_GAP, _PLAIN_GAP = "·", "x"
_WITH_RISK = 56
"""Characters that a line needs to show the risk levels too."""
_SEVERITIES = ("critical", "high", "medium", "low")


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} trend --host example.com --plot trend.svg")(trend)


def _plot(value: Path | None) -> Path | None:
    if value is not None and value.suffix.lower() not in chart.FORMATS:
        raise typer.BadParameter(f"{value}: must end in {' or '.join(chart.FORMATS)}")
    return value


def trend(
    url: Annotated[
        str | None,
        typer.Argument(help="The address that was audited.", metavar="URL", callback=audit_url),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(help="Every address of this host, whatever its scheme, port and path."),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            parser=moment, metavar="DATE", help="Run at or after; UTC unless it has a zone."
        ),
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=moment, metavar="DATE", help="Run before.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=trends.MAX_POINTS, help="The newest so many audits.")
    ] = 100,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a picture, .png or .svg.", callback=_plot),
    ] = None,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show how a site's score, risk and findings went over time, the newest audit last."""
    if (url is None) == (host is None):
        raise typer.BadParameter("give either a URL or --host")
    if plot is not None:
        chart.check_installed()
    with existing(database, reading=True), as_usage_errors():
        found = trends.trend(url, host=host, since=since, until=until, limit=limit)
    if plot is not None and found.points:
        chart.write(found, plot)
    if json:
        print_json(found)
    elif not found.points:
        terminal.console(wide=True).print("no audits")
    if not found.points and plot is not None:
        raise StoreError(f"{plot}: was not drawn, for there are no audits")
    if json or not found.points:
        return
    out = terminal.console(wide=True)
    _print(out, found)
    if plot is not None:
        out.print(f"picture: {one_line(plot)}", style="dim", soft_wrap=True)


def _print(out: Console, found: Trend) -> None:
    out.print(Text(one_line(found.url or found.host), "bold"), soft_wrap=True)
    out.print(_summary(found))
    out.print(_line(out, found.points))
    out.print()
    out.print(_table(found, out.width))
    if not found.is_whole:
        out.print("there are older ones: --limit, --until", style="dim")


def _summary(found: Trend) -> Text:
    scores = [point.trust_score for point in found.points if point.trust_score is not None]
    if not scores:
        return Text("no score is known", "dim")
    text = Text.assemble("score ", terminal.score(scores[-1]))
    if len(scores) > 1:
        change = round(scores[-1] - scores[0], 1)
        style = "green" if change > 0 else "red" if change < 0 else "dim"
        text.append(f" {change:+g}", style).append(" since the first, from ")
        text.append_text(terminal.score(min(scores))).append(" to ")
        text.append_text(terminal.score(max(scores)))
    if gaps := len(found.points) - len(scores):
        text.append(f", {terminal.counted(gaps, 'audit')} without a score", "yellow")
    return text


def _line(out: Console, points: list[TrendPoint]) -> Text:
    """A character for each of the newest audits that fit; its height is the score from 0 to 100.

    An audit without a score is a dot.
    """
    modern = out.encoding.startswith("utf")
    bars, gap = (_BARS, _GAP) if modern else (_PLAIN_BARS, _PLAIN_GAP)
    line = Text(no_wrap=True)
    for point in points[-max(out.width, 1) :]:
        score = point.trust_score
        if score is None:
            line.append(gap, "dim")
        else:
            bar = bars[max(0, min(int(score / 100 * len(bars)), len(bars) - 1))]
            line.append(bar, terminal.score(score).style)
    return line


def _table(found: Trend, width: int) -> Table:
    several = len({point.url for point in found.points}) > 1 and width >= 80
    table = columns()
    table.expand = width <= 1000 and several
    form = "%Y-%m-%d %H:%M" if width >= 60 else "%Y-%m-%d"
    before: float | None = None
    rows = []
    for point in found.points:
        score = point.trust_score
        moment = Text(when(point.time, form))
        rows.append([moment, terminal.score(score), _difference(before, score)])
        if width >= _WITH_RISK:
            rows[-1].append(_risk(point))
        before = before if score is None else score
    # A date or number that is cut would be wrong. So on a line that is too short findings are named
    # by letters, and then a risk level or the end of the findings is cut.
    widths = [max(5, _widest(column)) for column in zip(*rows, strict=True)]
    left = width - sum(widths) - 2 * len(widths)
    left -= (18 if width >= 90 else 0) + (22 if several else 0)
    findings = [_findings(point, width, words=True) for point in found.points]
    if _widest(findings) > left:
        findings = [_findings(point, width, words=False) for point in found.points]
        left += 22 if several else 0
    table.add_column("Run, UTC", no_wrap=True, min_width=widths[0])
    table.add_column("Score", justify="right", no_wrap=True, min_width=widths[1])
    table.add_column("", justify="right", no_wrap=True, min_width=widths[2])
    if width >= _WITH_RISK:
        risk = max(8, min(widths[3], widths[3] + left - _widest(findings)))
        left += widths[3] - risk
        table.add_column("Risk", no_wrap=True, overflow="ellipsis", max_width=risk)
    table.add_column("Findings", no_wrap=True, overflow="ellipsis", max_width=max(left, 5))
    if width >= 90:
        table.add_column("Audit", no_wrap=True)
    if several:
        ratio = 1 if table.expand else None
        table.add_column("URL", no_wrap=True, overflow="ellipsis", ratio=ratio)
    for row, point, text in zip(rows, found.points, findings, strict=True):
        cells: list[str | Text] = [*row, text]
        if width >= 90:
            cells.append(one_line(point.audit_id))
        if several:
            cells.append(address(point.url))
        table.add_row(*cells)
    return table


def _widest(texts: Sequence[Text]) -> int:
    return max(text.cell_len for text in texts)


def _difference(before: float | None, score: float | None) -> Text:
    """The difference from the last score that is known; empty if there is none."""
    if before is None or score is None or round(score - before, 1) == 0:
        return Text("")
    change = round(score - before, 1)
    return Text(f"{change:+g}", "green" if change > 0 else "red")


def _risk(point: TrendPoint) -> Text:
    if point.findings is None:  # it did not complete, and the status says why
        return terminal.status(point.status)
    return Text(one_line(point.risk_level or NONE), terminal.score(point.trust_score).style)


def _findings(point: TrendPoint, width: int, *, words: bool) -> Text:
    if point.findings is None:
        return Text(NONE, "dim") if width >= _WITH_RISK else terminal.status(point.status)
    found = Text()
    for severity in dict.fromkeys((*_SEVERITIES, *point.findings)):
        if number := point.findings.get(severity, 0):
            name = one_line(severity)
            word, comma = (f" {name}", ", ") if words else (name[:1], " ")
            found.append(f"{comma if found else ''}{number}{word}", SEVERITY.get(severity, ""))
    return found or Text("none", "dim")
