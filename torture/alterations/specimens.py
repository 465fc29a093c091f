"""Stores with every kind of content, made once and copied for each change."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from torture.legacy import write_legacy
from torture.programs.record import finding, log_entry, png, shot
from veritas_peewee import connect, sync
from veritas_peewee.config import locate
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.ledger.heads import HEAD_EVERY
from veritas_peewee.maintenance.verify import verify

FILE = "audits.db"
WORDS = ("example", "nags", "again", "verdict", "ended", "load", "error", "shop", "2")
"""Words of the specimens' texts, and one that is in none."""


class Specimen(NamedTuple):
    """A store that nothing was changed in yet."""

    name: str
    folder: Path
    head: str
    audits: dict[str, str]
    """The status of each audit, by its id."""
    told: frozenset[str]
    """What `verify` says of it as it is: nothing, if the store is called sound."""
    notes: frozenset[str]
    found: dict[str, frozenset[str]]
    """The ids of the audits that a search finds by each of some words."""

    @property
    def path(self) -> Path:
        return self.folder / FILE

    def opened(self) -> AbstractContextManager[Any]:
        """A connection to the database that makes no WAL, for other processes copy the folder."""
        uri = f"{self.path.absolute().as_uri()}?immutable=1"
        return closing(driver.connect(uri, uri=True))

    def copy(self, folder: Path) -> Path:
        """A copy in a folder that is made anew; the database's path."""
        remove(folder)
        # With new times: after an hour, an image that no row names is one to be removed.
        shutil.copytree(self.folder, folder, copy_function=shutil.copy)
        return folder / FILE


def remove(folder: Path) -> None:
    """Remove a folder, whatever was made of the files in it."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise RuntimeError(f"{folder} cannot be removed")


def specimens(folder: Path) -> list[Specimen]:
    """All of them, made below a folder."""
    main = _made(folder / "recorded", _record)
    found = [main, _made(folder / "upgraded", _upgrade)]
    for name, images in (("imported", True), ("without-images", False)):
        exported = folder / f"{name}.jsonl"
        with connect(main.path, read_only=True):
            sync.export(str(exported), images=images)

        def take(path: Path, exported: Path = exported) -> None:
            with connect(path):
                sync.import_(str(exported))
            with connect(path):
                pass  # what ran in its own store has now ended

        found.append(_made(folder / name, take))
    return found


def _made(folder: Path, make: Callable[[Path], None]) -> Specimen:
    path = folder / FILE
    make(path)
    with connect(path, read_only=True):
        report, head, found = verify(), str(sync.head()), searched()
    with closing(driver.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        audits = dict(connection.execute("SELECT id, status FROM audits").fetchall())
    told, notes = frozenset(report.problems), frozenset(report.notes)
    return Specimen(folder.name, folder, head, audits, told, notes, found)


def searched() -> dict[str, frozenset[str]]:
    """What a search of the current database finds by each of some words, in any order."""
    return {
        word: frozenset(hit.audit.id for hit in sync.search(word, limit=100).items)
        for word in WORDS
    }


@contextmanager
def living(path: Path) -> Iterator[None]:
    """The sessions of the store's running audits live: their files are locked."""
    with closing(driver.connect(path)) as connection:
        rows = connection.execute("SELECT DISTINCT session FROM audit_runners").fetchall()
    folder = locate(path).sessions
    assert folder is not None
    folder.mkdir(mode=0o700, exist_ok=True)
    with ExitStack() as stack:
        for (session,) in rows:
            if len(session) == 16:
                handle = os.open(folder / session, os.O_CREAT | os.O_RDWR, 0o600)
                stack.callback(os.close, handle)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# ---- a store that was recorded ----


def _record(path: Path) -> None:
    seeds = count(5, 5)  # images without noise
    with connect(path):
        for number in range(2):
            sync.create(f"https://example.com/queued/{number}")
        gone = sync.create("https://example.com/deleted").id
        _fill(gone, seeds)
        # So many that there is a head over them.
        sync.record_many(gone, [log_entry(number) for number in range(HEAD_EVERY)])
        for number in range(2):
            _ingest(seeds, number)
        for status in ("completed", "error", "disconnected"):
            audit = sync.create(f"https://example.com/{status}").id
            _fill(audit, seeds)
            sync.update_status(audit, "running")
            sync.record(audit, {"type": "audit_error", "error": "a page did not load"})
            sync.update(audit, narrative=f"# It ended as {status}\nIt nags.", trust_score=41.5)
            sync.update_status(audit, status)
        sync.delete(gone)
        for number in range(3):
            audit = sync.create(f"https://running.example.com/{number}", audit_tier="deep").id
            sync.update_status(audit, "running")
            _fill(audit, seeds)


def _fill(audit: str, seeds: Iterator[int]) -> None:
    told = [{"type": "phase_start", "phase": "scout"}, shot(next(seeds)), finding(next(seeds))]
    sync.record_many(audit, [*told, log_entry(1), shot(next(seeds)), finding(next(seeds))])


def _ingest(seeds: Iterator[int], number: int) -> None:
    result = {
        "url": f"https://shop.example.org/{number}", "status": "completed", "trust_score": 50,
        "risk_level": "high", "site_type": "ecommerce", "site_type_confidence": 0.9,
        "narrative": "It nags, and nags again.", "signal_scores": {"visual": 40.0},
        "security_results": {"headers": {"score": 0.5}}, "pages_scanned": 3,
    }  # fmt: skip
    sync.ingest([
        shot(next(seeds)), finding(1), finding(2), {"type": "audit_result", "result": result},
        {"type": "audit_complete", "elapsed": 2},
    ])  # fmt: skip


# ---- an older file ----


def _upgrade(path: Path) -> None:
    write_legacy(path)
    with closing(driver.connect(path)) as connection:
        rows = connection.execute("SELECT audit_id, file_path FROM audit_screenshots").fetchall()
    # The first one's image is on another machine.
    for number, (audit, file) in enumerate(rows[1:], 1):
        image = path.parent / "screenshots" / audit / file.rpartition("\\")[2]
        image.parent.mkdir(parents=True)
        image.write_bytes(png(700 + 5 * number))  # each another one, without noise
    with connect(path):
        pass
    for backup in path.parent.glob(f"{FILE}.backup-*"):
        backup.unlink()
