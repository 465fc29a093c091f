"""What is begun is done, whoever cancels the task that waits for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

import anyio

from veritas_peewee.database.event_loop import asyncio_loop


async def to_its_end(fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
    """Await `fn(*args)`; a caller who is cancelled meanwhile is told so when that has ended.

    anyio's shield alone holds back what anyio cancels, but not `task.cancel()` of asyncio, by which
    `asyncio.timeout`, `asyncio.run` at its end, and most applications cancel.
    """
    with anyio.CancelScope(shield=True):
        loop = asyncio_loop()
        if loop is None:
            return await fn(*args)
        import asyncio  # there, for its loop runs

        task = loop.create_task(cast(Coroutine[Any, Any, Any], fn(*args)))
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            if not task.cancelled():
                task.exception()  # looked at: asyncio would report it as never retrieved
            raise cancelled
        return task.result()
