"""Reads what was committed once for all who follow, and wakes those whom it concerns.

There is no task and no thread behind it: one of the followers that wait does the reading for all
of them, and when it has what it waited for, another one takes over. A follower that does not
wait costs nothing, and its events wait in the database.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable
from operator import attrgetter
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary, ref

import anyio
from anyio.lowlevel import checkpoint

from veritas_peewee import event_feed
from veritas_peewee.event_feed import PIECE, POLL, News
from veritas_peewee.models import AuditEvent
from veritas_peewee.writer import asyncio_loop

if TYPE_CHECKING:
    from veritas_peewee.following import Follower

BUSY = 2000
"""Writes a second from which on following holds back, so that the writers do not notice it."""
SHARE = 16
"""How many times as long as it worked it then rests."""
WINDOW = 0.05
"""Seconds over which writes are counted."""
GROUP = 64
"""Followers that are woken at once."""
KEPT_TEXT = 8_000_000
"""Characters of the newest events that are kept for followers who are about to come for them."""
_ROW = 500
"""What an event takes besides its text."""

_id_of = attrgetter("id")


class Channel:
    """The newest events of one audit, or of all: every one after `start`."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.events: list[AuditEvent] = []
        self.over = False
        """Whether the audit has ended or is gone: nothing more will come here."""
        self.waiting: dict[Any, None] = {}

    def has_news(self, after: int) -> bool:
        if self.over or self.start > after:
            return True
        return bool(self.events) and self.events[-1].id > after

    def after(self, after: int) -> list[AuditEvent]:
        first = bisect_right(self.events, after, key=_id_of)
        return self.events[first : first + PIECE]

    def begin_at(self, start: int) -> None:
        """Forget the events up to an id: who has not taken them reads them."""
        del self.events[: bisect_right(self.events, start, key=_id_of)]
        self.start = max(self.start, start)


