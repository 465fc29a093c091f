"""Uvicorn, told to stop: streams end first and say so, so that it need not wait for them."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from veritas_peewee.store import AuditStore


class Server(uvicorn.Server):
    """Serves an application with `store_lifespan`; requests have `grace` seconds to end in."""

    def __init__(self, app: FastAPI, grace: int) -> None:
        self._application = app
        super().__init__(
            uvicorn.Config(
                app, log_level="warning", timeout_graceful_shutdown=grace, server_header=False
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: viewers are told to come again, requests under way are answered."""
        store = getattr(self._application.state, "veritas_store", None)
        if isinstance(store, AuditStore):
            store.stop_following()
        await super().shutdown(sockets)
