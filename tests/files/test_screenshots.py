"""Images on disk: stored whole and named by the store, and nothing leads outside the folder."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from tests.support.amount import amount
from tests.support.invariants import check_closed
from tests.support.posix_modules import resource
from veritas_peewee import (
    Audit,
    AuditEvent,
    AuditNotFound,
    AuditScreenshot,
    AuditStore,
    InvalidAudit,
    StoreError,
    StoreFull,
    connect,
)
from veritas_peewee.errors import ReadOnlyStore
from veritas_peewee.files import images
from veritas_peewee.files.images import ScreenshotFolder, StoredImage
from veritas_peewee.queries import lookups
from veritas_peewee.recording import ingest as ingesting
from veritas_peewee.recording import operations, recorder, removal
from veritas_peewee.testing import make_event, make_png

DEADLINE = 60.0
"""Seconds until a thread that should have ended counts as hung."""


JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xd9"
WEBP = b"RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00\x10\x07\x10\x11\x11\x88\x88"


def shot(data: bytes | str | None = None, **keys: Any) -> dict[str, Any]:
    return make_event("screenshot", data=make_png() if data is None else data, **keys)


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "screenshots"


@pytest.fixture
def folder(root: Path) -> ScreenshotFolder:
    return ScreenshotFolder(root)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "outside"
    path.mkdir()
    return path


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "store" / "audits.db"
    yield path
    check_closed(path)


# ---- what is stored ----


@pytest.mark.parametrize(
    ("data", "media_type", "extension"),
    [(make_png(), "image/png", "png"), (JPEG, "image/jpeg", "jpg"), (WEBP, "image/webp", "webp")],
    ids=["png", "jpeg", "webp"],
)
def test_an_image_is_known_by_its_content(
    folder: ScreenshotFolder, data: bytes, media_type: str, extension: str
) -> None:
    stored = folder.put("vrts_a", 3, "Full page, after 10 s.gif", data)
    assert re.fullmatch(rf"vrts_a/003-full-page-after-10-s-gif-[0-9a-f]+\.{extension}", stored.file)
    assert stored[1:] == (len(data), media_type, hashlib.sha256(data).hexdigest())
    assert (folder.root / stored.file).read_bytes() == folder.read(stored.file) == data


def test_images_and_folders_are_for_their_owner_only(folder: ScreenshotFolder) -> None:
    old = os.umask(0)
    try:
        stored = folder.put("vrts_a", 0, "t0", make_png())
    finally:
        os.umask(old)
    assert mode(folder.root / stored.file) == 0o600
    assert mode(folder.root / "vrts_a") == 0o700
    assert mode(folder.root) == 0o700


def test_nothing_but_the_image_is_left_in_the_folder(folder: ScreenshotFolder) -> None:
    stored = [folder.put("vrts_a", 0, "t0", make_png(red)).file for red in range(5)]
    assert files(folder.root) == sorted(["vrts_a", *stored])


def test_the_same_image_twice_is_two_files_and_nothing_is_overwritten(
    folder: ScreenshotFolder,
) -> None:
    stored = {folder.put("vrts_a", 0, "t0", make_png()).file for _ in range(50)}
    assert len(stored) == 50


def test_a_name_that_is_taken_is_not_used_again(
    folder: ScreenshotFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = [b"aaaa", b"aaaa", b"bbbb"]
    monkeypatch.setattr(images.os, "urandom", lambda size: drawn.pop(0)[:size])
    first, second = (folder.put("a", 0, "home", make_png(number)) for number in range(2))
    assert drawn == []
    assert first.file != second.file
    assert folder.read(first.file) == make_png(0)
    assert folder.read(second.file) == make_png(1)


def test_removing_images_removes_their_folder_with_the_last_one(folder: ScreenshotFolder) -> None:
    first, second = (folder.put("vrts_a", index, "t", make_png()).file for index in range(2))
    folder.remove([first])
    assert files(folder.root) == ["vrts_a", second]
    folder.remove([first, second, "vrts_b/none.png", "none.png"])
    assert files(folder.root) == []


def test_a_folder_that_is_removed_just_before_the_image_is_written_is_made_again(
    folder: ScreenshotFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever removes the last image of an audit removes its folder too."""
    write = images.write_once

    def late(*args: Any) -> None:
        monkeypatch.undo()
        os.rmdir(folder.root / "vrts_a")
        write(*args)

    monkeypatch.setattr(images, "write_once", late)
    stored = folder.put("vrts_a", 0, "t0", make_png())
    assert folder.read(stored.file) == make_png()


