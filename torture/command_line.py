"""The program's commands, run in this process or in one of their own."""

from __future__ import annotations

import functools
import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import typer

import veritas_peewee
from veritas_peewee.cli import app

# The program makes its commands anew for each call, which takes longer than most of them run.
vars(app)["program"] = functools.cache(app.program)
vars(typer.main)["get_command"] = functools.cache(typer.main.get_command)


def program(*args: object) -> tuple[int, str, str]:
    """Run a command; returns its exit code, its output and its errors."""
    streams = [io.BytesIO(), io.BytesIO()]
    out, err = (io.TextIOWrapper(stream, "utf-8") for stream in streams)
    with redirect_stdout(out), redirect_stderr(err):
        code = app.run([str(arg) for arg in args])
    out.flush()
    err.flush()
    printed, complained = (stream.getvalue().decode(errors="replace") for stream in streams)
    return code, printed, complained


def program_apart(*args: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, with the package that this process has."""
    package = str(Path(veritas_peewee.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "veritas_peewee.cli", *map(str, args)],
        cwd=package,
        env={**os.environ, "PYTHONPATH": package},
        capture_output=True,
        text=True,
        timeout=120,
    )
