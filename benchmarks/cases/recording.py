"""MIX the engine's own mix of events, E1 a lone event with an effect."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count, islice
from time import perf_counter, process_time

from benchmarks import peers
from benchmarks.cases.common import WARM_UP, with_peer
from benchmarks.cases.recorded import Recorded, check_recorded
from benchmarks.effects import store_image, take
from benchmarks.files import new_file
from benchmarks.measure import Loop, closed_loop
from benchmarks.model import Case, Metrics, Spec, Unsupported, View
from benchmarks.peers.base import Peer
from benchmarks.peers.by_hand import Ready, statements
from benchmarks.peers.plain import _Plain
from benchmarks.sample import Row, audit_id, audit_row, finding, insert_sql, stored_row
from benchmarks.transcript import (
    LENGTH,
    MODULES,
    audited_url,
    make_ready,
    security_result,
    site_type,
    stats_update,
    transcript,
)

EFFECTS: dict[str, Callable[[int], Row]] = {
    "stats_update": lambda number: stats_update(number % 9, float(number % 100)),
    "site_type": lambda number: site_type(0.5 + number % 5 / 10),
    "security_result": lambda number: security_result(MODULES[number % len(MODULES)]),
    "finding": lambda number: {"type": "finding", "finding": finding(number)},
}
LONGEST = 20.0
"""Seconds after which a slow peer need not play to the end."""
TOLD = 100
"""Audits among which the events of E1 go around."""


def mix(spec: Spec) -> Metrics:
    """MIX: each of so many audits sends its events one at a time and waits for each."""
    audits = int(spec.param)
    recorded: Recorded = {}
    make_ready()

    async def use(peer: Peer) -> Loop:
        if isinstance(peer, _Plain):
            return _limit(peer, audits, spec.seconds, recorded)
        return await _play(peer, audits, spec.seconds, recorded)

    with new_file(spec.data) as path:
        loop = with_peer(spec.peer, path, use)
        check_recorded(path, recorded)
    return loop.metrics()


class _Player:
    """Plays one audit after the other."""

    def __init__(self, peer: Peer, numbers: Iterator[int], recorded: Recorded) -> None:
        self._peer = peer
        self._numbers = numbers
        self._recorded = recorded
        self._rest: list[Row] = []

    async def step(self) -> float:
        """Record the next event; returns the seconds that this took, without a new audit's row."""
        if not self._rest:
            self._number = next(self._numbers)
            self._owner = audit_id(self._number)
            await self._peer.create(self._owner, audited_url(self._number))
            self._recorded[self._number] = []
            self._rest = transcript(self._number, self._owner)[::-1]
        event = self._rest.pop()
        begin = perf_counter()
        await self._peer.record(self._owner, event)
        seconds = perf_counter() - begin
        self._recorded[self._number].append(event)
        return seconds


