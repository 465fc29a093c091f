"""A whole store copied into another: the same audits, ids, chains, seals, images and head.

Each transaction takes over some audits, as an import does, so what an interrupted copy leaves is a
store in which an import is not complete. Then every audit is read again and compared, and only
after that the rest comes, by which the head of the one is that of the other.

Longer than most modules: the steps of a copy, from what may be there before it to its end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from peewee import DataError, IntegrityError

from veritas_peewee.config import Location, locate
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database, snapshot
from veritas_peewee.errors import InvalidAudit, StoreError
from veritas_peewee.ledger import heads, kept_ids
from veritas_peewee.ledger.checking import problem_of
from veritas_peewee.ledger.heads import Head, newest_head
from veritas_peewee.ledger.problems import Problems
from veritas_peewee.ledger.stored import image_file, stored_ids
from veritas_peewee.models import (
    Audit,
)
from veritas_peewee.queries import images
from veritas_peewee.queries.present import Present
from veritas_peewee.recording.arriving import clear_left_soon
from veritas_peewee.startup import connect
from veritas_peewee.transfer.accepting import check_values
from veritas_peewee.transfer.beside_audits import replace_with
from veritas_peewee.transfer.taking_over import Coming, arrive, insert
from veritas_peewee.transfer.whole import (
    Whole,
    at,
    difference,
    ids_of,
    image_problems,
    read_image,
    read_wholes,
)

Progress = Callable[[str, int, int | None], object]
"""Called with what is done (`copied` or `compared`), how many audits it was done with, and of how
many."""
UNIT_BYTES = 16 << 20
"""Bytes of images after which a transaction takes no other audit."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What a copy has done."""

    source: str
    target: str
    head: Head
    """Of the store that was copied; if `ok`, of the copy too."""
    audits: int = 0
    """Audits that were copied now."""
    skipped: int = 0
    """Audits that an earlier run had copied."""
    events: int = 0
    screenshots: int = 0
    """Events, and images, of the audits that were copied now."""
    complete: bool = False
    """Whether the copy has all audits, and the head."""
    problems: Problems = field(default_factory=Problems)
    """Audits that were not copied or are not the same, and images that are missing."""

    @property
    def ok(self) -> bool:
        return not self.problems


