"""Whether a bag proves what it should: what `verify.sh` asks, asked by this library.

Both ask the same in the same order, and say the same; neither needs a store.
"""

from __future__ import annotations

import hashlib
import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from veritas_peewee.errors import NotProven, StoreError
from veritas_peewee.evidence import bag_log, bag_times, bags, ed25519, keys, merkle, notes
from veritas_peewee.evidence.bag_reading import Bag, content, opened, pieces
from veritas_peewee.evidence.checkpoints import Checkpoint, read_checkpoint
from veritas_peewee.evidence.keys import PublicKey
from veritas_peewee.values.plain import shown

_SMALL = 1 << 20
_MOST_LISTED = 1 << 26
"""The most bytes of a manifest or of the list of lengths."""
_SIGNATURE = re.compile(rb"\xe2\x80\x94 [!-~]+ ([A-Za-z0-9+/]+=*)")
_IDENTIFIER = re.compile(rb"^external-identifier.*$", re.M | re.I)
_PAYLOAD = "data/"
_LARGEST = 10**15
"""More events than a shell counts."""


@dataclass(frozen=True, slots=True)
class BagReport:
    """What a bag proves."""

    audit_id: str
    events: int
    """How many events of the audit are in the checkpoint's tree, in their order."""
    origin: str
    """Whose log it is: the name of the key that signed it."""
    size: int
    """How many events the log had when it was signed."""
    files: int
    rows_stated: bool
    """Whether the log's last event states the audit's findings, screenshots, scores and seal."""
    images: tuple[str, ...]
    """The images in the bag, each as the log tells of it."""
    withheld: tuple[str, ...]
    """The images that the log tells of and that are not in the bag."""
    key: Literal["given", "in the bag"]
    """Whose word the key is; the one in the bag could be anybody's."""
    time: datetime | None = None
    """The time by which the checkpoint existed, as a time stamp proves it."""
    stamp: Literal["none", "not checked", "checked"] = "none"

    def lines(self) -> list[str]:
        """The report in words, as `verify.sh` has it."""
        signed = "the given key" if self.key == "given" else "the key that is in the bag itself"
        return [
            f"files: {self.files}, all as the manifests have them",
            f"checkpoint: {self.size} events of {self.origin}, signed by {signed}",
            f"log: {self.events} events of the audit {self.audit_id}, all in the checkpoint's "
            "tree, in their order",
            f"rows: {'' if self.rows_stated else 'not '}stated by the last event of the log",
            f"images: {len(self.images)}, as the log tells of them",
            *(f"image that is not in the bag: {_seen(name)}" for name in self.withheld),
            self._time(),
            "not proven: all but data/log, data/proof and data/screenshots, such as "
            "data/report.html, which is for reading; and that no later events exist",
        ]

    def _time(self) -> str:
        if self.time is not None:
            return f"time: the checkpoint existed at {self.time:%Y-%m-%d %H:%M:%S} UTC"
        if self.stamp == "none":
            return "time: the checkpoint has no time stamp"
        return "time: not checked, for no root certificate was given"


def check_bag(
    bag: str | os.PathLike[str],
    key: PublicKey | str | os.PathLike[str] | None = None,
    *,
    root: str | os.PathLike[str] | None = None,
) -> BagReport:
    """Check a bag, in a folder or a zip file, against the store's public key.

    `key` is a vkey, or a file that holds one or PEM; without it the key in the bag is taken, which
    whoever altered the bag can have put there. `root` is a file with the root certificate of the
    time stamp authority, in PEM, without which a time stamp is not checked. Raises NotProven, which
    says what is not as it should be, and StoreError if the bag or the key cannot be read.
    """
    given = key if key is None or isinstance(key, PublicKey) else keys.public_key(key)
    with opened(bag) as found:
        sums = _check_files(found)
        checkpoint = _check_checkpoint(found, given)
        audit_id, events, stated, told = _check_log(found, checkpoint)
        images, withheld = _check_images(told, sums)
        time = None
        if bags.STAMP in sums and root is not None:
            time = bag_times.check(found, root)
    return BagReport(
        audit_id,
        events,
        checkpoint.origin,
        checkpoint.size,
        len(sums),
        stated,
        images,
        withheld,
        "in the bag" if given is None else "given",
        time,
        "none" if bags.STAMP not in sums else "not checked" if time is None else "checked",
    )


