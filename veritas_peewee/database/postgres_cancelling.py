"""How a statement that runs on a server is ended, without whoever ends it waiting for that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

import psycopg
from psycopg import capabilities, generators, waiting

WITHIN = 5.0
"""Seconds in which the server has to answer."""


def cancel_soon(connection: psycopg.Connection[Any]) -> None:
    """Ask the server, on a connection of its own, to end the statement that runs on this one.

    In a thread, for it may be the event loop that asks, and a server that stands still answers
    nobody. So it can come late: what is asked on this connection afterwards may be ended instead.
    """
    with suppress(psycopg.Error):
        ask = _asker(connection)
        Thread(target=_quietly, args=(ask,), name="veritas-cancel", daemon=True).start()


def _asker(connection: psycopg.Connection[Any]) -> Callable[[], object]:
    """What asks the server. Made by whoever knows that the connection is there still."""
    if not capabilities.has_cancel_safe():  # libpq before 17
        return connection.pgconn.get_cancel().cancel
    cancel = connection.pgconn.cancel_conn()

    def ask() -> None:
        # Not its method `blocking`, which holds the interpreter's lock until the server answers.
        cancel.start()
        waiting.wait_conn(generators.cancel(cancel), interval=0.1, timeout=WITHIN)

    return ask


def _quietly(ask: Callable[[], object]) -> None:
    with suppress(Exception):  # what it was to end ends by itself then
        ask()
