"""Waiting for child processes on asyncio without a thread for each, before Python 3.12.

Since 3.12 asyncio does so by itself. Before, a thread waits for each child; the watcher with
descriptors that 3.11 has belongs to one event loop, and a program may have several.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypeVarTuple

assert sys.platform != "win32"

Ts = TypeVarTuple("Ts")


class DescriptorWatcher(asyncio.AbstractChildWatcher):
    """Learns of a child's end in the event loop that started it; it has no state of its own."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def is_active(self) -> bool:
        return True

    def attach_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        pass

    def close(self) -> None:
        pass

    def add_child_handler(
        self, pid: int, callback: Callable[[int, int, *Ts], object], *args: *Ts
    ) -> None:
        loop, handle = asyncio.get_running_loop(), os.pidfd_open(pid)

        def ended() -> None:
            loop.remove_reader(handle)
            os.close(handle)
            try:
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            except ChildProcessError:  # somebody else has waited for it
                code = 255
            callback(pid, code, *args)

        loop.add_reader(handle, ended)

    def remove_child_handler(self, pid: int) -> bool:
        return True  # asyncio itself never calls it


@contextmanager
def watched_by_descriptor() -> Iterator[None]:
    """Children that are started inside the block are waited for without a thread.

    A watcher that the program has chosen itself stays.
    """
    try:
        before = asyncio.get_child_watcher()
    except NotImplementedError:  # another event loop, which needs none
        yield
        return
    if type(before) is not asyncio.ThreadedChildWatcher:
        yield
        return
    own = DescriptorWatcher()
    asyncio.set_child_watcher(own)
    try:
        yield
    finally:
        if asyncio.get_child_watcher() is own:
            asyncio.set_child_watcher(before)
