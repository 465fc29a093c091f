"""Keys and signed notes: what is made, what strangers' tools say to it, what is refused and how."""

from __future__ import annotations

import os
import stat
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from tests.evidence.conftest import NAME
from veritas_peewee import InvalidAudit, NotProven, StoreError
from veritas_peewee.evidence import ed25519, keys, notes
from veritas_peewee.evidence.openssl import command as command_of_openssl

TEXT = "audits.example.org/store\n3\nroot\n"
# RFC 8032, section 7.1, test 2: a key, its public key, and its signature over one byte.
SEED = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
SIGNATURE = bytes.fromhex(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def openssl(*words: str | Path, **options: bytes) -> bytes:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, check=True, **options)
    return done.stdout


def test_signatures_are_the_published_ones(tmp_path, signs):
    pem = b64encode(bytes.fromhex("302e020100300506032b657004220420") + SEED).decode()
    path = tmp_path / "rfc8032.key"
    path.write_text(f"-----BEGIN PRIVATE KEY-----\n{pem}\n-----END PRIVATE KEY-----\n")
    assert ed25519.public_key(path) == PUBLIC
    assert ed25519.sign(path, b"\x72") == SIGNATURE
    assert ed25519.is_signed(PUBLIC, b"\x72", SIGNATURE)
    assert not ed25519.is_signed(PUBLIC, b"\x73", SIGNATURE)
    assert not ed25519.is_signed(PUBLIC, b"\x72", SIGNATURE[:-1])


def test_a_key_is_its_owner_s_alone_and_none_is_written_over(tmp_path, signs):
    path = tmp_path / "store.key"
    made = keys.make_key(path, NAME)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    assert b"PRIVATE KEY" in before
    with pytest.raises(StoreError, match="exists, and no key is written over it"):
        keys.make_key(path, NAME)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["store.key"]
    assert keys.signing_key(path).public == keys.public_key(path) == made


def test_a_key_that_has_gone_since_it_was_read_signs_nothing_and_says_so(tmp_path, signs):
    keys.make_key(tmp_path / "store.key", NAME)
    key = keys.signing_key(tmp_path / "store.key")
    key.path.unlink()
    with pytest.raises(StoreError, match=r"store\.key: cannot be read: No such file"):
        key.sign(b"message")


def test_a_public_key_is_read_from_a_line_a_file_and_pem(tmp_path, key, signs):
    made = keys.public_key(key)
    line = tmp_path / "store.vkey"
    line.write_text(f"{made.vkey}\n")
    pem = tmp_path / "store.pem"
    pem.write_text(made.pem)
    assert keys.public_key(made.vkey) == keys.public_key(line) == made
    assert keys.public_key(pem) == keys.PublicKey(made.data, None)
    assert openssl("pkey", "-in", key, "-pubout") == made.pem.encode()
    with pytest.raises(InvalidAudit, match="a PEM file has no name"):
        _ = keys.public_key(pem).vkey
    assert keys.named(keys.public_key(pem), NAME).vkey == made.vkey
    with pytest.raises(InvalidAudit, match=r"the key is named audits.example.org/store, not 'x'"):
        keys.named(made, "x")


def test_a_key_that_others_made_needs_a_name(tmp_path, signs):
    path = tmp_path / "theirs.pem"
    path.write_bytes(openssl("genpkey", "-algorithm", "ed25519"))
    with pytest.raises(InvalidAudit, match=r"theirs.pem does not say its key's name: name it"):
        keys.signing_key(path)
    signer = keys.signing_key(path, "example.org/log")
    assert notes.checked(notes.signed(TEXT, signer).encode(), signer.public)[1] == "example.org/log"


@pytest.mark.parametrize("name", ["", "a b", "a+b", "ä", "a\nb", "a" * 201, "a\u2028b"])
def test_a_name_that_no_key_can_have_is_refused(tmp_path, name):
    with pytest.raises(InvalidAudit, match="cannot be a key's name"):
        keys.make_key(tmp_path / "store.key", name)
    assert not list(tmp_path.iterdir())