def test_removing_from_a_folder_that_was_never_made_is_no_error(folder: ScreenshotFolder) -> None:
    folder.remove(["vrts_a/none.png"])
    assert not folder.root.exists()


def test_an_image_that_is_not_there_is_an_error_that_names_it(folder: ScreenshotFolder) -> None:
    folder.put("vrts_a", 0, "t0", make_png())
    for name in ("vrts_a/none.png", "none/none.png", "none.png", "vrts_a"):
        with pytest.raises(StoreError, match=re.escape(repr(name))):
            folder.read(name)


# ---- what is refused ----

NOT_IMAGES = {
    "nothing": b"",
    "text": b"hello",
    "GIF": b"GIF89a\x01\x00\x01\x00",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a cut-off PNG signature": make_png()[:8],
    "a RIFF file that is no WebP": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "HTML": b"<html>",
}


@pytest.mark.parametrize("what", NOT_IMAGES)
def test_what_is_not_an_image_is_refused(folder: ScreenshotFolder, what: str) -> None:
    with pytest.raises(InvalidAudit, match="not a PNG, JPEG or WebP"):
        folder.put("vrts_a", 0, "t0", NOT_IMAGES[what])
    assert not folder.root.exists()


def test_an_image_that_is_too_large_is_refused(folder: ScreenshotFolder) -> None:
    data = make_png()
    data += bytes(images.MAX_BYTES - len(data))
    stored = folder.put("vrts_a", 0, "t0", data)
    assert stored.size == images.MAX_BYTES
    with pytest.raises(InvalidAudit, match=f"{images.MAX_BYTES + 1} bytes"):
        folder.put("vrts_a", 0, "t0", data + b"\0")
    assert files(folder.root) == ["vrts_a", stored.file]


# ---- hostile names ----

LABELS = {
    "dots": "../../../etc/passwd",
    "absolute": "/etc/passwd",
    "backslashes": "..\\..\\windows\\system32",
    "NUL": "a\0b",
    "long": "x" * 300,
    "unicode": "\u202e\u00fcber \U0001f600 \u4e2d\u6587",
    "lone surrogate": "\ud800",
    "new lines": "a\nb\r\n",
    "empty": "",
    "only dots": "..",
    "a shell's": "$(rm -rf ~); `ls` *",
}


@pytest.mark.parametrize("what", LABELS)
@pytest.mark.parametrize("index", [0, -1, 10**8])
def test_a_hostile_label_stays_a_harmless_name(
    folder: ScreenshotFolder, what: str, index: int
) -> None:
    stored = folder.put("vrts_a", index, LABELS[what], make_png())
    assert re.fullmatch(r"vrts_a/[0-9]{3,}-[a-z0-9-]+\.png", stored.file)
    assert files(folder.root) == ["vrts_a", stored.file]
    assert folder.read(stored.file) == make_png()


BAD_IDS = {
    "empty": "",
    "a dot": ".",
    "dots": "..",
    "hidden": ".hidden",
    "below": "a/b",
    "above": "../a",
    "absolute": "/tmp/a",
    "backslash": "a\\b",
    "drive": "C:a",
    "NUL": "a\0b",
    "unicode": "\u00fcber",
    "lone surrogate": "\ud800",
    "a new line": "a\n",
    "long": "x" * 300,
    "spaces": "a b",
}


@pytest.mark.parametrize("what", BAD_IDS)
def test_a_hostile_id_is_refused_and_makes_nothing(
    folder: ScreenshotFolder, root: Path, what: str
) -> None:
    folder.put("vrts_a", 0, "t0", make_png())
    before = files(root.parent)
    with pytest.raises(StoreError):
        folder.put(BAD_IDS[what], 0, "t0", make_png())
    assert files(root.parent) == before


