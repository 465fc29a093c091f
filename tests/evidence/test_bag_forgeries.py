"""Bags that are forged with care: the script, under each shell, and `check` judge them alike.

What is altered at random is the fault `bags` of the torture.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from torture import mutations
from torture.faults.bags import SCRIPT, SHELLS, only_applets, verify
from torture.mutations import Bags, events_of, remake, write_events
from veritas_peewee import NotProven, StoreError, connect, sync
from veritas_peewee.evidence import bags, keys
from veritas_peewee.evidence.bag_check import check_bag
from veritas_peewee.ledger.log import append_event
from veritas_peewee.testing import make_png
from veritas_peewee.transfer import bags as making
from veritas_peewee.transfer.bags import export_bag
from veritas_peewee.values.moments import utc_now

pytestmark = pytest.mark.filterwarnings("always:NOT RUN:UserWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bags:
    return mutations.make(tmp_path_factory.mktemp("bags"))


@pytest.fixture(scope="module")
def applets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str] | None:
    if shutil.which("busybox") is None:
        return None
    return only_applets(tmp_path_factory.mktemp("applets") / "bin")


JUDGES = ("check", *SHELLS, "applets")
Judge = Callable[[Path, Bags], tuple[int, str]]


@pytest.fixture(params=JUDGES)
def judge(request: pytest.FixtureRequest, applets: dict[str, str] | None) -> Judge:
    """What gives the code, and what it says, of a bag."""
    name = str(request.param)
    if name == "check":
        return _by_check
    shell = "busybox" if name == "applets" else name
    if shutil.which(SHELLS[shell][0]) is None:
        warnings.warn(f"NOT RUN: there is no {shell}: apt-get install {shell}", stacklevel=1)
        pytest.skip(f"there is no {shell}")
    env = applets if name == "applets" else None
    return lambda bag, made: verify(shell, bag, made, env)


def _by_check(bag: Path, made: Bags) -> tuple[int, str]:
    try:
        lines = check_bag(bag, made.key, root=made.root).lines()
    except NotProven as error:
        return 1, str(error)
    return 0, "\n".join([*lines, ""])


def copied(made: Bags, target: Path) -> Path:
    shutil.copytree(made.whole, target)
    return target


def test_of_a_whole_bag_each_says_the_same(made: Bags, judge: Judge):
    assert judge(made.whole, made) == _by_check(made.whole, made)


# ---- where the audit's id ends, and the first event begins ----


def _shorter_id(bag: Path, made: Bags) -> None:
    audit_id, events = (bag / bags.AUDIT_ID).read_bytes(), events_of(bag)
    events[0] = audit_id[-3:] + events[0]
    mutations.renamed(bag, audit_id[:-3])
    write_events(bag, events)


def _empty_id(bag: Path, made: Bags) -> None:
    audit_id, events = (bag / bags.AUDIT_ID).read_bytes(), events_of(bag)
    events[0] = audit_id + events[0]
    mutations.renamed(bag, b"")
    write_events(bag, events)


def _id_with_a_newline(bag: Path, made: Bags) -> None:
    mutations.renamed(bag, (bag / bags.AUDIT_ID).read_bytes() + b"\n")


def _id_with_most_of_an_event(bag: Path, made: Bags) -> None:
    audit_id, events = (bag / bags.AUDIT_ID).read_bytes(), events_of(bag)
    (bag / bags.AUDIT_ID).write_bytes(audit_id + events[0][:60])
    events[0] = events[0][60:]
    write_events(bag, events)


def _digest_as_id(bag: Path, made: Bags) -> None:
    before, events = (bag / bags.AUDIT_ID).read_bytes(), events_of(bag)
    for event in events[:2]:
        before = hashlib.sha256(before + event).digest()
    (bag / bags.AUDIT_ID).write_bytes(before)
    write_events(bag, events[2:])
    shutil.rmtree(bag / bags.SCREENSHOTS)


def _other_name(bag: Path, made: Bags) -> None:
    text = (bag / bags.INFO).read_text()
    (bag / bags.INFO).write_text(text.replace("External-Identifier: vrts_", "external-identifier:"))


# ---- one content, told in two ways ----


def _appended(name: str, added: bytes) -> Callable[[Path, Bags], None]:
    def alter(bag: Path, made: Bags) -> None:
        (bag / name).write_bytes((bag / name).read_bytes() + added)

    alter.__name__ = f"_{name.rpartition('/')[2]}_with_{added[:6]!a}"
    return alter


def _spaces_in_lengths(bag: Path, made: Bags) -> None:
    path = bag / bags.LENGTHS
    path.write_bytes(b" " + path.read_bytes().replace(b"\n", b" \n"))


def _space_before_the_index(bag: Path, made: Bags) -> None:
    (bag / bags.INDEX).write_bytes(b" " + (bag / bags.INDEX).read_bytes())


def _nul_in_the_index(bag: Path, made: Bags) -> None:
    (bag / bags.INDEX).write_bytes(b"\0" + (bag / bags.INDEX).read_bytes())


def _nul_in_the_inclusion(bag: Path, made: Bags) -> None:
    path = bag / bags.INCLUSION
    path.write_bytes(path.read_bytes().replace(b"\n", b"\0\n", 1))


def _bad_signature_after_the_good_one(bag: Path, made: Bags) -> None:
    path = bag / bags.CHECKPOINT
    line = path.read_bytes().splitlines()[-1]
    at = len(line) - 20
    other = b"B" if line[at : at + 1] == b"A" else b"A"
    path.write_bytes(path.read_bytes() + line[:at] + other + line[at + 1 :] + b"\n")


def _many_signatures_and_a_text(bag: Path, made: Bags) -> None:
    _appended(bags.CHECKPOINT, "— x AAAAAAA=\n".encode() * 120 + b"a text\n")(bag, made)


def _101_signatures(bag: Path, made: Bags) -> None:
    _appended(bags.CHECKPOINT, "— x AAAAAAA=\n".encode() * 100)(bag, made)


def _image_in_the_tag_manifest(bag: Path, made: Bags) -> None:
    remake(bag)
    *lines, moved = (bag / bags.MANIFEST).read_text().splitlines(keepends=True)
    (bag / bags.MANIFEST).write_text("".join(lines))
    digest = hashlib.sha256((bag / bags.MANIFEST).read_bytes()).hexdigest()
    tags = (bag / bags.TAG_MANIFEST).read_text().splitlines(keepends=True)
    tags = [f"{digest}  {bags.MANIFEST}\n" if bags.MANIFEST in one else one for one in tags]
    (bag / bags.TAG_MANIFEST).write_text("".join([*tags, moved]))


def _two_names_in_one(bag: Path, made: Bags) -> None:
    """A name with a newline is, line by line, two names that are listed twice."""
    remake(bag)
    image = next((bag / bags.SCREENSHOTS).rglob("*.png"))
    image.with_name(f"{image.name}\nbagit.txt").write_bytes(b"not listed")
    for manifest, name in ((bags.MANIFEST, image.name), (bags.TAG_MANIFEST, "bagit.txt")):
        lines = (bag / manifest).read_text().splitlines(keepends=True)
        twice = [one for one in lines if one.endswith(f"{name}\n")]
        (bag / manifest).write_text("".join(sorted([*lines, *twice], key=lambda one: one[66:])))


def _tag_manifest_without_its_last_newline(bag: Path, made: Bags) -> None:
    remake(bag)
    path = bag / bags.TAG_MANIFEST
    path.write_bytes(path.read_bytes()[:-1])


def _folder_with_a_space(bag: Path, made: Bags) -> None:
    (bag / "data" / "a folder").mkdir()


def _other_vkey(bag: Path, made: Bags) -> None:
    shutil.copy(made.foreign / bags.VKEY, bag / bags.VKEY)


FORGED = {
    _shorter_id: "data/log/events has not the form",
    _empty_id: "audit-id is not the id",
    _id_with_a_newline: "audit-id is not the id",
    _id_with_most_of_an_event: "audit-id is not the id",
    _digest_as_id: "audit-id is not the id",
    _other_name: "names another audit",
    _appended(bags.INCLUSION, b"garbage"): "inclusion: its last newline",
    _appended(bags.INCLUSION, b"\n"): "inclusion",
    _appended(bags.LENGTHS, b"garbage"): "lengths: its last newline",
    _appended(bags.INDEX, b"\n\n"): "index",
    _appended(bags.CHECKPOINT, b"garbage"): "checkpoint: its last newline",
    _appended(bags.CHECKPOINT, "— x\xa0y AAAAAAA=\n".encode()): "checkpoint",
    _appended(bags.CHECKPOINT, "— x\u2028y AAAAAAA=\n".encode()): "checkpoint",
    _appended(bags.CHECKPOINT, b"\xe2\x80\x94 \xff AAAAAAA=\n"): "checkpoint",
    _appended(bags.CHECKPOINT, "— x \n".encode()): "checkpoint",
    _spaces_in_lengths: "lengths",
    _space_before_the_index: "index",
    _nul_in_the_index: "index",
    _nul_in_the_inclusion: "inclusion",
    _bad_signature_after_the_good_one: "checkpoint.*not what was signed",
    _many_signatures_and_a_text: "checkpoint",
    _101_signatures: "checkpoint",
    _image_in_the_tag_manifest: "manifest",
    _two_names_in_one: "manifest",
    _tag_manifest_without_its_last_newline: "manifest-sha256.txt: its last newline",
    _folder_with_a_space: "a folder",
    _other_vkey: "log.vkey is not the key",
}
_LISTED = {_image_in_the_tag_manifest, _two_names_in_one, _tag_manifest_without_its_last_newline}


def _each() -> Iterator[Any]:
    """Each forgery with each judge; those of spelling with some, for the time it takes."""
    for number, forge in enumerate(FORGED):
        for name in JUDGES if number < 6 else ("check", "dash", "applets"):
            yield pytest.param(name, forge, id=f"{name}-{forge.__name__.strip('_')}")


@pytest.mark.parametrize(("judge", "forge"), [*_each()], indirect=["judge"])
def test_a_forged_bag_is_refused(
    made: Bags, judge: Judge, tmp_path: Path, forge: Callable[[Path, Bags], None]
):
    bag = copied(made, tmp_path / "bag")
    forge(bag, made)
    if forge not in _LISTED:
        remake(bag)
    code, said = judge(bag, made)
    assert (code, re.search(FORGED[forge], said) is not None) == (1, True), said


# ---- the time ----


def _der(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    if size < 128:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def _content(der: bytes) -> tuple[bytes, bytes]:
    """What is in the first value of DER, and what is after it."""
    size, head = der[1], 2
    if size & 0x80:
        head += size & 0x7F
        size = int.from_bytes(der[2:head], "big")
    return der[head : head + size], der[head + size :]


def test_a_time_in_the_unsigned_part_of_a_reply_is_not_taken(
    made: Bags, judge: Judge, tmp_path: Path
):
    bag = copied(made, tmp_path / "bag")
    _, token = _content(_content((bag / bags.STAMP).read_bytes())[0])
    text = _der(0x0C, b"x\nTime stamp: Dec  5 01:00:00 2029 GMT\n")
    status = _der(0x30, _der(0x02, b"\0"), _der(0x30, text))
    (bag / bags.STAMP).write_bytes(_der(0x30, status, token))
    remake(bag)
    code, said = judge(bag, made)
    true = [line for line in _by_check(made.whole, made)[1].splitlines() if "existed" in line]
    assert (code, [line for line in said.splitlines() if "existed" in line]) == (0, true)


# ---- the images ----


def test_what_an_event_repeats_of_a_site_is_no_word_on_an_image(judge: Judge, tmp_path: Path):
    evil, private = b"<html>", tmp_path / "key"
    public = keys.make_key(private, "audits.example/store")
    (tmp_path / "vkey").write_text(f"{public.vkey}\n")
    digest = hashlib.sha256(evil).hexdigest()
    with connect(tmp_path / "audits.db"):
        audit_id = sync.create("https://shop.example/").id
        image = {"size": 6, "media_type": "image/png", "sha256": digest}
        row = {"file_path": f"{audit_id}/fake.png", "label": "t0", "index_num": 0,
               "file_size_bytes": 6, "media_type": "image/png", "sha256": digest}  # fmt: skip
        for file in (f"{audit_id}/fake.png", "../fake.png"):
            told = {"file": file, **image}
            sync.record(audit_id, {"type": "phase_start", "phase": "scout", "x": told})
            sync.record(audit_id, {"type": "phase_start", "data": told, "rows": [row]})
        data = b64encode(make_png(1)).decode()
        told = {"data": {"file": f"{audit_id}/fake.png", **image}}
        sync.record(audit_id, {"type": "screenshot", "x": told, "data": data, "rows": [row]})
        sync.record(audit_id, {"type": "audit_complete", "elapsed": 5})
        export_bag(audit_id, tmp_path / "bag", checkpoint=sync.head(key=private), key=public)
    its = Bags(tmp_path, tmp_path, tmp_path, tmp_path / "vkey", tmp_path / "vkey", None)  # type: ignore[arg-type]
    code, said = judge(tmp_path / "bag", its)
    assert (code, "images: 1," in said, "fake" in said) == (0, True, False)
    (tmp_path / "bag" / bags.SCREENSHOTS / audit_id / "fake.png").write_bytes(evil)
    remake(tmp_path / "bag")
    code, said = judge(tmp_path / "bag", its)
    assert (code, "fake.png" in said) == (1, True)


def test_a_last_event_that_states_another_audit_s_rows_is_refused(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    private = tmp_path / "key"
    public = keys.make_key(private, "audits.example/store")
    (tmp_path / "vkey").write_text(f"{public.vkey}\n")
    with connect(tmp_path / "audits.db"):
        audit_id = sync.create("https://shop.example/").id
        stated = (
            '{"type":"audit_sealed","version":1,"seal":null,"sealed_events":null,'
            '"audit":{"id":"vrts_other","url":"x"},"findings":[],"screenshots":[]}'
        )
        append_event(audit_id, "audit_sealed", stated, utc_now())
        checkpoint, told = sync.head(key=private), "does not state the rows of this audit"
        with pytest.raises(NotProven, match="states other rows than there are"):
            export_bag(audit_id, tmp_path / "bag", checkpoint=checkpoint)
        monkeypatch.setattr(making, "is_misstated", lambda audit_id: False)
        with pytest.raises(NotProven, match=told):
            export_bag(audit_id, tmp_path / "bag", checkpoint=checkpoint)
        monkeypatch.setattr(making, "_told", lambda stored: set())
        export_bag(audit_id, tmp_path / "bag", checkpoint=checkpoint, key=public)
    its = Bags(tmp_path, tmp_path, tmp_path, tmp_path / "vkey", tmp_path / "vkey", None)  # type: ignore[arg-type]
    code, said = judge(tmp_path / "bag", its)
    assert (code, told in said) == (1, True), said


# ---- the key, as it came ----

_SPELLED = {
    "as it is": (lambda key: key, 0),
    "without a newline": (bytes.strip, 0),
    "from Windows": (lambda key: key.replace(b"\n", b"\r\n"), 0),
    "between empty lines": (lambda key: b"\n \n" + key + b"\t\n", 0),
    "twice": (lambda key: key + key, 1),
    "with a word": (lambda key: key + b"key\n", 1),
    "padded": (lambda key: key.strip() + b"=\n", 1),
    "in parts": (lambda key: key[:-9] + b"\n" + key[-9:], 1),
    "with a NUL": (lambda key: key[:-5] + b"\0" + key[-5:], 1),
    "of another kind": (lambda key: key.replace(b"+A", b"+B"), 1),
    "nothing": (lambda key: b"", 1),
    "its name": (lambda key: key.partition(b"+")[0], 1),
}


@pytest.mark.parametrize("spelled", _SPELLED)
def test_a_key_is_read_alike_however_it_is_spelled(
    made: Bags, judge: Judge, tmp_path: Path, spelled: str
):
    spell, wanted = _SPELLED[spelled]
    vkey = f"{keys.public_key(made.key).vkey}\n".encode()
    (tmp_path / "vkey").write_bytes(spell(vkey))
    try:
        code, said = judge(made.whole, replace(made, key=tmp_path / "vkey"))
    except StoreError:  # what is no key at all
        code, said = 1, "NOT VERIFIED"
    assert (code, said.count("\n") <= 1 if code else "invalid" not in said) == (wanted, True)


def test_a_folder_as_the_key_is_a_wrong_call(made: Bags, tmp_path: Path):
    for shell in SHELLS:
        if shutil.which(SHELLS[shell][0]) is not None:
            code, said = verify(shell, made.whole, replace(made, key=tmp_path))
            assert (code, said) == (2, "usage: sh verify.sh BAG KEY [ROOT]\n")


# ---- where the script is called ----


@pytest.mark.parametrize("name", ["bag", "-b", "-", "x y*"])
def test_it_checks_the_bag_that_is_named_wherever_cdpath_leads(
    made: Bags, tmp_path: Path, name: str
):
    (tmp_path / "elsewhere").mkdir()
    copied(made, tmp_path / "elsewhere" / name)
    bag = copied(made, tmp_path / name)
    (bag / bags.README).write_text("other")  # as its manifest has not
    for shell in SHELLS:
        if shutil.which(SHELLS[shell][0]) is None:
            continue
        done = subprocess.run(
            [str(shutil.which(SHELLS[shell][0])), *SHELLS[shell][1:], str(SCRIPT), name, made.key],
            cwd=tmp_path, capture_output=True, text=True,
            env={"PATH": "/usr/bin:/bin", "CDPATH": str(tmp_path / "elsewhere")},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (
            1,
            "NOT VERIFIED: not as its manifest has it: README.txt\n",
        )


# ---- what it is called with ----


def _with(made: Bags, *, path: str | None = None, tmpdir: str | None = None,
          cwd: Path | None = None) -> subprocess.CompletedProcess[str]:  # fmt: skip
    env = {"PATH": path or "/usr/bin:/bin", **({} if tmpdir is None else {"TMPDIR": tmpdir})}
    return subprocess.run(
        ["/bin/sh", str(SCRIPT), made.whole, made.key], cwd=cwd, env=env, capture_output=True,
        text=True,
    )  # fmt: skip


def test_a_command_that_is_missing_or_too_old_is_not_the_bag_s_fault(made: Bags, tmp_path: Path):
    folder = tmp_path / "bin"
    folder.mkdir()
    tools = re.search(r"^for tool in (.+); do$", SCRIPT.read_text(), re.M)
    assert tools is not None
    for name in set(tools[1].split()) - {"openssl"}:
        (folder / name).symlink_to(str(shutil.which(name)))
    done = _with(made, path=str(folder))
    assert (done.returncode, done.stderr) == (2, "NOT CHECKED: there is no command openssl\n")
    for version in ("LibreSSL 3.8.2", "OpenSSL 1.1.1w  11 Sep 2023"):
        (folder / "openssl").write_text(f"#!/bin/sh\necho '{version}'\n")
        (folder / "openssl").chmod(0o755)
        done = _with(made, path=str(folder))
        assert done.returncode == 2
        assert done.stderr == "NOT CHECKED: openssl must be OpenSSL 3 or later\n"


def test_the_folder_for_temporary_files_can_be_relative(made: Bags, tmp_path: Path):
    (tmp_path / "temporary").mkdir()
    done = _with(made, tmpdir="temporary", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_key_is_taken_in_each_form_by_both(made: Bags, judge: Judge, tmp_path: Path):
    folder = made.whole.parent
    public = keys.public_key(made.key)
    wrong = public.vkey.split("+")
    forms = {
        "private": ((folder / "store.key").read_text(), 0),
        "pem": (public.pem, 0),
        "wrong number": (f"{wrong[0]}+00000000+{wrong[2]}\n", 1),
        "other": ((folder / "elsewhere.key").read_text(), 1),
    }
    for name, (text, expected) in forms.items():
        (tmp_path / "key").write_text(text)
        its = Bags(made.whole, made.other, made.foreign, tmp_path / "key", made.root,
                   made.authority)  # fmt: skip
        assert judge(made.whole, its)[0] == expected, name
