"""The page of one audit: all of it, and live while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from starlette.responses import Response

from veritas_peewee import sync
from veritas_peewee.models import Audit, AuditEvent, AuditScreenshot
from veritas_peewee.presentation.page import clean, flowing, markdown
from veritas_peewee.presentation.parts import (
    errors_of,
    findings_html,
    gist,
    module_html,
    signals_html,
    verdict_html,
)
from veritas_peewee.queries.lookups import last_events
from veritas_peewee.queries.progress import PHASES, Progress, progress
from veritas_peewee.values.plain import plain_text
from veritas_peewee.values.states import FINAL
from veritas_peewee.web.pages_frame import WITH_FORM, Frame, answer, html_of
from veritas_peewee.web.parameters import AuditId, Store

EVENTS = 100
"""How many events of the log a page has."""
LONGEST = 300
"""The most characters of an event that a page shows; the report and the API have all of it."""
MOST_PHASES = 200
"""How many events about phases the timeline is made of."""


@dataclass(frozen=True, slots=True)
class Log:
    """A piece of an audit's log."""

    events: list[AuditEvent]
    earlier: int | None = None
    """Events before this id are not shown."""
    later: int | None = None
    """Events after this id are not shown."""


@dataclass(slots=True)
class Phase:
    """A phase of the engine, as far as it was reported."""

    name: str
    began: datetime | None
    ended: datetime | None = None
    state: str = "running"
    message: str = ""


def add_to(router: APIRouter, api_prefix: str) -> None:
    """Add the page of this module."""

    @router.get("/audits/{audit_id}", name="pages.audit")
    async def audit(
        audit_id: AuditId,
        request: Request,
        store: Store,
        after: Annotated[int | None, Query(description="The log after this event.")] = None,
        before: Annotated[int | None, Query(description="The log before this event.")] = None,
        wording: Literal["simple", "expert"] | None = None,
    ) -> Response:
        frame = Frame(request, api_prefix)

        def read() -> str:
            found = sync.get(audit_id)
            ended = found.status in FINAL
            log = _log(audit_id, after, before)
            plain = (wording or found.verdict_mode) == "simple"
            return html_of(
                "audit.html",
                frame,
                audit=found,
                ended=ended,
                progress=Progress() if ended else progress(audit_id),
                parts=_parts(found, frame, expert=not plain),
                wording="simple" if plain else "expert",
                details=found.details,
                phases=_phases(sync.events(audit_id, types=PHASES, limit=MOST_PHASES)),
                log=log,
                token=log.events[-1].token if log.events and log.later is None else None,
                gist=_gist,
                # An audit that runs is checked once it has ended.
                problems=sync.verify(audit_id) if ended else None,
            )

        return answer(await store.read(read), headers=WITH_FORM if frame.vkey else None)


def _log(audit_id: str, after: int | None, before: int | None) -> Log:
    if after is None:
        events = last_events(audit_id, before=before, limit=EVENTS + 1)
        earlier = len(events) > EVENTS
        events = events[-EVENTS:]
        later = events[-1].id if events and before is not None else None
        return Log(events, events[0].id if earlier else None, later)
    events = sync.events(audit_id, after=after, limit=EVENTS + 1)
    more = len(events) > EVENTS
    events = events[:EVENTS]
    earlier_id = events[0].id if events else after + 1
    return Log(events, earlier_id if after else None, events[-1].id if more else None)


def _parts(audit: Audit, frame: Frame, *, expert: bool) -> dict[str, Markup]:
    """What the page has in common with the report, by name; empty where there is nothing."""

    def shown(shot: AuditScreenshot) -> str:
        return _PICTURE.format(src=frame.image(audit.id, shot.id), alt=clean(shot.label))

    security = audit.security_results if isinstance(audit.security_results, dict) else {}
    signals = audit.signal_scores if isinstance(audit.signal_scores, dict) else {}
    made = {
        "verdict": verdict_html(audit),
        "narrative": markdown(str(audit.narrative)) if audit.narrative else "",
        "signals": signals_html(signals) if signals else "",
        "findings": findings_html(audit, shown, expert=expert),
        "security": "".join(module_html(*one) for one in security.items()),
        "errors": "".join(f'<li class="text">{flowing(one)}</li>' for one in errors_of(audit)),
    }
    return {name: Markup(html) for name, html in made.items()}


_PICTURE = Markup(
    '<a class="thumb" href="{src}"><img src="{src}" alt="{alt}" loading="lazy" width="240"></a>'
)


def _gist(event: AuditEvent) -> Markup:
    text = gist(event.data)
    return Markup(flowing(text if len(text) <= LONGEST else f"{text[:LONGEST]}…"))


def _phases(events: list[AuditEvent]) -> list[Phase]:
    """The phases in the order in which they began."""
    found: list[Phase] = []
    for event in events:
        data: dict[str, Any] = event.data if isinstance(event.data, dict) else {}
        name = plain_text(data.get("phase")) or "unnamed"
        last = next((one for one in reversed(found) if one.name == name), None)
        if event.event_type == "phase_start" or last is None:
            last = Phase(name, _moment(event))
            found.append(last)
        if event.event_type != "phase_start":
            last.ended = _moment(event)
            last.state = "done" if event.event_type == "phase_complete" else "failed"
        last.message = plain_text(data.get("error")) or plain_text(data.get("message")) or ""
    return found


def _moment(event: AuditEvent) -> datetime | None:
    return event.timestamp if isinstance(event.timestamp, datetime) else None