async def _play(peer: Peer, audits: int, seconds: float, recorded: Recorded) -> Loop:
    """Each player plays as many events as a transcript has, and again while there is time.

    Before the clock runs each has come to another event of its audit, evenly spread: real audits do
    not begin at the same moment, and a batch has events of every kind. So a peer that would take
    very long may also be stopped before the end, in the midst of the same mix.
    """
    numbers = count()
    players = [_Player(peer, numbers, recorded) for _ in range(audits)]
    for _ in range(LENGTH):  # an audit that warms up
        await players[0].step()

    async def advance(player: _Player, events: int) -> None:
        for _ in range(events):
            await player.step()

    await asyncio.gather(
        *(advance(player, place * LENGTH // audits) for place, player in enumerate(players))
    )
    loop = Loop()
    begin, used = perf_counter(), process_time()
    deadline = begin + seconds

    async def work(player: _Player) -> None:
        while True:
            for _ in range(LENGTH):
                loop.latencies.append(await player.step())
                if perf_counter() >= begin + LONGEST:
                    return
            if perf_counter() >= deadline:
                return

    await asyncio.gather(*(work(player) for player in players))
    loop.seconds, loop.cpu = perf_counter() - begin, process_time() - used
    return loop


def _limit(peer: _Plain, audits: int, seconds: float, recorded: Recorded) -> Loop:
    """For the limits: SQL prepared beforehand; the images are written meanwhile."""
    if peer.group_of is None or peer.group_of > 1:
        raise Unsupported("an event's effect depends on the rows before it")
    loop = Loop()
    numbers = count()
    while loop.seconds < seconds:
        told = {n: transcript(n, audit_id(n)) for n in islice(numbers, audits)}
        loop.seconds += _timed(peer.insert, [_ready_audit(number) for number in told])
        for step in range(LENGTH):
            took, ready = 0.0, []
            for number, events in told.items():
                image, event, owner = None, events[step], audit_id(number)
                if event["type"] == "screenshot":
                    begin = perf_counter()
                    image = store_image(peer.images, owner, event)
                    took += perf_counter() - begin
                ready.append(statements(owner, take(owner, event, datetime.now(UTC), image)))
            took += _timed(peer.insert, ready)
            loop.seconds += took
            loop.latencies += [took] * len(ready)
        recorded |= told
    return loop


def _timed(call: Callable[[list[Ready]], None], ready: list[Ready]) -> float:
    begin = perf_counter()
    call(ready)
    return perf_counter() - begin


def _ready_audit(number: int) -> Ready:
    row = audit_row(audit_id(number), audited_url(number))
    return [(insert_sql("audits", row), [stored_row(row)])]


def lone_effect(spec: Spec) -> Metrics:
    """E1: a lone caller records events of one type, of a hundred running audits in turn."""
    make = EFFECTS[spec.param]
    recorded: Recorded = {number: [] for number in range(TOLD)}

    async def use(peer: Peer) -> Loop:
        async def write(number: int) -> None:
            await tell(number % TOLD, make(number))

        async def tell(number: int, event: Row) -> None:
            await peer.record(audit_id(number), event)
            recorded[number].append(event)

        for number in recorded:
            await peer.create(audit_id(number), audited_url(number))
            await tell(number, transcript(number, audit_id(number))[0])
        await closed_loop(write, 1, WARM_UP)
        return await closed_loop(write, 1, spec.seconds)

    with new_file(spec.data) as path:
        loop = with_peer(spec.peer, path, use)
        check_recorded(path, recorded)
    return loop.metrics()


_PEERS = (*peers.LIBRARIES, "aiosqlite-few")
CASES = (
    Case(
        "MIX",
        "a whole audit's 36 events as the engine sends them, by the number of audits at once",
        mix,
        ("1", "16", "100", "1000"),
        (*_PEERS, *peers.LIMITS[:2]),
        (
            View("per_s", "events per second"),
            View("p50_ms", "p50 of an event, ms", 3),
            View("p99_ms", "p99 of an event, ms", 3),
            View("cpu_us", "processor time of the process for an event, µs"),
        ),
        quick_params=("1", "16", "100"),
        only={
            "sqlite3-row": ("1",),
            "piccolo": ("1", "16"),
            **dict.fromkeys(("sqlalchemy", "pwasyncio"), ("1", "16", "100")),
        },
        own_file=True,
        note="12 phases, 10 log entries, 2 screenshots (PNG, 14 kB, on disk before their rows), "
        "the site type, 3 security results, 4 findings, 2 statistics, the result, the end; each "
        "event and its effect on the rows are one transaction, awaited before the next of its "
        "audit. The audits are evenly spread over their length when the clock starts. At the end "
        "each audit's columns, events, findings, screenshots and image files are compared with "
        "what was acknowledged, for every peer alike. Each new audit's row is timed, not counted. "
        "The image files are synced: on a slow disk that is most of the time of few audits; "
        "`--data` in a RAM disk measures the rest. SQLAlchemy and pwasyncio would take "
        "minutes with 1,000, Piccolo with 100. `--against FOLDER` measures the package of an "
        "earlier commit as well.",
    ),
    Case(
        "E1",
        "one event with an effect a write, a lone caller, by the event's type",
        lone_effect,
        tuple(EFFECTS),
        _PEERS,
        (View("p50_ms", "p50 of an event, ms", 3), View("per_s", "events per second")),
        own_file=True,
        note="Of 100 running audits in turn; the first three change columns of the audit's row, "
        "the last adds a row, unless it is there. By hand: an INSERT and an UPDATE (or INSERT) in "
        "one transaction.",
    ),
)
