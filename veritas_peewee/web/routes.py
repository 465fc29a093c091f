"""The class of our routes: they answer HEAD, take an empty parameter for none, and all that they
answer has the security headers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any

from fastapi import FastAPI, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from veritas_peewee.web.headers import secured

Handler = Callable[[Request], Awaitable[Response]]
_HEAD = "veritas_head"
_KEPT = b"q"
"""The parameter that may be empty: a search for nothing finds nothing."""
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Route(APIRoute):
    """A route that answers HEAD where it answers GET: with the same headers, without the body.

    FastAPI's own refuses HEAD. As a method of the route it would be in the schema a second time.
    """

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(self._as_get(scope))

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().handle(_without_empty(self._as_get(scope)), receive, send)

    def _as_get(self, scope: Scope) -> Scope:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            return {**scope, "method": "GET", _HEAD: True}
        return scope

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = self.answering(super().get_route_handler())

        async def answered(request: Request) -> Response:
            response = secured(await handle(request))
            return await _without_body(response) if request.scope.get(_HEAD) else response

        return answered

    def answering(self, handle: Handler) -> Handler:
        """What answers a request, around what FastAPI makes of the route's function."""
        return handle


def _without_empty(scope: Scope) -> Scope:
    """A request without the parameters that are empty: a form sends its empty fields too.

    Here, once for all, because each parameter has a type and a default of its own.
    """
    given = scope.get("query_string", b"").split(b"&")
    left = [one for one in given if one.partition(b"=")[2] or one.partition(b"=")[0] == _KEPT]
    return scope if left == given else {**scope, "query_string": b"&".join(left)}


async def _without_body(response: Response) -> Response:
    """An answer's status and headers; what would have been sent is not begun."""
    body = getattr(response, "body_iterator", None)
    if isinstance(body, AsyncGenerator):
        await body.aclose()
    bare = Response(None, response.status_code)
    bare.raw_headers = response.raw_headers
    return bare


def methods_of(app: FastAPI, scope: Scope) -> list[str]:
    """The methods that an application's routes answer at a request's path, as `Allow` lists them.

    A mount is left out: it takes every method, and what it leads to decides.
    """

    def answers(route: BaseRoute, method: str) -> bool:
        return route.matches({**scope, "method": method})[0] is Match.FULL

    routes = [route for route in app.router.routes if not answers(route, "ANY")]
    return [method for method in _METHODS if any(answers(route, method) for route in routes)]
