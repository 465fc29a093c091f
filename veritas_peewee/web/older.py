"""The older backend's API, for its frontend as it is: four routes and a WebSocket."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.responses import Response

from veritas_peewee.errors import AuditNotFound, StoreError
from veritas_peewee.queries.history import history_from
from veritas_peewee.running.engine import Command
from veritas_peewee.values.states import AuditStatus
from veritas_peewee.web.answers import Answer
from veritas_peewee.web.background import background_of
from veritas_peewee.web.engines import (
    ENGINES,
    MODULES,
    EngineFunction,
    EngineRunner,
    check_value,
    joined,
    runner_of,
)
from veritas_peewee.web.limits import LimitedRoute
from veritas_peewee.web.older_data import comparison_of, in_history, status_of
from veritas_peewee.web.older_events import texts_of
from veritas_peewee.web.parameters import AuditId, Store
from veritas_peewee.web.problems import RETRY_AFTER, problem_of
from veritas_peewee.web.routes import Handler
from veritas_peewee.web.streams import play

MOST = 100
"""The most audits that are compared, and the most modules that are named."""


def older_router(
    engine: Command | EngineFunction | EngineRunner | None = None, *, engines: int = ENGINES
) -> APIRouter:
    """The API of the older backend, to be included under `/api`.

    The first viewer of a queued audit has `engine` run it, in the background of the application,
    which needs `store_lifespan`; viewers may go and come. `engine` is a command, as a list or as a
    text that is split into words as a shell would; no shell runs it. In its words `{url}`,
    `{tier}`, `{verdict_mode}`, `{audit_id}` and `{security_modules}` (with commas) are filled in.
    Or it is an async function `engine(audit, send)`, which awaits `send(event)` for each event;
    `audit.options` has the `security_modules`. An exception in it is the audit's error. Without an
    engine an audit waits for whoever runs it. At most `engines` run at once in this process; the
    audits of others wait for their turn. Raises InvalidAudit for anything else.
    """
    runner = None if engine is None else runner_of(engine, engines)
    router = APIRouter(route_class=_OlderRoute, tags=["older"])
    router.post("/audit/start", response_model=Started)(start_audit)
    router.get("/audit/{audit_id}/status")(audit_status)
    router.get("/audits/history")(get_audit_history)
    router.post("/audits/compare")(compare_audits)

    @router.websocket("/audit/stream/{audit_id}")
    async def stream_audit(audit_id: AuditId, socket: WebSocket, store: Store) -> None:
        def begin() -> None:
            assert runner is not None
            background_of(socket).start(audit_id, runner.run_in_turn, store, audit_id)

        await socket.accept()
        await play(socket, texts_of(store, audit_id, begin if runner else None))

    return router


class _OlderRoute(LimitedRoute):
    """A route whose errors are `{"detail": …}`, whatever the application makes of others."""

    def answering(self, handle: Handler) -> Handler:
        limited = super().answering(handle)

        async def answered(request: Request) -> Response:
            try:
                return await limited(request)
            except RequestValidationError as error:
                return Answer({"detail": _faults_of(error)}, 422)
            except (
                AnyHTTPException
            ) as error:  # FastAPI raises Starlette's for a body it cannot read
                return Answer({"detail": error.detail}, error.status_code, error.headers)
            except StoreError as error:
                problem = problem_of(error)
                headers = {"Retry-After": str(RETRY_AFTER)} if problem.status == 503 else None
                return Answer({"detail": problem.detail}, problem.status, headers)

        return answered


def _faults_of(error: RequestValidationError) -> list[dict[str, Any]]:
    """What is wrong with a request, as FastAPI says it, but for the values that were sent: not all
    of them can be sent back as JSON (NaN, a lone surrogate, what is no text)."""
    return [{name: one[name] for name in ("type", "loc", "msg")} for one in error.errors()]


class NewAudit(BaseModel):
    """What an audit is made of."""

    url: str
    tier: str = "standard_audit"
    verdict_mode: str = "expert"
    security_modules: Annotated[list[str], Field(max_length=MOST)] | None = None

    model_config = {
        "json_schema_extra": {
            "examples": [{"url": "https://shop.example/", "tier": "quick_scan"}],
        }
    }


class Started(BaseModel):
    """An audit that waits for its first viewer."""

    audit_id: str
    status: str
    ws_url: str


class Compared(BaseModel):
    """The audits to compare."""

    audit_ids: Annotated[list[str], Field(max_length=MOST)]


async def start_audit(new: NewAudit, request: Request, store: Store) -> Response:
    """Add a queued audit; its engine starts with the first viewer of `ws_url`."""
    modules = new.security_modules
    given = {"tier": new.tier, "verdict_mode": new.verdict_mode, MODULES: joined(modules or [])}
    for name, value in given.items():
        check_value(name, value)
    audit = await store.create(
        new.url,
        audit_tier=new.tier,
        verdict_mode=new.verdict_mode,
        options=None if modules is None else {MODULES: modules},
    )
    # Wherever the router is: also in an application that is mounted in another.
    url = f"{request.scope['path'].removesuffix('/start')}/stream/{audit.id}"
    return Answer({"audit_id": audit.id, "status": audit.status, "ws_url": url})


async def audit_status(audit_id: AuditId, store: Store) -> Response:
    """An audit with its result, which is null until it has completed."""
    try:
        return Answer(status_of(await store.get(audit_id)))
    except AuditNotFound:
        raise HTTPException(404, "Audit not found") from None


async def get_audit_history(
    store: Store,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    offset: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    status_filter: Annotated[str, Query(description="Ignored if there is none such.")] = "",
    risk_level_filter: str = "",
) -> Response:
    """The newest audits."""
    known = AuditStatus(status_filter) if status_filter in list(AuditStatus) else None
    audits = await store.read(
        history_from, offset, limit=limit, status=known, risk_level=risk_level_filter or None
    )
    found = [in_history(audit) for audit in audits]
    return Answer({"audits": found, "count": len(found), "limit": limit, "offset": offset})


async def compare_audits(compared: Compared, store: Store) -> Response:
    """What changed from audit to audit, oldest first; those that do not exist are left out."""
    if len(compared.audit_ids) < 2:
        raise HTTPException(400, "At least two audit_ids are needed to compare")
    found = await store.read(comparison_of, compared.audit_ids)
    if found is None:
        raise HTTPException(404, "None of these audits exists")
    return Answer(found)
