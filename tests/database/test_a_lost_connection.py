"""A connection to a server that has gone is known to have gone, and what it left is told apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from tests.support.on_server import by_hand
from tests.support.places import Databases
from veritas_peewee import connect
from veritas_peewee.database.failures import DRIVER_ERRORS, is_lost


@pytest.fixture
def url(server: Databases) -> Iterator[str]:
    with server.new() as made:
        yield made


def test_a_connection_that_cannot_leave_its_pipeline_has_gone(url):
    def fails() -> None:
        raise psycopg.OperationalError("cannot exit pipeline mode while busy")

    with connect(url) as database:
        connection = database.raw
        connection.begin_pipeline()
        kept = connection._open.pop_all()  # its pipeline is not left
        connection._open = ExitStack()
        connection._open.callback(fails)
        with pytest.raises(DRIVER_ERRORS) as caught:
            connection.end_pipeline()
        assert connection.closed
        assert is_lost(caught.value)
        with pytest.raises(psycopg.OperationalError):
            kept.close()


def test_only_a_session_without_a_sign_of_life_is_swept(url):
    with connect(url) as database:
        made = [
            database.raw.execute(
                "INSERT INTO store_sessions (told, heartbeat) VALUES ('far 7', "
                "clock_timestamp() - make_interval(hours => ?)) RETURNING id",
                (hours,),
            ).fetchone()[0]
            for hours in (1, 1)
        ]
        dead = database.session.leftovers()
        assert sorted(map(int, dead)) == made
        by_hand(url, f"UPDATE store_sessions SET heartbeat = now() WHERE id = {made[0]}")
        database.session.sweep(dead)
        left = database.raw.execute("SELECT id FROM store_sessions WHERE told = 'far 7'").fetchall()
        assert left == [(made[0],)]
