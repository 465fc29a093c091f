"""A call to the system that fails: no row without its file, and nothing that cannot be swept.

Each operation is run again and again on the same store; each time another one of its syncs,
renames, links, removals and writes fails.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.database_files import files_below, select, verified
from tests.support.effects import Effects
from tests.support.invariants import check_closed
from veritas_peewee import Audit, StoreError, connect
from veritas_peewee.maintenance.backup import backup, restore
from veritas_peewee.maintenance.prune import prune
from veritas_peewee.maintenance.repair import repair
from veritas_peewee.recording import ingest, operations, recorder, removal
from veritas_peewee.testing import make_event, make_png
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl

ENDED, RUNNING, NEW = "ended", "running", "new"


def shot(seed: int) -> dict[str, Any]:
    return make_event("screenshot", index=seed, data=make_png(seed))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store, strays in it, a backup of it, and an export of audits it has not."""
    folder = tmp_path_factory.mktemp("template")
    with connect(folder / "other" / "audits.db"):
        for seed in range(2):
            operations.create("https://shop.example/", id=f"{NEW}{seed}")
            recorder.record_many(f"{NEW}{seed}", [shot(seed), shot(seed + 9)])
            recorder.record(f"{NEW}{seed}", {"type": "audit_complete"})
        export_jsonl(folder / "new.jsonl")
    shutil.rmtree(folder / "other")
    path = folder / "store" / "audits.db"
    with connect(path):
        operations.create("https://shop.example/", id=ENDED)
        recorder.record_many(ENDED, [shot(1), shot(2)])
        recorder.record(ENDED, {"type": "audit_complete"})
        operations.create("https://shop.example/", id="strays")
        recorder.record_many("strays", [shot(3), shot(4)])
        Audit.delete().where(Audit.id == "strays").execute()
        for file in (path.parent / "screenshots" / "strays").iterdir():
            os.utime(file, (time.time() - 7200,) * 2)
        operations.create("https://shop.example/", id=RUNNING)
    backup(folder / "saved", database=path)
    with connect(path):
        recorder.record(RUNNING, shot(5))  # so that a restore has something to set aside
    return folder


def results(audit: str) -> list[dict[str, Any]]:
    told = {"url": "https://shop.example/", "status": "completed", "trust_score": 50}
    return [shot(7), make_event("audit_result", result=told), {"type": "audit_complete"}]


OPERATIONS: dict[str, Callable[[Path], Any]] = {
    "record": lambda _: recorder.record(RUNNING, shot(6)),
    "record_many": lambda _: recorder.record_many(RUNNING, [shot(6), {"type": "x"}, shot(7)]),
    "ingest": lambda _: ingest.ingest(results(RUNNING), audit_id=RUNNING),
    "delete": lambda _: removal.delete(ENDED),
    "prune": lambda _: prune(keep_newest=0),
    "verify --fix": lambda _: repair(),
    "import": lambda folder: import_jsonl(folder / "new.jsonl"),
    "backup": lambda folder: backup(folder / "made", database=folder / "store" / "audits.db"),
    "export": lambda folder: export_jsonl(folder / "made.jsonl"),
}


def run(folder: Path, how: str) -> None:
    path = folder / "store" / "audits.db"
    if how == "restore":
        restore(folder / "saved", path, force=True)
        return
    with connect(path):
        OPERATIONS[how](folder)


@pytest.mark.parametrize("how", [*OPERATIONS, "restore"])
def test_whatever_call_fails_no_row_is_without_its_file(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    effects = Effects(tmp_path, monkeypatch)
    failed = []
    for number in range(1, 200):
        folder = tmp_path / str(number)
        shutil.copytree(template, folder)
        path = folder / "store" / "audits.db"
        before = {one for (one,) in select(path, "SELECT id FROM audits")}
        acknowledged = False
        with effects.failing(number, (errno.EIO, errno.ENOSPC)[number % 2]):
            try:
                run(folder, how)
                acknowledged = True
            except StoreError:
                pass
        if effects.failed is None:
            assert acknowledged
            break
        failed.append(str(effects.failed))
        check(folder, how, acknowledged, before, effects)
        shutil.rmtree(folder)
    assert len(failed) > 2


def check(folder: Path, how: str, acknowledged: bool, before: set[str], effects: Effects) -> None:
    """No row without its file, what was acknowledged is there, and the rest can be swept."""
    told = f"{how} when this failed: {effects.failed}"
    path = folder / "store" / "audits.db"
    assert verified(path).problems == [], told
    check_closed(path)
    after = {one for (one,) in select(path, "SELECT id FROM audits")}
    if how in ("delete", "prune"):
        assert not acknowledged or ENDED not in after, told
    elif how == "import":
        assert not acknowledged or len(after - before) in (0, 2), told
    elif how in ("record", "record_many", "ingest") and acknowledged:
        (shots,) = select(
            path, "SELECT COUNT(*) FROM audit_screenshots WHERE audit_id = ?", RUNNING
        )
        assert shots[0] > 1, told
    elif how == "backup":
        assert acknowledged == (folder / "made").exists(), told
        if acknowledged:
            assert verified(folder / "made" / "veritas_audits.db").problems == [], told
    elif how == "export":
        assert acknowledged == (folder / "made.jsonl").exists(), told
    assert strays(path) == [], told


def strays(path: Path) -> list[str]:
    """The files that no row names when `verify --fix` has been here."""
    root = path.parent / "screenshots"
    with connect(path):
        for file in root.rglob("*"):
            os.utime(file, (time.time() - 7200,) * 2)
        repair()
    named = {one for (one,) in select(path, "SELECT file_path FROM audit_screenshots")}
    return sorted(set(files_below(root)) - named)
