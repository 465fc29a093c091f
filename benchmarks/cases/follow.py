"""F1: what 1,000 followers of 100 running audits cost those who write."""

from __future__ import annotations

import asyncio
from time import perf_counter

from benchmarks.cases.common import WARM_UP, check_saved, with_peer
from benchmarks.files import WRITERS, copy_of
from benchmarks.measure import closed_loop
from benchmarks.model import Case, Metrics, Spec, Unsupported, View
from benchmarks.peers.base import Peer
from benchmarks.sample import audit_id, log_event

TASKS = 100
FOLLOWERS = 10
"""The number of followers of each audit."""
ALONE, FOLLOWED = "nobody follows", "1,000 followers"
LONGEST = 60.0
"""Seconds within which the followers must catch up."""


def followed_writes(spec: Spec) -> Metrics:
    """Each of 100 tasks records events of its audit, one at a time, as in W1."""

    async def use(peer: Peer) -> tuple[Metrics, int]:
        store = getattr(peer, "store", None)
        if store is None:
            raise Unsupported("has no way to follow an audit")
        seen = [0] * (WRITERS * FOLLOWERS if spec.param == FOLLOWED else 0)

        async def follow(place: int) -> None:
            async for _ in followed[place]:
                seen[place] += 1

        async def write(number: int) -> None:
            await peer.write_event(audit_id(number % WRITERS), log_event(number))

        followed = [await store.follow(audit_id(place % WRITERS)) for place in range(len(seen))]
        followers = [asyncio.ensure_future(follow(place)) for place in range(len(seen))]
        warm = await closed_loop(write, 1, WARM_UP)
        loop = await closed_loop(write, TASKS, spec.seconds)
        ended = perf_counter()
        written = len(warm.latencies) + len(loop.latencies)
        metrics = loop.metrics()
        if followers:
            metrics["given_per_s"] = sum(seen) / (WARM_UP + loop.seconds)
            while sum(seen) < written * FOLLOWERS and perf_counter() - ended < LONGEST:
                await asyncio.sleep(0.01)
            metrics["behind_s"] = perf_counter() - ended
        for one in followers:
            one.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        if followers and sum(seen) != written * FOLLOWERS:
            raise AssertionError(f"{written * FOLLOWERS} to be given, {sum(seen)} were")
        return metrics, written

    with copy_of(spec.data, "queued") as path:
        metrics, written = with_peer(spec.peer, path, use)
        check_saved(path, "audit_events", 0, written)
    return metrics


CASES = (
    Case(
        "F1",
        "one event a write from 100 tasks, while 1,000 followers see 100 audits live",
        followed_writes,
        (ALONE, FOLLOWED),
        ("ours",),
        (
            View("per_s", "writes per second"),
            View("p99_ms", "p99 of a write, ms", 3),
            View("given_per_s", "events given to followers per second, meanwhile"),
            View("behind_s", "all followers have seen all after, s", 2),
        ),
        note="The writers never pause; the followers hold back meanwhile, and then catch up.",
    ),
)
