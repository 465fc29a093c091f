"""The FastAPI dependency and lifespan, in a real application."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, HTTPException, WebSocket
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
