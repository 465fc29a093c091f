"""Tasks of an application that outlive the request which started them, and end before the store is
closed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import TypeVarTuple

import anyio
from anyio.abc import TaskGroup
from starlette.requests import HTTPConnection

from veritas_peewee.errors import StoreClosed
from veritas_peewee.web.state import held

_logger = logging.getLogger("veritas_peewee")
_NAME = "veritas_background"
Ts = TypeVarTuple("Ts")


class Background:
    """Tasks, each under a key, in a task group of the application's lifespan."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._running: set[Hashable] = set()

    def start(self, key: Hashable, fn: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
        """Start `fn(*args)`, unless what was started under this key still runs.

        Its errors are in the log. Raises StoreClosed once the application is stopping.
        """
        if self._tasks.cancel_scope.cancel_called:
            raise StoreClosed("the application is stopping")
        if key not in self._running:
            self._running.add(key)
            self._tasks.start_soon(self._run, key, fn, args)

    async def _run(
        self, key: Hashable, fn: Callable[[*Ts], Awaitable[object]], args: tuple[*Ts]
    ) -> None:
        try:
            await fn(*args)
        except Exception:  # it must not end the application
            _logger.exception("%s failed", key)
        finally:
            self._running.discard(key)


@asynccontextmanager
async def open_background() -> AsyncIterator[dict[str, Background]]:
    """Background tasks as a lifespan's state; at the end they are cancelled and awaited."""
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            yield {_NAME: Background(tasks)}
        except Exception as error:  # the application's own, and not in a group
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


def background_of(connection: HTTPConnection) -> Background:
    """The background tasks of the application that this request or WebSocket belongs to.

    Raises StoreClosed if the application has no `store_lifespan`, or has not started.
    """
    found = held(connection, _NAME)
    if not isinstance(found, Background):
        raise StoreClosed("no engine can be run here: FastAPI(lifespan=store_lifespan())")
    return found
