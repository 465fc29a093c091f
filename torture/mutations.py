"""Bags of audits that somebody has altered, with manifests made anew to fit."""

from __future__ import annotations

import hashlib
import random
import shutil
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torture.authority import Authority
from veritas_peewee import connect, sync
from veritas_peewee.evidence import bags, keys
from veritas_peewee.testing import make_event, make_finding, make_png
from veritas_peewee.transfer.bags import export_bag


@dataclass(frozen=True)
class Bags:
    """A bag as it was made, and what those who alter it have at hand."""

    whole: Path
    other: Path
    """The bag of another audit in the same log."""
    foreign: Path
    """A bag out of another store, with a key of the same name."""
    key: Path
    root: Path
    authority: Authority


def make(folder: Path) -> Bags:
    """Make bags of two short audits of a store, and of one of another store, in a folder."""
    authority = Authority(folder / "authority")
    key = folder / "key"
    for store, audits in (("store", ["bag", "other"]), ("elsewhere", ["foreign"])):
        private = folder / f"{store}.key"
        public = keys.make_key(private, "audits.example/store")
        if store == "store":
            key.write_text(f"{public.vkey}\n")
        with connect(folder / store / "audits.db"):
            ids = [_audit(number) for number in range(len(audits))]
            checkpoint = sync.head(key=private)
            stamp = authority.stamp(checkpoint.note.encode())
            for name, audit_id in zip(audits, ids, strict=True):
                export_bag(
                    audit_id, folder / name, checkpoint=checkpoint, key=public, timestamp=stamp,
                    certificates=authority.certificates,
                )  # fmt: skip
    return Bags(
        folder / "bag", folder / "other", folder / "foreign", key, authority.root, authority
    )  # fmt: skip


def _audit(number: int) -> str:
    audit_id = str(sync.create(f"https://shop{number}.example/").id)
    sync.record(audit_id, make_event("screenshot", data=_image(2 * number)))
    sync.record(audit_id, make_event("finding", finding=make_finding(number)))
    sync.record(audit_id, make_event("screenshot", data=_image(2 * number + 1), index=1))
    sync.record(audit_id, {"type": "audit_complete", "elapsed": 5})
    return audit_id


def _image(number: int) -> str:
    return b64encode(make_png(number)).decode()


Mutation = Callable[[Path, Bags, random.Random], str]
"""Alters a bag; returns how."""


def mutated(bags_: Bags, target: Path, seed: int) -> tuple[str, str]:
    """Make an altered copy of the whole bag at `target`; returns what was altered, by its name in
    NAMED, and how."""
    chance = random.Random(seed)
    name = list(MUTATIONS)[seed % len(MUTATIONS)]
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(bags_.whole, target)
    how = MUTATIONS[name](target, bags_, chance)
    if name != "manifest":
        remake(target)
    return name, how


def remake(bag: Path) -> None:
    """Make a bag's manifests anew, of the files that are there."""
    (bag / bags.TAG_MANIFEST).unlink(missing_ok=True)
    (bag / bags.MANIFEST).unlink(missing_ok=True)
    for manifest, is_payload in ((bags.MANIFEST, True), (bags.TAG_MANIFEST, False)):
        files = {path.relative_to(bag).as_posix(): path for path in bag.rglob("*")
                 if path.is_file()}  # fmt: skip
        lines = [
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}\n"
            for name, path in sorted(files.items())
            if name.startswith("data/") == is_payload
        ]
        (bag / manifest).write_text("".join(lines))


def events_of(bag: Path) -> list[bytes]:
    rest, events = (bag / bags.EVENTS).read_bytes(), []
    for length in map(int, (bag / bags.LENGTHS).read_text().split()):
        events.append(rest[:length])
        rest = rest[length:]
    return events


def write_events(bag: Path, events: list[bytes]) -> None:
    (bag / bags.EVENTS).write_bytes(b"".join(events))
    (bag / bags.LENGTHS).write_text("".join(f"{len(one)}\n" for one in events))


def _flip(data: bytes, chance: random.Random, first: int = 0, after: int | None = None) -> bytes:
    at = chance.randrange(first, len(data) if after is None else after)
    return data[:at] + bytes((data[at] ^ 1 << chance.randrange(8),)) + data[at + 1 :]


