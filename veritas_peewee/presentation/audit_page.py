"""An audit as an HTML page, made of rows and images that the caller has read and checked."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from veritas_peewee.files.images import media_type
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot, Severity
from veritas_peewee.presentation.page import END, head, json_text, laid_out, markdown, safe, words

_BANDS = ((90, "good"), (70, "fair"), (40, "medium"), (20, "high"), (0, "critical"))
_SEVERITIES = tuple(severity.value for severity in reversed(Severity))
_CIRCLE = 2 * 3.14159265 * 52
_LONGEST = 2000
"""The most characters that the log shows of an event."""


class Picture(NamedTuple):
    """A screenshot's image, as far as it could be read."""

    image: bytes | None
    problem: str | None
    """Why it could not be read, or how it differs from its row."""
    note: str | None = None
    """Why there is no image, though nothing was lost here."""


def page_parts(
    audit: Audit,
    events: Sequence[AuditEvent],
    problem: str | None,
    picture_of: Callable[[AuditScreenshot], Picture],
) -> Iterator[str]:
    """The page piece by piece; `picture_of` gives each screenshot's image when its turn comes.

    `problem` says what in the audit's rows is not as it was written; None if everything is.
    """
    problems = [] if problem is None else [problem]
    yield head(f"Audit of {audit.url}")
    yield _verdict(audit)
    if audit.narrative:
        yield _section("Verdict", f'<div class="narrative">{markdown(str(audit.narrative))}</div>')
    if isinstance(audit.signal_scores, dict) and audit.signal_scores:
        yield _section("Signals", _signals(audit.signal_scores))
    yield _section(f"Findings ({len(audit.findings)})", _findings(audit))
    if isinstance(audit.security_results, dict) and audit.security_results:
        yield _section("Security", "".join(_module(*one) for one in audit.security_results.items()))
    if audit.screenshots:
        yield f'<section>\n<h2>Screenshots ({len(audit.screenshots)})</h2>\n<div class="shots">\n'
        for shot in audit.screenshots:
            picture = picture_of(shot)
            image = _image(shot, picture.image)
            # An older store's row may name a file of another machine that was never here.
            if picture.problem and (image or shot.sha256 is not None):
                problems.append(picture.problem)
            yield _screenshot(shot, image, picture)
        yield "</div>\n</section>\n"
    if errors := _errors(audit):
        items = "".join(f'<li class="text">{safe(text)}</li>' for text in errors)
        yield _section("Errors", f"<ul>{items}</ul>")
    if events:
        yield _section(f"Log ({len(events)} events)", _log(events))
    yield _footer(audit, problems)
    yield END


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{content}\n</section>\n"


# ---- the verdict ----


def _verdict(audit: Audit) -> str:
    band = _band(audit.trust_score)
    risk = words(audit.risk_level) if audit.risk_level else "No verdict"
    count = Counter(str(row.severity) for row in audit.findings)
    chips = [
        f'<span class="chip {name}">{count[name]} {name}</span>'
        for name in _SEVERITIES if count[name]
    ]  # fmt: skip
    facts = [
        ("Status", words(audit.status)),
        ("Site", _site(audit)),
        ("Audited", _when(audit.started_at or audit.created_at)),
        ("Took", _duration(audit.elapsed_seconds)),
        ("Pages", safe(audit.pages_scanned)),
        ("Kind", f"{words(audit.audit_tier)}, {words(audit.verdict_mode)}"),
    ]
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f"""<header>
<div class="verdict">
{_dial(audit.trust_score, band)}
<div>
<h1>{safe(audit.url)}</h1>
<div class="risk {band}">{risk}</div>
<p>{"".join(chips) or '<span class="soft">no findings</span>'}</p>
</div>
</div>
<dl class="facts">{items}</dl>
</header>
"""


def _band(score: object) -> str:
    if not isinstance(score, int | float):
        return "soft"
    return next((name for low, name in _BANDS if score >= low), "critical")


def _score(value: object) -> str:
    if not isinstance(value, int | float):
        return "?"
    return f"{value:.1f}".removesuffix(".0")


def _dial(score: object, band: str) -> str:
    part = max(0.0, min(float(score), 100.0)) / 100 if isinstance(score, int | float) else 0.0
    return (
        f'<svg class="{band}" viewBox="0 0 120 120" role="img" '
        f'aria-label="trust score {_score(score)} of 100">'
        '<circle cx="60" cy="60" r="52" fill="none" stroke="#dfe4ea" stroke-width="11"/>'
        '<circle cx="60" cy="60" r="52" fill="none" stroke="currentColor" stroke-width="11" '
        f'stroke-dasharray="{part * _CIRCLE:.1f} {_CIRCLE:.1f}" transform="rotate(-90 60 60)"/>'
        '<text x="60" y="66" text-anchor="middle" font-size="32" font-weight="700" '
        f'fill="currentColor">{_score(score)}</text>'
        '<text x="60" y="84" text-anchor="middle" font-size="10" fill="#5b6675">'
        "trust, of 100</text></svg>"
    )


def _site(audit: Audit) -> str:
    if not audit.site_type:
        return "unknown"
    sure = audit.site_type_confidence
    detail = f", {sure:.0%} sure" if isinstance(sure, int | float) else ""
    return f"{words(audit.site_type)}{detail}"


