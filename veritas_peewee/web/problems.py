"""Errors as HTTP tells them: `application/problem+json`, RFC 9457."""

from __future__ import annotations

import http
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from veritas_peewee.database.failures import is_lost
from veritas_peewee.database.transactions import is_known
from veritas_peewee.errors import (
    AuditNotFound,
    InvalidAudit,
    ScreenshotNotFound,
    StaleToken,
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreFull,
    StoreMoved,
)
from veritas_peewee.web.answers import json_text
from veritas_peewee.web.headers import secured
from veritas_peewee.web.routes import methods_of

RETRY_AFTER = 2
"""Seconds after which a client may try again what another process was in the way of."""


class _Kind(NamedTuple):
    status: int
    code: str


_KINDS: dict[type[StoreError], _Kind] = {
    AuditNotFound: _Kind(404, "audit-not-found"),
    ScreenshotNotFound: _Kind(404, "screenshot-not-found"),
    InvalidAudit: _Kind(422, "invalid"),
    StaleToken: _Kind(410, "stale-token"),
    StoreBusy: _Kind(503, "busy"),
    StoreMoved: _Kind(503, "moved"),
    StoreClosed: _Kind(503, "closed"),
    StoreFull: _Kind(507, "full"),
}
_OTHER = _Kind(500, "failed")
_AWAY = _Kind(503, "unreachable")


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    title: str
    """The status in words."""
    status: int
    detail: str
    """What was wrong, and with which value."""
    code: str
    """A word for programs, such as `audit-not-found` or `invalid`."""


ShownRefusal = Callable[[Scope, Problem, Mapping[str, str]], Response | None]
"""Makes the answer to a request that is refused, with these headers; None: as to programs."""


def problem_of(error: StoreError) -> Problem:
    """What a client is told of an error of the store; of faults inside it nothing but that."""
    kind = next((kind for cls, kind in _KINDS.items() if isinstance(error, cls)), _OTHER)
    detail = str(error) if kind is not _OTHER else "the store could not do this"
    # Only where nothing can have been saved: a client that is told to come again writes twice else.
    if kind is _OTHER and is_lost(error) and is_known(error):
        kind, detail = _AWAY, "the store's server does not answer: nothing was saved"
    return problem(kind.status, detail, kind.code)


def problem(status: int, detail: str, code: str) -> Problem:
    """A problem whose title is the status in words."""
    return Problem(title=http.HTTPStatus(status).phrase, status=status, detail=detail, code=code)


def response_of(told: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """A problem as an answer."""
    text = json_text(told.model_dump())
    return secured(Response(text, told.status, headers, media_type="application/problem+json"))


async def _told_by_store(request: Request, error: Exception) -> Response:
    assert isinstance(error, StoreError)
    found = problem_of(error)
    headers = {"Retry-After": str(RETRY_AFTER)} if found.status == 503 else None
    return response_of(found, headers)


async def _refused(request: Request, error: Exception) -> Response:
    """A request of the wrong form; each fault names where it is."""
    assert isinstance(error, RequestValidationError)
    return response_of(problem(422, faults_of(error), "invalid"))


def faults_of(error: RequestValidationError) -> str:
    """What is wrong with a request's parameters or body, and where."""
    faults = [_fault(one) for one in error.errors()]
    # A value that may be of several types is refused by each of them.
    return "; ".join(dict.fromkeys(faults))


def _fault(found: dict[str, Any]) -> str:
    if found["type"] == "json_invalid":
        reason = found.get("ctx", {}).get("error", found["msg"])
        return f"body: is not JSON: {reason} (character {found['loc'][-1]})"
    return f"{_place(found['loc'])}: {found['msg']}"


def _place(path: Sequence[int | str]) -> str:
    """Where a value is: the parameter, or the way to it in the body."""
    place, *inner = path
    if place != "body":
        return str(inner[0] if inner else place)
    # A number alone, of a body that is a list, would say nothing.
    return ".".join(map(str, path if not inner or isinstance(inner[0], int) else inner))


async def _answered(request: Request, error: Exception) -> Response:
    """Starlette's own: no such page, no such method, and what dependencies refuse."""
    assert isinstance(error, HTTPException)
    if error.status_code < 400:
        return Response(None, error.status_code, error.headers)
    detail = error.detail if isinstance(error.detail, str) else json_text(error.detail)
    phrase = http.HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    headers = None if error.headers is None else dict(error.headers)
    if error.status_code == 405:
        allowed = methods_of(request.app, request.scope)
        # The route that was found first names its own methods alone. One that takes this method
        # has refused it by itself, and knows why.
        if allowed and request.method not in allowed:
            headers = {**(headers or {}), "Allow": ", ".join(allowed)}
    return response_of(problem(error.status_code, detail, phrase), headers)


async def _failed(request: Request, error: Exception) -> Response:
    """Anything else is a fault of the application, which its log shows."""
    return response_of(problem(500, "the server could not do this", "failed"))


def add_error_handlers(app: FastAPI) -> None:
    """Have all errors of an application told as `application/problem+json`.

    AuditNotFound and ScreenshotNotFound are 404, InvalidAudit 422, StoreBusy, StoreMoved and
    StoreClosed 503, StoreFull 507, StaleToken 410, any other 500, without what happened inside.
    """
    app.add_exception_handler(StoreError, _told_by_store)
    app.add_exception_handler(RequestValidationError, _refused)
    app.add_exception_handler(HTTPException, _answered)
    app.add_exception_handler(Exception, _failed)


def told(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of these errors of a route."""
    return {
        status: {
            "description": http.HTTPStatus(status).phrase,
            "content": {
                "application/problem+json": {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                }
            },
            "model": Problem,
        }
        for status in statuses
    }
