"""The page that starts an audit, where the application has an engine."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qsl

import anyio
from fastapi import APIRouter, HTTPException, Request
from starlette.responses import Response

from veritas_peewee.errors import InvalidAudit, StoreBusy
from veritas_peewee.store import AuditStore
from veritas_peewee.values.plain import invalid
from veritas_peewee.web.background import background_of
from veritas_peewee.web.engines import EngineRunner
from veritas_peewee.web.guard import is_from_elsewhere
from veritas_peewee.web.pages_frame import WITH_FORM, Frame, answer, html_of
from veritas_peewee.web.parameters import Store

TIERS = ("quick_scan", "standard_audit", "deep_forensic")
"""The tiers that are offered; the API takes any."""
USUAL = "standard_audit"
AGAIN = 2.0
"""Seconds after which an audit that could not be claimed is claimed again; then twice as long."""
LONGEST_PAUSE = 60.0
ENGINE_ENDS = 30
"""Seconds after which a client may ask again whether an engine has ended."""
LONGEST = 1 << 16
"""The most bytes of a form."""
_FORM = "application/x-www-form-urlencoded"


class Fault(NamedTuple):
    """What is wrong with a field."""

    field: str
    text: str


def add_to(router: APIRouter, api_prefix: str, runner: EngineRunner) -> None:
    """Add the page of this module; `runner` runs the audits that are made with it."""

    def form(frame: Frame, url: str = "", tier: str = USUAL, fault: Fault | None = None) -> str:
        most = runner.most
        return html_of("new.html", frame, url=url, tier=tier, tiers=TIERS, fault=fault, most=most)

    @router.get("/new", name="pages.new")
    async def new(request: Request) -> Response:
        return answer(form(Frame(request, api_prefix)), headers=WITH_FORM)

    @router.post("/new", name="pages.start")
    async def start(request: Request, store: Store) -> Response:
        if is_from_elsewhere(request.headers):
            raise HTTPException(403, "only a page of this server may start an audit")
        frame, given = Frame(request, api_prefix), await _given(request)
        url, tier = given.get("url", "").strip(), given.get("audit_tier", USUAL)
        background = background_of(request)  # raises StoreClosed before anything is stored
        try:
            runner.promise()
        except StoreBusy as error:
            page = form(frame, url, tier, Fault("", str(error)))
            return answer(page, 503, {**WITH_FORM, "Retry-After": str(ENGINE_ENDS)})
        try:
            if tier not in TIERS:
                raise invalid("audit_tier", f"must be one of {', '.join(TIERS)}", tier)
            audit = await store.create(url, audit_tier=tier)
            background.start(audit.id, _run, runner, store, audit.id)
        except InvalidAudit as error:
            runner.begun -= 1
            field, _, text = str(error).partition(": ")
            page = form(frame, url, tier, Fault(field, text))
            return answer(page, 422, WITH_FORM)
        except BaseException:
            runner.begun -= 1
            raise
        return Response(None, 303, {"Location": frame.audit(audit.id)})


async def _run(runner: EngineRunner, store: AuditStore, audit_id: str) -> None:
    """Run a queued audit, as was promised; while the file is locked, try again to claim it."""
    pause = AGAIN
    try:
        async with runner.turns:
            while True:
                try:
                    return await runner.run(store, audit_id)  # nothing unless it is queued
                except StoreBusy:
                    await anyio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
    finally:
        runner.begun -= 1


async def _given(request: Request) -> dict[str, str]:
    """The fields of a form by name; raises HTTPException for a body that is
    not a form, or is too long."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        raise HTTPException(415, f"a form is sent as {_FORM}")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST:
            raise HTTPException(413, f"the form has more than {LONGEST} bytes")
    text = body.decode("latin-1")  # the encoding of what is percent-encoded in it is UTF-8
    return dict(parse_qsl(text, keep_blank_values=True, errors="replace"))
