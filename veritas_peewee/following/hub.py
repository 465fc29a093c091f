"""New events are read once for all followers, and the followers that they concern are woken.

There is no task and no thread behind this: one of the waiting followers, the leader, reads for
all of them, and when it has what it waited for, another one takes over. A follower that is not
waiting costs nothing; its events wait in the database.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable
from operator import attrgetter
from time import perf_counter
from typing import Any, Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary, ref

import anyio
from anyio.lowlevel import checkpoint

from veritas_peewee.database.failures import is_lost
from veritas_peewee.errors import StoreError
from veritas_peewee.following import feed
from veritas_peewee.following.feed import PIECE, POLL, TEXT, News
from veritas_peewee.following.listening import Listener
from veritas_peewee.following.patience import Patience
from veritas_peewee.models import AuditEvent

BUSY = 2000
"""Writes per second above which following pauses, so that it does not slow down the writers."""
SHARE = 24
"""While writers are busy, following pauses for this many times as long as its last round took."""
WINDOW = 0.02
"""Seconds over which writes are counted."""
GROUP = 64
"""How many followers are woken together, before other tasks run."""
CACHED_TEXT = 8_000_000
"""The most characters of events that channels hold, besides the last batch, for followers that have
not taken them yet."""
_ROW = 500
"""Characters that an event counts for besides its text."""

_id_of = attrgetter("id")


class Waiter(Protocol):
    """The part of a follower that the hub uses."""

    signal: anyio.Event | None
    """Wakes the follower while another one is the leader; None while it does not wait."""
    read: Callable[..., Awaitable[Any]]
    """Runs a function of `following.feed` in the follower's store."""
    end_dead: Callable[[], Awaitable[Any]]
    """Ends the audits whose process has died, each with an event."""

    def waits(self, channel: Channel) -> bool:
        """Whether the follower has nothing to take from its channel, and no reason to end."""
        ...


