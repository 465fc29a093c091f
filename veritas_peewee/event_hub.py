"""Reads what was committed once for all who follow, and wakes those whom it concerns.

There is no task and no thread behind it: one of the followers that wait does the reading for all
of them, and when it has what it waited for, another one takes over. A follower that does not
wait costs nothing, and its events wait in the database.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from operator import attrgetter
from time import perf_counter
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary, ref

import anyio
from anyio.lowlevel import checkpoint

from veritas_peewee import event_feed
from veritas_peewee.event_feed import PIECE, POLL, News
from veritas_peewee.models import AuditEvent

if TYPE_CHECKING:
    from veritas_peewee.following import Follower

BUSY = 2000
"""Writes a second from which on following holds back, so that the writers do not notice it."""
SHARE = 24
"""How many times as long as it worked it then rests."""
WINDOW = 0.02
"""Seconds over which writes are counted."""
GROUP = 64
"""Followers that are woken at once."""
KEPT_TEXT = 8_000_000
"""Characters of the newest events that are kept for followers who are about to come for them,
beside those of the last look."""
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
        self.waiting: dict[anyio.Event, None] = {}

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
    """Reads what is new for all followers of a store; knows the store only through them."""

    def __init__(self) -> None:
        self.closed = False
        self._channels: WeakValueDictionary[str | None, Channel] = WeakValueDictionary()
        self._kept: deque[tuple[ref[Channel], int, int]] = deque()
        self._kept_text = 0
        self._position = 0
        self._waiting: dict[anyio.Event, None] = {}
        self._leader: Follower | None = None
        self._appointed: anyio.Event | None = None
        self._alarm: anyio.Event | None = None
        self._writes = self._counted = 0
        self._covered = -1
        self._counted_at = self._rate = 0.0
        self._poll_at = self._rest_until = self._worked = 0.0

    def notice(self, writes: int) -> None:
        """So many writes were committed; called on the loop's thread, once for a whole batch."""
        self._writes += writes
        if self._alarm is not None:
            self._alarm.set()

    def close(self) -> None:
        """The store is closed: followers end."""
        self.closed = True
        for signal in (*self._waiting, self._alarm):
            if signal is not None:
                signal.set()

    def leave(self, follower: Follower) -> None:
        """Let a follower that has ended look again, if it waits."""
        signal = self._alarm if self._leader is follower else follower.signal
        if signal is not None:
            signal.set()

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
                self._appointed.set()

    async def _be_told(self, follower: Follower, channel: Channel) -> None:
        follower.signal = signal = anyio.Event()
        self._waiting[signal] = channel.waiting[signal] = None
        try:
            await signal.wait()
        finally:
            follower.signal = None
            del self._waiting[signal], channel.waiting[signal]
            if self._appointed is signal:
                self._appointed = None

    async def _lead(self, follower: Follower, channel: Channel) -> None:
        while follower.waits(channel):
            left = self._poll_at - perf_counter()
            if self._writes == self._covered and left > 0:
                self._alarm = anyio.Event()
                try:
                    with anyio.move_on_after(left):
                        await self._alarm.wait()
                finally:
                    self._alarm = None
            else:
                await self._hold_back()
                await self._look(follower)

    async def _hold_back(self) -> None:
        """Rest, as long as much is written."""
        while self._is_busy():
            left = self._rest_until - perf_counter()
            if left <= 0:
                return
            await anyio.sleep(min(left, WINDOW))

    def _is_busy(self) -> bool:
        now = perf_counter()
        if now - self._counted_at >= WINDOW:
            # In the time that following left: a writer that it slows down is no slow writer.
            left = max(now - self._counted_at - self._worked, 0.001)
            self._rate = (self._writes - self._counted) / left
            self._counted, self._counted_at, self._worked = self._writes, now, 0.0
        return self._rate > BUSY and not self.closed

    async def _look(self, follower: Follower) -> None:
        """Read what is new, once for all, and wake those whom it concerns."""
        began = perf_counter()
        whole = began >= self._poll_at
        writes, before = self._writes, self._position
        # Through items, which hold on to the channels: one can go at any moment, in any thread.
        asked = dict(self._channels.items())
        ids = [audit_id for audit_id in asked if audit_id is not None]
        news: News = await follower.read(event_feed.fresh, before, ids, None in asked, whole)
        channels = list(self._channels.values())
        # Who came while this was being read has not been read for.
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

    def _keep(self, news: News, channels: dict[str | None, Channel]) -> None:
        by_audit: dict[str | None, list[AuditEvent]] = {None: news.events}
        for event in news.events:
            by_audit.setdefault(event.audit_id, []).append(event)
        size, older = news.size + _ROW * len(news.events), len(self._kept)
        for audit_id, events in by_audit.items():
            if events and (channel := channels.get(audit_id)) is not None:
                channel.events += events
                part = size * len(events) // len(news.events)
                self._kept.append((ref(channel), events[-1].id, part))
                self._kept_text += part
        # Not what has just come, however much it is: each who waits for it would read it again.
        while self._kept_text > KEPT_TEXT and older > 0:
            older -= 1
            kept, upto, part = self._kept.popleft()
            self._kept_text -= part
            if (old := kept()) is not None:
                old.begin_at(upto)

    async def _wake(self, told: list[anyio.Event]) -> None:
        try:
            while told:
                began = perf_counter()
                for signal in told[-GROUP:]:
                    signal.set()
                del told[-GROUP:]
                await checkpoint()  # while they run
                now = perf_counter()
                self._rest_until = max(self._rest_until, now) + (now - began) * SHARE
                self._worked += now - began
                if told:
                    await self._hold_back()
        finally:
            for signal in told:
                signal.set()
