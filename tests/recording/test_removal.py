"""Files go only when no row names them, on disk and at that moment; whoever removes them."""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from tests.support.audits import ended_with_images
from tests.support.database_files import files_below, verified
from tests.support.effects import Effects
from tests.support.invariants import check_closed
from veritas_peewee import Audit, AuditStore, StoreError, connect
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database, screenshot_folder
from veritas_peewee.database.transactions import TransactionEnded, Transactions
from veritas_peewee.files.database_files import DatabaseFile
from veritas_peewee.maintenance import repair as repairing
from veritas_peewee.maintenance.prune import prune
from veritas_peewee.recording import ingest, operations, recorder, removal
from veritas_peewee.testing import make_event, make_png
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl


@pytest.fixture(autouse=True)
def no_row_is_without_its_file(path: Path) -> Iterator[None]:
    yield
    assert verified(path).problems == []
    check_closed(path)


@pytest.fixture
def audit_id(path: Path) -> str:
    with connect(path):
        return ended_with_images()


@pytest.fixture
def exported(path: Path, audit_id: str, tmp_path: Path) -> Path:
    with connect(path):
        export_jsonl(tmp_path / "all.jsonl")
    return tmp_path / "all.jsonl"


def images(path: Path) -> int:
    return len(files_below(path.parent / "screenshots"))


def elsewhere(path: Path, call: Callable[[], Any]) -> None:
    """Call it with a connection of its own, in another thread, as another process would."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            with connect(path):
                call()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not failures


# ---- rows are asked at that moment ----


def test_what_is_imported_again_before_the_files_go_keeps_them(
    path: Path, audit_id: str, exported: Path
) -> None:
    with connect(path) as database, database.atomic():
        # Runs after the commit too, and before what `delete` has to do then.
        database.after_commit(lambda: elsewhere(path, lambda: import_jsonl(exported)))
        removal.delete(audit_id)
    assert images(path) == 3
    with connect(path):
        removal.delete(audit_id)
    assert images(path) == 0


def test_what_is_imported_again_in_the_same_block_keeps_its_files(
    path: Path, audit_id: str, exported: Path
) -> None:
    with connect(path) as database, database.atomic():
        removal.delete(audit_id)
        assert import_jsonl(exported).ok
    assert images(path) == 3


def test_what_a_prune_removes_and_an_import_brings_back_keeps_its_files(
    path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The import comes when the removal of the rows is on disk, and the write lock is free."""
    unit = StoreDatabase.durable_unit

    def late(database: StoreDatabase) -> Any:
        monkeypatch.undo()
        elsewhere(path, lambda: import_jsonl(exported))
        return unit(database)

    monkeypatch.setattr(StoreDatabase, "durable_unit", late)
    with connect(path):
        assert prune(keep_newest=0).audits == 1
    assert images(path) == 3