def _when(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return "unknown" if value is None else safe(value)


def _duration(seconds: object) -> str:
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _signals(scores: dict[str, Any]) -> str:
    rows = []
    for name, value in scores.items():
        known = isinstance(value, int | float) and not isinstance(value, bool)
        width = max(0.0, min(float(value), 100.0)) if known else 0.0
        bar = (
            f'<svg class="{_band(value if known else None)}" viewBox="0 0 100 4" '
            'preserveAspectRatio="none" aria-hidden="true">'
            '<rect width="100" height="4" fill="#dfe4ea"/>'
            f'<rect width="{width:.1f}" height="4" fill="currentColor"/></svg>'
        )
        number = _score(value if known else None)
        rows.append(f"<tr><td>{words(name)}</td><td>{number}</td><td>{bar}</td></tr>")
    return f'<table class="signals">{"".join(rows)}</table>'


# ---- findings, security, screenshots ----


def _findings(audit: Audit) -> str:
    shown = {shot.index_num for shot in audit.screenshots}
    groups: dict[str, list[AuditFinding]] = {name: [] for name in _SEVERITIES}
    for row in audit.findings:
        groups.setdefault(str(row.severity), []).append(row)
    parts = []
    for severity, rows in groups.items():
        if rows:
            kind = severity if severity in _SEVERITIES else "soft"
            parts.append(f'<h3 class="{kind}">{words(severity).capitalize()} ({len(rows)})</h3>')
            parts += [_finding(row, kind, shown) for row in rows]
    return "\n".join(parts) or '<p class="soft">Nothing was found.</p>'


def _finding(row: AuditFinding, kind: str, shown: set[Any]) -> str:
    details = [words(row.category)] if row.category else []
    if isinstance(row.confidence, int | float):
        details.append(f"{row.confidence:.0%} sure")
    if row.screenshot_index in shown:
        index = safe(row.screenshot_index)
        details.append(f'<a href="#screenshot-{index}">screenshot {index}</a>')
    plain = f'<p class="text">{safe(row.plain_english)}</p>' if row.plain_english else ""
    return (
        f'<div class="finding {kind}"><div class="title">{words(row.pattern_type)}</div>'
        f'<div class="soft small">{" · ".join(details)}</div>{plain}'
        f'<p class="text{" soft small" if plain else ""}">{safe(row.description)}</p></div>'
    )


def _module(name: str, result: Any) -> str:
    return f'<div class="module"><h3>{words(name)}</h3>{laid_out(result)}</div>\n'


def _image(shot: AuditScreenshot, image: bytes | None) -> str:
    """The image inside the page; empty if the bytes are not an image."""
    # The type comes from the content, whatever the row says.
    if image is None or not (kind := media_type(image)):
        return ""
    source = f"data:{kind};base64,{base64.b64encode(image).decode()}"
    return f'<img src="{source}" alt="{safe(shot.label)}">'


def _screenshot(shot: AuditScreenshot, image: str, picture: Picture) -> str:
    label = safe(shot.label)
    digest = (
        f'<div class="soft small mono">SHA-256 {safe(shot.sha256)}</div>' if shot.sha256 else ""
    )
    reason = safe(picture.note or "the image cannot be shown")
    shown = image or f'<p class="soft">{reason}</p>'
    warning = f'<p class="warn">{safe(picture.problem)}</p>' if picture.problem else ""
    return (
        f'<figure id="screenshot-{safe(shot.index_num)}"><div class="frame">{shown}</div>'
        f"<figcaption>{safe(shot.index_num)} · {label}{warning}{digest}</figcaption></figure>\n"
    )


# ---- the log, and whether all of it is as it was written ----


def _errors(audit: Audit) -> list[Any]:
    errors = audit.errors if isinstance(audit.errors, list) else [audit.errors]
    if audit.error_message and audit.error_message not in errors:
        errors = [audit.error_message, *errors]
    return errors


def _log(events: Sequence[AuditEvent]) -> str:
    rows = "".join(
        f"<tr><td>{_when(event.timestamp).removesuffix(' UTC')}</td>"
        f'<td>{words(event.event_type)}</td><td class="text">{safe(_gist(event.data))}</td></tr>\n'
        for event in events
    )
    return (
        '<table class="log"><thead><tr><th>Time, UTC</th><th>Event</th><th>What it tells</th>'
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def _gist(data: Any) -> str:
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


def _footer(audit: Audit, problems: list[str]) -> str:
    if problems:
        listed = "; ".join(safe(problem) for problem in problems)
        state = f'<p class="warn">This audit is not as it was written: {listed}.</p>'
    else:
        state = (
            "<p>All of it was checked against its seal when this report was made: it is as it "
            "was written.</p>"
        )
        if unknown := sum(shot.sha256 is None for shot in audit.screenshots):
            state += f"<p>Of {unknown} of its images no digest is known to check them by.</p>"
    return (
        f'<footer class="small">{state}<p class="soft">Audit <span class="mono">{safe(audit.id)}'
        f"</span>, stored {_when(audit.created_at)}, last changed {_when(audit.updated_at)}.<br>"
        f'Seal <span class="mono">{safe(audit.seal)}</span></p></footer>\n'
    )
