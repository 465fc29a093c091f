"""The size of the WAL (the write-ahead log), which the writer watches and alone empties.

SQLite copies the WAL into the database, and restarts it, only when no read needs an older page
any more. One long read, or short reads that overlap without a pause, let it grow without end.
See https://sqlite.org/wal.html, "Avoiding Excessively Large WAL Files".
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from time import perf_counter

from veritas_peewee.database.connection import StoreDatabase

LIMIT = 16 * 1024 * 1024
"""Bytes to which a restarted WAL is cut back, and above which the writer presses for a restart."""
WARNING = 64 * 1024 * 1024
"""Bytes from which on a warning is logged."""
LOOK_EVERY = 0.1
"""Seconds of writing between two checks of the size."""
PATIENCE = 0.1
"""The most seconds for which writes now and then wait for reads to end; from WARNING on, ten times
as many."""
IDLE = 0.5
"""Seconds without a write after which a large WAL is emptied."""

_logger = logging.getLogger("veritas_peewee")


class Wal:
    """The WAL of the writer's database; all but `size` belongs to the writer's thread."""

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
        """The size of the file in bytes, as the file system states it; 0 without a file."""
        try:
            return os.stat(self._path).st_size
        except OSError:
            return 0

    def look(self, now: float) -> None:
        """Between two transactions: restart the WAL if it is large and reads allow it, and see to
        the session's file.

        `now` is the time by `perf_counter`.
        """
        self.look_at = now + LOOK_EVERY
        if not self._database.file.moved:
            self._database.session.keep()
        size = self.size()
        self.is_large = size > LIMIT
        if not self.is_large:
            self._warned = False
            return
        patience = PATIENCE if size < WARNING else 10 * PATIENCE
        if now > self._press_at and self._longest_read() < patience:
            # While reads overlap without a pause, one of them is always in the way. This copies
            # everything and then waits for the reads that had begun: later ones need no page of
            # the WAL.
            restarted = self._database.checkpoint(truncate=False, patience=patience)
            # Waiting in vain takes a tenth of the time at most.
            ended = perf_counter()
            self._press_at = ended + 10 * (ended - now)
            if restarted:
                return
        if size >= WARNING and not self._warned:
            self._warned = True
            self._warn(size, self._longest_read())

    def empty(self) -> None:
        """While nobody waits for a write: empty the WAL if no read needs it."""
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
