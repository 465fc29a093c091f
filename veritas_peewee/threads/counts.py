"""What a writer has done, counted."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from veritas_peewee.threads.group_commit import Job

_REMEMBERED = 10_000
"""Writes over which the times are taken."""


@dataclass(frozen=True, slots=True)
class WriterStats:
    """What a writer has done since it was opened."""

    writes: int
    commits: int
    failed: int
    pending: int
    """Writes that have a slot in the queue."""
    p50: float
    p99: float
    """Seconds from a write's slot in the queue to its answer, over the last 10,000 writes."""
    waiting: int
    """Callers who wait for a slot."""
    wal_bytes: int
    """The size of the WAL file."""


class Counts:
    """Counted on the writer's thread, asked for on others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: deque[float] = deque(maxlen=_REMEMBERED)
        self.writes = self.commits = self.failed = 0

    def add(self, done: list[Job]) -> None:
        """Count jobs that are about to be answered."""
        self.writes += len(done)
        self.failed += len([job for job in done if job.error is not None])

    def add_times(self, done: list[Job], now: float) -> None:
        """Take the times of jobs answered at `now`; their callers need not wait for it."""
        times = [now - job.submitted for job in done]
        with self._lock:
            self._times.extend(times)

    def stats(self, pending: int, waiting: int, wal_bytes: int) -> WriterStats:
        """What was counted so far, with what the writer knows of this moment."""
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
