"""Whether a query would run where it stalls all tasks: on an event loop's own thread."""

from __future__ import annotations

from anyio import NoEventLoopError
from anyio.lowlevel import current_token

from veritas_peewee.errors import NoDatabase

_ON_LOOP = (
    "this query would run on the event loop's own thread and stall it: await a method of the "
    "store, or `store.read(fn)` and `store.write(fn)` for any other Peewee code"
)
_NOT_OPEN = (
    "no database is open in this thread: use `with connect(path):` in a script, or pass the "
    "code to `store.read(fn)` or `store.write(fn)`"
)


def on_event_loop() -> bool:
    """Whether an event loop runs in this very thread."""
    try:
        current_token()
    except (NoEventLoopError, RuntimeError):  # a forked child can inherit half a loop
        return False
    return True


def refuse_on_event_loop() -> None:
    """Raise NoDatabase on an event loop's thread."""
    if on_event_loop():
        raise NoDatabase(_ON_LOOP)


def not_open_here() -> NoDatabase:
    """The error for a query in a thread or task where no database is open."""
    return NoDatabase(_ON_LOOP if on_event_loop() else _NOT_OPEN)
