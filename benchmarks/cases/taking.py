"""TR audits exported, imported and ingested, also by an earlier commit."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import anyio

from benchmarks.cases.common import check_saved, with_peer
from benchmarks.files import line_file, new_file, result_files
from benchmarks.model import Case, Metrics, Spec, Unsupported, View
from benchmarks.peers.base import Peer

SMALL, RESULTS, WHOLE = "small audits", "results", "whole audits"
SIZES = {SMALL: 20_000, RESULTS: 20_000, WHOLE: 5_000}
"""How many audits of each sort are imported and exported."""
INGESTED = "result files"
INGESTS = 16
"""How many result files are under way at once."""


def quick_size(sort: str) -> int:
    """How many audits of a sort `--quick` takes."""
    return SIZES[sort] // 10


def taken(spec: Spec) -> Metrics:
    """TR: a file of lines is imported into a new store, and the store exported; or result files."""

    async def use(peer: Peer) -> Metrics:
        store = getattr(peer, "store", None)
        if store is None:
            raise Unsupported("the case is about ours only")
        if spec.param == INGESTED:
            files = result_files(spec.data)
            return await _timed("ingest", len(files), _ingest(store, files))
        size = quick_size(spec.param) if spec.quick else SIZES[spec.param]
        source = line_file(spec.data, spec.param, size)
        found = await _timed("import", size, _checked(size, store.import_(source)))
        target = peer.images.parent / "again.jsonl"
        exported = store.export(target, images=False)
        return found | await _timed("export", size, _checked(size, exported))

    with new_file(spec.data) as path:
        found = with_peer(spec.peer, path, use)
        if spec.param == INGESTED:
            check_saved(path, "audits", 0, len(result_files(spec.data)))
    return found


async def _timed(what: str, audits: int, work: Awaitable[object]) -> Metrics:
    begin, used = perf_counter(), process_time()
    await work
    seconds, cpu = perf_counter() - begin, process_time() - used
    return {f"{what}_per_s": audits / seconds, f"{what}_cpu_us": cpu / audits * 1e6}


async def _checked(size: int, work: Awaitable[Any]) -> None:
    report = await work
    assert not report.problems, list(report.problems)[:3]
    assert report.audits == size, (report.audits, size)


async def _ingest(store: Any, files: list[Path]) -> None:
    rest = iter(files)

    async def ingest_rest() -> None:
        for file in rest:
            await store.ingest(file)

    async with anyio.create_task_group() as group:
        for _ in range(INGESTS):
            group.start_soon(ingest_rest)


CASES = (
    Case(
        "TR",
        "audits taken along: JSON Lines imported and exported, result files ingested",
        taken,
        (*SIZES, INGESTED),
        ("ours",),
        (
            View("export_per_s", "audits exported per second"),
            View("export_cpu_us", "processor time of an export for an audit, µs"),
            View("import_per_s", "audits imported per second"),
            View("import_cpu_us", "processor time of an import for an audit, µs"),
            View("ingest_per_s", "result files ingested per second"),
            View("ingest_cpu_us", "processor time for a result file, µs"),
        ),
        own_file=True,
        note="Small audits have 3 to 5 events, an audit of a result one event of 10 kB and 4 "
        "findings, a whole audit 36 events, 5 findings and 2 screenshots; texts differ from audit "
        "to audit as those of real ones do. Images are left out. The lines are those of today's "
        "export, imported into a new store, which is then exported; every one must be there. The "
        "result files are those of W3, 16 ingest() at once, in a new store. `--against FOLDER` "
        "measures an earlier commit.",
    ),
)
