"""One audit as a bag: what is in it, that others validate it, and which bags are refused."""

from __future__ import annotations

import errno
import io
import os
import struct
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bagit
import pytest

from tests.evidence.conftest import NAME
from tests.support.amount import amount
from tests.support.audits import add_screenshot
from tests.support.command_line import run_here
from tests.support.database_files import by_hand
from torture import mutations
from torture.authority import Authority
from veritas_peewee import (
    AuditNotFound,
    Checkpoint,
    InvalidAudit,
    NotProven,
    StoreError,
    connect,
    copy_store,
    sync,
)
from veritas_peewee.errors import DatabaseCorrupt
from veritas_peewee.evidence import bag_reading, bags, keys
from veritas_peewee.evidence.bag_check import check_bag
from veritas_peewee.files.platform import Folder
from veritas_peewee.ledger.log import link
from veritas_peewee.presentation import report
from veritas_peewee.queries.images import current_images
from veritas_peewee.testing import make_event, make_png
from veritas_peewee.transfer import bags as making
from veritas_peewee.transfer.bags import export_bag


def an_audit(number: int = 0) -> str:
    """Record an audit with two images; returns its id."""
    return mutations._audit(number)


def files(bag: Path) -> dict[str, bytes]:
    return {
        path.relative_to(bag).as_posix(): path.read_bytes()
        for path in bag.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def bag(path: Path, tmp_path: Path, key: Path) -> Path:
    """The bag of an audit in a file at `path`."""
    with connect(path):
        export_bag(an_audit(), tmp_path / "bag", checkpoint=sync.head(key=key), key=key)
    return tmp_path / "bag"


def test_a_bag_is_valid_for_others_and_proves_the_audit(script: Any, tmp_path: Path, key: Path):
    an_audit(3)
    audit_id = an_audit()
    an_audit(4)
    checkpoint = sync.head(key=key)
    target = tmp_path / "bag"
    made = export_bag(audit_id, target, checkpoint=checkpoint, key=key)
    audit = sync.get(audit_id)
    names = tuple(shot.file_path for shot in audit.screenshots)
    assert (made.ok, made.events, made.images, made.withheld) == (True, 5, names, ())
    bagit.Bag(str(target)).validate()
    for manifest in (bags.MANIFEST, bags.TAG_MANIFEST):
        subprocess.run(["sha256sum", "--strict", "--quiet", "-c", manifest], cwd=target, check=True)
    found = check_bag(target, key)
    assert (found.audit_id, found.events, found.size) == (audit_id, 5, checkpoint.size)
    assert (found.origin, found.images, found.withheld) == (NAME, names, ())
    assert found.rows_stated
    for name in names:
        image = (target / bags.SCREENSHOTS / name).read_bytes()
        assert image == current_images().read(name)
    before, rest = audit_id.encode(), (target / bags.EVENTS).read_bytes()
    lengths = list(map(int, (target / bags.LENGTHS).read_text().split()))
    for event, length in zip(sync.events(audit_id), lengths, strict=True):
        kind, when, text = rest[1:length].decode().split("\0")
        before = link(before, kind, when, text)
        assert (kind, before) == (event.event_type, bytes(event.digest))
        rest = rest[length:]
    assert rest == b""


def test_it_holds_the_audit_for_an_import_and_as_a_page(script, tmp_path, key):
    audit_id = an_audit()
    export_bag(audit_id, tmp_path / "bag", checkpoint=sync.head(key=key))
    assert (tmp_path / "bag" / bags.REPORT).read_text() == sync.report(audit_id)
    assert not (tmp_path / "bag" / bags.VKEY).exists()
    seal = sync.get(audit_id).seal
    with connect(tmp_path / "other.db"):
        assert sync.import_(tmp_path / "bag" / bags.AUDIT).ok
        assert sync.get(audit_id).seal == seal


def test_it_is_the_same_byte_for_byte_whenever_and_wherever_it_is_made(
    path: Path, tmp_path: Path, key: Path, server: Any
):
    with connect(path):
        an_audit(1)
        audit_id = an_audit()
        checkpoint = sync.head(key=key)
        export_bag(audit_id, tmp_path / "one", checkpoint=checkpoint, key=key)
        export_bag(audit_id, tmp_path / "one.zip", checkpoint=checkpoint, key=key)
        an_audit(2)
        stream = io.BytesIO()
        export_bag(audit_id, stream, checkpoint=checkpoint.note.encode(), key=keys.public_key(key))
    assert stream.getvalue() == (tmp_path / "one.zip").read_bytes()
    with server.new() as url:
        copy_store(path, url)
        with connect(url):
            export_bag(audit_id, tmp_path / "two", checkpoint=checkpoint, key=key)
    assert files(tmp_path / "two") == files(tmp_path / "one")
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        packed = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    assert packed == {f"{audit_id}/{n}": data for n, data in files(tmp_path / "one").items()}
    assert check_bag(tmp_path / "one.zip", key) == check_bag(tmp_path / "two", key)


@pytest.mark.parametrize("which", ["all", "path", "name"])
def test_images_are_withheld_and_the_bag_says_so(script, tmp_path, key, which):
    audit_id = an_audit()
    names = [shot.file_path for shot in sync.get(audit_id).screenshots]
    images = [current_images().read(name) for name in names]
    gone = names if which == "all" else names[:1]
    without = {"all": [], "path": names[:1], "name": [names[0].rpartition("/")[2]]}[which]
    made = export_bag(
        audit_id, tmp_path / "bag", checkpoint=sync.head(key=key), images=which != "all",
        without=without,
    )  # fmt: skip
    assert (list(made.withheld), made.ok) == (gone, True)
    found = check_bag(tmp_path / "bag", key)
    assert (list(found.withheld), list(found.images)) == (gone, names[len(gone) :])
    assert [f"image that is not in the bag: {name}" for name in gone] == found.lines()[5:-2]
    info = (tmp_path / "bag" / bags.INFO).read_text()
    whole = files(tmp_path / "bag")
    assert "withheld from this bag" in whole[bags.REPORT].decode()
    for name, image in zip(names, images, strict=True):
        is_gone = name in gone
        assert (f"Withheld-Image: {name}\n" in info) == is_gone
        held = image in whole.values() or mutations.b64encode(image) in whole[bags.REPORT]
        assert held != is_gone


def test_an_image_that_is_missing_or_altered_is_left_out_and_named(
    path: Path, tmp_path: Path, key: Path
):
    with connect(path):
        audit_id = an_audit()
        add_screenshot(audit_id, 7, make_png(9))
        missing, altered, unknown = (shot.file_path for shot in sync.get(audit_id).screenshots)
        folder = path.parent / "screenshots"
        (folder / missing).unlink()
        (folder / altered).write_bytes(make_png(5))
        made = export_bag(audit_id, tmp_path / "bag", checkpoint=sync.head(key=key))
    assert not made.ok
    assert [missing in made.problems[0], altered in made.problems[1]] == [True, True]
    # No event brought it, but the one that states the rows tells of it.
    assert (made.notes, made.images) == ([], (unknown,))
    assert check_bag(tmp_path / "bag", key).withheld == tuple(sorted((missing, altered)))


def test_of_an_audit_that_is_removed_meanwhile_no_bag_is_made(
    path: Path, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its rows are in the snapshot, and its images are files: they were not lost."""
    with connect(path):
        audit_id = an_audit()
        made = sync.head(key=key)
    adding = making._Maker._add_images

    def remove() -> None:
        with connect(path):
            sync.delete(audit_id)

    def late(maker: making._Maker) -> None:
        other = threading.Thread(target=remove)
        other.start()
        other.join()
        adding(maker)

    monkeypatch.setattr(making._Maker, "_add_images", late)
    with connect(path, read_only=True), pytest.raises(AuditNotFound):
        sync.export_bag(audit_id, tmp_path / "bag", checkpoint=made)
    assert not (tmp_path / "bag").exists()


def test_an_audit_that_runs_has_what_its_log_tells_so_far(script, tmp_path, key):
    audit_id = sync.create("https://shop.example/").id
    sync.record(audit_id, {"type": "phase_start", "phase": "scout"})
    add_screenshot(audit_id, 0, make_png(9))
    (unknown,) = (shot.file_path for shot in sync.get(audit_id).screenshots)
    made = export_bag(audit_id, tmp_path / "bag", checkpoint=sync.head(key=key))
    told = f"audit {audit_id}: {unknown}: no event tells of the image, so nothing proves it"
    assert (made.ok, made.notes, made.images) == (True, [told], ())
    found = check_bag(tmp_path / "bag", key)
    assert (found.events, found.rows_stated, found.images) == (1, False, ())


# ---- what is not made ----


def test_what_the_checkpoint_does_not_prove_is_not_made(path: Path, tmp_path: Path, key: Path):
    target = tmp_path / "bag"
    with connect(path):
        audit_id = an_audit()
        checkpoint = sync.head(key=key)
        with pytest.raises(AuditNotFound):
            export_bag("vrts_none", target, checkpoint=checkpoint)
        empty = sync.create("https://empty.example/").id
        with pytest.raises(NotProven, match="has no events"):
            export_bag(empty, target, checkpoint=checkpoint)
        sync.record(audit_id, make_event("log_entry", message="late"))
        with pytest.raises(NotProven, match="newer than the checkpoint: make a new one"):
            export_bag(audit_id, target, checkpoint=checkpoint)
        newer = sync.head(key=key)
        other = keys.make_key(tmp_path / "other.key", NAME)
        with pytest.raises(NotProven, match="not signed by"):
            export_bag(audit_id, target, checkpoint=newer, key=other)
        with pytest.raises(InvalidAudit, match=r"'x\.png' is not an image of it"):
            export_bag(audit_id, target, checkpoint=newer, without=["x.png"])
    with connect(tmp_path / "elsewhere.db"):
        audit_id = an_audit()
        with pytest.raises(NotProven, match=r"has 7 events and .* only 4: it is of"):
            export_bag(audit_id, target, checkpoint=newer)
        an_audit(1)
        with pytest.raises(NotProven, match="the checkpoint is not of the log of"):
            export_bag(audit_id, target, checkpoint=checkpoint)
        with pytest.raises(NotProven, match="that is no signed note"):
            export_bag(audit_id, target, checkpoint=b"5-1-1-abc\n")
    assert not target.exists()


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ("UPDATE audits SET trust_score = 99", "its row was altered"),
        ("UPDATE audit_events SET data = '{}' WHERE id = 2", "event 2 of its log was altered"),
        ("UPDATE audit_events SET digest = NULL WHERE id = 2", "event 2 of its log was altered"),
    ],
)
def test_of_an_audit_that_is_not_as_it_was_written_no_bag_is_made(
    path, tmp_path, key, damage, what
):
    with connect(path):
        audit_id = an_audit()
        checkpoint = sync.head(key=key)
    by_hand(path, damage)
    with connect(path), pytest.raises(DatabaseCorrupt, match=what):
        export_bag(audit_id, tmp_path / "bag", checkpoint=checkpoint)
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize("name", ["bag", "bag.zip"])
def test_a_bag_is_there_whole_or_not_at_all(path, tmp_path, key, name, monkeypatch):
    with connect(path):
        audit_id = an_audit()
        checkpoint = sync.head(key=key)
        folder = tmp_path / "bags"
        folder.mkdir()

        def fails(*_: Any) -> Iterator[str]:
            yield "<html>"
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(making, "report_parts", fails)
        with pytest.raises(StoreError, match="No space left"):
            export_bag(audit_id, folder / name, checkpoint=checkpoint)
        assert list(folder.iterdir()) == []
        monkeypatch.setattr(making, "report_parts", report.report_parts)
        export_bag(audit_id, folder / name, checkpoint=checkpoint)
        with pytest.raises(StoreError, match="is there already"):
            export_bag(audit_id, folder / name, checkpoint=checkpoint)
    assert [one.name for one in folder.iterdir()] == [name]
    assert check_bag(folder / name, key).events == 5


def test_a_time_stamp_of_something_else_is_not_put_into_a_bag(
    script: Any, tmp_path: Path, key: Path
):
    authority = Authority(tmp_path / "authority")
    audit_id, checkpoint = an_audit(), sync.head(key=key)
    stamp, certificates = authority.stamp(checkpoint.note.encode()), authority.certificates
    target = tmp_path / "bag"
    for reply, told in (
        (b"garbage", "not a reply of an authority"),
        (b"", "not a reply of an authority"),
        (stamp[:-1], "not a reply of an authority"),
        (stamp + b"\n", "not a reply of an authority"),
        (authority.stamp(b"something else"), "something else than the checkpoint"),
    ):
        with pytest.raises(NotProven, match=told):
            export_bag(audit_id, target, checkpoint=checkpoint, timestamp=reply)
    for wrong in (b"garbage", b"", certificates[:-50], b"\xff", key.read_bytes()):
        with pytest.raises(NotProven, match="not certificates in PEM"):
            export_bag(audit_id, target, checkpoint=checkpoint, timestamp=stamp, certificates=wrong)
    assert not target.exists()
    export_bag(audit_id, target, checkpoint=checkpoint, timestamp=stamp, certificates=certificates)
    assert check_bag(target, key, root=authority.root).stamp == "checked"


# ---- what is not believed, and cannot hurt ----


def test_an_altered_bag_is_refused_by_name(tmp_path: Path):
    made = mutations.make(tmp_path / "made")
    for number in range(amount(27, 200)):
        name, how = mutations.mutated(made, tmp_path / "bag", number)
        with pytest.raises(NotProven, match=mutations.NAMED[name]) as refusal:
            check_bag(tmp_path / "bag", made.key, root=made.root)
        assert "\n" not in str(refusal.value), (name, how)


def test_a_bag_s_own_key_is_only_the_bag_s_word(bag: Path, key: Path, capsys: Any):
    assert check_bag(bag).key == "in the bag"
    (bag / bags.VKEY).unlink()
    mutations.remake(bag)
    with pytest.raises(StoreError, match="the bag names no key"):
        check_bag(bag)
    assert check_bag(bag, key).key == "given"
    with pytest.raises(NotProven, match="not signed by"):
        check_bag(bag, keys.make_key(bag.parent / "another.key", NAME))


def _link(bag: Path) -> None:
    (bag / "data" / "screenshots" / "x.png").symlink_to("/etc/passwd")


def _folder_link(bag: Path) -> None:
    (bag / "data" / "more").symlink_to("/")


def _pipe(bag: Path) -> None:
    os.mkfifo(bag / "data" / "pipe")


def _outside(bag: Path) -> None:
    with (bag / bags.MANIFEST).open("a") as file:
        file.write(f"{'0' * 64}  data/../../../etc/passwd\n")


def _absolute(bag: Path) -> None:
    with (bag / bags.MANIFEST).open("a") as file:
        file.write(f"{'0' * 64}  /etc/passwd\n")


def _odd_name(bag: Path) -> None:
    (bag / "data" / "a\nb\x1b[2J").write_text("")


def _huge(bag: Path) -> None:
    with (bag / bags.AUDIT).open("r+b") as file:
        file.truncate(1 << 40)  # sparse: it takes no room


def _large_proof(bag: Path) -> None:
    (bag / bags.INCLUSION).write_bytes(b"\n" * (2 << 20))
    mutations.remake(bag)


def _deep(bag: Path) -> None:
    (bag / "/".join("d" * 40)).mkdir(parents=True)


HOSTILE = {
    _link: "neither a file nor a folder: 'data/screenshots/x.png'",
    _folder_link: "neither a file nor a folder: 'data/more'",
    _pipe: "neither a file nor a folder: 'data/pipe'",
    _outside: "'data/../../../etc/passwd': is missing",
    _absolute: "a line that is none",
    _odd_name: r"'data/a\\nb\\x1b\[2J': is in no manifest",
    _huge: "more than 17179869184 bytes",
    _large_proof: "inclusion: is larger than that of any bag",
    _deep: "nested too deeply",
}


@pytest.mark.ends_within(20)
@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda one: one.__name__.strip("_"))
def test_a_hostile_bag_is_refused_and_hurts_nobody(bag, key, hostile):
    hostile(bag)
    with pytest.raises(NotProven, match=HOSTILE[hostile]):
        check_bag(bag, key)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EMFILE], ids=os.strerror)
@pytest.mark.parametrize("what", ["folder", "open_to_read"])
def test_what_cannot_be_looked_at_is_no_fault_of_the_bag(bag, key, monkeypatch, code, what):
    real = getattr(Folder, what)

    def refusing(folder: Folder, name: str, *rest: object, **more: object) -> object:
        if name in ("proof", "checkpoint"):
            raise OSError(code, os.strerror(code), name)
        return real(folder, name, *rest, **more)

    monkeypatch.setattr(Folder, what, refusing)
    with pytest.raises(StoreError, match=os.strerror(code)) as caught:
        check_bag(bag, key)
    assert not isinstance(caught.value, NotProven)


def _beyond_all_files() -> bytes:
    """A zip file whose second entry begins after 2^63 bytes."""
    size, names = 1 << 63, (b"a/manifest-sha256.txt", b"a/b")
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 45, *(0,) * 7, len(names[0]), 0) + names[0]
    central = b""
    numbers = ((size, size), (len(local) + size,))
    for name, large in zip(names, numbers, strict=True):
        extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large)
        sizes = (0xFFFFFFFF,) * 2 if len(large) == 2 else (0, 0)
        offset = 0 if len(large) == 2 else 0xFFFFFFFF
        central += struct.pack(
            "<4s6H3I5H2I", b"PK\1\2", 45, 45, 0, 0, 0, 0, 0, *sizes, len(name), len(extra),
            0, 0, 0, 0, offset,
        ) + name + extra  # fmt: skip
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 2, 2, len(central), len(local), 0)
    return local + central + end


def test_a_zip_file_with_odd_numbers_and_names_is_refused(bag: Path, key: Path, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in files(bag).items():
            archive.writestr(f"bag/{name}", data)
    whole = (tmp_path / "a.zip").read_bytes()
    directory = whole.index(b"PK\1\2")
    without_name, not_text = bytearray(whole), bytearray(whole)
    without_name[directory + 46] = 0
    not_text[directory + 9] |= 8  # the flag of UTF-8
    not_text[directory + 46] = 0xFF
    for altered in (bytes(without_name), bytes(not_text), _beyond_all_files()):
        (tmp_path / "b.zip").write_bytes(altered)
        with pytest.raises(StoreError):
            check_bag(tmp_path / "b.zip", key)


def test_a_hostile_zip_file_is_refused(bag: Path, key: Path, tmp_path: Path):
    whole = files(bag)

    def check(entries: list[tuple[str, bytes, int]], *, mode: int = 0o100644) -> None:
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name, data, kind in entries:
                entry = zipfile.ZipInfo(name)
                entry.external_attr = mode << 16
                archive.writestr(entry, data, compress_type=kind)
        check_bag(tmp_path / "x.zip", key)

    plain = [(f"bag/{name}", data, zipfile.ZIP_STORED) for name, data in whole.items()]
    check(plain)
    bomb = ("bag/data/bomb", b"\0" * 10_000_000, zipfile.ZIP_DEFLATED)
    with pytest.raises(NotProven, match="'bag/data/bomb' is packed"):
        check([*plain, bomb])
    with pytest.raises(NotProven, match="more than one folder"):
        check([*plain, ("../x", b"", zipfile.ZIP_STORED)])
    with pytest.raises(NotProven, match="is in no manifest"):
        check([*plain, ("bag/../../x", b"", zipfile.ZIP_STORED)])
    with pytest.raises(NotProven, match="is in no bag, or is in it twice"):
        check(plain, mode=0o120777)
    with pytest.warns(UserWarning, match="Duplicate"), pytest.raises(NotProven, match="twice"):
        check([*plain, plain[0]])
    data = (tmp_path / "x.zip").read_bytes()
    for other in (b"", b"PK", data[: len(data) // 2], b"x" * 5000):
        (tmp_path / "x.zip").write_bytes(other)
        with pytest.raises(StoreError, match="neither a folder nor a whole zip file"):
            check_bag(tmp_path / "x.zip", key)
    with pytest.raises(StoreError, match="No such file"):
        check_bag(tmp_path / "none", key)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StoreError, match="is neither a folder nor a file"):
        check_bag(tmp_path / "pipe", key)


def test_a_zip_file_with_bytes_that_are_in_none_of_its_entries_is_refused(
    bag: Path, key: Path, tmp_path: Path
):
    def zipped(name: str, comment: bytes = b"") -> bytes:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for file, data in files(bag).items():
                archive.writestr(f"bag/{file}", data)
            archive.comment = comment
        return (tmp_path / name).read_bytes()

    whole = zipped("a.zip")
    check_bag(tmp_path / "a.zip", key)
    directory = whole.index(b"PK\1\2")
    second = whole.index(b"PK\3\4", 4)
    for altered in (
        b"#!/bin/sh\necho all is proven\n" + whole,
        whole + b"more",
        whole + whole,
        zipped("b.zip", b"a comment"),
        whole[:directory] + b"more" + whole[directory:],
        whole[:second] + b"more" + whole[second:],
    ):
        (tmp_path / "x.zip").write_bytes(altered)
        with pytest.raises(NotProven, match=r"in none of its entries"):
            check_bag(tmp_path / "x.zip", key)


def test_a_bag_with_too_many_files_is_not_read(bag, key, monkeypatch):
    monkeypatch.setattr(bag_reading, "MOST_FILES", 5)
    with pytest.raises(NotProven, match="more than 5 files"):
        check_bag(bag, key)


# ---- the command line ----


def test_the_command_line_makes_a_bag_and_checks_it(path, tmp_path, key, capsys, monkeypatch):
    monkeypatch.setenv("VERITAS_DATABASE", str(path))
    checkpoint, target, vkey = (str(tmp_path / one) for one in ("checkpoint", "bag", "vkey"))
    with connect(path):
        audit_id = an_audit()
        Path(checkpoint).write_text(sync.head(key=key).note)
    Path(vkey).write_text(keys.public_key(key).vkey + "\n")
    bag = ("export", "--format", "bag", audit_id, "--checkpoint", checkpoint)
    made = run_here(capsys, *bag, "--output", target, "--key", vkey)
    assert (made.code, made.out) == (0, f"5 events, 2 images: {target}\n")
    done = run_here(capsys, "check", target, "--key", vkey)
    assert (done.code, done.err, done.out.splitlines()) == (0, "", check_bag(target, vkey).lines())
    done = run_here(capsys, "check", target, "--key", vkey, "--json")
    assert (done.code, done.json["ok"], done.json["events"]) == (0, True, 5)
    done = run_here(capsys, "check", target)
    assert (done.code, "give the store's, by --key" in done.err) == (3, True)
    done = run_here(capsys, "check", target, "--json")
    assert (done.code, done.json["ok"], done.json["key"]) == (3, False, "in the bag")
    made = run_here(capsys, *bag, "--output", f"{target}.zip", "--no-images", "--json")
    assert (made.code, len(made.json["withheld"])) == (0, 2)
    (Path(target) / bags.AUDIT_ID).write_text("vrts_x")
    done = run_here(capsys, "check", target, "--key", vkey)
    assert (done.code, done.out) == (1, "")
    assert (
        done.err == f"veritas-peewee: not proven: {bags.AUDIT_ID}: is not as its manifest has it\n"
    )
    done = run_here(capsys, "check", target, "--key", vkey, "--json")
    assert (done.code, done.json["ok"], "audit-id" in done.json["problem"]) == (1, False, True)
    printed = run_here(capsys, "check", "--script")
    assert printed.out.encode() == bags.script() == (Path(target) / bags.SCRIPT).read_bytes()


def test_wrong_usage_is_told_from_what_is_not_proven(path, tmp_path, key, capsys):
    with connect(path):
        audit_id = an_audit()
        (tmp_path / "checkpoint").write_text(sync.head(key=key).note)
    given = ("--database", path, "--output", tmp_path / "bag")
    proof = ("--checkpoint", tmp_path / "checkpoint")
    for words, told in (
        (("export", "--format", "bag", audit_id, *given), "a bag needs a signed one"),
        (("export", "--format", "bag", *proof, *given), "give its id, and no filter"),
        (("export", "--format", "bag", "a", "b", *proof, *given), "give its id, and no filter"),
        (("export", "--format", "bag", audit_id, *proof, *given, "--risk", "x"), "no filter"),
        (("export", "--format", "bag", audit_id, *proof, *given, "--min-score", 0), "no filter"),
        (("export", "--format", "bag", audit_id, *proof, *given, "--order", "lowest"), "or order"),
        (("export", audit_id, *proof, *given), "is for --format bag"),
        (("export", "--format", "csv", *given, "--no-images"), "is for --format jsonl or bag"),
        (("export", "--format", "html", audit_id, *given, "--no-images"), "jsonl or bag"),
        (("head", "--timestamp-request", tmp_path / "checkpoint", "--name", "a"), "name of a key"),
        (("check", tmp_path / "bag", "--script"), "checks no bag"),
        (("export", "--format", "bag", audit_id, *proof, *given, "--without", "x"), "not an image"),
        (("check",), "name the bag"),
    ):
        done = run_here(capsys, *words)
        assert (done.code, told in done.err) == (2, True), done.err


def test_a_bag_that_cannot_be_checked_is_told_from_one_that_is_not_proven(
    path, tmp_path, key, capsys
):
    """As the shell script tells it, whose code 2 is that of wrong usage here."""
    with connect(path):
        audit_id = an_audit()
        export_bag(audit_id, tmp_path / "bag", checkpoint=str(sync.head(key=key)).encode())
    (tmp_path / "text").write_text("no key")
    for bag, given, said in (
        ("none", key, "none: cannot be read: No such file"),
        ("text", key, "text: is neither a folder nor a whole zip file"),
        ("bag", tmp_path / "none", "none: cannot be read: No such file"),
        ("bag", tmp_path / "text", "text: is neither a vkey"),
    ):
        done = run_here(capsys, "check", tmp_path / bag, "--key", given)
        assert (done.code, done.out, done.err.count("\n")) == (3, "", 1)
        assert done.err.startswith("veritas-peewee: not checked: ")
        assert said in done.err
        done = run_here(capsys, "check", tmp_path / bag, "--key", given, "--json")
        assert (done.code, done.json["ok"], said in done.json["problem"]) == (3, False, True)


def test_a_checkpoint_s_text_can_be_given_as_it_is(script, tmp_path, key):
    audit_id, checkpoint = an_audit(), sync.head(key=key)
    assert isinstance(checkpoint, Checkpoint)
    export_bag(audit_id, tmp_path / "bag", checkpoint=checkpoint.note.encode())
    assert (tmp_path / "bag" / bags.CHECKPOINT).read_text() == str(checkpoint)
