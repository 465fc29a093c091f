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


def write() -> str:
    with connect(path):
        return str(sync.create("https://example.com/attempt").id)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    if len(sys.argv) > 2 and os.geteuid() == 0:
        # Only now, for the interpreter may lie where that user cannot read.
        os.setgroups([])
        os.setgid(int(sys.argv[2]))
        os.setuid(int(sys.argv[2]))
    read = attempt(lambda: read_all(path, path.parent / "screenshots"))
    print(json.dumps({"read": read, "write": attempt(write)}), flush=True)
