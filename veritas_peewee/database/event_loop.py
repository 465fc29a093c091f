"""Whether a query would run where it stalls all tasks: on an event loop's own thread."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from veritas_peewee.errors import NoDatabase

if TYPE_CHECKING:
    import asyncio

    from anyio.lowlevel import EventLoopToken

_ON_LOOP = (
    "this query would run on the event loop's own thread and stall it: await a method of the "
    "store, or `store.read(fn)` and `store.write(fn)` for any other Peewee code"
)
_NOT_OPEN = (
    "no database is open in this thread: use `with connect(path):` in a script, or pass the "
    "code to `store.read(fn)` or `store.write(fn)`"
)


@functools.cache
def _anyio() -> Callable[[], EventLoopToken]:
    # Imported here, because code that imports the models alone does not need it.
    from anyio.lowlevel import current_token

    return current_token


def current_token() -> EventLoopToken:
    """anyio's token of the event loop that runs in this thread; RuntimeError if there is none."""
    return _anyio()()


def on_event_loop() -> bool:
    """Whether an event loop runs in this very thread."""
    if _has_no_loop():
        return False
    try:
        current_token()
    except RuntimeError:  # a forked child can inherit half a loop
        return False
    return True


def asyncio_loop() -> asyncio.AbstractEventLoop | None:
    """The asyncio loop that runs in this thread, or None; asyncio is not imported for it."""
    # Another thread may be importing it just now: until it is whole, nobody has a loop.
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)
    return None if running is None else running()


def _has_no_loop() -> bool:
    # It is asked for each statement of a script. Without Trio only asyncio can have a loop here,
    # and asyncio itself says so in a tenth of the time that anyio takes.
    return "trio" not in sys.modules and asyncio_loop() is None


def refuse_on_event_loop() -> None:
    """Raise NoDatabase on an event loop's thread."""
    if on_event_loop():
        raise NoDatabase(_ON_LOOP)


def not_open_here() -> NoDatabase:
    """The error for a query in a thread or task where no database is open."""
    return NoDatabase(_ON_LOOP if on_event_loop() else _NOT_OPEN)
