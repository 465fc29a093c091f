"""The parts of an audit that its report and its page have in common, as HTML."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from veritas_peewee.models import Audit, AuditFinding, AuditScreenshot, Severity
from veritas_peewee.presentation.page import flowing, json_text, laid_out, safe, words

BANDS = (
    (90, "good", "trusted"),
    (70, "fair", "probably safe"),
    (40, "medium", "suspicious"),
    (20, "high", "high risk"),
    (0, "critical", "likely fraudulent"),
)
"""The bands of trust scores: each one's least score, the class of its colour, and its word."""
SEVERITIES = tuple(severity.value for severity in reversed(Severity))
"""The severities, the gravest first."""
_CIRCLE = 2 * 3.14159265 * 52
_LONGEST = 2000
"""The most characters that a log shows of an event."""


def verdict_html(audit: Audit, more: str = "") -> str:
    """The head of an audit: its score, risk, findings by severity and facts; then `more`."""
    band = band_of(audit.trust_score)
    risk = words(audit.risk_level) if audit.risk_level else "No verdict"
    count = Counter(str(row.severity) for row in audit.findings)
    facts = [
        ("Status", words(audit.status)),
        ("Site", site_text(audit)),
        ("Audited", when(audit.started_at or audit.created_at)),
        ("Took", duration(audit.elapsed_seconds)),
        ("Pages", safe(audit.pages_scanned)),
        ("Kind", f"{words(audit.audit_tier)}, {words(audit.verdict_mode)}"),
    ]
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f"""<header>
<div class="verdict">
{dial_html(audit.trust_score, band)}
<div>
<h1>{flowing(audit.url)}</h1>
<div class="risk {band}">{risk}</div>
<p>{chips_html(count) or '<span class="soft">no findings</span>'}</p>
</div>
</div>
<dl class="facts">{items}</dl>
{more}</header>
"""


def chips_html(count: Mapping[str, int]) -> str:
    """How many findings of each severity there are, the gravest first."""
    return "".join(
        f'<span class="chip {name}">{count[name]} {name}</span>'
        for name in SEVERITIES
        if count.get(name)
    )


def band_of(score: object) -> str:
    """The class of the colour of a score's band; "soft" without a score."""
    if not isinstance(score, int | float):
        return "soft"
    return next((name for low, name, _ in BANDS if score >= low), "critical")


def band_word(score: object) -> str:
    """The word for a score's band; "no score" without one."""
    name = band_of(score)
    return next((word for _, band, word in BANDS if band == name), "no score")


def score_text(value: object) -> str:
    """A score as text, with a decimal where it has one."""
    if not isinstance(value, int | float):
        return "?"
    return f"{value:.1f}".removesuffix(".0")


def dial_html(score: object, band: str) -> str:
    """A score as a dial."""
    part = max(0.0, min(float(score), 100.0)) / 100 if isinstance(score, int | float) else 0.0
    return (
        f'<svg class="{band}" viewBox="0 0 120 120" role="img" '
        f'aria-label="trust score {score_text(score)} of 100">'
        '<circle cx="60" cy="60" r="52" class="track" stroke-width="11"/>'
        '<circle cx="60" cy="60" r="52" fill="none" stroke="currentColor" stroke-width="11" '
        f'stroke-dasharray="{part * _CIRCLE:.1f} {_CIRCLE:.1f}" transform="rotate(-90 60 60)"/>'
        '<text x="60" y="66" text-anchor="middle" font-size="32" font-weight="700" '
        f'fill="currentColor">{score_text(score)}</text>'
        '<text x="60" y="84" text-anchor="middle" font-size="10" class="unit">'
        "trust, of 100</text></svg>"
    )


def site_text(audit: Audit) -> str:
    """What kind of site it is, and how sure the engine was."""
    if not audit.site_type:
        return "unknown"
    sure = audit.site_type_confidence
    detail = f", {sure:.0%} sure" if isinstance(sure, int | float) else ""
    return f"{words(audit.site_type)}{detail}"


