"""Litestream replicates a store that is written meanwhile, and what it restores verifies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.audits import fill
from tests.support.command_line import wait_for
from tests.support.database_files import select, verified
from tests.support.invariants import check_invariants
from tests.support.tools import run, running
from veritas_peewee import connect, sync
from veritas_peewee.testing import make_event

ITS_TABLES = "SELECT COUNT(*) FROM sqlite_master WHERE name LIKE '\\_litestream%' ESCAPE '\\'"


def record(audits: int, events: int, size: int = 10) -> None:
    for number in range(audits):
        audit = sync.create(f"https://x{number}.example/")
        event = make_event("log_entry", message="m" * size)
        for _ in range(events):
            sync.record(audit.id, event)


def replicating(path: Path, replica: Path, ends: int = 0) -> Any:
    return running("litestream", "replicate", path, replica.as_uri(), says="replicating", ends=ends)


def pieces(replica: Path) -> set[Path]:
    return set(replica.rglob("*.ltx"))


def restored(replica: Path, folder: Path) -> Path:
    path = folder / "audits.db"
    run("litestream", "restore", "-o", path, replica.as_uri())
    return path


def test_what_was_written_while_it_ran_is_restored_and_verifies(path: Path, tmp_path: Path) -> None:
    replica = tmp_path / "replica"
    with connect(path):
        fill()
    with (
        replicating(path, replica),
        connect(path) as database,
    ):
        wait_for(lambda: select(path, ITS_TABLES) == [(2,)])
        record(3, 20)
        early = sync.head()
        wait_for(lambda: pieces(replica))
        # More than the WAL holds before it begins anew.
        for _ in range(12):
            database.pragma("wal_checkpoint")
            record(1, 20, size=20_000)
        check_invariants()
        late = sync.head()
    copy = restored(replica, tmp_path / "restored")
    (tmp_path / "restored" / "screenshots").symlink_to(path.parent / "screenshots")
    report = verified(copy, against=late)
    assert report.problems == []
    assert str(report.head) == str(late)
    assert verified(copy, against=early).problems == []
    assert [note for note in report.notes if "Litestream's, which replicates" in note] == [
        f"the table _litestream_{name} is Litestream's, which replicates this file"
        for name in ("seq", "lock")
    ]
    with connect(copy):
        record(1, 1)  # a store like any other
        check_invariants()


def test_after_it_was_killed_it_goes_on_with_what_was_written_since(
    path: Path, tmp_path: Path
) -> None:
    replica = tmp_path / "replica"
    with connect(path):
        fill(1)
        with replicating(path, replica, ends=-9) as litestream:
            wait_for(lambda: select(path, ITS_TABLES) == [(2,)])
            record(1, 5)
            litestream.kill()
        record(2, 50)
        before = pieces(replica)
        with replicating(path, replica):
            record(1, 5)
            wait_for(lambda: pieces(replica) - before)
        head = sync.head()
    copy = restored(replica, tmp_path / "restored")
    (tmp_path / "restored" / "screenshots").symlink_to(path.parent / "screenshots")
    assert verified(copy, against=head).problems == []
