"""Two databases in one folder have one screenshot folder: what removes from one leaves to the other
the images that its rows name."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import anyio.to_thread
import pytest

from tests.support.audits import ended_with_images
from tests.support.database_files import files_below, verified
from tests.support.invariants import check_closed
from veritas_peewee import AuditStore, connect
from veritas_peewee.maintenance.backup import backup
from veritas_peewee.maintenance.prune import prune
from veritas_peewee.maintenance.restore import restore
from veritas_peewee.recording import operations, recorder, removal
from veritas_peewee.testing import make_event
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl


@pytest.fixture
def audit_id(path: Path) -> str:
    with connect(path):
        return ended_with_images()


@pytest.fixture
def other(path: Path) -> Iterator[Path]:
    """The file of a second database in the same folder."""
    found = path.with_name("other.db")
    yield found
    for one in (path, found):
        if one.exists():
            assert verified(one).problems == []
            check_closed(one)


def copied(path: Path, other: Path) -> None:
    shutil.copy(path, other)


def imported(path: Path, other: Path) -> None:
    with connect(path):
        export_jsonl(path.with_name("all.jsonl"))
    with connect(other):
        import_jsonl(path.with_name("all.jsonl"))


def restored(path: Path, other: Path) -> None:
    with connect(path):
        backup(path.with_name("saved"))
    restore(path.with_name("saved"), other)


def images(path: Path) -> int:
    return len(files_below(path.parent / "screenshots"))


@pytest.mark.parametrize("brought", [copied, imported, restored])
def test_a_deleted_audits_images_stay_for_the_other_database(
    path: Path,
    other: Path,
    audit_id: str,
    brought: Callable[[Path, Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    brought(path, other)
    with connect(path):
        removal.delete(audit_id)
    assert images(path) == 3
    assert f"3 image files stay in {path.parent / 'screenshots'}" in caplog.text
    assert f"because {other} names them too" in caplog.text
    with connect(other):
        removal.delete(audit_id)
    assert images(path) == 0


def test_pruned_audits_leave_the_images_that_a_copy_names_and_no_others(
    path: Path, other: Path, audit_id: str
) -> None:
    copied(path, other)
    with connect(path):
        later = operations.create("https://shop.example/").id
        recorder.record(later, make_event("screenshot"))
        recorder.record(later, {"type": "audit_complete"})
        assert images(path) == 4
        prune(older_than=timedelta(0))
    assert images(path) == 3


def test_a_restore_leaves_the_images_that_a_copy_names(
    path: Path, other: Path, audit_id: str
) -> None:
    with connect(path):
        empty = path.with_name("empty.db")
    with connect(empty):
        backup(path.with_name("saved"))
    empty.unlink()
    copied(path, other)
    restore(path.with_name("saved"), path, force=True)
    assert images(path) == 3


async def test_a_store_that_is_open_beside_keeps_its_images_and_its_locks(
    path: Path, other: Path, audit_id: str
) -> None:
    await anyio.to_thread.run_sync(imported, path, other)
    async with AuditStore.open(other) as beside, AuditStore.open(path) as store:
        await beside.record(audit_id, make_event("log_entry"))
        await store.delete(audit_id)
        await beside.record(audit_id, make_event("log_entry"))
        one = await beside.get(audit_id)
        assert len(await beside.screenshot(one.screenshots[0].file_path)) > 0
    assert images(path) == 3


def test_a_database_that_cannot_be_read_may_name_any_image(
    path: Path, audit_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = path.with_name("damaged.db")
    shutil.copy(path, damaged)
    with damaged.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 400)
    with connect(path):
        removal.delete(audit_id)
    assert images(path) == 3
    assert f"because {damaged} may name them too: it cannot be read" in caplog.text
    damaged.unlink()
    assert verified(path).problems == []


def test_what_is_no_store_keeps_no_image(
    path: Path, audit_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    path.with_name("text.db").write_text("not a database" * 100)
    path.with_name("empty.sqlite").touch()
    path.with_name("folder.db").mkdir()
    path.with_name("gone.db").symlink_to("nowhere")
    path.with_name("same.db").symlink_to(path)
    with sqlite3.connect(path.with_name("foreign.db")) as foreign:
        foreign.execute("CREATE TABLE audits (id)")
    foreign.close()
    with connect(path):
        removal.delete(audit_id)
    assert images(path) == 0
    assert not caplog.text
