"""`compare`: what changed from audit to audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from veritas_peewee import comparison
from veritas_peewee.cli import terminal
from veritas_peewee.cli.options import Database, Json, audit_url, complete_id, existing
from veritas_peewee.cli.render import SEVERITY, heading, rest, told
from veritas_peewee.cli.serialize import plain, print_json
from veritas_peewee.cli.terminal import NONE, address, columns, when
from veritas_peewee.cli.text import PROGRAM, one_line
from veritas_peewee.comparison import ComparedAudit, Comparison, ScoreChange, Step
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.finding_matches import ComparedFinding

_BETTER, _WORSE, _SAME = "green", "red", "dim"
_RISKS = ("likely_fraudulent", "high_risk", "suspicious", "probably_safe", "trusted")
_NARROW = 60
"""Characters below which a line has no place for descriptions and files."""
_LABEL, _CELL = 18, 18
"""Characters for a row's name, at most, and for what an audit has in it."""


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
    database: Database = None,
    json: Json = False,
) -> None:
    """Compare audits, each with the one that ran before it: what is better, what is worse."""
    if bool(ids) == (url is not None):
        raise typer.BadParameter("give the ids of two audits or more, or --url")
    with existing(database, reading=True):
        wanted = comparison.last_two(url) if url is not None else ids or []
        try:
            found = comparison.compare(wanted)
        except InvalidAudit as error:
            raise typer.BadParameter(str(error)) from None
    if json:
        print_json(plain(found))
    else:
        _print(terminal.console(), found)


