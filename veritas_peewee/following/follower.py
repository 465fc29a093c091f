"""A follower: the events of an audit, or of all, as they are committed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Self

import anyio
from anyio.lowlevel import checkpoint

from veritas_peewee.errors import StoreClosed, StoreError
from veritas_peewee.following import feed
from veritas_peewee.following.hub import Channel, Hub
from veritas_peewee.models import AuditEvent


class Follower:
    """The events of one audit, or of all, as they are committed: `async for event in follower`.

    Made by `AuditStore.follow` and `follow_all`, which state the errors. `await` it first, and it
    raises at once if there is no such audit. It holds no connection and no task: leave the loop at
    any time, and continue with the same follower, or with a new one `after` the last id. Followers
    share their events: read them, do not change them.
    """

    def __init__(
        self,
        hub: Hub,
        read: Callable[..., Awaitable[Any]],
        check: Callable[[], object],
        audit_id: str | None,
        after: int | None,
    ) -> None:
        self._hub = hub
        self.read = read
        self._check = check
        self._audit_id = audit_id
        self._after = after
        self._channel: Channel | None = None
        self._events: list[AuditEvent] = []
        self._next = 0
        self._ended = False
        self._busy = False
        self.signal: anyio.Event | None = None
        """Wakes this follower while it waits for another one to read; None while it does not."""

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
        """End this follower; a task that waits for its next event continues. May be repeated."""
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
        """Wait until there are events; raises StopAsyncIteration at the end."""
        self._events, self._next = [], 0
        # A loop over stored events must let other tasks run, and be possible to cancel.
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
                    self._channel = None  # read the events that are left, and how it ended
                elif self._hub.closed:
                    raise StoreClosed("the store was closed while it was followed")
                else:
                    self._check()  # nothing could wake it in another event loop
                    await self._hub.wait(self, channel)
        except StoreError:
            self._end()
            # Following all audits ends only so; for one audit it would look like the audit's end.
            if self._hub.closed and self._audit_id is None:
                raise StopAsyncIteration from None
            raise

    def waits(self, channel: Channel) -> bool:
        """Whether this follower has nothing to take from its channel, and no reason to end."""
        return not (self._ended or self._hub.closed or channel.has_news(self._after or 0))

    async def _read(self) -> None:
        """Take the next stored events; after the last of them, open the channel for new ones."""
        piece = await self.read(feed.stored, self._audit_id, self._after)
        if self._ended:
            return
        self._events, self._after = piece.events, piece.upto
        if piece.ended:
            self._channel, self._ended = None, True
        elif self._channel is None and not piece.more:
            self._channel = self._hub.join(self._audit_id, piece.upto)