def _check_files(bag: Bag) -> dict[str, str]:
    """Check every file against the manifests; returns their SHA-256, by their paths."""
    sums: dict[str, str] = {}
    for manifest in (bags.MANIFEST, bags.TAG_MANIFEST):
        if manifest not in bag.sizes:
            raise NotProven(f"{manifest} is missing: that is no bag")
        for line in _lines(content(bag, manifest, _MOST_LISTED), manifest):
            found = bags.LINE.fullmatch(line)
            if found is None:
                raise NotProven(f"{manifest}: has a line that is none: {shown(_text(line))}")
            name = found[2].decode()
            is_payload = name.startswith(_PAYLOAD)
            if is_payload != (manifest == bags.MANIFEST) or (not is_payload and "/" in name):
                raise NotProven(f"{manifest}: has a line that is none of it: {name}")
            if name in sums:
                raise NotProven(f"{name}: is in the manifests twice")
            sums[name] = found[1].decode()
    here = bag.sizes.keys() - {bags.TAG_MANIFEST}
    if odd := sorted(here ^ sums.keys()):
        what = "is missing" if odd[0] in sums else "is in no manifest"
        raise NotProven(f"{odd[0]!a}: {what}")
    for name in sorted(here):
        if name not in bags.KNOWN and not name.startswith(bags.SCREENSHOTS):
            raise NotProven(f"{name}: is not a file that a bag has")
    for name in bags.REQUIRED:
        if name not in here:
            raise NotProven(f"{name}: is missing")
    for name, expected in sums.items():
        digest = hashlib.sha256()
        for piece in pieces(bag, name):
            digest.update(piece)
        if digest.hexdigest() != expected:
            raise NotProven(f"{name}: is not as its manifest has it")
    return sums


def _check_checkpoint(bag: Bag, key: PublicKey | None) -> Checkpoint:
    name = bags.CHECKPOINT
    if key is None:
        if bags.VKEY not in bag.sizes:
            raise StoreError("the bag names no key: give the store's public key, by --key")
        key = keys.public_key(_text(content(bag, bags.VKEY, _SMALL)).strip())
    note = content(bag, name, _SMALL)
    try:
        text, signatures = notes.split(note)
        # A decoder passes over the last bits of a text, and so over a change of them.
        for line in note.rpartition(b"\n\n")[2].split(b"\n")[:-1]:
            found = _SIGNATURE.fullmatch(line)
            if found is None:
                raise NotProven("it has a line that is no signature")
            if b64encode(b64decode(found[1], validate=True)) != found[1]:
                raise NotProven("a signature of it is not base64")
        checkpoint = read_checkpoint(note, key)
        if checkpoint.size >= _LARGEST:
            raise NotProven(f"{checkpoint.size} is not the size of a log")
        number = keys.key_id(checkpoint.origin, key.data)
        for signer, data in signatures:  # also of those that are signed twice
            is_its = signer == checkpoint.origin and data[:4] == number
            if is_its and not ed25519.is_signed(key.data, text.encode(), data[4:]):
                raise NotProven("it is not what was signed")
    except NotProven as error:
        raise NotProven(f"{name}: {error}") from error
    vkey = f"{PublicKey(key.data, checkpoint.origin).vkey}\n".encode()
    if bags.VKEY in bag.sizes and content(bag, bags.VKEY, _SMALL) != vkey:
        raise NotProven(f"{bags.VKEY} is not the key that signed the checkpoint")
    return checkpoint


