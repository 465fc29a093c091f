"""Faults that need a process of their own: for its mounts, or to fork from without threads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from torture.followed import ROOT
from torture.model import Row, Run

CANNOT = "CANNOT: "
"""Begins the last words of a process that lacks what it needs here."""


def apart(
    name: str, function: str, run: Run, *options: str, prefix: Sequence[str] = ()
) -> list[Row]:
    """Run `module:function`, which takes a Run and yields rows, in a process of its own.

    If it cannot be run, the only row has this `name` and says why; `prefix` is a command that
    starts the process.
    """
    settings = json.dumps([function, run.rounds, str(run.folder), run.seed])
    child = subprocess.run(
        [*prefix, sys.executable, "-m", "torture.programs.apart", settings, *options],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if child.returncode == 0:
        return [Row.from_json(values) for values in json.loads(child.stdout.splitlines()[-1])]
    reason = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
    row = Row(name, run.rounds)
    if reason.startswith((CANNOT, *prefix[:1])) and prefix:
        row.not_run = f"needs root to mount ({reason.removeprefix(CANNOT)})"
    else:
        row.problem(f"the fault could not be run: {reason}")
    return [row]


def die_at(number: int, act: Callable[[Callable[[object], None]], None]) -> tuple[bool, int]:
    """Fork; the child calls `act` with a function that kills it when called the nth time.

    Returns whether it was killed there, and otherwise how often the function was called (0 if
    it failed). For processes without other threads and without an open database.
    """
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        passed = 0

        def point(_: object) -> None:
            nonlocal passed
            passed += 1
            if passed == number:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            act(point)
            os.write(writes, f"{passed}".encode())
        finally:
            os._exit(0)
    os.close(writes)
    with open(reads) as told:
        text = told.read()
    _, status = os.waitpid(child, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return killed, int(text or 0)
