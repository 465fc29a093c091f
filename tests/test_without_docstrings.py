"""Under `python -OO`, without docstrings and asserts, people read the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from veritas_peewee import errors
from veritas_peewee.cli.app import program
from veritas_peewee.database.transactions import TransactionEnded

CODE = """
import asyncio, json, sys
import typer
from veritas_peewee import AuditStore, connect, errors, sync
from veritas_peewee.cli.app import program
from veritas_peewee.database.transactions import TransactionEnded
from veritas_peewee.transfer.lines import ForeignLine
found = {name: str(kind()) for name, kind in vars(errors).items()
         if isinstance(kind, type) and issubclass(kind, errors.StoreError)}
found["ForeignLine"], found["ended"] = str(ForeignLine()), str(TransactionEnded())
async def closed():
    try:
        await AuditStore.open(sys.argv[1] + "/x.db").get("x")
    except errors.StoreClosed as error:
        found["closed"] = str(error)
asyncio.run(closed())
commands = typer.main.get_command(program()).commands
found["help"] = {name: command.help for name, command in commands.items()}
with connect(sys.argv[1] + "/audits.db"):
    audit = sync.create("https://a.example/")
    sync.record(audit.id, {"type": "audit_complete"})
    sync.get(audit.id)
found["optimize"] = sys.flags.optimize
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("optimized")
    done = subprocess.run(
        [sys.executable, "-OO", "-W", "error", "-c", CODE, str(folder)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["optimize"] == 2
    return found


def test_each_error_says_what_it_means(told: dict[str, Any]) -> None:
    kinds = [kind for kind in vars(errors).values()
             if isinstance(kind, type) and issubclass(kind, errors.StoreError)]  # fmt: skip
    assert len(kinds) >= 12
    for kind in kinds:
        assert told[kind.__name__] == str(kind())
        assert " " in told[kind.__name__]
    assert told["ForeignLine"] == str(errors.InvalidAudit())
    assert told["ended"] == str(TransactionEnded())
    assert told["closed"].startswith("The store is closed: open it with")


def test_each_command_has_its_help(told: dict[str, Any]) -> None:
    commands = typer.main.get_command(program()).commands
    assert told["help"] == {name: command.help for name, command in commands.items()}
    assert all(told["help"].values())