def when(value: object) -> str:
    """A moment in UTC, to the second."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return "unknown" if value is None else safe(value)


def duration(seconds: object) -> str:
    """How long something took."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def signals_html(scores: dict[str, Any]) -> str:
    """The scores of the signals as a table with bars."""
    rows = []
    for name, value in scores.items():
        known = isinstance(value, int | float) and not isinstance(value, bool)
        width = max(0.0, min(float(value), 100.0)) if known else 0.0
        bar = (
            f'<svg class="{band_of(value if known else None)}" viewBox="0 0 100 4" '
            'preserveAspectRatio="none" aria-hidden="true">'
            '<rect width="100" height="4" class="ground"/>'
            f'<rect width="{width:.1f}" height="4" fill="currentColor"/></svg>'
        )
        number = score_text(value if known else None)
        rows.append(f"<tr><td>{words(name)}</td><td>{number}</td><td>{bar}</td></tr>")
    return f'<table class="signals">{"".join(rows)}</table>'


# ---- findings, security, errors, events ----


Shown = Callable[[AuditScreenshot], str]
"""Gives the HTML by which a finding shows its screenshot."""


def findings_html(audit: Audit, shown: Shown | None = None, *, expert: bool = True) -> str:
    """The findings of an audit, the gravest first; without `expert` in plain words where it has
    them. `shown` shows a finding's screenshot; None only names it."""
    shots: dict[int | None, AuditScreenshot] = {shot.index_num: shot for shot in audit.screenshots}
    groups: dict[str, list[AuditFinding]] = {name: [] for name in SEVERITIES}
    for row in audit.findings:
        groups.setdefault(str(row.severity), []).append(row)
    parts = []
    for severity, rows in groups.items():
        if rows:
            kind = severity if severity in SEVERITIES else "soft"
            parts.append(f'<h3 class="{kind}">{words(severity).capitalize()} ({len(rows)})</h3>')
            parts += [
                _finding(row, kind, shots.get(row.screenshot_index), shown, expert) for row in rows
            ]
    return "\n".join(parts) or '<p class="soft">Nothing was found.</p>'


def _finding(
    row: AuditFinding, kind: str, shot: AuditScreenshot | None, shown: Shown | None, expert: bool
) -> str:
    details = [words(row.category)] if row.category else []
    if isinstance(row.confidence, int | float):
        details.append(f"{row.confidence:.0%} sure")
    picture = ""
    if shot is not None:
        index = safe(shot.index_num)
        details.append(f'<a href="#screenshot-{index}">screenshot {index}</a>')
        picture = shown(shot) if shown else ""
    plain = f'<p class="text">{flowing(row.plain_english)}</p>' if row.plain_english else ""
    said = f'<p class="text{" soft small" if plain else ""}">{flowing(row.description)}</p>'
    return (
        f'<div class="finding {kind}"><div class="title">{words(row.pattern_type)}</div>'
        f'<div class="soft small">{" · ".join(details)}</div>'
        f"{plain}{said if expert or not plain else ''}{picture}</div>"
    )


def module_html(name: str, result: Any) -> str:
    """The result of a security module."""
    return f'<div class="module"><h3>{words(name)}</h3>{laid_out(result)}</div>\n'


def errors_of(audit: Audit) -> list[Any]:
    """The errors of an audit, the last one first if it is not among the others."""
    errors = audit.errors if isinstance(audit.errors, list) else [audit.errors]
    if audit.error_message and audit.error_message not in errors:
        errors = [audit.error_message, *errors]
    return errors


def gist(data: Any) -> str:
    """What an event says beyond its type, in at most `_LONGEST` characters."""
    if not isinstance(data, dict):
        return "" if data is None else str(data)[:_LONGEST]
    for key in ("error", "message"):
        if isinstance(data.get(key), str) and data[key]:
            return str(data[key])[:_LONGEST]
    rest = {key: value for key, value in data.items() if key not in ("type", "timestamp", "data")}
    text = "; ".join(
        f"{key.replace('_', ' ')}: {value if isinstance(value, str) else json_text(value)}"
        for key, value in rest.items()
    )
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
