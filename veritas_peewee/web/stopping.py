"""Uvicorn under whatever command, when a signal asks it to stop: streams end first and say so.

By itself it cuts WebSockets off without a word, and waits for other streams as if they were
requests that end; the lifespan hears of it only after that. `veritas-peewee serve` has a server of
its own (`web/serving`), which need not guess how long the last words take.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from veritas_peewee.store import AuditStore

LAST_WORDS = 0.25
"""Seconds between the end of the streams and uvicorn's own stopping."""


class _Stopping:
    """What a signal does in uvicorn's place."""

    def __init__(self, handlers: dict[int, Callable[[int, Any], Any]]) -> None:
        self.stores: list[AuditStore] = []
        self.handlers = handlers
        self._loop = asyncio.get_running_loop()
        self._begun: set[int] = set()

    def stop(self, number: int, frame: Any) -> None:
        if number in self._begun:
            self.handlers[number](number, frame)
        else:
            self._begun.add(number)
            self._loop.call_soon_threadsafe(self._begin, number)

    def _begin(self, number: int) -> None:
        for store in self.stores:
            store.stop_following()
        self._loop.call_later(LAST_WORDS, self.handlers[number], number, None)


@contextmanager
def streams_end_first(store: AuditStore) -> Iterator[None]:
    """Where uvicorn runs the application: when a signal tells it to stop, the followers of `store`
    end, and uvicorn hears of the signal a moment later; of one that is repeated, at once."""
    with _stopping() as stopping:
        if stopping is not None:
            stopping.stores.append(store)
        yield


@contextmanager
def _stopping() -> Iterator[_Stopping | None]:
    """The one that another store of the application has begun, or a new one."""
    uvicorn: Any = sys.modules.get("uvicorn")
    if uvicorn is None or threading.current_thread() is not threading.main_thread():
        yield None
        return
    handlers: dict[int, Callable[[int, Any], Any]] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        handler: Any = signal.getsignal(number)
        owner = getattr(handler, "__self__", None)
        if isinstance(owner, _Stopping):
            yield owner
            return
        # Of this very class: what another one does with a signal is its own affair.
        if type(owner) is uvicorn.Server:
            handlers[number] = handler
    if not handlers:
        yield None
        return
    stopping = _Stopping(handlers)
    for handled in handlers:
        signal.signal(handled, stopping.stop)
    try:
        yield stopping
    finally:
        for handled, before in handlers.items():
            if signal.getsignal(handled) == stopping.stop:
                signal.signal(handled, before)
