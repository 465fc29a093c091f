"""`compare`: what changed from audit to audit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from veritas_peewee.cli import changes, terminal
from veritas_peewee.cli.changes import BETTER, SAME, WORSE
from veritas_peewee.cli.options import (
    Database,
    Json,
    as_usage_errors,
    audit_url,
    complete_id,
    existing,
)
from veritas_peewee.cli.output import print_json
from veritas_peewee.cli.terminal import NONE, address, columns, when
from veritas_peewee.cli.text import PROGRAM, one_line
from veritas_peewee.queries import comparison
from veritas_peewee.queries.comparison import ComparedAudit, Comparison, ScoreChange, Step

_RISKS = ("likely_fraudulent", "high_risk", "suspicious", "probably_safe", "trusted")
_AUDIT = "audit"
_LABEL, _CELL = 18, 18
"""The most characters of a row's name, and of an audit's cell."""

_Row = tuple[Text, list[Text]]
"""The name of what is compared, and a cell for each audit."""


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command(epilog=f"Example: {PROGRAM} compare --url https://example.com/")(compare)


def compare(
    ids: Annotated[
        list[str] | None,
        typer.Argument(help="Two audits or more.", autocompletion=complete_id, metavar="ID..."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(help="The last two completed audits of this address.", callback=audit_url),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--all", help="List each finding and file, however many there are.")
    ] = False,
    database: Database = None,
    json: Json = False,
) -> None:
    """Compare audits, each with the one that ran before it: what is better, what is worse."""
    if bool(ids) == (url is not None):
        raise typer.BadParameter("give the ids of two audits or more, or --url")
    with existing(database, reading=True):
        wanted = comparison.last_two(url) if url is not None else ids or []
        with as_usage_errors():
            found = comparison.compare(wanted)
    if json:
        print_json(found)
    else:
        _print(terminal.console(), found, whole=whole)


def _print(out: Console, found: Comparison, *, whole: bool) -> None:
    urls = {audit.url for audit in found.audits}
    if len(urls) == 1:
        out.print(Text(one_line(urls.pop()), "bold", overflow="fold"))
    names = _names_of(found.audits)
    verdicts, outcomes = _verdicts(found.audits, found.steps), _outcomes(found.steps)
    if len(found.audits) <= max(2, (out.width - _LABEL) // (_CELL + 2)):
        room = _room(found, out.width)
        if any(text.cell_len > room for text in names[0][1]):
            # Folded into a cell, an id could be neither found nor copied.
            for audit in found.audits:
                out.print(f"{when(audit.time)}  {one_line(audit.id)}", soft_wrap=True)
            del names[0]
        out.print(_across(found, names + verdicts + outcomes, out.width))
    else:
        # The verdicts are read first, so they come into the first table, however narrow it is.
        rows = verdicts + names + outcomes
        for number, table in enumerate(_down(found, rows, out.width)):
            if number:
                out.print()
            out.print(table)
    changes.print_changes(out, found, whole=whole)


# ---- the table: what is compared, and a cell for each audit ----


def _names_of(audits: Sequence[ComparedAudit]) -> list[_Row]:
    rows = [(Text(_AUDIT), [Text(one_line(audit.id)) for audit in audits])]
    if len({audit.url for audit in audits}) > 1:
        rows.append((Text("url"), [Text(address(audit.url)) for audit in audits]))
    return rows


def _verdicts(audits: Sequence[ComparedAudit], steps: Sequence[Step]) -> list[_Row]:
    return [
        (Text("status"), [terminal.status(audit.status) for audit in audits]),
        (Text("trust score"), _scores(audits, steps)),
        (Text("risk level"), _risks(audits, steps)),
        (Text("findings"), _counts(audits, steps)),
    ]


def _outcomes(steps: Sequence[Step]) -> list[_Row]:
    rows = []
    for name in _names(steps, lambda step: step.signals):
        rows.append((Text(one_line(name), SAME), _signals(steps, name)))
    for name in _names(steps, lambda step: step.security):
        rows.append((Text(one_line(name), "italic"), _modules(steps, name)))
    return rows


def _across(found: Comparison, rows: list[_Row], width: int) -> Table:
    """A column for each audit."""
    table = columns()
    table.add_column(overflow="ellipsis", no_wrap=True, max_width=_label(width))
    for audit in found.audits:
        table.add_column(when(audit.time), overflow="fold", max_width=_room(found, width))
    for name, cells in rows:
        table.add_row(name, *cells)
    return table


def _label(width: int) -> int:
    return min(_LABEL, width // 3)


def _room(found: Comparison, width: int) -> int:
    """The characters of an audit's cell, where each audit has a column."""
    audits = len(found.audits)
    return max((width - _label(width) - 2 * audits) // audits, 8)


def _down(found: Comparison, rows: list[_Row], width: int) -> Iterator[Table]:
    """Tables with a line for each audit, for more audits than fit side by side."""
    form = "%Y-%m-%d %H:%M" if width >= 60 else "%Y-%m-%d"
    moments = [Text(when(audit.time, form)) for audit in found.audits]
    room = width - max(moment.cell_len for moment in moments) - 2
    blocks: list[list[_Row]] = []
    left = 0
    for name, cells in rows:
        needed = min(max(text.cell_len for text in (name, *cells)), _most(room)) + 2
        if not blocks or needed > left:
            blocks.append([])
            left = room
        blocks[-1].append((name, cells))
        left -= needed
    for block in blocks:
        table = columns()
        table.add_column("Run, UTC", no_wrap=True)
        for name, cells in block:
            if name.plain == _AUDIT:
                terminal.add_whole(table, _AUDIT, cells)
            else:
                table.add_column(name, overflow="fold", max_width=_most(room))
        for number, moment in enumerate(moments):
            table.add_row(moment, *[cells[number] for _, cells in block])
        yield table


def _most(room: int) -> int:
    """The widest that one of the columns may be, in characters."""
    return max(8, min(room - 2, 40))


def _names(steps: Sequence[Step], of: Callable[[Step], dict[str, Any]]) -> list[str]:
    """The names that any of the steps has, in order of appearance."""
    return list(dict.fromkeys(name for step in steps for name in of(step)))


def _scores(audits: Sequence[ComparedAudit], steps: Sequence[Step]) -> list[Text]:
    cells = [terminal.score(audit.trust_score) for audit in audits]
    for cell, step in zip(cells[1:], steps, strict=True):
        cell.append_text(_difference(step.trust_score))
    return cells


def _signals(steps: Sequence[Step], name: str) -> list[Text]:
    found = [step.signals.get(name, ScoreChange(None, None, None)) for step in steps]
    cells = [Text(_number(found[0].before))]
    return cells + [Text(_number(one.after)).append_text(_difference(one)) for one in found]


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:g}"


