"""`python -m veritas_peewee` is the program `veritas-peewee`, to its exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import veritas_peewee
from tests.support.processes import environment
from veritas_peewee import connect, sync

PROGRAM = (sys.executable, "-W", "error", "-m", "veritas_peewee")
DEADLINE = 60


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        (["--version"], 0, f"veritas-peewee {veritas_peewee.__version__}\n", ""),
        (["show", "x", "--database", "none.db"], 1, "", "veritas-peewee: none.db: there is no"),
        (["nothing"], 2, "", "veritas-peewee: No such command"),
    ],
)
def test_it_says_and_returns_what_the_program_does(tmp_path, words, code, out, err):
    done = subprocess.run(
        [*PROGRAM, *words], cwd=tmp_path, env=environment(), capture_output=True, text=True,
        timeout=DEADLINE,
    )  # fmt: skip
    said = done.stderr.replace(f"{tmp_path.resolve()}/", "")
    assert (done.returncode, done.stdout) == (code, out)
    assert said.startswith(err)
    assert said.count("\n") == (1 if err else 0)


def test_it_ends_by_an_interrupt_as_the_program_does(path: Path) -> None:
    with connect(path):
        first = sync.record(sync.create("https://shop.example/").id, {"type": "log_entry"})
    with subprocess.Popen(
        [*PROGRAM, "watch", "--after", str(first - 1), "--database", str(path)],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as started:  # fmt: skip
        assert "log_entry" in started.stdout.readline()
        started.send_signal(signal.SIGINT)
        _, err = started.communicate(timeout=DEADLINE)
    assert (started.returncode, err) == (130, "")
