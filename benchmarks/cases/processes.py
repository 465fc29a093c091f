"""MEM the memory of listing a whole history, S1 the time to start."""

from __future__ import annotations

import os
import subprocess
import sys
from time import perf_counter

from benchmarks.cases.common import with_peer
from benchmarks.files import cached_file
from benchmarks.measure import peak_rss, percentile
from benchmarks.model import Case, Metrics, Spec, Unsupported, View
from benchmarks.peers import OURS
from benchmarks.peers.base import Peer

LIST_PAGE = 1000
_TIMED = "from time import perf_counter as now; begin = now(); {}; print(now() - begin)"
_OPEN = """
import asyncio, sys
from time import perf_counter as now
from veritas_peewee import AuditStore
async def main():
    begin = now()
    async with AuditStore.open(sys.argv[1]) as store:
        print(now() - begin)
asyncio.run(main())
"""


def listing(spec: Spec) -> Metrics:
    """MEM: every audit of the history, page by page."""
    size = int(spec.param)

    async def use(peer: Peer) -> Metrics:
        store = getattr(peer, "store", None)
        if store is None:
            raise Unsupported("the case is about ours only")
        listed, cursor = 0, None
        begin = perf_counter()
        while True:
            page = await store.history(limit=LIST_PAGE, cursor=cursor)
            listed += len(page.items)
            cursor = page.next_cursor
            if cursor is None:
                break
        assert listed == size, listed
        return {"peak_mb": peak_rss(), "per_s": listed / (perf_counter() - begin)}

    return with_peer(spec.peer, cached_file(spec.data, f"history-{size}"), use)


def starting(spec: Spec) -> Metrics:
    """S1: processes that import, open and list, taking turns."""
    if spec.peer != OURS:
        raise Unsupported("the case is about ours only")
    path = str(cached_file(spec.data, "history-1000"))
    imports = {
        "import_base_ms": "import peewee, anyio",
        "import_ms": "import veritas_peewee",
        "import_names_ms": "from veritas_peewee import AuditStore, connect, Audit",
    }
    code = {name: ["-c", _TIMED.format(text)] for name, text in imports.items()}
    code["open_ms"] = ["-c", _OPEN, path]
    history = ["-m", "veritas_peewee.cli", "history", "--database", path]
    whole = {"python_ms": ["-c", "pass"], "cli_ms": history}
    found: dict[str, list[float]] = {name: [] for name in (*code, *whole)}
    for arguments in (*code.values(), *whole.values()):
        _run(arguments)
    for _ in range(5):
        for name, arguments in code.items():
            found[name].append(float(_run(arguments)))
        for name, arguments in whole.items():
            begin = perf_counter()
            _run(arguments)
            found[name].append(perf_counter() - begin)
    return {name: percentile(times, 0.5) * 1000 for name, times in found.items()}


def _run(arguments: list[str]) -> str:
    # An installed package has compiled files: a setting of the shell must not prevent ours.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *arguments],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
    )
    return done.stdout


CASES = (
    Case(
        "MEM",
        "listing a whole history in pages of 1,000",
        listing,
        ("1000", "100000", "1000000"),
        ("ours",),
        (View("peak_mb", "peak memory, MB", 1), View("per_s", "audits per second")),
        quick_params=("1000", "100000"),
        once=True,
    ),
    Case(
        "S1",
        "starting",
        starting,
        ("cold process",),
        ("ours",),
        (
            View("import_base_ms", "import peewee and anyio, ms", 1),
            View("import_ms", "import veritas_peewee, ms", 1),
            View("import_names_ms", "its AuditStore, connect and Audit, ms", 1),
            View("open_ms", "open a store, ms", 1),
            View("python_ms", "python -c pass, ms", 1),
            View("cli_ms", "veritas-peewee history, ms", 1),
        ),
    ),
)
