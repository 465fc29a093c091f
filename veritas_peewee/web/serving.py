"""Uvicorn, told to stop: streams end first and say so, so that it need not wait for them."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

import anyio
import uvicorn
from fastapi import FastAPI

from veritas_peewee.store import AuditStore

LAST_WORDS = 1.0
"""Seconds that WebSockets have to say how they end, before uvicorn cuts them off."""
CUT_OFF = 1.0
"""Seconds before the grace is over at which the connections that are left are cut: of a viewer that
does not read, whose stream would wait for it, and leave an error in the log."""
LOOKS = 50  # within them, whether there is one left


HANG_UP: int | None = getattr(signal, "SIGHUP", None)
"""The signal of a terminal that goes away; not every system has it."""


@contextmanager
def _handled(number: int | None, handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Within the block a signal is handled so, unless it is ignored, as under `nohup`."""
    if number is None or current_thread() is not main_thread():
        yield
        return
    before = signal.getsignal(number)
    if before in (signal.SIG_IGN, None):
        yield
        return
    signal.signal(number, handle)
    try:
        yield
    finally:
        signal.signal(number, before)


class Server(uvicorn.Server):
    """Serves an application with `store_lifespan`; requests have `grace` seconds to end in."""

    def __init__(self, app: FastAPI, grace: int) -> None:
        self._application = app
        self._grace = grace
        super().__init__(
            uvicorn.Config(
                app, log_level="warning", timeout_graceful_shutdown=grace, server_header=False
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Within the block, a terminal that goes away stops the server as Ctrl-C does: in order.

        Uvicorn would leave it to whoever waits for it, in the midst of the loop.
        """
        with super().capture_signals(), _handled(HANG_UP, self.handle_exit):
            yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: viewers are told to come again, requests under way are answered."""
        cutting = asyncio.get_running_loop().call_later(self._grace - CUT_OFF, self._cut_off)
        try:
            await self._last_words()
            await super().shutdown(sockets)
        finally:
            cutting.cancel()

    async def _last_words(self) -> None:
        """Let streams say how they end, and WebSockets too."""
        store = getattr(self._application.state, "veritas_store", None)
        if isinstance(store, AuditStore):
            store.stop_following()
            for server in self.servers:  # nobody new meanwhile
                server.close()
            for _ in range(LOOKS):
                if not any(map(self._is_socket, self.server_state.connections)):
                    break
                await anyio.sleep(LAST_WORDS / LOOKS)

    def _cut_off(self) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    def _is_socket(self, connection: object) -> bool:
        # Uvicorn ends requests when they are answered, but WebSockets at once.
        kind = self.config.ws_protocol_class
        return kind is not None and isinstance(connection, kind)
