"""The security headers of every answer, whatever has made it."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""The headers of an answer that does not set them itself."""
_ENCODED = [(name.lower().encode(), value.encode()) for name, value in SECURITY.items()]


def secured(response: Response) -> Response:
    """The same answer, with the headers of `SECURITY` that it does not have."""
    for name, value in SECURITY.items():
        response.headers.setdefault(name, value)
    return response


class Secured:
    """An application whose every answer has the headers of `SECURITY`.

    It belongs around all the rest: what Starlette answers to an error of the application, what a
    middleware refuses and what no route is there for pass it too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", ()))
                names = {name.lower() for name, _ in given}
                more = [one for one in _ENCODED if one[0] not in names]
                message = {**message, "headers": given + more}
            await send(message)

        await self._app(scope, receive, sent if scope["type"] == "http" else send)
