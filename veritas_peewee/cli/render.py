"""How audits look on a terminal, and in a pipe or file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from veritas_peewee.cli.terminal import (
    NONE,
    add_whole,
    cells,
    columns,
    counted,
    duration,
    rest,
    score,
    status,
    when,
)
from veritas_peewee.cli.text import clean, one_line
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, Severity
from veritas_peewee.values.details import SEALED

SEVERITY = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan"}


def show_audit(out: Console, audit: Audit) -> None:
    """One audit in full."""
    findings = sorted(audit.findings, key=_rank)
    out.print(Text(one_line(audit.url), "bold"))
    verdict = Text.assemble(score(audit.trust_score))
    if audit.risk_level:
        verdict.append(f" {one_line(audit.risk_level)}", score(audit.trust_score).style)
    parts = [verdict, status(audit.status), _severities(findings)]
    out.print(Text("  ").join(parts))
    out.print(_facts(audit))
    if isinstance(audit.signal_scores, dict) and audit.signal_scores:
        heading(out, "Signals")
        out.print(_signals(out, audit.signal_scores))
    if findings:
        heading(out, f"Findings ({len(findings)})")
        out.print(_findings(findings))
    if isinstance(audit.security_results, dict) and audit.security_results:
        heading(out, "Security")
        table = columns()
        table.show_header = False
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold")
        for module, result in audit.security_results.items():
            table.add_row(one_line(module), one_line(in_words(result)))
        out.print(table)
    if audit.screenshots:
        heading(out, f"Screenshots ({len(audit.screenshots)})")
        table = columns()
        table.show_header = False
        for shot in audit.screenshots:
            size = shot.file_size_bytes
            known = f"{size:,}" if isinstance(size, int) else one_line(size)
            text = "" if size is None else f"{known} bytes"
            cells = (one_line(shot.index_num), one_line(shot.label), text, one_line(shot.file_path))
            table.add_row(*cells)
        out.print(table)
    errors = audit.errors if isinstance(audit.errors, list) else [audit.errors]
    errors = [error for error in errors if error]
    if audit.error_message and audit.error_message not in errors:
        errors.append(audit.error_message)
    if errors:
        heading(out, f"Errors ({len(errors)})")
        for error in errors:
            out.print(Text(f"- {one_line(error)}", "red"))
    if audit.narrative:
        heading(out, "Narrative")
        out.print(_narrative(out, audit.narrative))


def show_events(out: Console, events: Sequence[AuditEvent]) -> None:
    """An event log, one event a line."""
    heading(out, f"Events ({len(events)})")
    table = columns()
    table.show_header = False
    add_whole(table, "", [str(event.id) for event in events], justify="right", style="dim")
    table.add_column(no_wrap=True, style="dim")
    table.add_column(no_wrap=True, max_width=30)
    rest(table, "", out.width)
    for event in events:
        moment = when(event.timestamp, "%H:%M:%S")
        table.add_row(str(event.id), moment, one_line(event.event_type), _gist(event.data))
    out.print(table)


_EVENT = {
    "audit_complete": "bold green",
    "audit_disconnected": "bold yellow",
    "audit_error": "bold red",
    "finding": "yellow",
    "phase_complete": "green",
    "phase_error": "red",
    "phase_start": "cyan",
}


def event_line(event: AuditEvent, *, with_audit: bool) -> tuple[Text, int]:
    """An event as a line of its own, and how much of its beginning names it."""
    kind = one_line(event.event_type)
    line = Text.assemble(
        (f"{event.id:>7} {when(event.timestamp, '%H:%M:%S')}  ", "dim"),
        one_line(f"{event.audit_id}") + "  " if with_audit else "",
    )
    whole = line.cell_len
    line.append(f"{kind:<16}", _EVENT.get(kind, ""))
    return line.append(f"  {_gist(event.data)}"), whole


def heading(out: Console, text: str) -> None:
    """Print a heading, with an empty line above it."""
    out.print()
    out.print(Text(text, "bold underline"))


def _rank(finding: AuditFinding) -> int:
    order = list(Severity)
    return -order.index(finding.severity) if finding.severity in order else 1


def _severities(findings: Sequence[AuditFinding]) -> Text:
    if not findings:
        return Text("no findings", "dim")
    found = Text()
    for severity, number in Counter(one_line(row.severity) for row in findings).items():
        found.append(f"{', ' if found else ''}{number} {severity}", SEVERITY.get(severity, ""))
    return found


def _facts(audit: Audit) -> Table:
    table = columns()
    table.show_header = False
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold", min_width=cells(one_line(audit.id)))
    site = one_line(audit.site_type or NONE)
    if isinstance(audit.site_type_confidence, int | float):
        site += f", {audit.site_type_confidence:.0%} sure"
    table.add_row(
        "audit",
        f"{one_line(audit.id)}  {one_line(audit.audit_tier)}, {one_line(audit.verdict_mode)}",
    )
    table.add_row("site", site)
    table.add_row(
        "extent",
        f"{counted(audit.pages_scanned, 'page')}, "
        f"{counted(audit.screenshots_count, 'screenshot')}, {duration(audit.elapsed_seconds)}",
    )
    form = "%Y-%m-%d %H:%M:%S"
    table.add_row("started", f"{when(audit.started_at, form)} UTC" if audit.started_at else NONE)
    table.add_row("stored", f"{when(audit.created_at, form)} UTC")
    return table


def _signals(out: Console, scores: dict[str, Any]) -> Table:
    full, empty = ("█", "░") if out.encoding.startswith("utf") else ("#", ".")
    table = columns()
    table.show_header = False
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    for name, value in scores.items():
        text = score(value)
        known = isinstance(value, int | float) and 0 <= value <= 100
        filled = round(value / 5) if known else 0
        bar = Text(full * filled, text.style).append(empty * (20 - filled), "dim")
        table.add_row(one_line(name), text, bar)
    return table


def _findings(findings: Sequence[AuditFinding]) -> Table:
    table = columns()
    table.show_header = False
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in findings:
        severity = one_line(row.severity)
        text = Text(one_line(row.pattern_type), "bold")
        details = [one_line(row.category)] if row.category else []
        if isinstance(row.confidence, int | float):
            details.append(f"{row.confidence:.0%} sure")
        if isinstance(row.screenshot_index, int) and row.screenshot_index >= 0:
            details.append(f"screenshot {row.screenshot_index}")
        text.append(f"  {', '.join(details)}\n", "not bold dim")
        text.append(clean(row.description).strip(), "not bold")
        if row.plain_english:
            text.append(f"\n{clean(row.plain_english).strip()}", "not bold italic")
        table.add_row(Text(severity, SEVERITY.get(severity, "")), text)
    return table


def in_words(value: object) -> str:
    """A JSON value in few words, on one line."""
    if isinstance(value, dict):
        return "; ".join(f"{key} {in_words(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(in_words(inner) for inner in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "unknown" if value is None else str(value)


def _gist(data: object) -> str:
    """What an event says, in one line."""
    if not isinstance(data, dict):
        return NONE if data is None else one_line(data)
    if data.get("type") == SEALED:
        return "rows stated"
    for key in ("error", "message", "label", "module", "site_type", "stats", "changes", "result"):
        if data.get(key):
            return one_line(in_words(data[key])[:500])
    rest = {key: value for key, value in data.items() if key not in ("type", "data")}
    return one_line(in_words(rest.get("finding", rest))[:500])


def _narrative(out: Console, text: str) -> Markdown | Text:
    if not out.is_terminal:
        return Text(clean(text).strip())
    # No links that can be clicked: a link's text can differ from where it leads.
    rendered = Markdown(clean(text), hyperlinks=False)
    for token in rendered.parsed:
        token.content = clean(token.content)  # an entity can be a character that was removed
        for child in token.children or ():
            child.content = clean(child.content)
    return rendered
