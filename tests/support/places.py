"""A server for the tests of this process, a database of it for each test, and what is said of it.

Where a machine has no server those tests are left out, loudly; with
VERITAS_POSTGRES_TESTS=required they fail.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.postgres import NoServer, Server, in_memory, programs, server
from veritas_peewee import connect

REQUIRED = os.environ.get("VERITAS_POSTGRES_TESTS") == "required"
"""Whether tests without a server fail instead of being left out."""
_LEFT_OUT = "NOT tried on PostgreSQL"


class Databases:
    """A running server, and in it an empty store that is copied for each test."""

    def __init__(self, running: Server) -> None:
        self.running = running
        template = running.new_database()
        with connect(template, on_event_loop=True):  # also if a test of one asks first
            pass
        self._template = template.partition("///")[2].partition("?")[0]

    @contextmanager
    def new(self) -> Iterator[str]:
        """The URL of a new store, which is removed at the end of the `with` block."""
        url = self.running.new_database(self._template)
        try:
            yield url
        finally:
            self.running.drop_database(url)


@contextmanager
def databases() -> Iterator[Databases]:
    """The server of this process; without one the test that asks is left out, or fails."""
    try:
        started = server("fsync=off", "max_wal_size=128MB", within=in_memory())
        running = started.__enter__()
    except (NoServer, ImportError) as error:
        if REQUIRED:
            pytest.fail(f"VERITAS_POSTGRES_TESTS=required, and {error}")
        pytest.skip(f"WARNING: {_LEFT_OUT}: {error}")
    try:
        yield Databases(running)
    finally:
        started.__exit__(None, None, None)


def is_on_server(nodeid: str) -> bool:
    """Whether a test asks a server, by its id."""
    name, _, case = nodeid.partition("[")
    return "server" in case.strip("]").split("-") or re.search("_on_(a_)?server", name) is not None


def summarize(reporter: Any) -> None:
    """Say at the end of a run which server was tried, or how many tests were left out without."""
    left = [one for one in reporter.stats.get("skipped", ()) if _LEFT_OUT in str(one.longrepr)]
    if left:
        reporter.section("PostgreSQL", sep="!", red=True, bold=True)
        reporter.line(f"{len(left)} tests were {_LEFT_OUT}: {left[0].longrepr[2]}", red=True)
        reporter.line("make test tries them; VERITAS_POSTGRES_TESTS=required lets them fail")
        return
    passed = [one for kind in ("passed", "failed") for one in reporter.stats.get(kind, ())]
    number = sum(is_on_server(one.nodeid) for one in passed)
    if number:
        try:
            server_program = programs() / "postgres"
        except NoServer as error:
            reporter.line(f"{number} tests failed without a server: {error}", red=True)
            return
        told = subprocess.run(
            [server_program, "--version"], stdout=subprocess.PIPE, text=True, check=True
        )
        reporter.line(f"{number} tests ran on {told.stdout.strip()}")
