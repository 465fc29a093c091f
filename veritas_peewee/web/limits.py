"""How much a client may send."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Message

MAX_BODY = 64 << 20
"""Bytes of a request: some hundred events with their images."""


class LimitedRoute(APIRoute):
    """A route that refuses a request with more than MAX_BODY bytes, whether it says so or not."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def limited(request: Request) -> Response:
            length = request.headers.get("content-length", "")
            if length.isdecimal() and (len(length) > 18 or int(length) > MAX_BODY):
                raise _too_much()
            read = 0

            async def receive() -> Message:
                nonlocal read
                message = await request.receive()
                read += len(message.get("body", b""))
                if read > MAX_BODY:
                    raise _too_much()
                return message

            return await handle(Request(request.scope, receive))

        return limited


def _too_much() -> HTTPException:
    return HTTPException(413, f"the request has more than {MAX_BODY} bytes")
