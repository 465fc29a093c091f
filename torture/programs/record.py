"""Record audits from many tasks at once, and acknowledge each write once its await has returned.

    python -m torture.programs.record DATABASE [--backend B] [--tasks N] [--durability D]
        [--synchronous OFF] [--files-unsynced] [--keep] [--patient] [--file-limit BYTES]

Lines on standard output, each in one write; a write's line begins with the moment at which it was
begun (the system's monotonic clock):

    open                          the store is open
    ack TIME create AUDIT
    ack TIME event AUDIT ID TYPE
    ack TIME shot AUDIT ID SEED
    ack TIME complete AUDIT ID
    ack TIME many AUDIT FIRST LAST
    ack TIME ingest AUDIT EVENTS SEED
    deleting AUDIT                a deletion is about to begin
    ack TIME delete AUDIT
    refused KIND TEXT             a write failed with this error
    closed                        standard input has ended, and the store is closed

With `--keep` nothing is deleted. With `--patient` a write that the disk refuses is tried again a
little later; without it, the process ends at the first error, and where that came from is on
standard error.
"""

from __future__ import annotations

import argparse
import base64
import os
import random
import signal
import struct
import sys
import time
import traceback
import zlib
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from typing import Any

import anyio
from anyio import to_thread

from veritas_peewee import AuditStore, StoreError
from veritas_peewee.database import sqlite

BATCH_FINDINGS = 4
WHOLE_FINDINGS = 5
PAUSE = 0.02
"""Seconds before a refused write is tried again."""


