"""The event loop that a store belongs to, as the store's own threads reach it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

import anyio
from anyio.lowlevel import current_token

from veritas_peewee.database.event_loop import asyncio_loop

if TYPE_CHECKING:
    import asyncio

    Answer = anyio.Event | asyncio.Future[None]
    """What a caller waits for; see `Loop.answer`."""


class Loop:
    """The loop that runs in the thread in which this is made."""

    def __init__(self) -> None:
        self._token = current_token()
        loop = asyncio_loop()
        # The asyncio loop in this thread may be only the host of a trio that is in use.
        self.asyncio = loop if loop is self._token.native_token else None

    def answer(self) -> Answer:
        """Something that a caller can wait for: on asyncio a bare future.

        asyncio waits for a future in the end; an event around it would cost as much as all else
        that happens to a call on the loop.
        """
        return anyio.Event() if self.asyncio is None else self.asyncio.create_future()

    @staticmethod
    def context() -> Context:
        """The caller's context for another thread: there it must not say that a loop runs."""
        context = copy_context()
        if (sniffio := sys.modules.get("sniffio")) is not None:  # anyio asks it, if it is there
            context.run(sniffio.current_async_library_cvar.set, None)
        return context

    @staticmethod
    async def wait(answer: Answer) -> None:
        """Wait until `give` was called with the answer."""
        await (answer.wait() if isinstance(answer, anyio.Event) else answer)

    @staticmethod
    def give(answer: Answer) -> None:
        """Let the caller who waits for the answer continue; call it on the loop's thread."""
        if isinstance(answer, anyio.Event):
            answer.set()
        elif not answer.done():  # its caller may have been cancelled
            answer.set_result(None)

    def wake(self, fn: Callable[..., object], *args: Any) -> None:
        """Have `fn(*args)` called on the loop's thread; does not wait for it.

        If the loop has ended, so have all callers who waited, and nothing is called.
        """
        if self.asyncio is None:
            with suppress(anyio.RunFinishedError):
                token = self._token
                token.backend_class.run_sync_soon(fn, args, token.native_token)
        else:
            with suppress(RuntimeError):  # the loop is closed
                self.asyncio.call_soon_threadsafe(fn, *args)
