"""An application with the store's API, a client of it, and a browser's `EventSource`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
from fastapi import FastAPI

from veritas_peewee import AuditStore
from veritas_peewee.web import add_error_handlers, api_router, pages_router

HOST = "http://testserver"


def application(store: AuditStore | None = None, **options: Any) -> FastAPI:
    """An application with the API under /api and the pages, whose store is open already."""
    app = FastAPI(**options)
    app.include_router(api_router(), prefix="/api")
    app.include_router(pages_router(api_prefix="/api"))
    add_error_handlers(app)
    if store is not None:
        app.state.veritas_store = store
    return app


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url=HOST) as client:
        yield client


def http_scope(
    method: str, path: str, headers: Sequence[tuple[bytes, bytes]] = (), query: str = ""
) -> dict[str, Any]:
    """What a server tells an application of a request."""
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": query.encode(), "headers": list(headers), "http_version": "1.1",
        "scheme": "http", "asgi": {"version": "3.0", "spec_version": "2.3"},
    }  # fmt: skip


class Viewer:
    """A browser's `EventSource`, at the application's own protocol (ASGI): it can go away."""

    def __init__(self, app: FastAPI, path: str, last: str | None = None, query: str = "") -> None:
        self.app = app
        headers = [(b"accept", b"text/event-stream")]
        if last is not None:
            headers.append((b"last-event-id", last.encode()))
        self.scope = http_scope("GET", path, headers, query)
        self.gone = anyio.Event()
        self.status = 0
        self.text = ""
        self.whole = False
        """Whether the answer has come to its end."""

    @property
    def messages(self) -> list[tuple[str, Any, str | None]]:
        """What has come so far, as (name, data, id); those of events are called `message`."""
        found = []
        for block in self.text.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "data" in fields:
                data = json.loads(fields["data"])
                found.append((fields.get("event", "message"), data, fields.get("id")))
        return found

    @property
    def ids(self) -> list[int]:
        """The ids of the events that have come."""
        return [data["id"] for name, data, _ in self.messages if name == "message"]

    @property
    def end(self) -> str | None:
        """How the stream said that it has ended."""
        return next((data["how"] for name, data, _ in self.messages if name == "end"), None)

    async def _receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"").decode()
        self.whole |= message["type"] == "http.response.body" and not message.get("more_body")

    async def watch(self) -> None:
        await self.app(self.scope, self._receive, self._send)

    async def sees(self, ids: list[int]) -> None:
        with anyio.fail_after(30):
            while self.ids != ids:
                await anyio.sleep(0.001)
