"""Uvicorn, told to stop: streams end first and say so, so that it need not wait for them."""

from __future__ import annotations

import socket

import anyio
import uvicorn
from fastapi import FastAPI

from veritas_peewee.store import AuditStore

LAST_WORDS = 1.0
"""Seconds that WebSockets have to say how they end, before uvicorn cuts them off."""
LOOKS = 50  # within them, whether there is one left


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
            for server in self.servers:  # nobody new meanwhile
                server.close()
            for _ in range(LOOKS):
                if not any(map(self._is_socket, self.server_state.connections)):
                    break
                await anyio.sleep(LAST_WORDS / LOOKS)
        await super().shutdown(sockets)

    def _is_socket(self, connection: object) -> bool:
        # Uvicorn ends requests when they are answered, but WebSockets at once.
        kind = self.config.ws_protocol_class
        return kind is not None and isinstance(connection, kind)