def copy_store(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    source_screenshots: str | os.PathLike[str] | None = None,
    target_screenshots: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> CopyReport:
    """Copy a store into another one, a file or a database of a server, with all that belongs to it.

    `target` is created if it does not exist. It must be empty, or what a copy of this store left
    that was interrupted: that is continued. What is copied is `source` as of the moment at which
    the copy begins; others may write to it meanwhile, but not to `target`. The folders of images
    are those of `connect`. An audit that was altered past this library is not copied, and named.
    Raises StoreError if `target` has audits of its own, is `source`, or has its folder of images.
    """
    given = locate(source, source_screenshots), locate(target, target_screenshots)
    _refuse_same(*given)
    with (
        connect(source, screenshots=source_screenshots, read_only=True) as read,
        at(read),
        snapshot(),
    ):
        with ExitStack() as looking:
            try:
                seen = looking.enter_context(
                    connect(target, screenshots=target_screenshots, read_only=True)
                )
            except StoreError:
                pass  # it is to be made, or what is wrong is said when it is opened for writing
            else:
                made = _Copy(read, seen, progress)
                if made.is_complete():
                    return made.compared()
        with connect(target, screenshots=target_screenshots) as written:
            return _Copy(read, written, progress).run()


def _refuse_same(source: Location, target: Location) -> None:
    for one in (source, target):
        if one.in_memory:
            raise StoreError("a database in memory ends when it is closed, and is not copied")
    same = source.given == target.given
    with suppress(OSError):
        same = same or (
            source.path is not None
            and target.path is not None
            and os.path.samefile(source.path, target.path)
        )
    if same:
        raise StoreError(f"{source.name}: a store is not copied into itself")
    folders = [one.screenshots for one in (source, target) if one.screenshots is not None]
    # Each would remove the images of its removed audits, which the other one names.
    if len({os.path.realpath(one) for one in folders}) < len(folders):
        raise StoreError(
            f"{target.name}: would have the folder of images of {source.name}, {folders[0]}, and "
            "an image that is removed from one store would be missing in the other: put it into "
            "another folder, or give it one for its images (--to-screenshots)"
        )


class _Copy:
    """A copy under way; `source` has a snapshot open."""

    def __init__(
        self, source: StoreDatabase, target: StoreDatabase, progress: Progress | None
    ) -> None:
        self.source = source
        self.target = target
        self.progress = progress
        self.problems = Problems()
        self.wrong = False
        """Whether an audit was not copied, or is not the same."""
        self.copied: list[int] = [0, 0, 0]
        """Audits, events, images."""
        self.skipped = 0
        with at(source):
            self.head = newest_head()
            self.total = Audit.select().count()

    def run(self) -> CopyReport:
        """Copy what is missing, compare all, and then take over the rest."""
        self._check_continues()
        with at(self.target):
            if not images.current_images().with_rows:
                clear_left_soon()
        self._copy_audits()
        self._compare_audits()
        if not self.wrong:
            self._take_over_rest()
            with at(self.target):
                self.target.sync_commits()  # FROM may be removed as soon as this is answered
        return self._report(complete=not self.wrong)

    def compared(self) -> CopyReport:
        """Compare all with what a complete copy has."""
        self.skipped = self.total
        self._compare_audits()
        return self._report(complete=not self.wrong)

    def _report(self, *, complete: bool) -> CopyReport:
        audits, events, shots = self.copied
        names = self.source.location.name, self.target.location.name
        return CopyReport(
            *names, self.head, audits, self.skipped, events, shots, complete, self.problems
        )

    def _tell(self, what: str, done: int) -> None:
        if self.progress is not None:
            self.progress(what, done, self.total)

    def _is_wrong(self, text: str) -> None:
        self.wrong = True
        if text not in self.problems:  # also found by the comparison
            self.problems.add(text)

    # ---- what is there before ----

    def is_complete(self) -> bool:
        """Whether the target has the head already; then it is only read."""
        with at(self.target):
            return not self._is_open() and bool(self.total) and newest_head() == self.head

    def _is_open(self) -> bool:
        """Whether a copy, or an import, into the target has not come to its end."""
        taken = kept_ids.newest_taken()
        return taken is not None and taken.open and heads.newest_event() <= taken.position

    def _check_continues(self) -> None:
        """StoreError if the target is a store of its own."""
        with at(self.target):
            # Audits without events are what the first transaction may have left.
            if heads.newest_event() and not self._is_open():
                mine = newest_head()
                raise StoreError(
                    f"{self.target.location.name}: is neither empty nor a copy that was "
                    f"interrupted: it has {mine.audits} audits and {mine.position} events; "
                    "`export` and `import` add audits to a store"
                )
        self._check_others()

    def _check_others(self) -> None:
        """StoreError if the target has audits that the source has not."""
        known = {one for some in ids_of(self.source) for one in some}
        others = [one for some in ids_of(self.target) for one in some if one not in known]
        if others:
            named = ", ".join(map(str, others[:3])) + (", …" if len(others) > 3 else "")
            raise StoreError(
                f"{self.target.location.name}: has {len(others)} audits that "
                f"{self.source.location.name} does not have ({named}): a copy needs an empty store"
            )

    # ---- the audits ----

    def _pieces(self) -> Iterator[list[str]]:
        for some in ids_of(self.source):
            usual = [one for one in some if type(one) is str and "\0" not in one]
            for one in some:
                if one not in usual:
                    self._is_wrong(f"audit {one!r}: its id is not valid text")
            yield usual

    def _copy_audits(self) -> None:
        done = 0
        for some in self._pieces():
            with at(self.target):
                there = stored_ids(some)
            self.skipped += len(there)
            done += len(there)
            missing = [one for one in some if one not in there]
            for wholes in read_wholes(self.source, missing):
                unit: list[Coming] = []
                size = 0
                for whole in wholes:
                    done += 1
                    if (one := self._coming(whole)) is not None:
                        unit.append(one)
                        size += sum(len(image) for _, image in one.images)
                    if size >= UNIT_BYTES:
                        self._store(unit)
                        unit, size = [], 0
                self._store(unit)
                self._tell("copied", done)

    def _coming(self, whole: Whole) -> Coming | None:
        """The audit with its images; None if it was altered, and is not copied."""
        stored = whole.stored
        try:
            if problem := problem_of(stored, older=True):
                raise InvalidAudit(problem)
            found = [read_image(self.source, row)[0] for row in stored.screenshots]
            check_values(stored, found)
        except InvalidAudit as error:
            self._is_wrong(f"audit {stored.id}: {error}")
            return None
        pairs = zip(stored.screenshots, found, strict=True)
        return Coming(whole, [(image_file(row), one) for row, one in pairs if one is not None])

    def _store(self, unit: list[Coming]) -> None:
        if not unit:
            return
        try:
            with at(self.target):
                arrive(unit)
                insert(unit)
        except (DataError, IntegrityError, InvalidAudit) as error:
            for one in unit if len(unit) > 1 else ():
                self._store([one])
            if len(unit) == 1:
                self._is_wrong(f"audit {unit[0].whole.stored.id}: cannot be stored: {error}")
            return
        finally:
            for one in unit:
                one.discard()
        self.copied[0] += len(unit)
        self.copied[1] += sum(len(one.whole.stored.events) for one in unit)
        self.copied[2] += sum(len(one.images) for one in unit)

    # ---- the end ----

    def _compare_audits(self) -> None:
        done = 0
        for some in self._pieces():
            theirs = (one for part in read_wholes(self.target, some) for one in part)
            other = next(theirs, None)
            for wholes in read_wholes(self.source, some):
                for ours in wholes:
                    done += 1
                    if other is None or other.stored.id != ours.stored.id:
                        continue  # it was not copied, and is named already
                    self._compare(ours, other)
                    other = next(theirs, None)
                self._tell("compared", done)

    def _compare(self, ours: Whole, theirs: Whole) -> None:
        name = f"audit {ours.stored.id}"
        differs = difference(ours, theirs) or problem_of(theirs.stored, older=True)
        if differs:
            self._is_wrong(f"{name}: differs in {self.target.location.name}: {differs}")
            return
        for problem in image_problems(theirs, self.source, self.target):
            if problem.is_the_same and self._was_removed(ours.stored.id, problem.file):
                self._is_wrong(
                    f"{name}: was removed from {self.source.location.name} while it was copied, "
                    "and its images with it: begin again with an empty store"
                )
                continue
            self.problems.add(f"{name}: {problem.text}")
            self.wrong = self.wrong or not problem.is_the_same

    def _was_removed(self, audit_id: str, file: str) -> bool:
        """Whether the source has no row any more that names the image: files are outside of the
        snapshot that is being copied."""
        with at(self.source), Present() as present:
            return not present.image_rows(audit_id, file)

    def _take_over_rest(self) -> None:
        with at(self.target), current_database().unit():
            replace_with(self.source)
            if (found := newest_head()) != self.head:
                raise StoreError(
                    f"{self.target.location.name}: its head would be {found}, and not {self.head}: "
                    f"`veritas-peewee verify` says what is wrong in {self.source.location.name}"
                )
