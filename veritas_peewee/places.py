"""Places in a bounded queue, given in the order of coming; a caller who waits costs little.

A hundred thousand calls may wait at once. On asyncio each has a bare future, on trio its entry
in one parking lot: an `anyio.Event` for each takes three times the memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio


class Places(Protocol):
    """All of it belongs to the event loop's thread."""

    free: int

    @property
    def waiting(self) -> int:
        """How many callers wait for a place."""

    def turn(self) -> Awaitable[None]:
        """What to await, at once, for a place; if that raises, `missed` has to be told."""

    def missed(self, turn: Any) -> None:
        """The caller has gone away; a place that he was given meanwhile is the next one's."""

    def give(self) -> None:
        """Hand a place to who has waited longest: a newcomer cannot overtake those who wait."""

    def refuse(self) -> None:
        """Let all who wait go on without a place."""


class AsyncioPlaces:
    """Places for callers on an asyncio loop."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.free = count
        self._loop = loop
        self._turns: deque[asyncio.Future[None]] = deque()
        self._gone = 0

    @property
    def waiting(self) -> int:
        return sum(not turn.done() for turn in self._turns)

    def turn(self) -> asyncio.Future[None]:
        # Not a coroutine around it: that would cost each of those who wait half as much again.
        turn: asyncio.Future[None] = self._loop.create_future()
        self._turns.append(turn)
        return turn

    def missed(self, turn: asyncio.Future[None]) -> None:
        if not turn.cancelled():
            if turn.done():
                self.give()
            return
        # To take one out of the middle it would have to be looked for.
        self._gone += 1
        if self._gone > 64 and self._gone * 2 > len(self._turns):
            self._turns = deque(turn for turn in self._turns if not turn.cancelled())
            self._gone = 0

    def give(self) -> None:
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1

    def refuse(self) -> None:
        turns, self._turns = self._turns, deque()
        for turn in turns:
            if not turn.done():
                turn.set_result(None)


class TrioPlaces:
    """Places for callers on trio."""

    def __init__(self, count: int) -> None:
        from trio.lowlevel import ParkingLot  # there only if it runs

        self.free = count
        self._lot = ParkingLot()

    @property
    def waiting(self) -> int:
        return len(self._lot)

    def turn(self) -> Awaitable[None]:
        return self._lot.park()

    def missed(self, turn: Any) -> None:
        """Nothing to do: trio cancels nobody who has been called already."""

    def give(self) -> None:
        if not self._lot.unpark():
            self.free += 1

    def refuse(self) -> None:
        self._lot.unpark_all()