def test_a_key_of_another_name_is_refused(key):
    with pytest.raises(InvalidAudit, match=r"is named audits.example.org/store, not 'other'"):
        keys.signing_key(key, "other")


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (("genpkey", "-quiet", "-algorithm", "rsa"), "not a private key for Ed25519"),
        (("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
         "not a private key for Ed25519"),
        (("genpkey", "-algorithm", "ed448"), "not a private key for Ed25519"),
        (("genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:x"), "is encrypted"),
    ],
    ids=["rsa", "ec", "ed448", "encrypted"],
)  # fmt: skip
def test_a_key_of_another_kind_is_refused_by_its_kind(tmp_path, signs, made, reason):
    path = tmp_path / "other.pem"
    path.write_bytes(openssl(*made))
    with pytest.raises(StoreError, match=rf"other\.pem: .*{reason}"):
        keys.signing_key(path, NAME)


def test_what_is_no_key_is_refused(tmp_path, key, signs):
    path = tmp_path / "none"
    with pytest.raises(StoreError, match="none: cannot be read: No such file"):
        keys.signing_key(path)
    path.write_text("head\n")
    with pytest.raises(StoreError, match="not a private key for Ed25519"):
        keys.signing_key(path, NAME)
    with pytest.raises(StoreError, match=r"neither a vkey .* nor a public key"):
        keys.public_key(path)
    path.write_text(keys.public_key(key).pem)
    with pytest.raises(StoreError, match="is a public key: the private one signs"):
        keys.signing_key(path, NAME)
    path.write_bytes(openssl("rsa", "-pubout", input=openssl("genpkey", "-algorithm", "rsa")))
    with pytest.raises(StoreError, match=r"neither a vkey .* nor a public key"):
        keys.public_key(path)


@pytest.mark.parametrize("path", [5, None, b"x", "", "x\0y", "\ud800", []])
async def test_what_is_no_path_of_a_key_is_refused_by_whoever_takes_one(store, path):
    for take in (keys.signing_key, keys.public_key, lambda one: keys.make_key(one, NAME)):
        with pytest.raises(StoreError, match="cannot be the file of a key"):
            take(path)
    if path is not None:
        with pytest.raises(StoreError, match="cannot be the file of a key"):
            await store.head(key=path)


@pytest.mark.parametrize("value", [5, "text", [], 10**400])
async def test_what_goes_into_a_bag_is_bytes(store, tmp_path, value):
    audit = await store.create("https://shop.example/")
    for name in ("checkpoint", "timestamp", "certificates"):
        given = {"checkpoint": b"", name: value}
        with pytest.raises(InvalidAudit, match=f"{name}: must be the bytes of its file"):
            await store.export_bag(audit.id, tmp_path / "bag", **given)


def test_a_vkey_that_was_altered_is_refused(key):
    vkey = keys.public_key(key).vkey
    name, number, coded = vkey.split("+", 2)
    for altered in (f"other+{number}+{coded}", f"{name}+00000000+{coded}"):
        with pytest.raises(NotProven, match="are not of one another"):
            keys.public_key(altered)
    for altered in (f"{name}+{number}+{coded[:-4]}", f"{name}+{number}+!"):
        with pytest.raises(NotProven, match="not a vkey of an Ed25519 key"):
            keys.public_key(altered)


