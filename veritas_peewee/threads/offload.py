"""Runs work that needs no database in worker threads, under a limit of the store's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

import anyio
from anyio import to_thread
from anyio.lowlevel import RunVar

T = TypeVar("T")


async def in_thread(
    fn: Callable[..., T], *args: Any, discard: Callable[[T], object] | None = None
) -> T:
    """Run `fn(*args)` in a worker thread and return its result.

    If the caller is cancelled meanwhile, the result is given to `discard`.
    """
    lock = threading.Lock()
    abandoned = False
    results: list[T] = []

    def run() -> T:
        result = fn(*args)
        with lock:
            results.append(result)
            late = abandoned
        if late and discard is not None:
            discard(result)
        return result

    try:
        # With a limiter of its own, the store cannot be starved by the application's blocking code.
        return await to_thread.run_sync(run, limiter=_preparing())
    except BaseException:
        with lock:
            abandoned = True
        if results and discard is not None:
            discard(results[0])
        raise


_limiter: RunVar[anyio.CapacityLimiter] = RunVar("veritas_prepare")


def _preparing() -> anyio.CapacityLimiter:
    try:
        return _limiter.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(4)
        _limiter.set(limiter)
        return limiter