def _check_log(bag: Bag, checkpoint: Checkpoint) -> tuple[str, int, bool, set[tuple[str, str]]]:
    """Check that the log's last event is in the checkpoint's tree; returns the audit's id, how many
    events there are, whether the last one states the audit's rows, and the images that are told."""
    id_as_bytes = content(bag, bags.AUDIT_ID, _SMALL)
    audit_id = bag_log.check_id(id_as_bytes)
    lengths = [
        _number(line, bags.LENGTHS)
        for line in _lines(content(bag, bags.LENGTHS, _MOST_LISTED), bags.LENGTHS)
    ]
    if not lengths or sum(lengths) != bag.sizes[bags.EVENTS] or max(lengths) > bag_log.MOST_BYTES:
        raise NotProven(f"{bags.LENGTHS} does not fit {bags.EVENTS}")
    told, before, event = bag_log.Told(audit_id), id_as_bytes, None
    for data in _cut(bag, lengths):
        if event is not None:
            told.add(*event)
        event = bag_log.split_event(data)
        before = hashlib.sha256(before + data).digest()
    index_lines = _lines(content(bag, bags.INDEX, _SMALL), bags.INDEX)
    index = _number(b"\n".join(index_lines), bags.INDEX)
    path = [
        _hash(line, bags.INCLUSION)
        for line in _lines(content(bag, bags.INCLUSION, _SMALL), bags.INCLUSION)
    ]
    try:
        merkle.check_inclusion(
            merkle.leaf_hash(before), index, checkpoint.size, path, checkpoint.root_hash
        )
    except NotProven as error:
        raise NotProven(
            f"the log of data/log, {bags.AUDIT_ID} and {bags.INCLUSION} do not lead to the "
            f"checkpoint's root: {error}"
        ) from error
    if bags.INFO in bag.sizes:
        names = _IDENTIFIER.findall(content(bag, bags.INFO, _MOST_LISTED))
        if names != [f"External-Identifier: {audit_id}".encode()]:
            raise NotProven(f"{bags.INFO} names another audit than {bags.AUDIT_ID}")
    assert event is not None
    stated = told.end(*event)
    images = {(_text(name), digest.decode()) for name, digest in told.images}
    return audit_id, len(lengths), stated, images


def _cut(bag: Bag, lengths: list[int]) -> Iterator[bytes]:
    """The bytes of each event."""
    rest, buffer = pieces(bag, bags.EVENTS), b""
    for length in lengths:
        parts, missing = [buffer[:length]], length - len(buffer)
        buffer = buffer[length:]
        while missing > 0:
            piece = next(rest)
            parts.append(piece[:missing])
            buffer, missing = piece[missing:], missing - len(piece)
        yield b"".join(parts)


def _check_images(
    told: set[tuple[str, str]], sums: dict[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Check that the log tells of each image; returns those in the bag, and those that are not."""
    images = {
        (name.removeprefix(bags.SCREENSHOTS), digest)
        for name, digest in sums.items()
        if name.startswith(bags.SCREENSHOTS)
    }
    if more := sorted(images - told):
        raise NotProven(f"{bags.SCREENSHOTS}{more[0][0]}: the log does not tell of this image")
    return tuple(sorted(name for name, _ in images)), tuple(sorted(n for n, _ in told - images))


# ---- what the files hold ----


def _lines(text: bytes, name: str) -> list[bytes]:
    if text and not text.endswith(b"\n"):
        raise NotProven(f"{name}: its last newline is missing")
    return text.split(b"\n")[:-1]


def _number(text: bytes, name: str) -> int:
    if not text.isdigit() or len(text) > 15 or (len(text) > 1 and text.startswith(b"0")):
        raise NotProven(f"{name}: {shown(_text(text))} is not a number")
    return int(text)


def _hash(line: bytes, name: str) -> bytes:
    try:
        data = b64decode(line, validate=True)
    except ValueError:
        data = b""
    if len(data) != 32 or b64encode(data) != line:
        raise NotProven(f"{name}: {shown(_text(line))} is not a hash in base64")
    return data


def _seen(text: str) -> str:
    return "".join(char for char in text if " " <= char <= "~")


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")