class Hub:
    """Reads what is new for all followers of a store; `read` runs a function on its readers."""

    def __init__(self, read: Callable[..., Awaitable[Any]]) -> None:
        self.read = read
        self.closed = False
        self._channels: WeakValueDictionary[str | None, Channel] = WeakValueDictionary()
        self._kept: deque[tuple[ref[Channel], int, int]] = deque()
        self._kept_text = 0
        self._position = 0
        self._waiting: dict[Any, None] = {}
        self._leader: Follower | None = None
        self._appointed: object = None
        self._alarm: Any = None
        self._writes = self._counted = 0
        self._covered = -1
        self._counted_at = self._rate = 0.0
        self._poll_at = self._rest_until = 0.0

    def notice(self, writes: int) -> None:
        """So many writes were committed; called on the loop's thread, once for a whole batch."""
        self._writes += writes
        _set(self._alarm)

    def close(self) -> None:
        """The store is closed: followers end."""
        self.closed = True
        for signal in (*self._waiting, self._alarm):
            _set(signal)

    def leave(self, follower: Follower) -> None:
        """Let a follower that has ended look again, if it waits."""
        _set(self._alarm if self._leader is follower else follower.signal)

    def join(self, audit_id: str | None, upto: int) -> Channel:
        """The channel of an audit (None: of all) for one who has read all up to an id."""
        if self._leader is None and not self._waiting:
            # Nobody has looked for a while: begin here.
            self._position = max(self._position, upto)
            for other in self._channels.values():
                other.begin_at(self._position)
        channel = self._channels.get(audit_id)
        if channel is None:
            self._channels[audit_id] = channel = Channel(self._position)
        return channel

    async def wait(self, follower: Follower, channel: Channel) -> None:
        """Until there is something in the channel for the follower, or another end of waiting."""
        try:
            while follower.waits(channel):
                if self._leader is not None:
                    await self._be_told(follower, channel)
                else:
                    self._leader = follower
                    try:
                        await self._lead(follower, channel)
                    finally:
                        self._leader = None
        finally:
            # One who is woken to take over, and has been served or cancelled, wakes the next.
            if self._leader is None and self._appointed is None and self._waiting:
                self._appointed = next(iter(self._waiting))
                _set(self._appointed)

    async def _be_told(self, follower: Follower, channel: Channel) -> None:
        follower.signal = signal = _signal()
        self._waiting[signal] = channel.waiting[signal] = None
        try:
            await _wait_for(signal)
        finally:
            follower.signal = None
            del self._waiting[signal], channel.waiting[signal]
            if self._appointed is signal:
                self._appointed = None

    async def _lead(self, follower: Follower, channel: Channel) -> None:
        while follower.waits(channel):
            left = self._poll_at - perf_counter()
            if self._writes == self._covered and left > 0:
                self._alarm = _signal()
                try:
                    with anyio.move_on_after(left):
                        await _wait_for(self._alarm)
                finally:
                    self._alarm = None
            else:
                await self._hold_back()
                await self._look()

    async def _hold_back(self) -> None:
        """Rest, as long as much is written."""
        while self._is_busy():
            left = self._rest_until - perf_counter()
            if left <= 0:
                return
            await anyio.sleep(min(left, WINDOW / 5))

    def _is_busy(self) -> bool:
        now = perf_counter()
        if now - self._counted_at >= WINDOW:
            self._rate = (self._writes - self._counted) / (now - self._counted_at)
            self._counted, self._counted_at = self._writes, now
        return self._rate > BUSY and not self.closed

    async def _look(self) -> None:
        """Read what is new, once for all, and wake those whom it concerns."""
        began = perf_counter()
        writes, before, asked = self._writes, self._position, dict(self._channels)
        ids = [audit_id for audit_id in asked if audit_id is not None]
        news = await self.read(event_feed.fresh, before, ids, None in asked)
        channels = list(self._channels.values())
        # Who came while this was being read has not been read for.
        for channel in channels:
            if channel not in asked.values():
                channel.begin_at(news.upto)
        self._keep(news, asked)
        for audit_id in news.over:
            asked[audit_id].over = True
            self._channels.pop(audit_id, None)
        self._position = news.upto
        self._covered = -1 if news.more else writes
        now = perf_counter()
        self._poll_at, self._rest_until = now + POLL, now + (now - began) * SHARE
        await self._wake([s for one in channels if one.has_news(before) for s in one.waiting])

    def _keep(self, news: News, channels: dict[str | None, Channel]) -> None:
        by_audit: dict[str | None, list[AuditEvent]] = {None: news.events}
        for event in news.events:
            by_audit.setdefault(event.audit_id, []).append(event)
        size = news.size + _ROW * len(news.events)
        for audit_id, events in by_audit.items():
            if events and (channel := channels.get(audit_id)) is not None:
                channel.events += events
                part = size * len(events) // len(news.events)
                self._kept.append((ref(channel), events[-1].id, part))
                self._kept_text += part
        while self._kept_text > KEPT_TEXT:
            kept, upto, part = self._kept.popleft()
            self._kept_text -= part
            if (old := kept()) is not None:
                old.begin_at(upto)

    async def _wake(self, told: list[Any]) -> None:
        try:
            while told:
                began = perf_counter()
                for signal in told[-GROUP:]:
                    _set(signal)
                del told[-GROUP:]
                await checkpoint()  # while they run
                now = perf_counter()
                self._rest_until = max(self._rest_until, now) + (now - began) * SHARE
                if told:
                    await self._hold_back()
        finally:
            for signal in told:
                _set(signal)


def _signal() -> Any:
    # As the writer does: a future is what asyncio waits for in the end.
    loop = asyncio_loop()
    return anyio.Event() if loop is None else loop.create_future()


async def _wait_for(signal: Any) -> None:
    await (signal.wait() if isinstance(signal, anyio.Event) else signal)


def _set(signal: Any) -> None:
    if isinstance(signal, anyio.Event):
        signal.set()
    elif signal is not None and not signal.done():
        signal.set_result(None)
