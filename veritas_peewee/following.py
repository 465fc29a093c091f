"""Events as they are committed, for any number of followers; the database is read once for all.

There is no task and no thread behind it: one of the followers that wait does the reading for all
of them, and when it has what it waited for, another one takes over. A follower that does not
wait costs nothing, and its events wait in the database.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from operator import attrgetter
from time import perf_counter
from typing import Any, Self
from weakref import WeakValueDictionary, ref

import anyio
from anyio.lowlevel import checkpoint

from veritas_peewee import event_feed
from veritas_peewee.errors import StoreClosed, StoreError
from veritas_peewee.event_feed import POLL, News
from veritas_peewee.models import AuditEvent
from veritas_peewee.writer import asyncio_loop

SHARE = 16
"""While others write, following takes one part of the time in this many."""
QUIET = 0.005
"""Seconds without a commit after which following need not hold back."""
GROUP = 16
"""Followers that are woken at once."""
KEPT_TEXT = 8_000_000
"""Characters of the newest events that are kept for followers who are about to come for them."""
_ROW = 500
"""What an event takes besides its text."""

_id_of = attrgetter("id")


class Follower:
    """The events of one audit, or of all, as they are committed: `async for event in follower`.

    Made by `AuditStore.follow` and `follow_all`. To be sure at once that there is such an audit,
    `await` it first. It holds no connection and no task: leave it at any time, and go on with the
    same one, or with a new one `after` the last id. The events are shared between followers: read
    them, do not change them.
    """

    def __init__(self, hub: Hub, audit_id: str | None, after: int | None) -> None:
        self._hub = hub
        self._audit_id = audit_id
        self._after = after
        self._channel: _Channel | None = None
        self._events: list[AuditEvent] = []
        self._next = 0
        self._ended = False
        self._busy = False
        self.signal: Any = None
        """What it waits for, when another follower reads for it."""

    def __await__(self) -> Generator[Any, Any, Self]:
        return self._begin().__await__()

    async def _begin(self) -> Self:
        if self._channel is None and not self._events and not self._ended:
            await self._alone(self._read)
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AuditEvent:
        if self._next == len(self._events):
            await self._alone(self._refill)
        event = self._events[self._next]
        self._next += 1
        return event

    async def aclose(self) -> None:
        """End: whoever waits for an event of this follower goes on. May be called again."""
        self._end()
        self._hub.leave(self)

    async def _alone(self, fn: Callable[[], Awaitable[None]]) -> None:
        if self._busy:
            raise StoreError("this follower is waited for by another task: make one for each")
        self._busy = True
        try:
            await fn()
        finally:
            self._busy = False

    def _end(self) -> None:
        self._ended, self._channel = True, None
        self._events, self._next = [], 0

    async def _refill(self) -> None:
        """Wait until there is an event; StopAsyncIteration at the end."""
        self._events, self._next = [], 0
        # A loop over what is there already must let others run, and can be cancelled.
        await checkpoint()
        try:
            while not self._events:
                if self._ended:
                    raise StopAsyncIteration
                channel = self._channel
                if channel is None or channel.start > (self._after or 0):
                    await self._read()
                elif events := channel.after(self._after or 0):
                    self._events, self._after = events, events[-1].id
                elif channel.over:
                    self._channel = None  # how it ended is read with what may be left
                elif self._hub.closed:
                    raise StoreClosed("the store was closed while it was followed")
                else:
                    await self._hub.wait(self, channel)
        except StoreError:
            self._end()
            # Of all audits there is no other end; of one, this would seem to be it.
            if self._hub.closed and self._audit_id is None:
                raise StopAsyncIteration from None
            raise

    def waits(self, channel: _Channel) -> bool:
        """Whether there is nothing for this follower in its channel."""
        return not (self._ended or self._hub.closed or channel.has_news(self._after or 0))

    async def _read(self) -> None:
        """Take what is stored; once that is all there is, be told of what comes."""
        piece = await self._hub.read(event_feed.stored, self._audit_id, self._after)
        if self._ended:
            return
        self._events, self._after = piece.events, piece.upto
        if piece.ended:
            self._channel, self._ended = None, True
        elif self._channel is None and not piece.more:
            self._channel = self._hub.join(self._audit_id, piece.upto)


class _Channel:
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
        return self.events[bisect_right(self.events, after, key=_id_of) :]

    def begin_at(self, start: int) -> None:
        """Forget the events up to an id: who has not taken them reads them."""
        del self.events[: bisect_right(self.events, start, key=_id_of)]
        self.start = max(self.start, start)


class Hub:
    """Reads what is new for all followers of a store; `read` runs a function on its readers."""

    def __init__(self, read: Callable[..., Awaitable[Any]]) -> None:
        self.read = read
        self.closed = False
        self._channels: WeakValueDictionary[str | None, _Channel] = WeakValueDictionary()
        self._kept: deque[tuple[ref[_Channel], int, int]] = deque()
        self._kept_text = 0
        self._position = 0
        self._waiting: dict[Any, None] = {}
        self._leader: Follower | None = None
        self._appointed: object = None
        self._alarm: Any = None
        self._commits = 0
        self._covered = -1
        self._poll_at = self._rest_until = 0.0

    def notice(self) -> None:
        """Something was committed; called on the loop's thread, once for a whole batch."""
        self._commits += 1
        _set(self._alarm)

    def close(self) -> None:
        """The store is closed: followers end."""
        self.closed = True
        for signal in (*self._waiting, self._alarm):
            _set(signal)

    def leave(self, follower: Follower) -> None:
        """Let a follower that has ended look again, if it waits."""
        _set(self._alarm if self._leader is follower else follower.signal)

    def join(self, audit_id: str | None, upto: int) -> _Channel:
        """The channel of an audit (None: of all) for one who has read all up to an id."""
        if self._leader is None and not self._waiting:
            # Nobody has looked for a while: begin here.
            self._position = max(self._position, upto)
            for other in self._channels.values():
                other.begin_at(self._position)
        channel = self._channels.get(audit_id)
        if channel is None:
            self._channels[audit_id] = channel = _Channel(self._position)
        return channel

    async def wait(self, follower: Follower, channel: _Channel) -> None:
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

    async def _be_told(self, follower: Follower, channel: _Channel) -> None:
        follower.signal = signal = _signal()
        self._waiting[signal] = channel.waiting[signal] = None
        try:
            await _wait_for(signal)
        finally:
            follower.signal = None
            del self._waiting[signal], channel.waiting[signal]
            if self._appointed is signal:
                self._appointed = None

    async def _lead(self, follower: Follower, channel: _Channel) -> None:
        while follower.waits(channel):
            left = self._poll_at - perf_counter()
            if self._commits == self._covered and left > 0:
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
        """Leave most of the time to those who write, as long as they do."""
        while (left := self._rest_until - perf_counter()) > 0 and not self.closed:
            commits = self._commits
            await anyio.sleep(min(left, QUIET))
            if self._commits == commits:
                return

    async def _look(self) -> None:
        """Read what is new, once for all, and wake those whom it concerns."""
        began = perf_counter()
        commits, before, asked = self._commits, self._position, dict(self._channels)
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
        self._covered = -1 if news.more else commits
        now = perf_counter()
        self._poll_at, self._rest_until = now + POLL, now + (now - began) * SHARE
        await self._wake([s for one in channels if one.has_news(before) for s in one.waiting])

    def _keep(self, news: News, channels: dict[str | None, _Channel]) -> None:
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
                # After the second turn they have run, on trio too.
                await checkpoint()
                await checkpoint()
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
