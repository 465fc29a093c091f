"""Whether a bag proves what it should: what `verify.sh` asks, asked by this library.

Both ask the same in the same order, and say the same; neither needs a store.
"""

from __future__ import annotations

import hashlib
import os
from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from veritas_peewee.errors import NotProven, StoreError
from veritas_peewee.evidence import bag_times, bags, keys, merkle, notes
from veritas_peewee.evidence.bag_reading import Bag, content, opened, pieces
from veritas_peewee.evidence.checkpoints import Checkpoint, read_checkpoint
from veritas_peewee.evidence.keys import PublicKey
from veritas_peewee.values.plain import shown

_SMALL = 1 << 20
_MOST_LISTED = 1 << 26
"""The most bytes of a manifest or of the list of lengths."""
_SHORTEST = 3
"""The fewest bytes that an event's digest covers: what is between its values."""


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
            *(f"image that is not in the bag: {name}" for name in self.withheld),
            self._time(),
            "not proven: data/audit.jsonl and data/report.html, which are for reading; and that "
            "no later events exist",
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
        audit_id, events, stated = _check_log(found, checkpoint)
        images, withheld = _check_images(found, sums)
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
        _, signatures = notes.split(note)
        # A decoder passes over the last bits of a text, and so over a change of them.
        lines = note.rpartition(b"\n\n")[2].splitlines()
        for line, (_, data) in zip(lines, signatures, strict=True):
            if not line.endswith(b" " + b64encode(data)):
                raise NotProven("a signature of it is not base64")
        return read_checkpoint(note, key)
    except NotProven as error:
        raise NotProven(f"{name}: {error}") from error


def _check_log(bag: Bag, checkpoint: Checkpoint) -> tuple[str, int, bool]:
    """Check that the log's last event is in the checkpoint's tree; returns the audit's id, how many
    events there are, and whether the last one states the audit's rows."""
    audit_id = content(bag, bags.AUDIT_ID, _SMALL)
    lengths = [
        _number(line, bags.LENGTHS)
        for line in _lines(content(bag, bags.LENGTHS, _MOST_LISTED), bags.LENGTHS)
    ]
    if not lengths or min(lengths) < _SHORTEST or sum(lengths) != bag.sizes[bags.EVENTS]:
        raise NotProven(f"{bags.LENGTHS} does not fit {bags.EVENTS}")
    end, last = _end_of_chain(bag, audit_id, lengths)
    index = _number(content(bag, bags.INDEX, _SMALL).strip(), bags.INDEX)
    path = [
        _hash(line, bags.INCLUSION)
        for line in _lines(content(bag, bags.INCLUSION, _SMALL), bags.INCLUSION)
    ]
    try:
        merkle.check_inclusion(
            merkle.leaf_hash(end), index, checkpoint.size, path, checkpoint.root_hash
        )
    except NotProven as error:
        raise NotProven(
            f"the log of data/log, {bags.AUDIT_ID} and {bags.INCLUSION} do not lead to the "
            f"checkpoint's root: {error}"
        ) from error
    name = "".join(char for char in _text(audit_id) if char.isprintable())
    return name, len(lengths), last == bags.STATED


def _end_of_chain(bag: Bag, audit_id: bytes, lengths: list[int]) -> tuple[bytes, bytes]:
    """The digest of the last event, and how that event begins."""
    size = len(bags.STATED)
    before, rest, buffer = audit_id, pieces(bag, bags.EVENTS), b""
    for length in lengths:
        digest, begins = hashlib.sha256(before), b""
        while len(buffer) < length:
            digest.update(buffer)
            begins += buffer[:size]
            length -= len(buffer)
            buffer = next(rest)
        digest.update(buffer[:length])
        begins += buffer[: min(size, length)]
        before, buffer = digest.digest(), buffer[length:]
    return before, begins[:size]


def _check_images(bag: Bag, sums: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Check that the log tells of each image; returns those in the bag, and those that are not."""
    told: set[tuple[str, str]] = set()
    tail = b""
    for piece in pieces(bag, bags.EVENTS):
        text = tail + piece
        told.update((_text(name), digest.decode()) for name, digest in bags.IMAGE.findall(text))
        tail = text[-bags.LONGEST_IMAGE :]
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


def _text(data: bytes) -> str:
    return data.decode(errors="backslashreplace")
