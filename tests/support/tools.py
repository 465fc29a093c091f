"""The tools that people open a file with, which `make tools` installs in an environment of their
own; each runs in a process of its own, for some bring a second SQLite.

Where they are not installed the tests of them are left out, loudly; with VERITAS_TOOLS=required
they fail.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.processes import ROOT, environment

REQUIRED = os.environ.get("VERITAS_TOOLS") == "required"
"""Whether tests without the tools fail instead of being left out."""
PROGRAMS = ROOT / ".venv-tools" / "bin"
_LEFT_OUT = "NOT tried with the tools that people open it with"


def tool(name: str) -> str:
    """The path of a tool; without it the test is left out, or fails."""
    path = PROGRAMS / name
    if not path.exists():
        if REQUIRED:
            pytest.fail(f"VERITAS_TOOLS=required, and there is no {path}: make tools")
        pytest.skip(f"WARNING: {_LEFT_OUT}: there is no .venv-tools")
    return str(path)


def run(name: str, *arguments: object, **options: Any) -> str:
    """Run a tool to its end; returns what it printed, and fails with what it says."""
    done = subprocess.run(
        [tool(name), *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def answer(program: str, *arguments: object) -> Any:
    """What a Python program that uses the tools prints, as JSON."""
    return json.loads(run("python", "-W", "error", "-c", program, *arguments))


@contextmanager
def running(
    name: str, *arguments: object, says: str, ends: int = 0
) -> Iterator[subprocess.Popen[str]]:
    """A tool that goes on until it is told to end, and then ends with this exit code; it has begun
    when it says a text."""
    with subprocess.Popen(
        [tool(name), *map(str, arguments)],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            before = ""
            while says not in before:
                line = process.stdout.readline()
                assert line, before
                before += line
            yield process
            process.terminate()
            out, _ = process.communicate(timeout=30)
            assert process.returncode == ends, out
        finally:
            process.kill()


def summarize(reporter: Any) -> None:
    """Say at the end of a run how many tests were left out because there are no tools."""
    left = [one for one in reporter.stats.get("skipped", ()) if _LEFT_OUT in str(one.longrepr)]
    if left:
        reporter.section("other tools", sep="!", red=True, bold=True)
        reporter.line(f"{len(left)} tests were {_LEFT_OUT}: {left[0].longrepr[2]}", red=True)
        reporter.line("make tools installs them; VERITAS_TOOLS=required lets the tests fail")