def _flip_file(path: Path, chance: random.Random) -> str:
    path.write_bytes(_flip(path.read_bytes(), chance))
    return f"a bit of {path.name}"


def _word(bag: Path, _: Bags, chance: random.Random) -> str:
    return _flip_file(bag / bags.EVENTS, chance)


def _order(bag: Path, _: Bags, chance: random.Random) -> str:
    events = events_of(bag)
    at = chance.randrange(len(events) - 1)
    events[at : at + 2] = events[at + 1], events[at]
    write_events(bag, events)
    return f"event {at} and the next one change places"


def _count(bag: Path, bags_: Bags, chance: random.Random) -> str:
    events = events_of(bag)
    at = chance.randrange(len(events))
    how = chance.choice(("gone", "twice", "added", "border", "lengths"))
    if how == "gone":
        del events[at]
    elif how == "twice":
        events.insert(at, events[at])
    elif how == "added":
        events.insert(at, chance.choice(events_of(bags_.other)))
    write_events(bag, events)
    if how == "border":
        lengths = [len(one) for one in events]
        by = chance.randrange(1, 9)
        lengths[at] += by
        lengths[at - 1] -= by
        (bag / bags.LENGTHS).write_text("".join(f"{length}\n" for length in lengths))
    elif how == "lengths":
        _flip_file(bag / bags.LENGTHS, chance)
    return f"event {at}: {how}"


def _id(bag: Path, bags_: Bags, chance: random.Random) -> str:
    how = chance.randrange(6)
    audit_id, events = (bag / bags.AUDIT_ID).read_bytes(), events_of(bag)
    if how == 0:
        shutil.copy(bags_.other / bags.AUDIT_ID, bag / bags.AUDIT_ID)
        return "the id of another audit"
    if how == 1:
        for name in (bags.AUDIT_ID, bags.EVENTS, bags.LENGTHS):
            shutil.copy(bags_.other / name, bag / name)
        return "the log of another audit"
    if how == 2:
        told = (bag / bags.INFO).read_text()
        (bag / bags.INFO).write_text(told.replace(audit_id.decode(), "vrts_other"))
        return "another audit-id for those who read"
    if how == 3:
        border = chance.randrange(len(audit_id))
        moved, events[0] = audit_id[:border], audit_id[border:] + events[0]
    elif how == 4:
        border = chance.randrange(1, len(events[0]))
        moved, events[0] = audit_id + events[0][:border], events[0][border:]
    else:
        border, moved = chance.randrange(1, len(events)), audit_id
        for event in events[:border]:
            moved = hashlib.sha256(moved + event).digest()
        del events[:border]
        shutil.rmtree(bag / bags.SCREENSHOTS)
    renamed(bag, moved)
    write_events(bag, events)
    how_named = ("ends before", "goes on to", "is the digest of the event before")[how - 3]
    return f"the id {how_named} {border}"


def renamed(bag: Path, audit_id: bytes) -> None:
    """Have a bag say that it is of another audit."""
    (bag / bags.AUDIT_ID).write_bytes(audit_id)
    lines = (bag / bags.INFO).read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(b"External-Identifier")]
    (bag / bags.INFO).write_bytes(b"".join([*kept, b"External-Identifier: ", audit_id, b"\n"]))


def _image_file(bag: Path, bags_: Bags, chance: random.Random) -> str:
    images = sorted((bag / bags.SCREENSHOTS).rglob("*.png"))
    image, how = chance.choice(images), chance.randrange(4)
    if how == 0:
        return _flip_file(image, chance)
    if how == 1:
        shutil.copy(next(iter((bags_.other / bags.SCREENSHOTS).rglob("*.png"))), image)
        return "the image of another audit"
    if how == 2:
        image.rename(image.with_name(f"x{image.name}"))
        return "an image under another name"
    images[0].rename(image.parent / "aside")
    images[1].rename(images[0])
    (image.parent / "aside").rename(images[1])
    return "two images change places"


