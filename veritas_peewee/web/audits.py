"""Routes of one audit: made, shown, recorded, removed; its events, its report."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, WithJsonSchema
from starlette.responses import Response

from veritas_peewee import sync
from veritas_peewee.models import Audit
from veritas_peewee.web import streams
from veritas_peewee.web.answers import Answer, ShownAudit, ShownEvent, shown
from veritas_peewee.web.limits import LimitedRoute
from veritas_peewee.web.parameters import AuditId, Limit, Store, Text
from veritas_peewee.web.problems import told

EVENTS = 200
"""How many events a page of a log has unless another number is asked for."""
REPORT_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox"
)

router = APIRouter(route_class=LimitedRoute)


class NewAudit(BaseModel):
    """What an audit is made of."""

    url: Annotated[str, WithJsonSchema({"type": "string", "pattern": "^https?://[^/]"})]
    audit_tier: str = "standard_audit"
    verdict_mode: str = "expert"
    options: dict[str, Any] | None = None
    """Given to the engine, and kept in the audit's log."""

    model_config = {
        "json_schema_extra": {
            "examples": [{"url": "https://shop.example/", "audit_tier": "quick_scan"}]
        }
    }


class RecordedEvents(BaseModel):
    """The ids of the events that were recorded, in order."""

    ids: list[int]


class EventPage(BaseModel):
    """Some events, and the id after which the next ones come (null: these were the last)."""

    items: list[ShownEvent]
    next_after: int | None


@router.post("/audits", status_code=201, response_model=Audit, responses=told(400, 413, 507))
async def create_audit(new: NewAudit, store: Store) -> Response:
    """Add a queued audit."""
    audit = await store.create(
        new.url, audit_tier=new.audit_tier, verdict_mode=new.verdict_mode, options=new.options
    )
    return Answer(audit, 201)


@router.get("/audits/{audit_id}", response_model=ShownAudit, responses=told(404))
async def audit(audit_id: AuditId, request: Request, store: Store) -> Response:
    """An audit with its findings, its screenshots and what else its result told."""
    return Answer(await shown(store, request, audit_id))


@router.delete("/audits/{audit_id}", status_code=204, responses=told(404))
async def delete_audit(audit_id: AuditId, store: Store) -> Response:
    """Remove an audit with all that belongs to it; its events' digests are kept."""
    await store.delete(audit_id)
    return Response(status_code=204)


@router.post(
    "/audits/{audit_id}/events",
    response_model=RecordedEvents,
    responses=told(400, 404, 413, 507),
)
async def record_events(
    audit_id: AuditId,
    events: Annotated[
        list[dict[str, Any]],
        # With `lenient`, also what is no event of ours is kept: the store decides, not the schema.
        WithJsonSchema(
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"type": {"type": "string", "minLength": 1, "maxLength": 100}},
                    "required": ["type"],
                },
            }
        ),
        Body(examples=[[{"type": "log_entry", "message": "the page has loaded"}]]),
    ],
    store: Store,
    lenient: Annotated[
        bool, Query(description="Replace what cannot be stored, with a note.")
    ] = False,
) -> Response:
    """Record events with their effects, all or none."""
    return Answer({"ids": await store.record_many(audit_id, events, lenient=lenient)})


@router.get(
    "/audits/{audit_id}/events",
    response_model=EventPage,
    responses={
        **told(404),
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
    },
)
async def events(
    audit_id: AuditId,
    request: Request,
    store: Store,
    after: Annotated[
        Text, Query(description="Only events after this id; of a stream also after a token.")
    ] = None,
    types: Annotated[list[str] | None, Query(description="Only events of these types.")] = None,
    limit: Annotated[Limit, Query(description="How many events.")] = EVENTS,
) -> Response:
    """The log of an audit; live, if the request accepts `text/event-stream`."""
    if streams.is_accepted(request):
        return await streams.sse(store, request, audit_id, after)
    wanted = None if types is None else [one for one in types if one]
    first = streams.event_id(after)

    def read() -> list[ShownEvent]:
        sync.get(audit_id)
        found = sync.events(audit_id, after=first, limit=limit + 1, types=wanted or None)
        return [ShownEvent(event) for event in found]

    found = await store.read(read)
    more = len(found) > limit
    items = found[:limit]
    return Answer({"items": items, "next_after": items[-1].event.id if more else None})


@router.get(
    "/audits/{audit_id}/report",
    response_class=HTMLResponse,
    responses=told(404),
)
async def report(audit_id: AuditId, store: Store) -> Response:
    """The audit as one HTML page, to be kept; nothing in it runs or is loaded."""
    headers = {"Content-Security-Policy": REPORT_POLICY}
    return HTMLResponse(await store.report(audit_id), headers=headers)
