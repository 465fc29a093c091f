"""Uvicorn, told by a signal to stop, under whatever command: streams end first and say so.

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


@contextmanager
def streams_end_first(store: AuditStore) -> Iterator[None]:
    """Where uvicorn runs the application: when a signal tells it to stop, the followers of `store`
    end, and uvicorn hears of the signal a moment later; of one that is repeated, at once."""
    handlers = _of_uvicorn()
    if not handlers:
        yield
        return
    loop, told = asyncio.get_running_loop(), set[int]()

    def begin(number: int) -> None:
        store.stop_following()
        loop.call_later(LAST_WORDS, handlers[number], number, None)

    def stop(number: int, frame: Any) -> None:
        if number in told:
            handlers[number](number, frame)
        else:
            told.add(number)
            loop.call_soon_threadsafe(begin, number)

    for number in handlers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is stop:
                signal.signal(number, handler)


def _of_uvicorn() -> dict[int, Callable[[int, Any], Any]]:
    """The handlers of signals that are uvicorn's own, by the signal's number."""
    uvicorn: Any = sys.modules.get("uvicorn")
    if uvicorn is None or threading.current_thread() is not threading.main_thread():
        return {}
    found: dict[int, Callable[[int, Any], Any]] = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        handler: Any = signal.getsignal(number)
        # Of this very class: what another one does with a signal is its own affair.
        if type(getattr(handler, "__self__", None)) is uvicorn.Server:
            found[number] = handler
    return found
