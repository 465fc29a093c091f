"""The keys that sign checkpoints: their files, their names, and the texts that publish them.

A key has a name, which is the first line of each checkpoint that it signs (C2SP `signed-note` and
`tlog-checkpoint`). A private key's file has the name in a line before the PEM block, where other
programs read over it.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from veritas_peewee.errors import InvalidAudit, NotProven, StoreError
from veritas_peewee.evidence import ed25519
from veritas_peewee.files.durable import appearing_stream
from veritas_peewee.values.plain import shown

_NAME = re.compile(r"[!-*,-~]{1,200}")  # ASCII that is seen, without the plus sign
_IN_FILE = re.compile(rb"^Key name: (\S+)\r?$", re.M)
_MOST = 100_000
"""The most bytes that are read of a file that should hold a key."""
_ED25519 = b"\x01"
"""What C2SP has before the bytes of an Ed25519 key."""


def check_name(name: str) -> str:
    """The name, if a key can have it; raises InvalidAudit."""
    if not _NAME.fullmatch(name):
        raise InvalidAudit(
            f"name: {shown(name)} cannot be a key's name: that is 1 to 200 characters of ASCII "
            "without spaces and without +, such as audits.example.org/store"
        )
    return name


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The key by which checkpoints are checked."""

    data: bytes
    """Its 32 bytes."""
    name: str | None = None
    """The name under which it must have signed; None for any."""

    @property
    def vkey(self) -> str:
        """The key as one line of text with its name, as C2SP has it; needs a name."""
        if self.name is None:
            raise InvalidAudit("name: a PEM file has no name: give it one")
        identity = key_id(self.name, self.data).hex()
        return f"{self.name}+{identity}+{b64encode(_ED25519 + self.data).decode()}"

    @property
    def pem(self) -> str:
        """The key as a PEM file has it, for `openssl`."""
        body = b64encode(ed25519.PUBLIC_AS_DER + self.data).decode()
        return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"


def named(key: PublicKey, name: str | None) -> PublicKey:
    """The key with this name, where it has none; raises InvalidAudit if it has another."""
    if name is None or key.name == name:
        return key
    if key.name is not None:
        raise InvalidAudit(f"name: the key is named {key.name}, not {shown(name)}")
    return PublicKey(key.data, check_name(name))


def key_id(name: str, public: bytes) -> bytes:
    """The four bytes by which a signature line says of which key it is."""
    return sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key in a file, with its name."""

    path: Path
    public: PublicKey

    @property
    def name(self) -> str:
        assert self.public.name is not None
        return self.public.name

    def sign(self, message: bytes) -> bytes:
        """The signature over a message, in 64 bytes."""
        return ed25519.sign(self.path, message)


def signing_key(path: str | os.PathLike[str], name: str | None = None) -> SigningKey:
    """The private key in a file; `name` is needed where the file has none, and must be its own
    where it has one.

    Raises StoreError for a file that cannot be read, or that is not an Ed25519 private key, and
    InvalidAudit for a name that is missing, wrong, or another one.
    """
    file = _file(path)
    found = _IN_FILE.search(_read(file))
    public = ed25519.public_key(file)
    own = found[1].decode(errors="backslashreplace") if found else None
    if own is None and name is None:
        raise InvalidAudit(f"name: {file} does not say its key's name: name it")
    if own is not None and name not in (None, own):
        raise InvalidAudit(f"name: the key in {file} is named {own}, not {shown(name)}")
    return SigningKey(file, PublicKey(public, check_name(own or name or "")))


def make_key(path: str | os.PathLike[str], name: str) -> PublicKey:
    """Write a new private key to a file that only its owner can read; returns the public key.

    Raises InvalidAudit for a name that no key can have, StoreError if the file exists or cannot be
    written, or where nothing can make a key.
    """
    file = _file(path)
    text = f"Key name: {check_name(name)}\n".encode() + ed25519.new_key()
    try:
        with appearing_stream(file) as made:
            made.write(text)
    except FileExistsError as error:
        raise StoreError(f"{file}: exists, and no key is written over it") from error
    except OSError as error:
        raise StoreError(f"{file}: cannot be written: {error.strerror or error}") from error
    return signing_key(file).public


def public_key(text: str | os.PathLike[str]) -> PublicKey:
    """The public key that a text is, or the file of that name holds: a `vkey`, or PEM.

    A private key's file is taken for its public one. Raises StoreError for anything else, and
    NotProven for a vkey that does not compute.
    """
    given = str(text)
    if _is_vkey(given) and not os.path.exists(given):
        return _of_vkey(given)
    file = _file(text)
    content = _read(file)
    if b"PRIVATE KEY-----" in content:
        found = _IN_FILE.search(content)
        name = check_name(found[1].decode(errors="backslashreplace")) if found else None
        return PublicKey(ed25519.public_key(file), name)
    words = content.decode(errors="replace").strip()
    if _is_vkey(words):
        return _of_vkey(words)
    if (data := ed25519.of_pem(words)) is not None:
        return PublicKey(data)
    raise StoreError(
        f"{file}: is neither a vkey (as `veritas-peewee vkey` prints it) nor a public key for "
        "Ed25519 in PEM"
    )


def _is_vkey(text: str) -> bool:
    return text.count("+") >= 2 and not re.search(r"\s", text)


def _of_vkey(text: str) -> PublicKey:
    name, _, coded = text.split("+", 2)
    try:
        data = b64decode(coded, validate=True)
    except ValueError:
        data = b""
    if len(data) != 1 + ed25519.PUBLIC or data[:1] != _ED25519:
        raise NotProven(f"{shown(text)} is not a vkey of an Ed25519 key")
    key = PublicKey(data[1:], check_name(name))
    if key.vkey != text:
        raise NotProven(
            f"{shown(text)} is not a vkey: its name, its number and its key are not of one another"
        )
    return key


def _file(path: str | os.PathLike[str]) -> Path:
    """The file that a caller names; StoreError for what is no path of a file."""
    try:
        text = os.fspath(path)
        os.fsencode(text)
    except (TypeError, ValueError):
        text = None
    if not isinstance(text, str) or "\0" in text or not Path(text).name:
        raise StoreError(f"{shown(text or path)}: cannot be the file of a key")
    return Path(text)


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST)
    except OSError as error:
        raise StoreError(f"{file}: cannot be read: {error.strerror or error}") from error