def _difference(change: ScoreChange) -> Text:
    """` +18` in the colour of its meaning; empty without a difference."""
    if not change.difference:
        return Text("")
    # Scores up to 100 have one digit after the point; scores up to 1 need more.
    small = abs(change.difference) < 1
    number = float(f"{change.difference:.2g}") if small else round(change.difference, 1)
    return Text(f" {number:+g}", BETTER if change.difference > 0 else WORSE)


def _risks(audits: Sequence[ComparedAudit], steps: Sequence[Step]) -> list[Text]:
    cells = [Text(one_line(audit.risk_level or NONE)) for audit in audits]
    for cell, step in zip(cells[1:], steps, strict=True):
        before, after = step.risk_level.before, step.risk_level.after
        if before in _RISKS and after in _RISKS and before != after:
            cell.stylize(BETTER if _RISKS.index(after) > _RISKS.index(before) else WORSE)
    return cells


def _counts(audits: Sequence[ComparedAudit], steps: Sequence[Step]) -> list[Text]:
    cells = [Text(NONE if audit.findings is None else str(audit.findings)) for audit in audits]
    for cell, step in zip(cells[1:], steps, strict=True):
        if new := len(step.findings.new):
            cell.append(f", {new} new", WORSE)
        if gone := len(step.findings.gone):
            cell.append(f", {gone} gone", BETTER)
    return cells


def _modules(steps: Sequence[Step], name: str) -> list[Text]:
    found = [step.security.get(name) for step in steps]
    cells = [_outcome(found[0].before, found[0].score.before) if found[0] else _outcome()]
    for one in found:
        cell = _outcome(one.after, one.score.after) if one else _outcome()
        if one is not None:
            cell.append_text(_difference(one.score))
            if one.differences and not one.score.difference:
                cell.append(" changed", SAME)
        cells.append(cell)
    return cells


def _outcome(result: Any = None, score: float | None = None) -> Text:
    """A module's score, or `told` for a result without one."""
    if result is None:
        return Text(NONE, SAME)
    return Text("told" if score is None else f"{score:g}")