def test_a_stray_file_that_an_import_takes_over_meanwhile_stays(
    path: Path, audit_id: str, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphans = repairing.orphans

    def late(age: float) -> Any:
        found = list(orphans(age))
        assert len(found) == 3
        elsewhere(path, lambda: import_jsonl(exported))
        return found

    monkeypatch.setattr(repairing, "orphans", late)
    with connect(path):
        Audit.delete().where(Audit.id == audit_id).execute()
        assert repairing.repair(orphan_age=0) == []
    assert images(path) == 3


def test_a_stray_file_that_is_written_again_meanwhile_stays(
    path: Path, audit_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphans = repairing.orphans

    def late(age: float) -> Any:
        found = list(orphans(age))
        os.utime(found[0])
        return found

    with connect(path):
        Audit.delete().where(Audit.id == audit_id).execute()
        for file in screenshot_folder().root.rglob("*.png"):
            os.utime(file, (time.time() - 7200,) * 2)
        monkeypatch.setattr(repairing, "orphans", late)
        assert len(repairing.repair()) == 2
    assert images(path) == 1


async def test_what_of_a_batch_was_undone_keeps_its_files(path: Path, audit_id: str) -> None:
    async with AuditStore.open(path) as store:
        other = await store.create("https://other.example/")
        await store.record(other.id, make_event("screenshot"))

        def delete_both() -> None:
            removal.delete(other.id)
            with pytest.raises(ZeroDivisionError), current_database().atomic():
                removal.delete(audit_id)
                raise ZeroDivisionError

        await store.write(delete_both)
    assert images(path) == 3


def test_an_undone_delete_and_an_undone_import_leave_what_was_there(
    path: Path, audit_id: str, exported: Path
) -> None:
    """What the block has removed is back with the block's end: so nothing may go before that."""
    with connect(path) as database:
        with pytest.raises(ZeroDivisionError), database.atomic():
            removal.delete(audit_id)
            for file in screenshot_folder().root.rglob("*.png"):
                file.unlink()  # so that the import has to bring them
            with pytest.raises(KeyError), database.atomic():
                import_jsonl(exported)
                raise KeyError
            assert images(path) == 6  # under two names each: what may go is not yet known
            raise ZeroDivisionError
        assert images(path) == 3


# ---- and on disk ----


def test_if_the_disk_refuses_nothing_goes_and_that_is_logged(
    path: Path, audit_id: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("the disk refuses")

    with connect(path):
        with monkeypatch.context() as patch:
            patch.setattr(DatabaseFile, "sync_commits", refuse)
            removal.delete(audit_id)
        assert Audit.select().count() == 0
        assert images(path) == 3
        assert [(r.levelno, "`verify --fix` removes" in r.message) for r in caplog.records] == [
            (logging.WARNING, True)
        ]
        assert len(repairing.repair(orphan_age=0)) == 3
    assert images(path) == 0


def test_a_sync_that_failed_is_tried_again_by_the_next_removal(
    path: Path, audit_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(path):
        other = operations.create("https://other.example/").id
        recorder.record(other, make_event("screenshot"))
        effects = Effects(tmp_path, monkeypatch)
        with effects.failing(1, errno.EIO):
            removal.delete(audit_id)
        assert str(effects.failed) == "fsync store/audits.db-wal"
        assert images(path) == 4
        removal.delete(other)
        effects.answered()
        effects.assert_order("fsync store/audits.db-wal", "unlink .*png", "answer .*")
    assert images(path) == 3


def test_what_one_transaction_removes_is_synced_once(
    path: Path, audit_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def syncs(*removed: str) -> int:
        effects.clear()
        with database.atomic():
            for one in removed:
                removal.delete(one)
        return len(effects.matching("fsync store/audits.db-wal"))

    with connect(path) as database:
        others = [operations.create("https://other.example/").id for _ in range(3)]
        for other in others:
            recorder.record(other, make_event("screenshot"))
        effects = Effects(tmp_path, monkeypatch)
        assert (syncs(audit_id), syncs(*others)) == (1, 1)
    assert images(path) == 0


def test_a_wal_that_is_not_there_is_no_wal_on_disk(path: Path, audit_id: str) -> None:
    with connect(path) as database:
        file = DatabaseFile(path.with_name("none.db"))
        with pytest.raises(StoreError, match=r"none\.db-wal: cannot be brought to disk"):
            file.sync_commits(in_wal=True)
        database.sync_commits()


def test_a_store_that_has_left_the_wal_has_the_end_of_each_journal_on_disk(
    path: Path, audit_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with connect(path) as database:
        database.sync_commits()
        assert database.raw.execute("PRAGMA journal_mode = DELETE").fetchall() == [("delete",)]
        effects = Effects(tmp_path, monkeypatch)
        for _ in range(2):
            database.sync_commits()
        assert [str(one) for one in effects.seen] == ["fsync store"] * 2
        database.raw.execute("PRAGMA journal_mode = WAL").fetchall()


def test_what_another_process_commits_during_the_sync_is_synced_too(
    path: Path, audit_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync, calls = DatabaseFile.sync_commits, []

    def meanwhile(file: DatabaseFile, *, in_wal: bool) -> None:
        calls.append(current_database().transaction_is_open)
        sync(file, in_wal=in_wal)
        if len(calls) == 1:
            elsewhere(path, lambda: operations.create("https://other.example/"))

    with connect(path):
        monkeypatch.setattr(DatabaseFile, "sync_commits", meanwhile)
        removal.delete(audit_id)
        assert calls == [False, True]  # the second time under the write lock: nobody can commit
        removal.delete(Audit.get().id)
        assert calls == [False, True]  # it had no files


# ---- what was recorded stays if it can have been committed ----


def shots(count: int = 2) -> list[dict[str, Any]]:
    return [make_event("screenshot", index=n, data=make_png(n)) for n in range(count)]


WRITES: dict[str, Callable[[str], Any]] = {
    "record": lambda audit: recorder.record(audit, shots()[0]),
    "record_many": lambda audit: recorder.record_many(audit, shots()),
    "ingest": lambda audit: ingest.ingest(shots(), audit_id=audit),
}


def images_after(
    path: Path, how: str, interrupted: dict[str, Any], error: type[BaseException]
) -> int:
    """How many images are there after a write that `error` has ended, in a method put in place."""
    with connect(path):
        audit = operations.create("https://shop.example/").id
        with patch.multiple(Transactions, **interrupted), pytest.raises(error):
            WRITES[how](audit)
    return images(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, TransactionEnded])
@pytest.mark.parametrize("how", WRITES)
def test_an_error_just_after_the_commit_takes_no_image_back(
    path: Path, how: str, error: type[BaseException]
) -> None:
    finish = Transactions.finish

    def interrupted(database: Transactions, *, commit: bool) -> None:
        finish(database, commit=commit)
        if commit:
            raise error

    assert images_after(path, how, {"finish": interrupted}, error) == (1 if how == "record" else 2)


@pytest.mark.parametrize("how", WRITES)
def test_ctrl_c_after_the_unit_takes_no_image_back(path: Path, how: str) -> None:
    def interrupted(database: Transactions) -> None:
        raise KeyboardInterrupt

    where = {"run_commit_callbacks": interrupted}
    assert images_after(path, how, where, KeyboardInterrupt) == (1 if how == "record" else 2)


@pytest.mark.parametrize("how", WRITES)
def test_an_error_before_the_commit_takes_every_image_back(
    path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(database: Transactions, *, commit: bool) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    with connect(path):
        audit = operations.create("https://shop.example/").id
        monkeypatch.setattr(Transactions, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            WRITES[how](audit)
    assert images(path) == 0


async def test_sql_given_to_the_driver_that_ends_a_write_costs_no_image(
    path: Path, exported: Path, audit_id: str
) -> None:
    """What was written before it is stored, and the error that follows says nothing of that."""

    def import_and_commit() -> None:
        removal.delete(audit_id)
        import_jsonl(exported)
        recorder.record(audit_id, shots()[0])
        current_database().seal_changes()
        current_database().raw.execute("COMMIT")
        raise ZeroDivisionError

    async with AuditStore.open(path) as store:
        with pytest.raises((ZeroDivisionError, StoreError)):
            await store.write(import_and_commit)
        assert (await store.get(audit_id)).screenshots_count == 4
