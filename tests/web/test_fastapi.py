"""The FastAPI dependency and lifespan, in a real application."""

import json
from typing import Annotated

import anyio
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient

from veritas_peewee import AuditNotFound, AuditStore, StoreClosed, get_store, store_lifespan

Store = Annotated[AuditStore, Depends(get_store)]


def make_app(**options):
    app = FastAPI(**options)

    @app.post("/audits")
    async def create(url: str, store: Store):
        return {"id": (await store.create(url)).id}

    @app.get("/audits/{audit_id}")
    async def show(audit_id: str, store: Store):
        try:
            return {"url": (await store.get(audit_id)).url}
        except AuditNotFound as error:
            raise HTTPException(404, str(error)) from error

    @app.get("/audits/{audit_id}/events")
    async def events(
        audit_id: str, store: Store, last_event_id: Annotated[int, Header()] = 0
    ) -> StreamingResponse:
        try:
            follower = await store.follow(audit_id, after=last_event_id)
        except AuditNotFound as error:
            raise HTTPException(404, str(error)) from error

        async def messages():
            async for event in follower:
                told = {"type": event.event_type, "data": event.data}
                yield f"id: {event.id}\ndata: {json.dumps(told)}\n\n"
            yield "event: end\ndata:\n\n"

        return StreamingResponse(messages(), media_type="text/event-stream")

    @app.websocket("/stream/{audit_id}")
    async def stream(socket: WebSocket, audit_id: str, store: Store):
        await socket.accept()
        await socket.send_json({"event": await store.record(audit_id, await socket.receive_json())})

    return app


def test_routes_and_websockets_share_the_store_of_the_application(tmp_path):
    path = tmp_path / "audits.db"
    for visit in range(2):  # the second application finds what the first one stored
        with TestClient(make_app(lifespan=store_lifespan(path, readers=2))) as client:
            if visit == 0:
                audit_id = client.post("/audits?url=https://example.com").json()["id"]
            assert client.get(f"/audits/{audit_id}").json() == {"url": "https://example.com"}
            assert client.get("/audits/none").status_code == 404
            with client.websocket_connect(f"/stream/{audit_id}") as socket:
                socket.send_json({"type": "log_entry"})
                assert socket.receive_json() == {"event": visit + 1}


def test_an_application_without_the_lifespan_is_told_what_is_missing():
    client = TestClient(make_app())
    with pytest.raises(StoreClosed, match=r"lifespan=store_lifespan\(\)"):
        client.get("/audits/x")


class Viewer:
    """A browser's EventSource, at the application's own protocol (ASGI): it can go away."""

    def __init__(self, app, audit_id, last_event_id=None):
        self.app = app
        headers = [] if last_event_id is None else [(b"last-event-id", b"%d" % last_event_id)]
        path = f"/audits/{audit_id}/events"
        self.scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
            "query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
        }  # fmt: skip
        self.gone = anyio.Event()
        self.status = 0
        self.text = ""

    @property
    def ids(self):
        return [int(line[4:]) for line in self.text.splitlines() if line.startswith("id: ")]

    async def _receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        self.status = message.get("status", self.status)
        self.text += message.get("body", b"").decode()

    async def watch(self):
        await self.app(self.scope, self._receive, self._send)

    async def sees(self, ids):
        with anyio.fail_after(30):
            while self.ids != ids:
                await anyio.sleep(0.001)


async def test_server_sent_events_go_on_after_the_last_id_that_the_viewer_saw(store):
    app = make_app()
    app.state.veritas_store = store
    audit = await store.create("https://example.com")
    told = [await store.record(audit.id, {"type": "log_entry", "n": n}) for n in range(3)]
    async with anyio.create_task_group() as group:
        lost = Viewer(app, audit.id)
        group.start_soon(lost.watch)
        await lost.sees(told)
        told.append(await store.record(audit.id, {"type": "log_entry"}))
        await lost.sees(told)
        lost.gone.set()
    missed = [await store.record(audit.id, {"type": "log_entry"}) for _ in range(3)]
    async with anyio.create_task_group() as group:
        back = Viewer(app, audit.id, lost.ids[-1])
        group.start_soon(back.watch)
        await back.sees(missed)
        missed.append(await store.record(audit.id, {"type": "audit_complete"}))
    assert back.ids == missed
    assert back.text.endswith("event: end\ndata:\n\n")
    assert lost.ids == told
    assert store._hub._leader is None
    nobody = Viewer(app, "none")
    await nobody.watch()
    assert nobody.status == 404
