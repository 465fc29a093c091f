"""The size of the WAL: watched by the writer, which alone empties it.

SQLite copies the WAL into the database, and begins it anew, only where no read still needs what
it has replaced. One read that goes on for long, or short ones that overlap without a pause, let
it grow without end.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from time import perf_counter

from veritas_peewee.database.connection import StoreDatabase

LIMIT = 16 * 1024 * 1024
"""Bytes to which the WAL is cut back when it begins anew, and above which that is pressed for."""
WARNING = 64 * 1024 * 1024
"""Bytes from which on the log warns."""
LOOK_EVERY = 0.1
"""Seconds of writing between two looks at the size."""
PATIENCE = 0.1
"""Seconds that writes wait, at most and now and then, for reads to end; ten times as long when the
log has warned."""
IDLE = 0.5
"""Seconds without a write after which a WAL that has grown is emptied."""

_logger = logging.getLogger("veritas_peewee")


class Wal:
    """The WAL of a writer's database; all but `size` belongs to the writer's thread."""

    def __init__(self, database: StoreDatabase, longest_read: Callable[[], float]) -> None:
        self._database = database
        self._longest_read = longest_read
        path = database.location.path
        self._path = "" if path is None else f"{path}-wal"
        self.is_large = False
        self._warned = False
        self._press_at = 0.0
        self.look_at = 0.0 if self._path else float("inf")
        self.retry_after = IDLE
        if self._path:
            database.limit_wal(LIMIT)

    def size(self) -> int:
        """The size of the file in bytes; asking for it is no matter of SQLite's."""
        try:
            return os.stat(self._path).st_size
        except OSError:
            return 0

    def look(self, now: float) -> None:
        """Between two transactions: have a WAL that has grown begin anew, if reads allow it."""
        self.look_at = now + LOOK_EVERY
        size = self.size()
        self.is_large = size > LIMIT
        if not self.is_large:
            self._warned = False
            return
        patience = PATIENCE if size < WARNING else 10 * PATIENCE
        if now > self._press_at and self._longest_read() < patience:
            # While readers overlap without a pause there is no instant at which none is in the
            # way: those that have begun are waited for, later ones already read past the WAL.
            begins_anew = self._database.checkpoint(truncate=False, patience=patience)
            # So that waiting in vain costs a tenth of the time at most.
            ended = perf_counter()
            self._press_at = ended + 10 * (ended - now)
            if begins_anew:
                return
        if size >= WARNING and not self._warned:
            self._warned = True
            self._warn(size, self._longest_read())

    def empty(self) -> None:
        """While nobody waits for a write: empty a WAL that has grown, if no read needs it."""
        if self._database.checkpoint(truncate=True, patience=0.0):
            self.is_large = self._warned = False

    def _warn(self, size: int, reading: float) -> None:
        if reading < PATIENCE:
            cause = "no read of this store is in its way: is another process reading for long?"
        else:
            cause = f"a read has been holding on to it for {reading:.0f} s"
        _logger.warning(
            "%s: the WAL has grown to %.0f MB and cannot be emptied: %s",
            self._database.location.name,
            size / 2**20,
            cause,
        )
