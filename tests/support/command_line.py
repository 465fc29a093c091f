"""The command line: in this process, and in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from tests.support.processes import environment
from veritas_peewee.cli.app import run

PROGRAM = (sys.executable, "-m", "veritas_peewee.cli")
DEADLINE = 30.0
"""Seconds after which a program counts as hung."""


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_here(capture: pytest.CaptureFixture[str], *args: object) -> Result:
    """Run the program in this process; `capture` is pytest's `capsys` or `capfd`."""
    capture.readouterr()
    code = run([str(arg) for arg in args])
    return Result(code, *capture.readouterr())


def run_program(*args: object) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, to its end; a warning is an error there."""
    python, *module = PROGRAM
    return subprocess.run(
        [python, "-W", "error", *module, *map(str, args)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )


@contextmanager
def process(*args: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The program in a process of its own, which does not outlive the test."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*PROGRAM, *map(str, args)], **{**pipes, **options}) as started:
        try:
            yield started
        finally:
            started.kill()


def shown_on(terminal: int) -> bytes:
    """The bytes written to a terminal until nobody has it open; then closes our side of it."""
    seen = bytearray()
    try:
        while data := os.read(terminal, 65536):
            seen += data
    except OSError:
        pass  # how Linux tells that the other side is closed
    finally:
        os.close(terminal)
    return bytes(seen)


def wait_for(what: Callable[[], Any]) -> Any:
    """Call `what` again and again until it returns something true, and return that."""
    end = time.monotonic() + DEADLINE
    while not (found := what()):
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)
    return found
