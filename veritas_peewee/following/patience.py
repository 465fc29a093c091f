"""Whoever follows waits for a server that went away, for as long as the writer does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

import anyio

from veritas_peewee.config import COMES_BACK
from veritas_peewee.database.failures import is_lost
from veritas_peewee.errors import StoreError

TRY_AGAIN = 0.2
"""Seconds between two tries."""
T = TypeVar("T")


class Patience:
    """How long a server has been away, for all who follow the same store."""

    def __init__(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Once `is_over`, nobody waits any more."""
        self._is_over = is_over
        self._away_since: float | None = None

    def has(self, error: BaseException, began: float) -> bool:
        """Whether what failed with this error, and began at that time (`monotonic`), is to be tried
        again."""
        if self._is_over() or not is_lost(error):
            return False
        if self._away_since is None:
            self._away_since = began
        return monotonic() - self._away_since < COMES_BACK

    def is_answered(self) -> None:
        """The server is there."""
        self._away_since = None

    async def run(self, fn: Callable[..., Awaitable[T]], *args: object) -> T:
        """The result of `fn(*args)`, which is called again while the server is away.

        Raises its error, also once the server has been away for COMES_BACK seconds.
        """
        while True:
            began = monotonic()
            try:
                found = await fn(*args)
            except StoreError as error:
                if not self.has(error, began):
                    raise
            else:
                self.is_answered()
                return found
            await anyio.sleep(TRY_AGAIN)