class Channel:
    """The newest events of one audit, or of all: every one after `start`."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.events: list[AuditEvent] = []
        self.over = False
        """Whether the audit has ended or is gone: no more events will come here."""
        self.waiting: dict[anyio.Event, None] = {}

    def has_news(self, after: int) -> bool:
        if self.over or self.start > after:
            return True
        return bool(self.events) and self.events[-1].id > after

    def after(self, after: int) -> list[AuditEvent]:
        first = bisect_right(self.events, after, key=_id_of)
        return self.events[first : first + PIECE]

    def begin_at(self, start: int) -> None:
        """Drop the events up to an id: a follower that needs them reads them from the database."""
        del self.events[: bisect_right(self.events, start, key=_id_of)]
        self.start = max(self.start, start)


class Hub:
    """The new events of a store for all of its followers; reads them through the leader."""

    def __init__(self, listener: Listener | None = None) -> None:
        """`listener` hears of other processes' commits, if the database tells of them."""
        self.closed = False
        self.listener = listener
        self.patience = Patience(lambda: self.closed)
        """With a server that is away; followers read through it."""
        self._channels: WeakValueDictionary[str | None, Channel] = WeakValueDictionary()
        self._cached: deque[tuple[ref[Channel], int, int]] = deque()
        self._cached_text = 0
        self._large: WeakValueDictionary[str, AuditEvent] = WeakValueDictionary()
        self._position = 0
        self._waiting: dict[anyio.Event, None] = {}
        self._leader: Waiter | None = None
        self._appointed: anyio.Event | None = None
        self._failed: WeakKeyDictionary[anyio.Event, StoreError] = WeakKeyDictionary()
        self._alarm: anyio.Event | None = None
        self._writes = self._counted = 0
        self._covered = -1
        self._counted_at = self._rate = 0.0
        self._poll_at = self._rest_until = self._worked = 0.0

    def notice(self, writes: int) -> None:
        """Count committed writes; called on the loop's thread, once for each transaction."""
        self._writes += writes
        if self._alarm is not None:
            self._alarm.set()

    def close(self) -> None:
        """End all followers, because their store is closed."""
        self.closed = True
        if self.listener is not None:
            self.listener.close()
        for signal in (*self._waiting, self._alarm):
            if signal is not None:
                signal.set()

    def shared(self, events: list[AuditEvent]) -> list[AuditEvent]:
        """The same events, as those objects that other followers have of them.

        For large ones: each follower reads them by itself, and slow ones hold them for long.
        """
        return [self._large.setdefault(event.token, event) for event in events]

    def leave(self, follower: Waiter) -> None:
        """Wake a follower that has ended, if it is waiting."""
        signal = self._alarm if self._leader is follower else follower.signal
        if signal is not None:
            signal.set()

    def join(self, audit_id: str | None, upto: int) -> Channel:
        """The channel of an audit (None: of all) for a follower that has read all up to an id."""
        if self._leader is None and not self._waiting:
            # Nothing has been read for a while, so there is a gap before this id.
            self._position = max(self._position, upto)
            for other in self._channels.values():
                other.begin_at(self._position)
        channel = self._channels.get(audit_id)
        if channel is None:
            self._channels[audit_id] = channel = Channel(self._position)
        return channel

    async def wait(self, follower: Waiter, channel: Channel) -> None:
        """Return when the channel has something for the follower, or when the follower ends."""
        try:
            while follower.waits(channel):
                if self._leader is not None:
                    await self._wait_for_leader(follower, channel)
                else:
                    self._leader = follower
                    try:
                        await self._lead(follower, channel)
                    except StoreError as error:
                        if is_lost(error):  # the others need not wait for that server too
                            for signal in self._waiting:
                                self._failed[signal] = error
                                signal.set()
                        raise
                    finally:
                        self._leader = None
        finally:
            # A follower that was woken to take over may have been served or cancelled meanwhile;
            # then it wakes the next one.
            if self._leader is None and self._appointed is None and self._waiting:
                self._appointed = next(iter(self._waiting))
                self._appointed.set()

    async def _wait_for_leader(self, follower: Waiter, channel: Channel) -> None:
        follower.signal = signal = anyio.Event()
        self._waiting[signal] = channel.waiting[signal] = None
        try:
            await signal.wait()
            if (error := self._failed.pop(signal, None)) is not None:
                raise type(error)(str(error)) from error
        finally:
            follower.signal = None
            del self._waiting[signal], channel.waiting[signal]
            if self._appointed is signal:
                self._appointed = None

    async def _lead(self, follower: Waiter, channel: Channel) -> None:
        while follower.waits(channel):
            left = self._poll_at - perf_counter()
            if self._writes == self._covered and left > 0:
                self._alarm = anyio.Event()
                try:
                    with anyio.move_on_after(left):
                        await self._wait(self._alarm)
                finally:
                    self._alarm = None
            else:
                await self._hold_back()
                await self._look(follower)

    async def _wait(self, alarm: anyio.Event) -> None:
        """Wait for commits of this process, and for those that a server tells of."""
        if self.listener is None:
            await alarm.wait()
            return
        async with anyio.create_task_group() as tasks:

            async def listen(listener: Listener) -> None:
                await listener.wait()
                self._covered = -1
                tasks.cancel_scope.cancel()

            tasks.start_soon(listen, self.listener)
            await alarm.wait()
            tasks.cancel_scope.cancel()

    async def _hold_back(self) -> None:
        """Pause, while writers are busy."""
        while self._is_busy():
            left = self._rest_until - perf_counter()
            if left <= 0:
                return
            await anyio.sleep(min(left, WINDOW))

    def _is_busy(self) -> bool:
        now = perf_counter()
        if now - self._counted_at >= WINDOW:
            # Without the time that following took: a writer that it slows down is busy too.
            left = max(now - self._counted_at - self._worked, 0.001)
            self._rate = (self._writes - self._counted) / left
            self._counted, self._counted_at, self._worked = self._writes, now, 0.0
        return self._rate > BUSY and not self.closed

    async def _look(self, follower: Waiter) -> None:
        """Read a batch of new events for all followers, and wake those that it concerns."""
        began = perf_counter()
        whole = began >= self._poll_at
        writes, before = self._writes, self._position
        # `asked` holds on to the channels: otherwise one could be collected at any moment.
        asked = dict(self._channels.items())
        ids = [audit_id for audit_id in asked if audit_id is not None]
        news: News = await follower.read(feed.fresh, before, ids, None in asked, whole)
        channels = list(self._channels.values())
        # This batch was not read for the channels that were opened meanwhile.
        for audit_id, channel in self._channels.items():
            if asked.get(audit_id) is not channel:
                channel.begin_at(news.upto)
        self._keep(news, asked)
        for audit_id in news.over:
            asked[audit_id].over = True
            self._channels.pop(audit_id, None)
        self._position = news.upto
        self._covered = -1 if news.more else writes
        now = perf_counter()
        if whole:
            self._poll_at = now + POLL
        self._rest_until = now + (now - began) * SHARE
        self._worked += now - began
        await self._wake([s for one in channels if one.has_news(before) for s in one.waiting])
        if news.dead:
            await follower.end_dead()

    def _keep(self, news: News, channels: dict[str | None, Channel]) -> None:
        events_of_all = self.shared(news.events) if news.size > TEXT else news.events
        by_audit: dict[str | None, list[AuditEvent]] = {None: events_of_all}
        for event in events_of_all:
            by_audit.setdefault(event.audit_id, []).append(event)
        size, older = news.size + _ROW * len(news.events), len(self._cached)
        for audit_id, events in by_audit.items():
            if events and (channel := channels.get(audit_id)) is not None:
                channel.events += events
                part = size * len(events) // len(news.events)
                self._cached.append((ref(channel), events[-1].id, part))
                self._cached_text += part
        # The batch itself stays, however large: each follower waiting for it would read it again.
        while self._cached_text > CACHED_TEXT and older > 0:
            older -= 1
            channel_of, upto, part = self._cached.popleft()
            self._cached_text -= part
            if (old := channel_of()) is not None:
                old.begin_at(upto)

    async def _wake(self, signals: list[anyio.Event]) -> None:
        try:
            while signals:
                began = perf_counter()
                for signal in signals[-GROUP:]:
                    signal.set()
                del signals[-GROUP:]
                await checkpoint()  # while they run
                now = perf_counter()
                self._rest_until = max(self._rest_until, now) + (now - began) * SHARE
                self._worked += now - began
                if signals:
                    await self._hold_back()
        finally:
            for signal in signals:
                signal.set()