def _checkpoint(bag: Path, bags_: Bags, chance: random.Random) -> str:
    path, how = bag / bags.CHECKPOINT, chance.randrange(4)
    note = path.read_bytes()
    if how == 0:
        return _flip_file(path, chance)
    if how == 1:  # all of it out of a log that fits, signed with another key of that name
        for name in (bags.AUDIT_ID, bags.EVENTS, bags.LENGTHS, bags.CHECKPOINT, bags.INCLUSION,
                     bags.INDEX, bags.VKEY, bags.STAMP):  # fmt: skip
            shutil.copy(bags_.foreign / name, bag / name)
        shutil.rmtree(bag / bags.SCREENSHOTS)
        shutil.copytree(bags_.foreign / bags.SCREENSHOTS, bag / bags.SCREENSHOTS)
        return "the bag of another store"
    if how == 2:
        at = chance.randrange(len(note))
        path.write_bytes(note[:at] + note[at + 1 :])
        return f"without its byte {at}"
    added = chance.choice((b"\n", b"\r\n", b"x\n", "— ".encode()))
    path.write_bytes(note + added)
    return f"{added!r} at its end"


def _proof(bag: Path, bags_: Bags, chance: random.Random) -> str:
    path, how = bag / bags.INCLUSION, chance.randrange(6)
    lines = path.read_bytes().splitlines(keepends=True)
    if how == 0:
        at = chance.randrange(len(lines))
        lines[at] = b64encode(_flip(b64decode(lines[at]), chance)) + b"\n"
    elif how == 1:
        del lines[chance.randrange(len(lines))]
    elif how == 2:
        lines.insert(chance.randrange(len(lines) + 1), chance.choice(lines))
    elif how == 3:
        index = int((bag / bags.INDEX).read_text()) + chance.choice((-2, -1, 1, 2))
        (bag / bags.INDEX).write_text(f"{index}\n")
        return f"the index {index}"
    elif how == 4:
        path = chance.choice((bag / bags.INDEX, path))
        added = chance.choice((b"\n\n", b"7", b" \n", b"\0\n", b"\r\n"))
        path.write_bytes(path.read_bytes().rstrip(b"\n") + added)
        return f"{added!r} at the end of {path.name}"
    else:
        return _flip_file(path, chance)
    path.write_bytes(b"".join(lines))
    return ("a bit", "a line less", "a line more")[how]


def _stamp(bag: Path, bags_: Bags, chance: random.Random) -> str:
    path, how = bag / bags.STAMP, chance.randrange(4)
    reply = path.read_bytes()
    if how == 0:
        shutil.copy(bags_.foreign / bags.STAMP, path)
        return "the time stamp of another checkpoint"
    if how == 1:
        note = (bag / bags.CHECKPOINT).read_bytes()
        at = reply.index(hashlib.sha256(note).digest())
        path.write_bytes(_flip(reply, chance, at, at + 32))
        return "a bit of the hash in it"
    if how == 2:
        at = reply.index(b"Z", reply.index(b"\x18\x0f20")) - 1
        path.write_bytes(reply[:at] + bytes((reply[at] ^ 1,)) + reply[at + 1 :])
        return "the second in it"
    path.write_bytes(_flip(reply, chance, len(reply) - 30))
    return "a bit of its signature"


def _manifest(bag: Path, _: Bags, chance: random.Random) -> str:
    how = chance.randrange(4)
    if how == 0:
        name = chance.choice((bags.MANIFEST, bags.TAG_MANIFEST))
        return _flip_file(bag / name, chance)
    if how == 1:
        lines = (bag / bags.MANIFEST).read_text().splitlines(keepends=True)
        lines.pop(chance.randrange(len(lines)))
        (bag / bags.MANIFEST).write_text("".join(lines))
        return "a line less"
    if how == 2:
        (bag / "data" / "more.html").write_text("more")
        remake(bag)
        return "a file more, listed"
    gone = chance.choice((*bags.REQUIRED, bags.MANIFEST))
    (bag / gone).unlink()
    if gone != bags.MANIFEST:
        remake(bag)
    return f"without {gone}"


MUTATIONS: dict[str, Mutation] = {
    "word": _word, "order": _order, "count": _count, "id": _id, "image": _image_file,
    "checkpoint": _checkpoint, "proof": _proof, "stamp": _stamp, "manifest": _manifest,
}  # fmt: skip
_LOG = r"data/log|image"
NAMED = {
    "word": _LOG, "order": _LOG, "count": _LOG, "id": "audit-id|data/log", "image": "image",
    "checkpoint": "checkpoint", "proof": "data/proof/in", "stamp": "checkpoint.tsr",
    "manifest": "manifest|missing|not a file|that is no bag|line",
}  # fmt: skip
"""What a refusal of each must name, as a regular expression."""
