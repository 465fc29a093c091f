"""An audit as an HTML page, made of rows and images that the caller has read and checked."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from veritas_peewee.files.images import media_type
from veritas_peewee.models import Audit, AuditEvent, AuditScreenshot
from veritas_peewee.presentation.page import END, flowing, head, markdown, safe, words
from veritas_peewee.presentation.parts import (
    errors_of,
    findings_html,
    gist,
    module_html,
    signals_html,
    verdict_html,
    when,
)


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
    yield verdict_html(audit)
    if audit.narrative:
        yield _section("Verdict", f'<div class="narrative">{markdown(str(audit.narrative))}</div>')
    if isinstance(audit.signal_scores, dict) and audit.signal_scores:
        yield _section("Signals", signals_html(audit.signal_scores))
    yield _section(f"Findings ({len(audit.findings)})", findings_html(audit))
    if isinstance(audit.security_results, dict) and audit.security_results:
        yield _section(
            "Security", "".join(module_html(*one) for one in audit.security_results.items())
        )
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
    if errors := errors_of(audit):
        items = "".join(f'<li class="text">{flowing(text)}</li>' for text in errors)
        yield _section("Errors", f"<ul>{items}</ul>")
    if events:
        yield _section(f"Log ({len(events)} events)", _log(events))
    yield _footer(audit, problems)
    yield END


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{content}\n</section>\n"


# ---- screenshots ----


def _image(shot: AuditScreenshot, image: bytes | None) -> str:
    """The image inside the page; empty if the bytes are not an image."""
    # The type comes from the content, whatever the row says.
    if image is None or not (kind := media_type(image)):
        return ""
    source = f"data:{kind};base64,{base64.b64encode(image).decode()}"
    return f'<img src="{source}" alt="{safe(shot.label)}">'


def _screenshot(shot: AuditScreenshot, image: str, picture: Picture) -> str:
    label = flowing(shot.label)
    digest = (
        f'<div class="soft small mono">SHA-256 {safe(shot.sha256)}</div>' if shot.sha256 else ""
    )
    reason = safe(picture.note or "the image cannot be shown")
    shown = image or f'<p class="soft">{reason}</p>'
    warning = f'<p class="warn">{flowing(picture.problem)}</p>' if picture.problem else ""
    return (
        f'<figure id="screenshot-{safe(shot.index_num)}"><div class="frame">{shown}</div>'
        f"<figcaption>{safe(shot.index_num)} · {label}{warning}{digest}</figcaption></figure>\n"
    )


# ---- the log, and whether all of it is as it was written ----


def _log(events: Sequence[AuditEvent]) -> str:
    rows = "".join(
        f"<tr><td>{when(event.timestamp).removesuffix(' UTC')}</td>"
        f"<td>{words(event.event_type)}</td>"
        f'<td class="text">{flowing(gist(event.data))}</td></tr>\n'
        for event in events
    )
    return (
        '<table class="log"><thead><tr><th>Time, UTC</th><th>Event</th><th>What it tells</th>'
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def _footer(audit: Audit, problems: list[str]) -> str:
    if problems:
        listed = "; ".join(flowing(problem) for problem in problems)
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
        f"</span>, stored {when(audit.created_at)}, last changed {when(audit.updated_at)}.<br>"
        f'Seal <span class="mono">{safe(audit.seal)}</span></p></footer>\n'
    )
