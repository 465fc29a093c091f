"""A follower: the events of an audit, or of all, as they are committed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, Self

import anyio
from anyio.lowlevel import checkpoint

from veritas_peewee.errors import AuditNotFound, StoreClosed, StoreError
from veritas_peewee.following import feed
from veritas_peewee.following.hub import Channel, Hub
from veritas_peewee.models import AuditEvent
from veritas_peewee.values.states import Ended


class Follower:
    """The events of one audit, or of all, as they are committed: `async for event in follower`.

    Made by `AuditStore.follow` and `follow_all`, which state the errors. `await` it first, and it
    raises at once if there is no such audit. It holds no connection and no task: leave the loop at
    any time, and continue with the same follower, or with a new one `after` the last event's id or
    token. Followers share their events: read them, do not change them.
    """

    ended: Ended | None = None
    """How the events came to an end; None while there may be more."""
    is_live = False
    """Whether the last events came as they were committed, and were not looked up."""

    def __init__(
        self,
        hub: Hub,
        read: Callable[..., Awaitable[Any]],
        end_dead: Callable[[], Awaitable[Any]],
        check: Callable[[], object],
        audit_id: str | None,
        after: int | str | None,
    ) -> None:
        self._hub = hub
        self.read = read
        self.end_dead = end_dead
        self._check = check
        self._audit_id = audit_id
        self._token = after if isinstance(after, str) else None
        """The token to begin after, until it is looked up."""
        self._after = None if isinstance(after, str) else after
        self._channel: Channel | None = None
        self._events: list[AuditEvent] = []
        self._next = 0
        self._over: Ended | None = None
        """How the audit has ended, once its last events are read; they may still be given."""
        self._busy = False
        self.signal: anyio.Event | None = None
        """Wakes this follower while it waits for another one to read; None while it does not."""

    def __await__(self) -> Generator[Any, Any, Self]:
        return self._begin().__await__()

    async def _begin(self) -> Self:
        if self._channel is None and not self._events and self._over is None:
            try:
                await self._alone(self._read)
            except StoreError as error:
                if not self._busy:
                    self._end(self._how(error))
                raise
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AuditEvent:
        if self._next == len(self._events):
            await self._alone(self._refill)
        event = self._events[self._next]
        self._next += 1
        return event

    def ready(self) -> list[AuditEvent]:
        """The events that are here already, to be given without waiting; perhaps none."""
        events, self._events, self._next = self._events[self._next :], [], 0
        return events

    async def aclose(self) -> None:
        """End this follower; a task that waits for its next event continues. May be repeated."""
        self._end(Ended.LEFT)
        self._hub.leave(self)

    async def _alone(self, fn: Callable[[], Awaitable[None]]) -> None:
        if self._busy:
            raise StoreError("this follower is waited for by another task: make one for each")
        self._busy = True
        try:
            await fn()
        finally:
            self._busy = False

    def _end(self, how: Ended) -> None:
        self.ended = self._over = self.ended or how
        self._channel = None
        self._events, self._next = [], 0

    def _how(self, error: StoreError) -> Ended:
        if self._hub.closed:
            return Ended.CLOSING
        return Ended.DELETED if isinstance(error, AuditNotFound) else Ended.FAILED

    async def _refill(self) -> None:
        """Wait until there are events; raises StopAsyncIteration at the end."""
        self._events, self._next = [], 0
        # A loop over stored events must let other tasks run, and be possible to cancel.
        await checkpoint()
        try:
            while not self._events:
                if self._over is not None:
                    self._end(self._over)
                    raise StopAsyncIteration
                channel = self._channel
                if channel is None or channel.start > (self._after or 0):
                    await self._read()
                elif events := channel.after(self._after or 0):
                    self._events, self._after, self.is_live = events, events[-1].id, True
                elif channel.over:
                    self._channel = None  # read the events that are left, and how it ended
                elif self._hub.closed:
                    raise StoreClosed("the store was closed while it was followed")
                else:
                    self._check()  # nothing could wake it in another event loop
                    await self._hub.wait(self, channel)
        except StoreError as error:
            self._end(self._how(error))
            # Following all audits ends only so; for one audit it would look like the audit's end.
            if self._hub.closed and self._audit_id is None:
                raise StopAsyncIteration from None
            raise

    def waits(self, channel: Channel) -> bool:
        """Whether this follower has nothing to take from its channel, and no reason to end."""
        return not (self._over or self._hub.closed or channel.has_news(self._after or 0))

    async def _read(self) -> None:
        """Take the next stored events; after the last of them, open the channel for new ones."""
        piece = await self.read(feed.stored, self._audit_id, self._token or self._after)
        if self._over is not None:
            return
        self._events, self._after, self._token = piece.events, piece.upto, None
        self.is_live = False
        if piece.large:
            self._events = self._hub.shared(piece.events)
        if piece.ended is not None:
            self._channel, self._over = None, piece.ended
        elif self._channel is None and not piece.more:
            self._channel = self._hub.join(self._audit_id, piece.upto)
