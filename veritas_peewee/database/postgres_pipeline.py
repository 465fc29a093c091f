"""Many statements in one round trip, sent together."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.abc import PQGen

_HELD = 16
"""Statements of a pipeline that are sent together, at most."""


class Together(psycopg.Pipeline):
    """A pipeline that sends some statements at once, or what there is when an answer is waited for:
    psycopg sends each by itself, and the server wakes for each."""

    _held = 0

    def _communicate_gen(self) -> PQGen[None]:
        is_end = False
        while self.command_queue:
            command = self.command_queue.popleft()
            is_end = is_end or command == self.pgconn.pipeline_sync
            self._held += 1
            command()
        if is_end:
            self._held = 0
            yield from super()._communicate_gen()
        elif self._held >= _HELD:
            self._held = 0
            self.pgconn.flush()


def going_on(steps: PQGen[Any], first: Any) -> PQGen[Any]:
    while True:
        try:
            first = steps.send((yield first))
        except StopIteration as end:
            return end.value
