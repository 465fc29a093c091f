"""What a writer has done, counted."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from veritas_peewee.threads.jobs import Job

_REMEMBERED = 10_000
"""The number of the latest writes whose times are remembered."""


@dataclass(frozen=True, slots=True)
class WriterStats:
    """What a writer has done since it was opened."""

    writes: int
    """Writes that were answered, including failed ones."""
    commits: int
    """Transactions that were committed."""
    failed: int
    """Writes whose callers got an error."""
    pending: int
    """Writes that have a slot in the queue."""
    p50: float
    p99: float
    """Seconds from a write's slot in the queue to its answer, over the last 10,000 writes."""
    waiting: int
    """Callers who wait for a slot."""
    wal_bytes: int
    """The size of the WAL file, in bytes."""


class Counts:
    """The counts of a writer: its thread adds to them, any thread may read them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: deque[float] = deque(maxlen=_REMEMBERED)
        self.writes = self.commits = self.failed = 0

    def add(self, done: list[Job]) -> None:
        """Count jobs that are about to be answered."""
        self.writes += len(done)
        self.failed += len([job for job in done if job.error is not None])

    def add_times(self, done: list[Job], now: float) -> None:
        """Remember the times of jobs answered at `now` (by `perf_counter`), once they are woken."""
        times = [now - job.submitted for job in done]
        with self._lock:
            self._times.extend(times)

    def stats(self, pending: int, waiting: int, wal_bytes: int) -> WriterStats:
        """The counts so far, with the present numbers, which the writer gives."""
        with self._lock:
            times = sorted(self._times)
        last = len(times) - 1
        return WriterStats(
            self.writes,
            self.commits,
            self.failed,
            pending,
            times[last // 2] if times else 0.0,
            times[round(last * 0.99)] if times else 0.0,
            waiting,
            wal_bytes,
        )
