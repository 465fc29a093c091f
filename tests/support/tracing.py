"""The statements that a connection executes, as the database is given them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def traced(database: Any) -> Iterator[list[str]]:
    """The text of each statement that is executed in the `with` block; SQLite names one again for
    each trigger that it sets off."""
    found: list[str] = []
    raw = database.raw
    if database.backend == "sqlite":
        raw.set_trace_callback(found.append)
        try:
            yield found
        finally:
            raw.set_trace_callback(None)
        return
    watch = raw.watch

    def both(sql: str) -> None:
        found.append(sql)
        if watch is not None:
            watch(sql)

    raw.watch = both
    try:
        yield found
    finally:
        raw.watch = watch