BAD_PATHS = {
    "above": "../secret.png",
    "above in the middle": "vrts_a/../../secret.png",
    "absolute": "{root}/../secret.png",
    "a dot": "./vrts_a/x.png",
    "a double slash": "vrts_a//x.png",
    "a slash at the end": "vrts_a/",
    "empty": "",
    "NUL": "vrts_a/\0.png",
    "NUL folder": "vrts\0a/x.png",
    "backslash": "..\\secret.png",
    "Windows": "C:\\Windows\\win.ini",
    "long": "vrts_a/" + "x" * 300,
    "long folder": "x" * 300 + "/x.png",
    "very long": "x/" * 5000 + "x.png",
    "unicode": "vrts_a/\u00fc\U0001f600.png",
    "an undecodable byte": "vrts_a/\udcff.png",
    "lone surrogate": "vrts_a/\ud800.png",
    "lone surrogate folder": "\ud800/x.png",
}


@pytest.mark.parametrize("what", BAD_PATHS)
def test_a_hostile_path_is_not_read(folder: ScreenshotFolder, root: Path, what: str) -> None:
    folder.put("vrts_a", 0, "t0", make_png())
    (root.parent / "secret.png").write_bytes(make_png(1))
    with pytest.raises(StoreError):
        folder.read(BAD_PATHS[what].format(root=root))


@pytest.mark.parametrize("what", BAD_PATHS)
def test_a_hostile_path_is_not_removed(folder: ScreenshotFolder, root: Path, what: str) -> None:
    folder.put("vrts_a", 0, "t0", make_png())
    (root.parent / "secret.png").write_bytes(make_png(1))
    before = files(root.parent)
    folder.remove([BAD_PATHS[what].format(root=root)])
    assert files(root.parent) == before


# ---- links ----


def test_an_audit_folder_that_is_a_link_is_refused(
    folder: ScreenshotFolder, root: Path, outside: Path
) -> None:
    (outside / "secret.png").write_bytes(make_png())
    root.mkdir(parents=True)
    (root / "vrts_a").symlink_to(outside)
    with pytest.raises(StoreError, match="link"):
        folder.put("vrts_a", 0, "t0", make_png())
    with pytest.raises(StoreError):
        folder.read("vrts_a/secret.png")
    folder.remove(["vrts_a/secret.png"])
    assert files(outside) == ["secret.png"]


def test_an_audit_folder_that_is_a_dangling_link_is_refused(
    folder: ScreenshotFolder, root: Path, outside: Path
) -> None:
    root.mkdir(parents=True)
    (root / "vrts_a").symlink_to(outside / "new")
    with pytest.raises(StoreError, match="link"):
        folder.put("vrts_a", 0, "t0", make_png())
    assert files(outside) == []


def test_an_audit_folder_that_is_a_file_is_refused(folder: ScreenshotFolder, root: Path) -> None:
    root.mkdir(parents=True)
    (root / "vrts_a").write_text("in the way")
    with pytest.raises(StoreError, match="file where a folder"):
        folder.put("vrts_a", 0, "t0", make_png())
    assert (root / "vrts_a").read_text() == "in the way"


def test_a_link_in_place_of_an_image_is_not_read(
    folder: ScreenshotFolder, root: Path, outside: Path
) -> None:
    (outside / "secret.png").write_bytes(make_png())
    stored = folder.put("vrts_a", 0, "t0", make_png()).file
    (root / stored).unlink()
    (root / stored).symlink_to(outside / "secret.png")
    with pytest.raises(StoreError):
        folder.read(stored)
    folder.remove([stored])
    assert files(outside) == ["secret.png"]
    assert files(root) == []


