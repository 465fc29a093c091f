"""A store in a file needs no driver of a server, whatever is done with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import environment

OPENED = {
    "by a script": "with connect(path): print(sync.count())",
    "by one who only looks": "with connect(path, read_only=True): print(sync.count())",
    "by a store": "async def counted():\n"
    "    async with AuditStore.open(path) as store: print(await store.count())\n"
    "anyio.run(counted)",
}


@pytest.mark.parametrize("how", OPENED)
def test_a_file_is_opened_where_no_driver_is_installed(path: Path, how: str) -> None:
    program = (
        "import sys\n"
        "sys.modules['psycopg'] = None\n"
        "import anyio\n"
        "from veritas_peewee import AuditStore, connect, sync\n"
        "path = sys.argv[1]\n"
        "with connect(path): sync.create('https://example.com/')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program + OPENED[how], str(path)],
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize(("told", "has_it"), [("audits.db", False), ("postgresql:///audits", True)])
def test_a_process_of_the_tests_has_a_driver_if_it_is_told_of_a_server(
    told: str, has_it: bool
) -> None:
    program = "import peewee; print(peewee.psycopg is not None)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, told],
        env=environment(PYTEST_CURRENT_TEST=""), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{has_it}\n", "")
