"""An import's images: under names of their own until its rows are in, and never another's."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.command_line import run_here
from tests.support.database_files import files_below, verified
from tests.support.invariants import check_closed
from tests.support.processes import KILLED, start
from veritas_peewee import Audit, AuditScreenshot, AuditStore, InvalidAudit, StoreError, connect
from veritas_peewee.database.current import screenshot_folder
from veritas_peewee.files.arrivals import Arrival, Arrivals, left_behind
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.maintenance.repair import repair
from veritas_peewee.recording import operations, recorder, removal
from veritas_peewee.testing import make_event, make_png
from veritas_peewee.transfer import importing
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl


@pytest.fixture
def exported(path: Path, ids: list[str], tmp_path: Path) -> Path:
    """Four audits with an image each."""
    with connect(path, read_only=True):
        export_jsonl(tmp_path / "all.jsonl")
    return tmp_path / "all.jsonl"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Path]:
    """A new store, which is whole in the end."""
    database = tmp_path / "other" / "audits.db"
    with connect(database):
        pass
    yield database
    assert verified(database).problems == []
    check_closed(database)


def images(path: Path) -> list[str]:
    # On Windows a folder is locked by a file beside it.
    names = files_below(path.parent / "screenshots")
    return sorted(name for name in names if not name.endswith(".partial.lock"))


def once_taken(monkeypatch: pytest.MonkeyPatch, then: Callable[[], object]) -> None:
    """Do `then` when the next import has taken its first images."""
    take_images = importing.Importer.take_images

    def late(self: importing.Importer, unit: list[importing.Incoming]) -> Any:
        monkeypatch.undo()
        taken = take_images(self, unit)
        then()
        return taken

    monkeypatch.setattr(importing.Importer, "take_images", late)


def left(path: Path) -> int:
    """How many images killed imports have left under names of their own."""
    folder = ScreenshotFolder(path.parent / "screenshots")
    return sum(len(one.images) for one in left_behind(folder, path))


# ---- at once ----


async def test_of_two_imports_at_once_one_that_is_cancelled_takes_nothing_of_the_other_s(
    exported: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first has put its images on disk when the second comes, which then is alone."""
    waiting, go_on = anyio.Event(), threading.Event()
    token = anyio.lowlevel.current_token()

    def wait() -> None:
        anyio.from_thread.run_sync(waiting.set, token=token)
        assert go_on.wait(60)

    once_taken(monkeypatch, wait)
    async with AuditStore.open(other) as store, anyio.create_task_group() as tasks:
        scope = anyio.CancelScope()

        async def cancelled() -> None:
            with scope:
                await store.import_(exported)

        tasks.start_soon(cancelled)
        await waiting.wait()
        assert (await store.import_(exported)).audits == 4
        scope.cancel()
        go_on.set()
    assert len(images(other)) == 4