def test_a_pipe_in_place_of_an_image_is_an_error_and_does_not_hang(
    folder: ScreenshotFolder, root: Path
) -> None:
    stored = folder.put("vrts_a", 0, "t0", make_png()).file
    (root / stored).unlink()
    os.mkfifo(root / stored)
    failures: list[BaseException] = []

    def read() -> None:
        try:
            folder.read(stored)
        except BaseException as error:
            failures.append(error)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(5.0)
    hung = reader.is_alive()
    with suppress(OSError):  # let a reader that hangs go on, so that the thread ends
        os.close(os.open(root / stored, os.O_WRONLY | os.O_NONBLOCK))
    reader.join(DEADLINE)
    assert not hung
    assert [type(error) for error in failures] == [StoreError]


def test_a_folder_swapped_for_a_link_at_any_instant_never_leads_outside(
    folder: ScreenshotFolder, root: Path, outside: Path
) -> None:
    stored = [folder.put("vrts_a", 0, "t0", make_png())]
    place = root / "vrts_a"
    done = threading.Event()

    def swap() -> None:
        links, numbers = 0, count()
        while links < amount(100, 500):
            with suppress(OSError):  # a put may just have made the folder, or not yet
                place.rename(root / f"aside-{next(numbers)}")
                place.symlink_to(outside)
                links += 1
            sleep(1e-6)  # so that a single processor too is the other's now
            with suppress(OSError):
                place.unlink()
        done.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    refused = 0
    while not done.is_set():
        try:
            stored.append(folder.put("vrts_a", 1, "t1", make_png()))
        except StoreError:
            refused += 1
        with suppress(StoreError):
            folder.read(stored[0].file)
    swapper.join(DEADLINE)
    assert files(outside) == []
    assert refused
    names = {stored_file.rpartition("/")[2] for stored_file in files(root)}
    assert names >= {image.file.rpartition("/")[2] for image in stored}


def test_a_folder_swapped_for_a_link_is_never_read_or_emptied_through_it(
    folder: ScreenshotFolder, root: Path, outside: Path
) -> None:
    stored = folder.put("vrts_a", 0, "t0", make_png(1)).file
    name = stored.removeprefix("vrts_a/")
    (outside / name).write_bytes(make_png(2))
    place, aside = root / "vrts_a", root / "aside"
    done = threading.Event()

    def swap() -> None:
        try:
            for _ in range(500):
                place.rename(aside)
                place.symlink_to(outside)
                place.unlink()
                aside.rename(place)
        finally:
            done.set()

    swapper = threading.Thread(target=swap)
    swapper.start()
    while not done.is_set():
        with suppress(StoreError):
            assert folder.read(stored) == make_png(1)
        folder.remove([f"vrts_a/{name}.none"])
    swapper.join(DEADLINE)
    assert folder.read(stored) == make_png(1)
    assert (outside / name).read_bytes() == make_png(2)


# ---- a disk that says no ----


def test_a_folder_below_a_file_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for below in ("file", "file/screenshots"):
        with pytest.raises(StoreError, match="file"):
            ScreenshotFolder(tmp_path / below).put("vrts_a", 0, "t0", make_png())


@pytest.mark.parametrize("place", ["/proc/screenshots", "/proc/self/screenshots"])
def test_a_folder_where_nothing_can_be_made_is_a_typed_error(place: str) -> None:
    with pytest.raises(StoreError, match="screenshots"):
        ScreenshotFolder(Path(place)).put("vrts_a", 0, "t0", make_png())


