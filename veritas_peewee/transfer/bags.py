"""One audit as a bag: all of it, with the proof that it is in a log that was signed."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from veritas_peewee.database.current import current_database, snapshot
from veritas_peewee.errors import (
    DatabaseCorrupt,
    InvalidAudit,
    NotProven,
    ScreenshotNotFound,
    StoreError,
)
from veritas_peewee.evidence import bag_log, bag_times, bags, keys
from veritas_peewee.evidence.bags import Writing
from veritas_peewee.evidence.checkpoints import Checkpoint, read_checkpoint
from veritas_peewee.evidence.keys import PublicKey
from veritas_peewee.evidence.statements import is_misstated
from veritas_peewee.evidence.tree import Inclusion, Tree
from veritas_peewee.files.durable import appearing_folder
from veritas_peewee.files.platform import os_error
from veritas_peewee.ledger.checking import is_other_image, problem_of
from veritas_peewee.ledger.log import hashed
from veritas_peewee.ledger.problems import Problems
from veritas_peewee.ledger.stored import StoredAudit, image_file, read_stored
from veritas_peewee.presentation.report import report_parts
from veritas_peewee.queries.absent import absent_images
from veritas_peewee.queries.images import images_if_any
from veritas_peewee.queries.present import Present
from veritas_peewee.transfer.exporting import Progress, export_jsonl
from veritas_peewee.transfer.files import Target, new_file
from veritas_peewee.values.ids import key_of, not_found
from veritas_peewee.values.plain import invalid, shown

ZIP = ".zip"
"""How the name of a bag ends that is written as one file."""


@dataclass(frozen=True, slots=True)
class BagExport:
    """What was put into a bag."""

    audit_id: str
    events: int
    images: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    """The images that were left out as asked."""
    problems: Problems = field(default_factory=Problems)
    """Images that are missing or altered, and therefore are not in the bag."""
    notes: Problems = field(default_factory=Problems)
    """Images that no event tells of, or that were not in the import that brought the audit."""

    @property
    def ok(self) -> bool:
        return not self.problems


def export_bag(
    audit_id: str,
    target: Target,
    *,
    checkpoint: Checkpoint | bytes,
    timestamp: bytes | None = None,
    certificates: bytes | None = None,
    key: PublicKey | str | os.PathLike[str] | None = None,
    images: bool = True,
    without: Collection[str] = (),
    progress: Progress | None = None,
) -> BagExport:
    """Write an audit of the current database as a bag (BagIt 1.0), which anybody can check.

    `target` is a new folder, or a file if its name ends in .zip, or a stream of bytes, which gets
    a zip file. `checkpoint` is what `head(key=…)` gives, or the bytes of its file; with `key`, the
    public one that signed it (a vkey, or a file), its signature is checked first, and the bag names
    the key. `timestamp` is the reply of a time stamp authority (RFC 3161) over the checkpoint's
    file, `certificates` are those of the authority (PEM). Images are left out unless `images`, or
    if they are `without`, by the names that the audit has for them; whoever checks the bag is told
    which. `progress` is called with how many files are written, and of how many.

    Nothing is left of a bag that was not finished. Raises AuditNotFound; NotProven if the
    checkpoint is not signed by the key, is not of this log, or is older than the audit's newest
    event, if the reply is over something else, the certificates are none, or the log has a form
    that no checker takes; DatabaseCorrupt if the audit is not as it was written; InvalidAudit for a
    name that none of its images has; StoreError if the target exists, or cannot be written.
    """
    current_database()  # a script without one hears of that first
    given = key if key is None or isinstance(key, PublicKey) else keys.public_key(key)
    note = checkpoint.note.encode() if isinstance(checkpoint, Checkpoint) else checkpoint
    for name, value in (
        ("checkpoint", note),
        ("timestamp", b"" if timestamp is None else timestamp),
        ("certificates", b"" if certificates is None else certificates),
    ):
        if not isinstance(value, bytes):
            raise invalid(name, "must be the bytes of its file", value)
    known = read_checkpoint(note, given)
    bag_times.check_parts(note, timestamp, certificates)
    with snapshot():
        stored = read_stored(key_of(audit_id))
        if stored is None:
            raise not_found(audit_id)
        proof = _proof(stored, known)
        chosen = _Images(stored, images, without)
        with _writing(target, stored.id) as bag:
            report = _Maker(bag, stored, chosen, progress).make(known, proof, given)
            for name, data in ((bags.STAMP, timestamp), (bags.AUTHORITY, certificates)):
                if data is not None:
                    bag.add(name, data)
            bag.finish([
                ("Source-Organization", known.origin),
                ("External-Identifier", stored.id),
                *(("Withheld-Image", file) for file in report.withheld),
            ])  # fmt: skip
            return report


@contextmanager
def _writing(target: Target, audit_id: str) -> Iterator[Writing]:
    if not isinstance(target, str | os.PathLike) or str(target).endswith(ZIP):
        with new_file(target) as file, bags.in_zip(file, audit_id) as bag:
            yield bag
        return
    path = Path(os.path.abspath(target))
    if os.path.lexists(path):
        raise StoreError(f"{path}: is there already; an export never replaces anything")
    try:
        with appearing_folder(path) as folder:
            yield bags.in_folder(folder)
    except OSError as error:
        raise os_error(error, path, "written") from error


def _proof(stored: StoredAudit, checkpoint: Checkpoint) -> Inclusion:
    """The proof that the audit's last event is in the checkpoint's tree."""
    if not stored.events:
        raise NotProven(f"audit {stored.id} has no events, and so there is nothing to prove")
    if problem := problem_of(stored):
        raise DatabaseCorrupt(f"audit {stored.id}: {problem}: no bag is made of it")
    if is_misstated(stored.id):
        raise NotProven(
            f"audit {stored.id}: the last event states other rows than there are: make a new "
            "checkpoint, which states them as they are (`veritas-peewee verify` says more)"
        )
    tree, size, name = Tree(), checkpoint.size, current_database().name
    if size > tree.size:
        raise NotProven(
            f"the checkpoint has {size} events and {name} only {tree.size}: it is of another "
            "store, or of this one before it was put back to an earlier state"
        )
    if tree.root(size) != checkpoint.root_hash:
        raise NotProven(
            f"the checkpoint is not of the log of {name}: it is of another store, or events were "
            "altered or removed since, or left out by a restore (`veritas-peewee verify --against` "
            "says which)"
        )
    last = stored.events[-1][0]
    if tree.size_upto(last) > size:
        raise NotProven(
            f"audit {stored.id} has events that are newer than the checkpoint: make a new one "
            "(`veritas-peewee head --signed KEY.pem`)"
        )
    return tree.inclusion(last, size)


def _told(stored: StoredAudit) -> set[tuple[bytes, bytes]]:
    """The images that a checker takes the audit's log to tell of, and their SHA-256.

    Raises NotProven if the log, or the id, has a form that no checker takes.
    """
    try:
        told = bag_log.Told(bag_log.check_id(stored.id.encode(errors="surrogatepass")))
        *before, last = (
            bag_log.split_event(hashed(kind, when, text))
            for _, kind, text, when, _ in stored.events
        )
        for event in before:
            told.add(*event)
        told.end(*last)
    except NotProven as error:
        raise NotProven(f"no bag can be made of audit {shown(stored.id)}: {error}") from error
    return told.images


class _Images:
    """Which images of an audit are to be in its bag, and why the others are not."""

    def __init__(self, stored: StoredAudit, wanted: bool, without: Collection[str]) -> None:
        self.files = list(dict.fromkeys(map(image_file, stored.screenshots)))
        names = {name: file for file in self.files for name in (file, file.rpartition("/")[2])}
        for name in without:
            if name not in names:
                listed = ", ".join(self.files) or "it has none"
                raise InvalidAudit(f"without: {shown(name)} is not an image of it: {listed}")
        self.withheld = set(self.files) if not wanted else {names[name] for name in without}
        self.told = {
            (file.decode(errors="replace"), digest.decode()) for file, digest in _told(stored)
        }


class _Maker:
    def __init__(
        self, bag: Writing, stored: StoredAudit, images: _Images, progress: Progress | None
    ) -> None:
        self._bag, self._stored, self._images, self._progress = bag, stored, images, progress
        self._done = 0
        self._in_bag: list[str] = []
        self._left_out = dict.fromkeys(images.withheld, "the image was withheld from this bag")
        self._report = BagExport(stored.id, len(stored.events))

    def make(self, checkpoint: Checkpoint, proof: Inclusion, key: PublicKey | None) -> BagExport:
        bag, stored, report = self._bag, self._stored, self._report
        self._add_images()
        with bag.file(bags.AUDIT) as file:
            export_jsonl(file, ids=[stored.id], images=False)
        self._advance()
        with bag.file(bags.REPORT) as file:
            for part in report_parts(stored.id, self._left_out):
                file.write(part.encode())
        self._advance()
        lengths = []
        with bag.file(bags.EVENTS) as file:
            for _, kind, text, when, _ in stored.events:
                lengths.append(file.write(hashed(kind, when, text)))
        bag.add(bags.LENGTHS, "".join(f"{length}\n" for length in lengths))
        bag.add(bags.AUDIT_ID, stored.id.encode(errors="surrogatepass"))
        bag.add(bags.CHECKPOINT, checkpoint.note)
        bag.add(bags.INCLUSION, "".join(f"{b64encode(one).decode()}\n" for one in proof.path))
        bag.add(bags.INDEX, f"{proof.index}\n")
        if key is not None and key.name is not None:
            bag.add(bags.VKEY, f"{key.vkey}\n")
        withheld = sorted(self._images.withheld)
        self._advance()
        return BagExport(
            stored.id, len(stored.events), tuple(self._in_bag), tuple(withheld),
            report.problems, report.notes,
        )  # fmt: skip

    def _advance(self) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, len(self._images.files) + 3)

    def _add_images(self) -> None:
        place, absent = images_if_any(), absent_images(self._stored.id)
        with Present() as present:
            for file in self._images.files:
                if file not in self._images.withheld:
                    try:
                        if place is None:
                            raise ScreenshotNotFound("this database has no place for images")
                        data = place.read(file)
                    except ScreenshotNotFound as error:
                        if place is not None:
                            self._check_there(present, file)
                        noted = file in absent
                        what = "the image was not in the import that brought this audit"
                        self._leave_out(file, what if noted else str(error), is_problem=not noted)
                    else:
                        self._add_image(file, data)
                self._advance()

    def _check_there(self, present: Present, file: str) -> None:
        """Raise AuditNotFound if the rows of an image that is missing have been removed since they
        were read: files are outside of the snapshot."""
        if not present.image_rows(self._stored.id, file):
            raise not_found(self._stored.id)

    def _add_image(self, file: str, data: bytes) -> None:
        digests = [digest for name, digest in self._images.told if name == file]
        if (
            not digests
            or bags.LINE.fullmatch(b"0" * 64 + b"  " + file.encode(errors="replace")) is None
        ):
            self._leave_out(
                file, "no event tells of the image, so nothing proves it", is_problem=False
            )
        elif is_other_image(data, None, digests[0]):
            self._leave_out(file, "the image is not the one that was recorded", is_problem=True)
        else:
            self._bag.add(bags.SCREENSHOTS + file, data)
            self._in_bag.append(file)

    def _leave_out(self, file: str, why: str, *, is_problem: bool) -> None:
        self._left_out[file] = why
        texts = self._report.problems if is_problem else self._report.notes
        texts.add(f"audit {self._stored.id}: {file}: {why}")