def _print(out: Console, found: Comparison) -> None:
    fit = max(2, (out.width - _LABEL) // (_CELL + 2))
    for start in range(0, len(found.audits) - 1, fit - 1):
        if start:
            out.print()
        out.print(_table(found, start, min(start + fit, len(found.audits)), out.width))
    for step in found.steps:
        _print_findings(out, step, many=len(found.steps) > 1)
    for step in found.steps:
        _print_security(out, step, many=len(found.steps) > 1)
    for step in found.steps:
        _print_screenshots(out, step, many=len(found.steps) > 1)


# ---- the table: a column for each audit ----


def _table(found: Comparison, first: int, end: int, width: int) -> Table:
    audits = found.audits[first:end]
    steps = found.steps[first : end - 1]
    table = columns()
    least = (width - min(_LABEL, width // 3) - 2 * len(audits)) // len(audits)
    table.add_column(overflow="ellipsis", no_wrap=True, max_width=min(_LABEL, width // 3))
    for audit in audits:
        table.add_column(when(audit.time), overflow="fold", max_width=max(least, 8))
    table.add_row("audit", *[one_line(audit.id) for audit in audits])
    if len({audit.url for audit in found.audits}) > 1:
        table.add_row("url", *[address(audit.url) for audit in audits])
    else:
        table.title = Text(one_line(audits[0].url), "bold", overflow="fold")
        table.title_justify = "left"
    table.add_row("status", *[terminal.status(audit.status) for audit in audits])
    table.add_row("trust score", *_scores(audits, steps))
    table.add_row("risk level", *_risks(audits, steps))
    table.add_row("findings", *_counts(audits, steps))
    for name in _names(found.steps, lambda step: step.signals):
        table.add_row(Text(one_line(name), _SAME), *_signals(steps, name))
    for name in _names(found.steps, lambda step: step.security):
        table.add_row(Text(one_line(name), "italic"), *_modules(steps, name))
    return table


def _names(steps: Sequence[Step], of: Callable[[Step], dict[str, Any]]) -> list[str]:
    """Every name that any of the steps has."""
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
    """` +18`, in the colour of what that means; nothing where one side is not known."""
    if not change.difference:
        return Text("")
    return Text(f" {change.difference:+g}", _BETTER if change.difference > 0 else _WORSE)


def _risks(audits: Sequence[ComparedAudit], steps: Sequence[Step]) -> list[Text]:
    cells = [Text(one_line(audit.risk_level or NONE)) for audit in audits]
    for cell, step in zip(cells[1:], steps, strict=True):
        before, after = step.risk_level
        if before in _RISKS and after in _RISKS and before != after:
            cell.stylize(_BETTER if _RISKS.index(after) > _RISKS.index(before) else _WORSE)
    return cells


def _counts(audits: Sequence[ComparedAudit], steps: Sequence[Step]) -> list[Text]:
    cells = [Text(NONE if audit.findings is None else str(audit.findings)) for audit in audits]
    for cell, step in zip(cells[1:], steps, strict=True):
        if new := len(step.findings.new):
            cell.append(f", {new} new", _WORSE)
        if gone := len(step.findings.gone):
            cell.append(f", {gone} gone", _BETTER)
    return cells


def _modules(steps: Sequence[Step], name: str) -> list[Text]:
    found = [step.security.get(name) for step in steps]
    cells = [_outcome(found[0].before, found[0].score.before) if found[0] else _outcome()]
    for one in found:
        cell = _outcome(one.after, one.score.after) if one else _outcome()
        if one is not None:
            cell.append_text(_difference(one.score))
            if one.differences and not one.score.difference:
                cell.append(" changed", _SAME)
        cells.append(cell)
    return cells


def _outcome(result: Any = None, score: float | None = None) -> Text:
    """A module's score, or that it told something else."""
    if result is None:
        return Text(NONE, _SAME)
    return Text("told" if score is None else f"{score:g}")


def _entry(name: str, before: Any, after: Any) -> str:
    """What changed in an entry: of a list what came and went, else the old and the new value."""
    if isinstance(before, list) and isinstance(after, list):
        old, new = (Counter(map(told, side)) for side in (before, after))
        gone = [f"-{item}" for item in (old - new).elements()]
        come = [f"+{item}" for item in (new - old).elements()]
        change = " ".join(gone + come) or f"{told(before)} > {told(after)}"
    elif before is None:
        change = told(after)
    else:
        change = f"{told(before)} > {NONE if after is None else told(after)}"
    return one_line(f"{name}: {change}" if name else change)


# ---- below it: findings, security and screenshots ----


def _headed(step: Step, what: str, many: bool) -> str:
    return f"{what}, {when(step.before.time)} to {when(step.after.time)}" if many else what


def _print_findings(out: Console, step: Step, many: bool) -> None:
    changes = step.findings
    if not any(changes):
        return
    heading(out, _headed(step, "Findings", many))
    table = columns()
    table.show_header = False
    narrow = out.width < _NARROW
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    if not narrow:
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=out.width // 4)
    rest(table, "", out.width)
    for findings, sign, style in (
        (changes.new, "new", _WORSE),
        (changes.gone, "gone", _BETTER),
        (changes.unknown, "unknown", "yellow"),
    ):
        for one in findings:
            table.add_row(
                Text(sign, style), _severity(one.severity, narrow), *_finding(one, narrow)
            )
    for pair in changes.still:
        steps = pair.severity_steps or 0
        style = _WORSE if steps > 0 else _BETTER if steps < 0 else _SAME
        severity = _severity(pair.after.severity, narrow)
        if pair.before.severity != pair.after.severity:
            severity = Text.assemble(_severity(pair.before.severity, narrow), " > ", severity)
        sign = "graver" if steps > 0 else "milder" if steps < 0 else "still"
        table.add_row(Text(sign, style), severity, *_finding(pair.after, narrow))
    out.print(table)
    if changes.unknown:
        failed = [audit for audit in (step.before, step.after) if audit.status != "completed"]
        ids = " and ".join(one_line(audit.id) for audit in failed)
        out.print(Text(f"unknown: {ids} did not complete, so it may be there or not", _SAME))


def _severity(severity: str, narrow: bool) -> Text:
    text = one_line(severity)
    return Text(text[:1] if narrow else text, SEVERITY.get(severity, ""))


def _finding(finding: ComparedFinding, narrow: bool) -> list[Text]:
    cells = [Text(one_line(finding.pattern_type), "bold"), Text(one_line(finding.description))]
    return cells[:1] if narrow else cells


def _print_security(out: Console, step: Step, many: bool) -> None:
    """What the scores do not tell: one line for each entry that differs."""
    entries = [
        (module, _entry(entry.name, entry.before, entry.after))
        for module, change in step.security.items()
        for entry in change.differences
    ]
    if entries:
        heading(out, _headed(step, "Security", many))
        table = columns()
        table.show_header = False
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(10, out.width // 4))
        rest(table, "", out.width)
        for module, text in entries:
            table.add_row(one_line(module), text)
        out.print(table)


def _print_screenshots(out: Console, step: Step, many: bool) -> None:
    if not step.screenshots:
        return
    heading(out, _headed(step, "Screenshots", many))
    table = columns()
    table.show_header = False
    table.add_column(no_wrap=True, overflow="ellipsis", max_width=max(10, out.width // 5))
    table.add_column(no_wrap=True)
    if out.width >= _NARROW:
        table.add_column(overflow="fold")
        table.add_column(overflow="fold")
    for pair in step.screenshots:
        word = {True: "same", False: "differs", None: ""}[pair.same]
        if pair.before is None or pair.after is None:
            word = "new" if pair.before is None else "gone"
        files = [NONE if one is None else one_line(one.file_path) for one in pair[1:3]]
        if out.width < _NARROW:
            files = []
        table.add_row(one_line(pair.label), Text(word, _SAME), *files)
    out.print(table)
