"""Loops that are timed, and the figures computed from their times."""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from time import perf_counter

from benchmarks.model import Metrics

TICK = 0.002
"""Seconds between two looks at the event loop's lag."""


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; NaN of no values."""
    ordered = sorted(values)
    return ordered[round((len(ordered) - 1) * share)] if ordered else float("nan")


async def p50_ms(read: Callable[[], Awaitable[None]], seconds: float) -> float:
    """The median time of 3 to 200 calls, in milliseconds, after one call that is not measured."""
    await read()
    times: list[float] = []
    begin = perf_counter()
    while len(times) < 3 or (perf_counter() - begin < seconds and len(times) < 200):
        started = perf_counter()
        await read()
        times.append(perf_counter() - started)
    return percentile(times, 0.5) * 1000


@dataclass
class Loop:
    """The counts and times of a closed loop of tasks."""

    seconds: float = 0.0
    cpu: float | None = None
    """Seconds of processor time of the whole process, where it was measured."""
    latencies: list[float] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def metrics(self, prefix: str = "") -> Metrics:
        found = {
            "per_s": len(self.latencies) / self.seconds,
            "p50_ms": percentile(self.latencies, 0.5) * 1000,
            "p99_ms": percentile(self.latencies, 0.99) * 1000,
            "errors": float(len(self.errors)),
        }
        if self.cpu is not None:
            found["cpu_us"] = self.cpu / max(len(self.latencies), 1) * 1_000_000
        return {prefix + name: value for name, value in found.items()}


async def closed_loop(
    operation: Callable[[int], Awaitable[object]],
    tasks: int,
    seconds: float,
    pause: float = 0.0,
) -> Loop:
    """Each of `tasks` tasks repeats `operation(n)`, n counted over all, until time is up."""
    found = Loop()
    numbers = count()
    begin = perf_counter()
    deadline = begin + seconds

    async def work() -> None:
        while (started := perf_counter()) < deadline:
            try:
                await operation(next(numbers))
            except Exception as error:
                found.errors.append(error)
                if len(found.errors) > 100:
                    return
            else:
                found.latencies.append(perf_counter() - started)
            if pause:
                await asyncio.sleep(pause)

    await asyncio.gather(*(work() for _ in range(tasks)))
    found.seconds = perf_counter() - begin
    if found.errors and not found.latencies:
        raise found.errors[0]
    return found


async def lags_during(work: Awaitable[object]) -> list[float]:
    """How much later than asked a ticking task woke up each time, in seconds, while `work` ran."""
    running = asyncio.ensure_future(work)
    lags: list[float] = []
    while not running.done():
        started = perf_counter()
        await asyncio.sleep(TICK)
        lags.append(perf_counter() - started - TICK)
    await running
    return lags


def peak_rss() -> float:
    """The most memory this process has had, in MB."""
    # ru_maxrss outlives exec: a child would report its parent's peak.
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1024 * 1024 if sys.platform == "darwin" else 1024)