def test_neither_the_package_nor_the_command_is_an_error_that_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(ed25519, "_cryptography", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    command_of_openssl.cache_clear()
    try:
        with pytest.raises(StoreError, match=r"veritas-peewee\[evidence\].*no `openssl` command"):
            keys.make_key(tmp_path / "store.key", NAME)
    finally:
        command_of_openssl.cache_clear()


@pytest.mark.parametrize(
    ("version", "answer", "said"),
    [
        ("OpenSSL 1.1.1w  11 Sep 2023", "pkeyutl: Unrecognized flag rawin", "OpenSSL 3 or later"),
        ("LibreSSL 3.3.6", "usage: pkeyutl", "OpenSSL 3 or later, and is LibreSSL 3.3.6"),
        ("", "", "OpenSSL 3 or later"),
        ("OpenSSL 3.0.19 27 Jan 2026", "out of memory", "openssl pkeyutl: out of memory"),
    ],
)
def test_a_command_that_cannot_check_says_nothing_of_a_signature(
    tmp_path, key, monkeypatch, version, answer, said
):
    note = notes.signed(TEXT, keys.signing_key(key)).encode()
    public = keys.public_key(key)
    command = tmp_path / "bin" / "openssl"
    command.parent.mkdir()
    command.write_text(
        f"#!/bin/sh\ncase $1 in version) echo '{version}';; *) echo '{answer}' >&2; exit 1;; esac\n"
    )
    command.chmod(0o755)
    monkeypatch.setattr(ed25519, "_cryptography", lambda: None)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    command_of_openssl.cache_clear()
    try:
        with pytest.raises(StoreError, match=said) as caught:
            notes.checked(note, public)
    finally:
        command_of_openssl.cache_clear()
    assert not isinstance(caught.value, NotProven)


def test_openssl_alone_checks_a_note(tmp_path, key, signs):
    note = notes.signed(TEXT, keys.signing_key(key))
    text, _, line = note.rpartition("\n\n")
    (tmp_path / "text").write_text(text + "\n")
    (tmp_path / "signature").write_bytes(b64decode(line.split()[2])[4:])
    (tmp_path / "store.pem").write_text(keys.public_key(key).pem)
    said = openssl(
        "pkeyutl", "-verify", "-pubin", "-inkey", tmp_path / "store.pem", "-rawin",
        "-in", tmp_path / "text", "-sigfile", tmp_path / "signature",
    )  # fmt: skip
    assert b"Verified Successfully" in said


def test_a_note_is_its_text_an_empty_line_and_signatures(tmp_path, key, signs):
    signer = keys.signing_key(key)
    note = notes.signed(TEXT, signer)
    assert note.startswith(f"{TEXT}\n— {NAME} ")
    assert note.endswith("\n")
    assert notes.checked(note.encode(), signer.public) == (TEXT, NAME)
    other = tmp_path / "other.key"
    keys.make_key(other, "witness.example")
    both = note + notes.signed(TEXT, keys.signing_key(other)).removeprefix(f"{TEXT}\n")
    for one in (signer.public, keys.public_key(other)):
        assert notes.checked(both.encode(), one) == (TEXT, one.name)
    assert notes.checked(both.encode(), keys.PublicKey(signer.public.data)) == (TEXT, NAME)


ALTERED = {
    "line ends of Windows": (lambda note: note.replace("\n", "\r\n"), "line ends of Windows"),
    "the last newline": (lambda note: note.removesuffix("\n"), "last newline is missing"),
    "a space at the end": (lambda note: note + " ", "last newline is missing"),
    "an empty line more": (lambda note: note + "\n", "are no signatures"),
    "a line more": (lambda note: note + "and so on\n", "are no signatures"),
    "another dash": (lambda note: note.replace("— ", "-- "), "are no signatures"),
    "no signature": (lambda note: note.partition("\n\n")[0] + "\n", "no empty line before"),
    "a tab": (lambda note: note.replace("root", "ro\tot"), "control characters"),
    "a word": (lambda note: note.replace("root", "rot", 1), "is not one over this text"),
    "a line of the text": (lambda note: "\n" + note, "is not one over this text"),
    "the name": (lambda note: note.replace(f"— {NAME}", "— other"), "not signed by the key of"),
    "the signature": (
        lambda note: note[:-4] + ("AA==" if note[-4] != "A" else "BA==")[:3] + "\n",
        "is not one over this text|not base64|no signatures",
    ),
    "the number": (
        lambda note: note.replace(f"— {NAME} ", f"— {NAME} AAAA"),
        "another one of that name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", ALTERED)
def test_a_note_that_was_altered_is_refused_and_says_how(key, what):
    signer = keys.signing_key(key)
    alter, reason = ALTERED[what]
    altered = alter(notes.signed(TEXT, signer)).encode()
    with pytest.raises(NotProven, match=reason):
        notes.checked(altered, signer.public)


def test_a_note_that_is_not_text_is_refused(key):
    with pytest.raises(NotProven, match="it is not UTF-8"):
        notes.checked(b"\xff\n\n\n", keys.public_key(key))


def test_a_note_of_another_key_is_refused_and_names_whose_it_is(tmp_path, key):
    other = tmp_path / "other.key"
    keys.make_key(other, NAME)
    keys.make_key(tmp_path / "third.key", "third.example")
    note = notes.signed(TEXT, keys.signing_key(key)).encode()
    with pytest.raises(NotProven, match=f"by another one of that name: '?{NAME}"):
        notes.checked(note, keys.public_key(other))
    with pytest.raises(NotProven, match=f"by the key of third.example, but by '?{NAME}"):
        notes.checked(note, keys.public_key(tmp_path / "third.key"))
    with pytest.raises(NotProven, match="not signed by this key"):
        notes.checked(note, keys.PublicKey(keys.public_key(other).data))
