"""News of other processes' commits: a server tells each connection that listens.

What is told only wakes: the events are read by their ids as ever, and looked for now and then
without being told.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.errors import StoreError

if TYPE_CHECKING:
    from veritas_peewee.database.postgres import PostgresStore

_TRY_AGAIN = 1.0
"""Seconds after which a connection that could not be made, or has gone, is made again."""


class Listener:
    """A connection on which a server tells of commits; needs no thread while it waits."""

    def __init__(self, open_database: Callable[[], PostgresStore]) -> None:
        self._open = open_database
        self._database: PostgresStore | None = None
        self._closed = False

    async def wait(self) -> None:
        """Return once another process has told of a commit."""
        from anyio import to_thread

        while True:
            try:
                if self._database is None:
                    with anyio.CancelScope(shield=True):
                        opened = await to_thread.run_sync(self._open)
                    self._database = opened
                    if self._closed:
                        self.close()
                    return  # what was told before nobody has heard
                await anyio.wait_readable(self._database.raw.fileno())
                if self._database is not None and self._database.heard():
                    return
            except (OSError, StoreError, anyio.ClosedResourceError, *DRIVER_ERRORS):
                self._let_go()
                await anyio.sleep(_TRY_AGAIN)

    def close(self) -> None:
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(*DRIVER_ERRORS):
                database.close()
