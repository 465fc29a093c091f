"""What an extra brings, and is not installed, is told by the extra's name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import environment

SERVER = "postgresql://nobody@localhost/none"


def without(module: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Python where a module is not installed."""
    missing = f'raise ModuleNotFoundError("No module named {module!r}", name={module!r})\n'
    (folder / f"{module}.py").write_text(missing)
    paths = os.pathsep.join([str(folder), environment()["PYTHONPATH"]])
    return subprocess.run(
        [sys.executable, *words], env=environment(PYTHONPATH=paths), capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("command", ["init", "history", "doctor", "verify", "serve", "watch"])
def test_a_command_on_a_server_names_the_driver_that_it_lacks(tmp_path: Path, command: str) -> None:
    words = ("-m", "veritas_peewee", command, "--database", SERVER)
    done = without("psycopg", tmp_path, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"veritas-peewee: {SERVER}: a store on PostgreSQL needs psycopg: "
        "pip install 'veritas-peewee[postgres]'\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "import veritas_peewee.web",
        "from veritas_peewee.web import create_app",
        "from veritas_peewee import store_lifespan",
    ],
)
def test_the_web_names_the_extra_that_it_is_in(tmp_path: Path, line: str) -> None:
    done = without("starlette", tmp_path, "-c", line)
    assert done.returncode == 1
    assert done.stderr.endswith(
        "ModuleNotFoundError: veritas_peewee.web needs starlette: "
        "pip install 'veritas-peewee[web]'\n"
    )
