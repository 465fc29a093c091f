"""Try to write to a store, and to read it; what came of both, as JSON, on standard output.

    python -m torture.programs.attempt DATABASE [USER]

As root it becomes the USER first, by its number: root may write what is read-only.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from torture.reading import read_all
from veritas_peewee import connect, sync


def attempt(fn: Callable[[], str]) -> dict[str, object]:
    begin = perf_counter()
    try:
        found = {"result": fn()}
    except Exception as error:
        found = {"error": type(error).__name__, "text": str(error)}
    return {**found, "seconds": perf_counter() - begin}


def write(path: Path) -> str:
    with connect(path):
        return str(sync.create("https://example.com/attempt").id)


def read(path: Path) -> str:
    return read_all(path, path.parent / "screenshots")


def rehearse() -> None:
    """Load what both need, by doing both once."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "audits.db"
        write(path)
        read(path)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    if len(sys.argv) > 2 and os.geteuid() == 0:
        # The interpreter may lie where that user cannot read.
        rehearse()
        os.setgroups([])
        os.setgid(int(sys.argv[2]))
        os.setuid(int(sys.argv[2]))
    found = {"read": attempt(lambda: read(path)), "write": attempt(lambda: write(path))}
    print(json.dumps(found), flush=True)
