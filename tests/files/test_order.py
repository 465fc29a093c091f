"""Files before the rows that name them, rows before files that go, and all before the answer.

Each promise is an order of effects: a power cut, or the end of the process, between any two of them
then leaves no row without its file.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.database_files import verified
from tests.support.effects import Effect, Effects
from veritas_peewee import Audit, AuditScreenshot, AuditStore, connect, copy_store
from veritas_peewee.database.current import screenshot_folder
from veritas_peewee.evidence import checkpoints, keys, notes
from veritas_peewee.maintenance.backup import backup, restore
from veritas_peewee.maintenance.prune import prune, prune_store
from veritas_peewee.maintenance.repair import repair
from veritas_peewee.recording import ingest, operations, recorder, removal
from veritas_peewee.testing import make_event, make_png
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl

IMAGE = r"store/screenshots/vrts_\w+/[^/]+\.png"
FOLDER = r"store/screenshots/vrts_\w+"
WAITING = r"store/screenshots/\.import[^/]+\.partial/\d+/vrts_\w+/[^/]+\.png"


def shot(seed: int = 0) -> dict[str, Any]:
    return make_event("screenshot", index=seed, data=make_png(seed))


def result(seed: int = 0) -> list[dict[str, Any]]:
    told = {"url": "https://shop.example/", "status": "completed", "trust_score": 50}
    return [shot(seed), make_event("audit_result", result=told), {"type": "audit_complete"}]


@pytest.fixture
def effects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Effects:
    return Effects(tmp_path, monkeypatch)


@pytest.fixture(autouse=True)
def nothing_is_missing(path: Path) -> Iterator[None]:
    yield
    assert verified(path).problems == []


@pytest.fixture
def audit_id(path: Path) -> str:
    """An ended audit with three images."""
    with connect(path):
        audit: str = operations.create("https://shop.example/").id
        recorder.record_many(audit, [shot(n) for n in range(3)])
        recorder.record(audit, {"type": "audit_complete"})
    return audit


# ---- an image is on disk, under its name, before its row is committed ----

RECORDING: dict[str, Callable[[str], Any]] = {
    "record": lambda audit: recorder.record(audit, shot()),
    "record_many": lambda audit: recorder.record_many(audit, [shot(1), {"type": "x"}, shot(2)]),
    "ingest": lambda audit: ingest.ingest(result(), audit_id=audit),
}
STORING = (
    rf"fsync {IMAGE}",
    rf"fsync {FOLDER}",
    r"commit store/audits.db",
    "answer .*",
)


@pytest.mark.parametrize("how", RECORDING)
def test_an_image_is_on_disk_before_its_row(path: Path, effects: Effects, how: str) -> None:
    with connect(path):
        audit = operations.create("https://shop.example/").id
        effects.clear()
        RECORDING[how](audit)
        effects.answered()
        if how == "record":
            effects.assert_order(*STORING)
        else:  # one image after the other
            effects.assert_order(STORING[0], *STORING[2:])
            assert effects.matching(STORING[0])[-1] < effects.matching(STORING[1])[-1]
            effects.assert_order(STORING[1], *STORING[2:])
        effects.assert_folders_are_synced()


@pytest.mark.parametrize("how", RECORDING)
async def test_a_store_answers_when_an_image_and_its_row_are_there(
    path: Path, effects: Effects, how: str
) -> None:
    async with AuditStore.open(path) as store:
        audit = await store.create("https://shop.example/")
        effects.clear()
        if how == "record":
            await store.record(audit.id, shot())
        elif how == "record_many":
            await store.record_many(audit.id, [shot()])
        else:
            await store.ingest(result(), audit_id=audit.id)
        effects.answered()
        effects.assert_order(*STORING)
        effects.assert_folders_are_synced()


# ---- what was copied is on disk ----


def test_a_copy_is_on_disk_before_it_is_said_to_be_complete(
    path: Path, audit_id: str, effects: Effects
) -> None:
    target = path.parent.parent / "copy" / "audits.db"
    effects.clear()
    report = copy_store(path, target)
    effects.answered()
    assert report.complete
    committed = effects.matching("commit copy/audits.db")[-1]
    for name in ("copy/audits.db-wal", "copy"):
        assert any(at > committed for at in effects.matching(f"fsync {name}"))


# ---- what is signed is on disk ----


def is_on_disk_before_it_is_signed(effects: Effects) -> bool:
    (sign,) = effects.matching("sign .*")
    committed = [at for at in effects.matching("commit store/audits.db") if at < sign]
    synced = [at for at in effects.matching("fsync store/audits.db-wal") if at < sign]
    return bool(committed) and bool(synced) and synced[-1] > committed[-1]


@pytest.fixture
def signing(effects: Effects, monkeypatch: pytest.MonkeyPatch) -> Effects:
    """The order of effects, with each signature."""
    real = notes.signed

    def sign(text: str, key: keys.SigningKey) -> str:
        effects.seen.append(Effect("sign", "checkpoint"))
        return real(text, key)

    monkeypatch.setattr(notes, "signed", sign)
    return effects


def test_a_checkpoint_is_of_what_is_on_disk(path: Path, signing: Effects) -> None:
    keys.make_key(path.parent.parent / "key", "example.org/store")
    with connect(path):
        audit = operations.create("https://shop.example/").id
        recorder.record(audit, {"type": "audit_complete"})
        signing.clear()
        checkpoints.head(key=path.parent.parent / "key")
    assert is_on_disk_before_it_is_signed(signing)


async def test_a_store_signs_what_is_on_disk(path: Path, signing: Effects) -> None:
    keys.make_key(path.parent.parent / "key", "example.org/store")
    async with AuditStore.open(path) as store:
        audit = await store.create("https://shop.example/")
        await store.record(audit.id, {"type": "audit_complete"})
        signing.clear()
        await store.head(key=path.parent.parent / "key")
    assert is_on_disk_before_it_is_signed(signing)


# ---- the removal of rows is on disk before files go ----

REMOVING = (
    r"commit store/audits.db",
    r"fsync store/audits.db-wal",
    rf"unlink {IMAGE}",
    "answer .*",
)


@pytest.mark.parametrize("how", ["delete", "prune"])
def test_files_go_when_the_removal_of_their_rows_is_on_disk(
    path: Path, audit_id: str, effects: Effects, how: str
) -> None:
    with connect(path):
        effects.clear()
        if how == "delete":
            removal.delete(audit_id)
        else:
            prune(keep_newest=0, progress=lambda *_: effects.answered())
        effects.answered()
        effects.assert_order(*REMOVING)
        assert len(effects.matching(REMOVING[2])) == 3


@pytest.mark.parametrize("how", ["delete", "prune"])
async def test_a_store_removes_files_in_the_same_order(
    path: Path, audit_id: str, effects: Effects, how: str
) -> None:
    async with AuditStore.open(path) as store:
        effects.clear()
        if how == "delete":
            await store.delete(audit_id)
        else:
            await prune_store(store, keep_newest=0, progress=lambda *_: effects.answered())
        effects.answered()
        effects.assert_order(*REMOVING)


def test_the_name_of_the_wal_is_on_disk_before_the_first_files_go(
    path: Path, audit_id: str, effects: Effects
) -> None:
    with connect(path):  # which makes a WAL, the last connection having taken it away
        effects.clear()
        removal.delete(audit_id)
        effects.assert_order(r"fsync store/audits.db-wal", r"fsync store", rf"unlink {IMAGE}")


async def test_each_removal_waits_for_the_disk_anew(path: Path, effects: Effects) -> None:
    async with AuditStore.open(path) as store:
        for seed in range(3):
            audit = await store.ingest(result(seed))
            effects.clear()
            await store.delete(audit.id)
            effects.answered()
            effects.assert_order(*REMOVING)


async def test_removals_of_one_batch_wait_for_the_disk_once(path: Path, effects: Effects) -> None:
    def remove_all() -> None:
        for audit in list(Audit.select(Audit.id)):
            removal.delete(audit.id)

    async with AuditStore.open(path) as store:
        for seed in range(3):
            await store.ingest(result(seed))
        effects.clear()
        await store.write(remove_all)
        effects.answered()
        effects.assert_order(*REMOVING)
        assert len(effects.matching(REMOVING[1])) == 1
        assert len(effects.matching(REMOVING[2])) == 3


def test_a_delete_in_a_callers_block_removes_files_after_the_block(
    path: Path, audit_id: str, effects: Effects
) -> None:
    with connect(path) as database:
        effects.clear()
        with database.atomic():
            removal.delete(audit_id)
            effects.seen.append(Effect("block", "ends"))
        effects.answered()
        effects.assert_order("block ends", *REMOVING)


def test_fixing_waits_for_the_disk_before_a_stray_file_goes(
    path: Path, audit_id: str, effects: Effects
) -> None:
    """The removal of its row, by whichever process, may not be on disk yet."""
    with connect(path):
        root = screenshot_folder().root
        Audit.delete().where(Audit.id == audit_id).execute()
        for file in root.rglob("*.png"):
            os.utime(file, (time.time() - 7200,) * 2)
        effects.clear()
        assert len(repair()) == 3
        effects.answered()
        effects.assert_order(*REMOVING[1:])
        assert len(effects.matching(REMOVING[2])) == 3


# ---- an import ----

ARRIVING = (
    rf"fsync {WAITING}",
    rf"link {IMAGE}",
    rf"fsync {FOLDER}",
    r"commit store/audits.db",
    rf"unlink {WAITING}",
    "answer .*",
)


@pytest.fixture
def exported(path: Path, audit_id: str, tmp_path: Path) -> Path:
    """An export of audits that the store has no longer."""
    with connect(path):
        ingest.ingest(result())
        export_jsonl(tmp_path / "all.jsonl")
        for audit in list(Audit.select(Audit.id)):
            removal.delete(audit.id)
    return tmp_path / "all.jsonl"


def test_the_images_of_an_import_have_names_of_their_own_until_its_rows_are_in(
    path: Path, exported: Path, effects: Effects
) -> None:
    with connect(path):
        effects.clear()
        assert import_jsonl(exported).ok
        effects.answered()
        effects.assert_order(*ARRIVING)
        assert len(effects.matching(ARRIVING[1])) == 4
        effects.assert_folders_are_synced()


async def test_a_store_imports_in_the_same_order(
    path: Path, exported: Path, effects: Effects
) -> None:
    async with AuditStore.open(path) as store:
        effects.clear()
        assert (await store.import_(exported)).ok
        effects.answered()
        effects.assert_order(*ARRIVING)


def test_an_import_that_is_undone_asks_the_rows_before_it_takes_images_back(
    path: Path, exported: Path, effects: Effects
) -> None:
    with connect(path) as database:
        effects.clear()
        with pytest.raises(ZeroDivisionError), database.atomic():
            import_jsonl(exported)
            raise ZeroDivisionError
        effects.answered()
        effects.assert_order(
            rf"link {IMAGE}", "fsync store/audits.db-wal", rf"unlink {IMAGE}", "answer .*"
        )
        assert not effects.matching("commit .*")
        assert list(screenshot_folder().root.iterdir()) == []


def test_an_image_that_was_there_already_is_on_disk_before_its_row(
    path: Path, audit_id: str, tmp_path: Path, effects: Effects
) -> None:
    with connect(path):
        export_jsonl(tmp_path / "all.jsonl")
        Audit.delete().where(Audit.id == audit_id).execute()
        effects.clear()
        assert import_jsonl(tmp_path / "all.jsonl").ok
        effects.answered()
        effects.assert_order(rf"fsync {IMAGE}", r"commit store/audits.db", "answer .*")
        assert len(effects.matching(rf"fsync {IMAGE}")) == 3
        assert AuditScreenshot.select().count() == 3


# ---- a backup, a restore, an export ----


def test_a_backup_has_its_name_when_all_of_it_is_on_disk(
    path: Path, audit_id: str, tmp_path: Path, effects: Effects
) -> None:
    backup(tmp_path / "saved", database=path)
    effects.answered()
    assert len(effects.matching(r"fsync \.saved[^/]+\.partial/screenshots/vrts_\w+/[^/]+png")) == 3
    effects.assert_order(
        r"fsync \.saved[^/]+\.partial/.+\.(db|png)",
        r"fsync \.saved[^/]+\.partial",
        "rename saved",
        r"fsync \.",
        "answer .*",
    )
    for folder in ("screenshots", f"screenshots/{audit_id}"):
        assert effects.matching(rf"fsync \.saved[^/]+\.partial/{folder}")


def test_a_restored_store_is_on_disk_before_it_is_reported(
    path: Path, audit_id: str, tmp_path: Path, effects: Effects
) -> None:
    saved = backup(tmp_path / "saved", database=path).path
    effects.clear()
    restore(saved, tmp_path / "new" / "audits.db")
    effects.answered()
    image = IMAGE.replace("store", "new")
    effects.assert_order(
        r"fsync new/screenshots/vrts_\w+/\.[^/]+\.tmp", r"link new/audits\.db", r"answer .*"
    )
    effects.assert_order(rf"rename {image}", r"link new/audits\.db")
    effects.assert_order(
        r"fsync new/\.audits[^/]+\.partial/.+\.db", r"link new/audits\.db", "answer .*"
    )
    # Once more after the copy may have been upgraded.
    written = effects.matching(r"(commit|end) new/\.audits[^/]+\.partial/.+\.db")[-1]
    assert effects.matching(r"fsync new/\.audits[^/]+\.partial/.+\.db")[-1] > written
    assert effects.matching("fsync new")[-1] > effects.matching(r"link new/audits\.db")[-1]
    assert effects.matching(rf"fsync new/screenshots/{audit_id}")[-1] < min(
        effects.matching(r"link new/audits\.db")
    )
    effects.assert_folders_are_synced()
    assert verified(tmp_path / "new" / "audits.db").problems == []


def test_what_a_restored_store_does_not_name_goes_after_it_is_on_disk(
    path: Path, audit_id: str, tmp_path: Path, effects: Effects
) -> None:
    saved = backup(tmp_path / "saved", database=path).path
    with connect(path):
        ingest.ingest(result(9))
    effects.clear()
    restore(saved, path, force=True)
    effects.answered()
    effects.assert_order(
        r"link store/\.audits[^/]+\.partial/kept/screenshots/.+\.png",
        r"fsync store/\.audits[^/]+\.partial/kept/screenshots/vrts_\w+",
        r"rename store/audits\.db",
        rf"unlink {IMAGE}",
        "answer .*",
    )
    # What was there before is on disk under its other name, too.
    effects.assert_order(
        r"rename store/audits\.db\.replaced-[^/]+",
        r"link store/audits\.db\.replaced-[^/]+/veritas_audits\.db",
        r"fsync store/audits\.db\.replaced-[^/]+",
        "answer .*",
    )
    (renamed,) = effects.matching(r"rename store/audits\.db")
    assert any(
        renamed < at < min(effects.matching(rf"unlink {IMAGE}"))
        for at in effects.matching("fsync store")
    )


def test_an_export_has_its_name_when_it_is_on_disk(
    path: Path, audit_id: str, tmp_path: Path, effects: Effects
) -> None:
    with connect(path, read_only=True):
        effects.clear()
        export_jsonl(tmp_path / "all.jsonl.gz")
        effects.answered()
    effects.assert_order(
        r"fsync \.all[^/]+\.partial", r"rename all\.jsonl\.gz", r"fsync \.", "answer .*"
    )