def test_a_folder_that_forbids_writing_is_read_only(folder: ScreenshotFolder) -> None:
    """As an unprivileged process, which root has to become first."""
    folder.put("vrts_a", 0, "t0", make_png())
    os.chmod(folder.root, 0o500)
    handle = os.open(folder.root, os.O_RDONLY)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"nothing was raised"
        try:
            os.fchdir(handle)
            if os.getuid() == 0:
                os.chown(".", 65534, 65534)
                os.setgid(65534)
                os.setuid(65534)
            ScreenshotFolder(Path(".")).put("vrts_b", 0, "t0", make_png())
        except BaseException as error:
            answer = type(error).__name__.encode()
        finally:
            os.write(writing, answer)
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answers:
        found = answers.read().decode()
    os.waitpid(child, 0)
    os.close(handle)
    os.chown(folder.root, os.getuid(), os.getgid())
    os.chmod(folder.root, 0o700)
    assert found == ReadOnlyStore.__name__
    assert len(files(folder.root)) == 2


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_a_typed_error_and_leaves_no_half_image(folder: ScreenshotFolder) -> None:
    folder.put("vrts_a", 0, "t0", make_png())
    before = files(folder.root)
    with file_size_limit(1000), pytest.raises(StoreFull):
        folder.put("vrts_a", 1, "t1", make_png() + bytes(5000))
    assert files(folder.root) == before


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_storing_reading_and_failing_leak_no_descriptor(
    folder: ScreenshotFolder, root: Path
) -> None:
    stored = folder.put("vrts_a", 0, "t0", make_png()).file
    (root / "link").symlink_to(root)
    before = descriptors()
    for _ in range(50):
        folder.read(stored)
        folder.remove(["vrts_a/none.png", "none/none.png", "link/none.png"])
        for audit_id in ("link", "..", "x" * 300):
            with pytest.raises(StoreError):
                folder.put(audit_id, 0, "t0", make_png())
        for name in ("link/none.png", "vrts_a/none.png"):
            with pytest.raises(StoreError):
                folder.read(name)
    assert descriptors() == before


def test_reading_a_folder_as_an_image_leaks_no_descriptor(folder: ScreenshotFolder) -> None:
    folder.put("vrts_a", 0, "t0", make_png())
    before = descriptors()
    for _ in range(50):
        with pytest.raises(StoreError):
            folder.read("vrts_a")
        with pytest.raises((OSError, InvalidAudit)):
            images.read_image(str(folder.root))
    assert descriptors() == before


# ---- through the rows ----


def row_of(audit_id: str) -> AuditScreenshot:
    found: AuditScreenshot = AuditScreenshot.get(AuditScreenshot.audit == audit_id)
    return found


def test_a_recorded_screenshot_is_a_file_a_row_and_a_count(path: Path) -> None:
    with connect(path) as database:
        audit = operations.create("https://example.com")
        event_id = recorder.record(audit.id, shot(JPEG, label="Full page", index=7))
        row = row_of(audit.id)
        assert (row.label, row.index_num, row.file_size_bytes) == ("Full page", 7, len(JPEG))
        assert (row.media_type, row.sha256) == ("image/jpeg", hashlib.sha256(JPEG).hexdigest())
        assert row.file_path.startswith(f"{audit.id}/007-full-page-")
        assert database.location.screenshots == path.parent / "screenshots"
        assert (path.parent / "screenshots" / row.file_path).read_bytes() == JPEG
        assert lookups.get(audit.id).screenshots_count == 1
        data = AuditEvent.get_by_id(event_id).data["data"]
        assert StoredImage(**data) == (row.file_path, len(JPEG), "image/jpeg", row.sha256)


def test_the_log_refers_to_the_file_and_holds_no_base64(path: Path) -> None:
    large = make_png() + os.urandom(3000)
    with connect(path):
        audit = operations.create("https://example.com")
        recorder.record_many(audit.id, [shot(make_png()), shot(large), {"type": "audit_complete"}])
        texts = [json.dumps(event.data) for event in lookups.events(audit.id)]
    for text in texts:
        assert len(text) < 1000
        assert base64.b64encode(make_png()).decode() not in text
        assert base64.b64encode(large).decode()[:200] not in text


def test_a_data_url_and_wrapped_base64_are_read_too(path: Path) -> None:
    text = base64.b64encode(make_png()).decode()
    wrapped = "\r\n".join(text[start : start + 20] for start in range(0, len(text), 20))
    with connect(path):
        audit = operations.create("https://example.com")
        recorder.record(audit.id, shot(f"data:image/jpeg;base64,{text}"))
        recorder.record(audit.id, shot(wrapped))
        rows = list(AuditScreenshot.select())
    assert [row.media_type for row in rows] == ["image/png"] * 2
    assert [row.sha256 for row in rows] == [hashlib.sha256(make_png()).hexdigest()] * 2