def png(seed: int) -> bytes:
    """A real image of 8 by 8 points that differs for each seed."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + (seed % 2**24).to_bytes(3, "big") * 8) * 8))
    noise = random.Random(seed).randbytes(seed % 5 * 3000).hex().encode()
    text = chunk(b"tEXt", b"noise\0" + noise)
    return b"\x89PNG\r\n\x1a\n" + header + pixels + text + chunk(b"IEND", b"")


def shot(seed: int) -> dict[str, Any]:
    data = base64.b64encode(png(seed)).decode()
    return {"type": "screenshot", "label": f"shot {seed}", "index": seed % 100, "data": data}


def finding(number: int) -> dict[str, Any]:
    told = {"id": f"f{number}", "pattern_type": "nagging", "severity": "low", "confidence": 0.5}
    return {"type": "finding", "finding": {**told, "description": f"it nags {number}"}}


def log_entry(seed: int) -> dict[str, Any]:
    return {"type": "log_entry", "message": f"GET https://example.com/{seed}"}


def tell(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Recorder:
    """The tasks, and what they share."""

    def __init__(self, store: AuditStore, *, keep: bool, patient: bool) -> None:
        self.store = store
        self.keep = keep
        self.patient = patient
        self.seeds = count(1)

    async def write(
        self, call: Callable[[], Awaitable[Any]], words: Callable[[Any], tuple[object, ...]]
    ) -> Any:
        """Await a write, and acknowledge it with `words` of its result."""
        while True:
            begun = time.monotonic()
            try:
                result = await call()
            except StoreError as error:
                tell("refused", type(error).__name__, " ".join(str(error).split()))
                if not self.patient:
                    traceback.print_exc()
                    raise
                await anyio.sleep(PAUSE)
            else:
                tell("ack", f"{begun:.6f}", *words(result))
                return result

    async def record(self, audit: str, event: dict[str, Any], *words: object) -> None:
        kind, rest = words[0], words[1:]
        await self.write(
            lambda: self.store.record(audit, event), lambda made: (kind, audit, made, *rest)
        )

    async def create(self, url: str) -> str:
        audit = await self.write(lambda: self.store.create(url), lambda made: ("create", made.id))
        return str(audit.id)

    async def one_by_one(self) -> None:
        """Audits recorded event by event; most of them end."""
        for first in self.seeds:
            audit = await self.create(f"https://example.com/one-by-one/{first}")
            start = {"type": "phase_start", "phase": "scout"}
            await self.record(audit, start, "event", "phase_start")
            for seed in self._some(12):
                await self.record(audit, log_entry(seed), "event", "log_entry")
                await self.record(audit, finding(seed), "event", "finding")
                await self.record(audit, shot(seed), "shot", seed)
            if first % 5:
                await self.record(audit, {"type": "audit_complete", "elapsed": 1}, "complete")

    async def in_batches(self) -> None:
        """Audits recorded in batches, all or none: each batch begins and ends with a marker."""
        for first in self.seeds:
            audit = await self.create(f"https://example.com/in-batches/{first}")
            for seed in self._some(8):
                marker = {"type": "batch", "number": seed}
                found = [finding(seed * 100 + number) for number in range(BATCH_FINDINGS)]
                await self.record_many(audit, [marker, shot(seed), *found, marker])

    async def record_many(self, audit: str, events: list[dict[str, Any]]) -> None:
        await self.write(
            lambda: self.store.record_many(audit, events),
            lambda ids: ("many", audit, ids[0], ids[-1]),
        )

    async def whole(self) -> None:
        """Audits that are stored at once, ended; a few are deleted again."""
        for seed in self.seeds:
            result = {"url": f"https://example.com/whole/{seed}", "status": "completed"}
            events = [shot(seed), *(finding(number) for number in range(WHOLE_FINDINGS))]
            events.append({"type": "audit_result", "result": {**result, "trust_score": 50}})
            events.append({"type": "audit_complete", "elapsed": 1})
            await self.ingest(events, seed)

    async def ingest(self, events: list[dict[str, Any]], seed: int) -> None:
        audit = await self.write(
            lambda: self.store.ingest(events), lambda made: ("ingest", made.id, len(events), seed)
        )
        if seed % 11 == 0 and not self.keep:
            tell("deleting", audit.id)
            await self.write(lambda: self.store.delete(audit.id), lambda _: ("delete", audit.id))

    def _some(self, most: int) -> Iterator[int]:
        for number, seed in enumerate(self.seeds):
            yield seed
            if number >= seed % most:
                return


async def main(told: argparse.Namespace) -> None:
    async with AuditStore.open(told.database, durability=told.durability) as store:
        tell("open")
        recorder = Recorder(store, keep=told.keep, patient=told.patient)
        kinds = (recorder.one_by_one, recorder.in_batches, recorder.whole)
        async with anyio.create_task_group() as tasks:
            for number in range(told.tasks):
                tasks.start_soon(kinds[number % 3])
            await to_thread.run_sync(os.read, 0, 1, abandon_on_cancel=True)
            tasks.cancel_scope.cancel()
    tell("closed")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("database")
    parser.add_argument("--backend", default="asyncio")
    parser.add_argument("--tasks", type=int, default=64)
    parser.add_argument("--durability", default="normal")
    parser.add_argument("--synchronous")
    parser.add_argument("--files-unsynced", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--patient", action="store_true")
    parser.add_argument("--file-limit", type=int)
    return parser.parse_args()


def weaken(synchronous: str) -> None:
    """For a control: open databases with this weaker `synchronous`, which the store never uses."""
    usual = sqlite.pragmas_of
    vars(sqlite)["pragmas_of"] = lambda *arguments: {
        **usual(*arguments),
        "synchronous": synchronous,
    }
    if synchronous == "OFF":
        from veritas_peewee.database import postgres_opening

        vars(postgres_opening)["SYNCED"] = "SELECT set_config('synchronous_commit', 'off', false)"


if __name__ == "__main__":
    chosen = arguments()
    if chosen.synchronous:
        weaken(chosen.synchronous)
    if chosen.files_unsynced:  # for a control; SQLite does not sync through Python
        vars(os)["fsync"] = lambda handle: None
    if chosen.file_limit:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        import resource  # of POSIX alone

        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (chosen.file_limit, hard))
    try:
        anyio.run(main, chosen, backend=chosen.backend)
    except BaseExceptionGroup as failed:
        if failed.split(StoreError)[1] is not None:
            raise
        sys.exit(3)  # reported already
    except StoreError as failure:
        tell("refused", type(failure).__name__, " ".join(str(failure).split()))
        sys.exit(3)
