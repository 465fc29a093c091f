"""Second processes: the programs of `tests/programs`, and forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import veritas_peewee

ROOT = Path(__file__).parents[2]
PACKAGE = str(Path(veritas_peewee.__file__).parents[1])
"""The folder from which this process imports the package, and other processes must too."""
KILLED = 9 if sys.platform == "win32" else -9
"""How a process ends that was killed; `os.kill(pid, 9)` does it, by whatever name."""
PROGRAMS = ROOT / "tests" / "programs"
_PATHS = os.pathsep.join([PACKAGE, str(Path(__file__).with_name("no_driver"))])


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that must import the same package, with `more` variables.

    If it is told of no server it does without the driver of one: see `no_driver`. How wide the
    terminal is in which the tests run is none of its business.
    """
    own = {name: text for name, text in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return {**own, "PYTHONPATH": _PATHS, **more}


def command(program: str, *arguments: object, warnings: str = "error") -> list[str]:
    """The command line that starts a program of `tests/programs`."""
    return [sys.executable, "-W", warnings, str(PROGRAMS / program), *map(str, arguments)]


def start(program: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start a program of `tests/programs`, with pipes to its input and from its output."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(
        command(program, *arguments), env=environment(), text=True, **{**pipes, **options}
    )


@contextmanager
def held_open(path: Path, *statements: str) -> Iterator[int]:
    """Have the file open in another process, which has executed these statements; gives its id."""
    with start("hold_open.py", path, *statements) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process.pid
        finally:
            process.communicate()


def forked(check: Callable[[], object]) -> int:
    """Run `check` in a forked child, which exits with 0 if it raised nothing; gives its id."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.alarm(60)
            check()
            code = 0
        finally:
            os._exit(code)
    return child