@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
def test_a_screenshot_with_a_hostile_label_is_stored_or_refused(path: Path, label: str) -> None:
    with connect(path):
        audit = operations.create("https://example.com")
        try:
            recorder.record(audit.id, shot(label=label))
        except InvalidAudit:
            assert "\0" in label or "\ud800" in label
            assert files(path.parent / "screenshots") == []
        else:
            assert row_of(audit.id).label == (label or "screenshot 0")


@pytest.mark.parametrize("index", [None, True, -1, 1.5, "2", 10**30, [1]])
def test_a_screenshot_with_an_odd_index_is_stored_with_a_note(path: Path, index: Any) -> None:
    with connect(path):
        audit = operations.create("https://example.com")
        recorder.record(audit.id, shot(index=index))
        found = lookups.get(audit.id)
    assert [row.index_num for row in found.screenshots] == [0]
    assert "screenshot.index" in found.errors[0]


def nothing_is_stored(path: Path) -> None:
    assert AuditScreenshot.select().count() == AuditEvent.select().count() == 0
    screenshots = path.parent / "screenshots"
    assert not screenshots.exists() or files(screenshots) == []


def test_a_record_to_an_audit_that_is_not_there_leaves_no_file(path: Path) -> None:
    with connect(path):
        with pytest.raises(AuditNotFound):
            recorder.record("vrts_none", shot())
        with pytest.raises(AuditNotFound):
            recorder.record_many("vrts_none", [shot(), shot(), {"type": "audit_complete"}])
        nothing_is_stored(path)


@pytest.mark.parametrize(
    "data",
    [*map(base64.b64encode, NOT_IMAGES.values()), b"!!!", b"A", "\u00fc".encode(), "\ud800", 5],
    ids=[*NOT_IMAGES, "no base64", "cut-off base64", "no ASCII", "a lone surrogate", "a number"],
)
def test_an_image_that_is_refused_leaves_no_row_no_event_and_no_file(path: Path, data: Any) -> None:
    with connect(path):
        audit = operations.create("https://example.com")
        bad = shot() | {"data": data.decode() if isinstance(data, bytes) else data}
        with pytest.raises(InvalidAudit):
            recorder.record(audit.id, bad)
        nothing_is_stored(path)
        with pytest.raises(InvalidAudit):
            recorder.record_many(audit.id, [{"type": "log_entry"}, shot(), bad])
        nothing_is_stored(path)


def test_a_batch_that_fails_after_its_images_takes_them_back(path: Path) -> None:
    with connect(path):
        audit = operations.create("https://example.com")
        with pytest.raises(InvalidAudit):
            recorder.record_many(audit.id, [shot(), shot(), {"type": "x", "score": float("nan")}])
        nothing_is_stored(path)


def test_a_screenshot_whose_file_is_on_the_engines_machine_is_read_from_there(
    path: Path, outside: Path
) -> None:
    (outside / "t0.png").write_bytes(make_png())
    with connect(path):
        audit = operations.create("https://example.com")
        recorder.record(audit.id, shot() | {"url": str(outside / "t0.png"), "data": None})
        assert row_of(audit.id).sha256 == hashlib.sha256(make_png()).hexdigest()


def unreadable(outside: Path) -> dict[str, Any]:
    (outside / "notes.png").write_bytes(b"a secret")
    (outside / "t0.png").write_bytes(make_png())
    (outside / "link.png").symlink_to(outside / "t0.png")
    os.mkfifo(outside / "pipe.png")
    return {
        "missing": str(outside / "none.png"),
        "not an image": str(outside / "notes.png"),
        "a link": str(outside / "link.png"),
        "a folder": str(outside),
        "a pipe": str(outside / "pipe.png"),
        "a device": "/dev/zero",
        "Windows": "C:\\veritas\\evidence\\t0.jpg",
        "long": "/x" * 5000,
        "a long part": "/" + "x" * 300,
        "empty": "",
        "a number": 5,
    }