def test_an_import_that_comes_second_leaves_the_first_one_s_images(
    exported: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first() -> None:
        assert import_jsonl(exported).ok

    once_taken(monkeypatch, first)
    with connect(other):
        assert import_jsonl(exported).refused == 4
    assert len(images(other)) == 4


def test_an_image_that_is_removed_before_its_row_is_in_is_brought_again(
    path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was there when the import looked first, so no other copy of it was made."""
    with connect(path):
        for audit in list(Audit.select(Audit.id)):
            Audit.delete().where(Audit.id == audit.id).execute()
        once_taken(monkeypatch, lambda: shutil.rmtree(screenshot_folder().root))
        assert import_jsonl(exported).ok
    assert len(images(path)) == 4
    assert verified(path).problems == []


def test_images_of_which_some_are_there_are_completed(
    path: Path, ids: list[str], tmp_path: Path
) -> None:
    with connect(path):
        recorder.record_many(ids[0], [make_event("screenshot", index=n) for n in range(1, 4)])
        export_jsonl(tmp_path / "all.jsonl")
        Audit.delete().where(Audit.id == ids[0]).execute()
        for file in sorted((screenshot_folder().root / ids[0]).iterdir())[1::2]:
            file.unlink()
        assert import_jsonl(tmp_path / "all.jsonl", skip_existing=True).audits == 1
    assert len(images(path)) == 7
    assert verified(path).problems == []


@pytest.mark.parametrize("step", ["read", "sync"])
def test_an_image_that_goes_while_it_is_compared_is_brought_again(
    path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real = getattr(ScreenshotFolder, step)

    def late(self: ScreenshotFolder, file: str) -> Any:
        monkeypatch.undo()
        (self.root / file).unlink()
        return real(self, file)

    with connect(path):
        Audit.delete().where(Audit.id.is_null(False)).execute()
        monkeypatch.setattr(ScreenshotFolder, step, late)
        assert import_jsonl(exported).audits == 4
    assert len(images(path)) == 4
    assert verified(path).problems == []


@pytest.mark.parametrize("same", [True, False])
def test_a_file_that_gets_the_name_meanwhile_is_never_replaced(
    exported: Path, other: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    look = Arrival.look
    found: list[Path] = []

    def late(self: Arrival) -> None:
        if not found:
            (file,) = self.identities
            found.append(self.folder.root / file)
            found[0].write_bytes(
                self._images[file.rpartition("/")[0]][found[0].name] if same else make_png(99)
            )
        look(self)

    monkeypatch.setattr(Arrival, "look", late)
    with connect(other):
        done = import_jsonl(exported)
        assert (done.audits, done.refused) == ((4, 0) if same else (3, 1))
        assert same or "another image has that name here" in done.problems[0]
        assert len(images(other)) == 4
        assert (found[0].read_bytes() == make_png(99)) is not same


# ---- undone ----


@pytest.mark.parametrize("block", [False, True])
def test_an_import_that_fails_in_its_transaction_leaves_no_image(
    exported: Path, other: Path, monkeypatch: pytest.MonkeyPatch, block: bool
) -> None:
    place = importing.place

    def fails(arrivals: list[Arrival]) -> None:
        place(arrivals)
        assert len(images(other)) == 8
        raise ZeroDivisionError

    monkeypatch.setattr(importing, "place", fails)
    with connect(other) as database:
        with pytest.raises(ZeroDivisionError):
            if block:
                with database.atomic():
                    import_jsonl(exported)
            else:
                import_jsonl(exported)
        assert images(other) == []


@pytest.mark.parametrize(
    ("of", "step", "there"),
    [(Arrival, "add", 3), (Arrivals, "make_ready", 4), (importing, "_insert", 4)],
    ids=["an image", "their folders", "the write"],
)
def test_an_import_that_cannot_go_on_before_its_rows_are_in_leaves_no_image(
    exported: Path,
    other: Path,
    monkeypatch: pytest.MonkeyPatch,
    of: object,
    step: str,
    there: int,
) -> None:
    real, told = getattr(of, step), []

    def refuse(*args: object) -> None:
        told.append(len(images(other)))
        if told[-1] == there:
            raise StoreError("the disk refuses")
        real(*args)

    monkeypatch.setattr(of, step, refuse)
    with connect(other), pytest.raises(StoreError, match="the disk refuses"):
        import_jsonl(exported)
    assert told[-1] == there
    assert images(other) == []


def test_an_import_whose_folders_cannot_be_made_says_so_before_it_writes(
    exported: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: ScreenshotFolder, names: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(ScreenshotFolder, "make", refuse)
    monkeypatch.setattr(importing, "_insert", lambda unit: pytest.fail("rows are inserted"))
    told = r"other/screenshots: cannot be given a folder: Input/output error"
    with connect(other), pytest.raises(StoreError, match=told):
        import_jsonl(exported)
    assert images(other) == []


async def test_a_write_that_fails_after_an_import_leaves_no_image(
    exported: Path, other: Path
) -> None:
    def fails() -> None:
        import_jsonl(exported)
        raise ZeroDivisionError

    async with AuditStore.open(other) as store:
        with pytest.raises(ZeroDivisionError):
            await store.write(fails)
        assert images(other) == []


class _Undone(Exception):
    pass


@pytest.mark.parametrize("whole", [True, False], ids=["the rest too", "the rest stays"])
def test_an_import_in_parts_that_are_undone_one_after_the_other_leaves_no_image(
    exported: Path, other: Path, whole: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The part around it is undone while the transaction is still open."""
    with connect(other) as database:
        audit = operations.create("https://shop.example/").id
        with suppress(_Undone), database.atomic():
            recorder.record(audit, make_event("screenshot", index=0, data=make_png(7)))
            with suppress(_Undone), database.atomic():
                with suppress(_Undone), database.atomic():
                    assert import_jsonl(exported).ok
                    raise _Undone
                raise _Undone
            if whole:
                raise _Undone
        named = [row.file_path for row in AuditScreenshot.select()]
    assert len(named) == (0 if whole else 1)
    assert images(other) == named
    assert caplog.records == []


def test_if_images_cannot_be_taken_back_the_next_import_does_it(
    exported: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("the disk refuses")

    with connect(other) as database:
        with pytest.raises(ZeroDivisionError), database.atomic():
            import_jsonl(exported)
            monkeypatch.setattr(type(database.file), "sync_commits", refuse)
            raise ZeroDivisionError
        monkeypatch.undo()
        assert len(images(other)) == 8
        assert import_jsonl(exported).ok
        assert len(images(other)) == 4


# ---- killed ----


def killed(other: Path, exported: Path, when: str) -> None:
    with start("import_until_killed.py", other, exported, when) as process:
        assert process.wait(60) == KILLED


def test_what_a_killed_import_has_left_is_shown_and_goes_with_a_repair(
    exported: Path, other: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    killed(other, exported, "before")
    assert (len(images(other)), left(other)) == (8, 4)
    said = run_here(capsys, "doctor", "--database", other).out
    assert "4 images of an import that was killed" in " ".join(said.split())
    with connect(other):
        assert repair() == ["removed 4 images that an interrupted import has left"]
        assert repair() == []
    assert images(other) == []
    assert os.listdir(other.parent / "screenshots") == []


@pytest.mark.parametrize("facade", [False, True])
def test_what_a_killed_import_has_left_goes_with_the_next_one(
    exported: Path, other: Path, facade: bool
) -> None:
    killed(other, exported, "before")
    if facade:

        async def again() -> None:
            async with AuditStore.open(other) as store:
                assert (await store.import_(exported)).ok

        anyio.run(again)
    else:
        with connect(other):
            assert import_jsonl(exported).ok
    assert (len(images(other)), left(other)) == (4, 0)


def test_what_an_import_killed_after_its_commit_has_left_costs_no_image(
    exported: Path, other: Path
) -> None:
    killed(other, exported, "after")
    assert (len(images(other)), left(other)) == (8, 4)
    with connect(other):
        repair()
        assert Audit.select().count() == 4
    assert (len(images(other)), left(other)) == (4, 0)


def test_what_a_living_import_has_on_the_way_is_left_alone(exported: Path, other: Path) -> None:
    with connect(other) as database:
        arrivals = Arrivals(screenshot_folder(), database.location.path)
        arriving = arrivals.audit()
        arriving.add("vrts_x/000.png", make_png())
        assert repair() == []
        assert import_jsonl(exported).ok
        assert len(images(other)) == 5
        arriving.forget()
        assert len(images(other)) == 4


def test_what_an_import_into_another_database_has_left_is_not_ours(
    exported: Path, other: Path
) -> None:
    """Its rows may name the images, and only it can tell."""
    killed(other, exported, "after")
    second = other.with_name("second.db")
    with connect(second):
        repair()
        assert import_jsonl(exported).ok
        assert len(images(other)) == 8
        for audit in list(Audit.select(Audit.id)):
            Audit.delete().where(Audit.id == audit.id).execute()
    second.unlink()


def test_a_file_that_has_the_name_by_now_is_not_the_killed_import_s(
    exported: Path, other: Path
) -> None:
    killed(other, exported, "before")
    name = next(one for one in images(other) if not one.startswith("."))
    file = other.parent / "screenshots" / name
    file.unlink()
    file.write_bytes(make_png(77))
    with connect(other):
        repair()
    assert images(other) == [name]


# ---- where links cannot be made ----


def test_without_links_images_are_written_twice(
    exported: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    with connect(other) as database:
        with pytest.raises(ZeroDivisionError), database.atomic():
            import_jsonl(exported)
            raise ZeroDivisionError
        assert images(other) == []
        assert import_jsonl(exported).ok
        assert len(images(other)) == 4


# ---- names ----


@pytest.mark.parametrize(
    "file", [f".import.{'0' * 16}.{'0' * 16}.partial/x.png", f"a/.x.{'a' * 16}.partial/b.png"]
)
def test_an_image_cannot_be_in_a_folder_that_is_removed_again(other: Path, file: str) -> None:
    with connect(other) as database:
        arriving = Arrivals(screenshot_folder(), database.location.path).audit()
        with pytest.raises(InvalidAudit, match="removed again"):
            arriving.add(file, make_png())


def test_two_images_of_an_audit_cannot_have_one_name(other: Path) -> None:
    with connect(other) as database:
        arriving = Arrivals(screenshot_folder(), database.location.path).audit()
        arriving.add("a/x.png", make_png())
        arriving.add("a/x.png", make_png())
        with pytest.raises(InvalidAudit, match="two images"):
            arriving.add("a/x.png", make_png(1))
        arriving.forget()
    assert images(other) == []


def test_two_audits_of_one_import_can_share_an_image(
    path: Path, ids: list[str], other: Path, tmp_path: Path
) -> None:
    with connect(path):
        shared = AuditScreenshot.get(AuditScreenshot.audit == ids[0])
        AuditScreenshot.create(
            audit=ids[1], file_path=shared.file_path, label="shared", index_num=1,
            file_size_bytes=shared.file_size_bytes, sha256=shared.sha256,
        )  # fmt: skip
        export_jsonl(tmp_path / "shared.jsonl")
    with connect(other):
        assert import_jsonl(tmp_path / "shared.jsonl").audits == 4
        assert len(images(other)) == 4
        removal.delete(ids[0])
        assert len(images(other)) == 4
        removal.delete(ids[1])
        assert len(images(other)) == 2
