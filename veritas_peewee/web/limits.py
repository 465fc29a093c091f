"""How much a client may send."""

from __future__ import annotations

from fastapi import HTTPException, Request
from starlette.responses import Response
from starlette.types import Message

from veritas_peewee.web.routes import Handler, Route

MAX_BODY = 64 << 20
"""Bytes of a request: some hundred events with their images."""


class LimitedRoute(Route):
    """A route that refuses a request with more than MAX_BODY bytes, whether it says so or not."""

    def answering(self, handle: Handler) -> Handler:
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