def test_an_image_that_cannot_be_read_is_a_note_in_errors(path: Path, outside: Path) -> None:
    places = unreadable(outside)
    with connect(path):
        for what, place in places.items():
            audit = operations.create("https://example.com")
            recorder.record(audit.id, shot() | {"url": place, "data": None, "label": what})
            found = lookups.get(audit.id)
            assert found.screenshots == []
            assert len(found.errors) == 1
            assert what in found.errors[0]
            assert "a secret" not in found.errors[0] or what == "not an image"
        assert AuditEvent.select().count() == len(places)


@pytest.mark.parametrize("place", ["/a\0b.png", "/\ud800.png"], ids=["NUL", "lone surrogate"])
def test_an_image_path_that_cannot_be_stored_is_refused(path: Path, place: str) -> None:
    with connect(path):
        audit = operations.create("https://example.com")
        with pytest.raises(InvalidAudit):
            recorder.record(audit.id, shot() | {"url": place, "data": None})
        nothing_is_stored(path)


def test_an_ingest_notes_images_that_cannot_be_read_and_keeps_the_rest(
    path: Path, outside: Path
) -> None:
    paths = [*unreadable(outside).values(), str(outside / "t0.png"), "/a\0b.png", "/\ud800.png"]
    with connect(path):
        audit_id = ingesting.ingest(
            {
                "url": "https://example.com",
                "status": "completed",
                "scout_results": [{"screenshots": paths}],
            }
        ).id
        found = lookups.get(audit_id)
    assert [row.index_num for row in found.screenshots] == [paths.index(str(outside / "t0.png"))]
    assert len(found.errors) >= len(paths) - 1


async def test_a_stored_image_is_read_through_the_facade(path: Path) -> None:
    async with AuditStore.open(path) as store:
        audit = await store.create("https://example.com")
        await store.record(audit.id, shot())
        found = await store.get(audit.id)
        assert await store.screenshot(found.screenshots[0].file_path) == make_png()
        with pytest.raises(StoreError):
            await store.screenshot("../audits.db")


def test_an_audit_folder_that_became_a_link_stops_the_record_and_leaves_nothing(
    path: Path, outside: Path
) -> None:
    with connect(path):
        audit = operations.create("https://example.com")
        (path.parent / "screenshots").mkdir()
        (path.parent / "screenshots" / audit.id).symlink_to(outside)
        with pytest.raises(StoreError, match="link"):
            recorder.record(audit.id, shot())
        assert AuditScreenshot.select().count() == AuditEvent.select().count() == 0
    assert files(outside) == []


def test_deleting_an_audit_removes_its_rows_then_its_files_and_its_folder(path: Path) -> None:
    with connect(path):
        first, second = (operations.create("https://example.com") for _ in range(2))
        for audit in (first, second):
            recorder.record_many(audit.id, [shot(make_png(1)), shot(make_png(2))])
        removal.delete(first.id)
        assert AuditScreenshot.select().where(AuditScreenshot.audit == first.id).count() == 0
        kept = [row.file_path for row in AuditScreenshot.select()]
        assert files(path.parent / "screenshots") == sorted([second.id, *kept])
        removal.delete(second.id)
        assert files(path.parent / "screenshots") == []


def test_files_stay_until_the_deletion_is_committed(path: Path) -> None:
    with connect(path) as database:
        audit = operations.create("https://example.com")
        recorder.record(audit.id, shot())
        stored = path.parent / "screenshots" / row_of(audit.id).file_path

        def delete_and_fail() -> None:
            with database.atomic():
                removal.delete(audit.id)
                assert stored.exists()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            delete_and_fail()
        assert stored.exists()
        assert Audit.select().count() == AuditScreenshot.select().count() == 1


def test_deleting_an_audit_whose_files_are_gone_already_is_no_error(path: Path) -> None:
    with connect(path):
        audit = operations.create("https://example.com")
        recorder.record(audit.id, shot())
        (path.parent / "screenshots" / row_of(audit.id).file_path).unlink()
        removal.delete(audit.id)
        assert Audit.select().count() == 0
