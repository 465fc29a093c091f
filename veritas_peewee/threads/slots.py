"""Slots of a bounded queue, handed out in the order in which callers came.

A hundred thousand callers may wait for a slot at once, so waiting has to be cheap: on asyncio
each caller has a bare future, on trio an entry in one parking lot. An `anyio.Event` for each would
take three times the memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import asyncio


class Slots(Protocol):
    """Every attribute and method belongs to the event loop's thread."""

    free: int
    """Slots that a caller can take without waiting."""

    @property
    def waiting(self) -> int:
        """How many callers wait for a slot."""

    def turn(self) -> Awaitable[None]:
        """An awaitable that ends once the caller has a slot; await it at once.

        If awaiting it raises, the caller passes it to `missed`.
        """

    def missed(self, turn: Any) -> None:
        """Forget a caller who has gone away; a slot he was given meanwhile goes to the next."""

    def give(self) -> None:
        """Hand a slot to the caller who has waited longest, so that no newcomer overtakes him."""

    def refuse(self) -> None:
        """Let every caller who waits continue without a slot."""


class AsyncioSlots:
    """Slots for callers on an asyncio loop."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.free = count
        self._loop = loop
        self._turns: deque[asyncio.Future[None]] = deque()
        self._gone = 0

    @property
    def waiting(self) -> int:
        return sum(not turn.done() for turn in self._turns)

    def turn(self) -> asyncio.Future[None]:
        # The future itself: a coroutine around it would cost each waiting caller half as much
        # memory again.
        turn: asyncio.Future[None] = self._loop.create_future()
        self._turns.append(turn)
        return turn

    def missed(self, turn: asyncio.Future[None]) -> None:
        if not turn.cancelled():
            if turn.done():
                self.give()
            return
        # Removing it now would mean a search through the deque, so cancelled turns are dropped
        # together once they are more than half of it.
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


class TrioSlots:
    """Slots for callers on trio."""

    def __init__(self, count: int) -> None:
        from trio.lowlevel import ParkingLot  # trio is installed only where it is used

        self.free = count
        self._lot = ParkingLot()

    @property
    def waiting(self) -> int:
        return len(self._lot)

    def turn(self) -> Awaitable[None]:
        return self._lot.park()

    def missed(self, turn: Any) -> None:
        """Do nothing: trio never cancels a task that has been unparked already."""

    def give(self) -> None:
        if not self._lot.unpark():
            self.free += 1

    def refuse(self) -> None:
        self._lot.unpark_all()
