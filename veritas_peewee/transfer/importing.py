"""The import: audits that an export has written are stored as they were.

Longer than most modules: the steps of an import, and the one transaction that they lead to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from peewee import DataError, IntegrityError

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.statements import insert_rows
from veritas_peewee.errors import InvalidAudit, StoreError
from veritas_peewee.files.arrivals import Arrival, Arrivals, left_behind
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.ledger import kept_ids, seals
from veritas_peewee.ledger.checking import image_problem, problem_of
from veritas_peewee.ledger.log import append_chained
from veritas_peewee.ledger.problems import Problems
from veritas_peewee.ledger.stored import (
    AUDIT,
    FINDING,
    SCREENSHOT,
    StoredAudit,
    image_file,
    stored_ids,
)
from veritas_peewee.models import (
    AbsentImage,
    Audit,
    AuditFinding,
    AuditRunner,
    AuditScreenshot,
    AuditStatus,
)
from veritas_peewee.queries import images as places
from veritas_peewee.queries.images import Images, current_images
from veritas_peewee.recording.arriving import clear_left_soon, place
from veritas_peewee.transfer.accepting import MAX_EVENT_ID, MAX_KEPT_ID, check_values
from veritas_peewee.transfer.files import LineReader, Target, too_large
from veritas_peewee.transfer.lines import ForeignLine, from_line
from veritas_peewee.transfer.reading import Read, usual_audits

UNIT_AUDITS = 100
"""The most audits in one transaction."""
UNIT_BYTES = 16 << 20
"""Bytes of lines after which a transaction takes no other line."""
LOOKED_AT, LOOKED_AT_BYTES = 50, 1 << 20
"""How many lines are looked at together, and how many bytes of them are enough."""
IMPORTED = "imported"
"""The session of an audit that was running in its own store: one that is not alive here."""

Progress = Callable[[int, int, int | None], object]
"""Called with how many audits were imported, how many bytes were read, and the size if known."""


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import stored."""

    audits: int = 0
    events: int = 0
    screenshots: int = 0
    """Images that were stored."""
    skipped: int = 0
    """Audits that were in the store already."""
    refused: int = 0
    """Lines that were not imported; `problems` says why."""
    without_image: int = 0
    """Screenshots whose image was not in the file; from then on `verify` notes that of each."""
    new_ids: int = 0
    """Events that got another id than they had in their own store: a token to resume following
    there means nothing here."""
    problems: Problems = field(default_factory=Problems)
    """Which lines were refused, and why."""

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass
class Incoming:
    """An audit on its way in."""

    line: int
    stored: StoredAudit
    images: list[bytes | None]
    arrival: Arrival | None = None

    def __str__(self) -> str:
        return f"audit {self.stored.id}"


def import_jsonl(
    source: Target, *, skip_existing: bool = False, progress: Progress | None = None
) -> ImportReport:
    """Store the audits of a JSON Lines file (or stream of bytes) in the current database.

    Each is stored whole, with the ids, times, digests and seal it had, or refused: `problems`
    names its line. An audit that is in the store already is refused, or left as it is if
    `skip_existing` is true. Events retain their ids in a store that never had an event. About 100
    audits are one transaction; an import that was interrupted leaves whole audits, and is
    completed by running it again with `skip_existing`. An audit that was running becomes
    `disconnected` at the next opening, because nobody runs it here. `progress` is called after
    each transaction. Raises StoreError if the file is not an export or cannot be read, StoreFull.
    """
    location = current_database().location
    importer = Importer(
        source, skip_existing=skip_existing, place=current_images(), database=location.name
    )
    with importer:
        importer.begin()
        for unit in importer.units():
            importer.store(importer.take_images(importer.choose(unit)))
            if progress is not None:
                progress(importer.report.audits, importer.lines.position, importer.lines.size)
        importer.finish()
    return importer.report


class Importer:
    """The steps of an import, for a caller that runs each in the right thread.

    `begin`, `choose`, `store` and `finish` need a current database; `units` and `take_images` do
    not. `place` is where its images are, `database` its name.
    """

    def __init__(
        self,
        source: Target,
        *,
        skip_existing: bool,
        place: Images,
        database: str,
    ) -> None:
        self.lines = LineReader(source)
        self.report = ImportReport()
        self._skip_existing = skip_existing
        # What is inserted with its row needs no place before.
        self._folder = place if isinstance(place, ScreenshotFolder) else None
        self._database = database
        # Here, because the folder can be large, and this is not the writer's thread.
        self._has_left = self._folder is not None and any(
            True for _ in left_behind(self._folder, database)
        )

    def __enter__(self) -> Importer:
        return self

    def __exit__(self, *_: object) -> None:
        self.lines.__exit__()

    def begin(self) -> None:
        """Remove what killed imports have left in the screenshot folder."""
        if self._has_left:
            clear_left_soon()

    def units(self) -> Iterator[list[Incoming]]:
        """The audits of the file that are as they were written, a list for each transaction."""
        unit: list[Incoming] = []
        size, good, first = 0, 0, True
        try:
            for number, line, usual in self._lines():
                begins, first = first, False
                try:
                    unit.append(Incoming(number, *usual) if usual else _checked(number, line))
                except InvalidAudit as error:
                    if begins and isinstance(error, ForeignLine):
                        raise StoreError(f"{self.lines.name}: line {number} {error}") from None
                    self._refuse(number, str(error))
                    continue
                size += len(line or b"")
                good += 1
                if len(unit) == UNIT_AUDITS or size >= UNIT_BYTES:
                    yield unit
                    unit, size = [], 0
        except StoreError as error:
            if not good:
                raise
            self.report.problems.add(f"{error}; what comes before was imported")
        if unit:
            yield unit

    def _lines(self) -> Iterator[tuple[int, bytes | None, Read | None]]:
        """The number of each line, the line, and the audit in it if it is plainly right."""
        failure: StoreError | None = None
        some: list[tuple[int, bytes | None]] = []
        size = 0
        try:
            for line in self.lines:
                some.append((self.lines.number, line))
                size += len(line or b"")
                if len(some) == LOOKED_AT or size >= LOOKED_AT_BYTES:
                    yield from _looked_at(some)
                    some, size = [], 0
        except StoreError as error:
            failure = error
        yield from _looked_at(some)
        if failure is not None:
            raise failure

    def _count(self, **more: int) -> None:
        counts = {name: getattr(self.report, name) + number for name, number in more.items()}
        self.report = replace(self.report, **counts)

    def _refuse(self, number: int, reason: str) -> None:
        self._count(refused=1)
        self.report.problems.add(f"line {number}: {reason}")

    def choose(self, unit: list[Incoming]) -> list[Incoming]:
        """The audits among these that are not in the store yet; each id once."""
        chosen: dict[str, Incoming] = {}
        stored = stored_ids([one.stored.id for one in unit])
        for one in unit:
            if one.stored.id in chosen or one.stored.id in stored:
                self._note_stored(one)
            else:
                chosen[one.stored.id] = one
        return list(chosen.values())

    def _note_stored(self, one: Incoming) -> None:
        if self._skip_existing:
            self._count(skipped=1)
        else:
            self._refuse(one.line, f"{one} is there already")

    def take_images(self, unit: list[Incoming]) -> list[Incoming]:
        """Put images on disk, under names of their own, if they are not stored with their rows;
        returns the audits for which it worked."""
        if self._folder is None:
            return unit
        taken: list[Incoming] = []
        arrivals = Arrivals(self._folder, self._database)
        try:
            for one in unit:
                one.arrival = arrivals.audit()
                try:
                    for row, image in zip(one.stored.screenshots, one.images, strict=True):
                        if image is not None:
                            one.arrival.add(image_file(row), image)
                    taken.append(one)
                except InvalidAudit as error:
                    one.arrival.forget()
                    self._refuse(one.line, f"{one}: {error}")
            arrivals.make_ready(one.arrival for one in taken if one.arrival is not None)
        except BaseException:
            self.discard(unit)
            raise
        return taken

    def store(self, unit: list[Incoming]) -> None:
        """Insert the rows of audits, in one transaction, in which their images get their names."""
        try:
            new_ids = _insert(unit)
        except (DataError, IntegrityError, InvalidAudit) as error:
            database = current_database()
            if database.lost and database.state.transactions:  # with the transaction around this
                raise
            # Once more, each in its own transaction, so that only the audit at fault is refused.
            for one in unit if len(unit) > 1 else ():
                self.store([one])
            if len(unit) == 1:
                self.discard(unit)
                if stored_ids([unit[0].stored.id]):  # by another import, since it was chosen
                    self._note_stored(unit[0])
                else:
                    what = "" if isinstance(error, InvalidAudit) else "cannot be stored: "
                    self._refuse(unit[0].line, f"{unit[0]}: {what}{error}")
            return
        except BaseException:
            self.discard(unit)
            raise
        images = [image is not None for one in unit for image in one.images]
        self._count(
            audits=len(unit),
            events=sum(len(one.stored.events) for one in unit),
            screenshots=sum(images),
            without_image=len(images) - sum(images),
            new_ids=new_ids,
        )

    def discard(self, unit: list[Incoming]) -> None:
        """Remove the images of audits that no transaction has taken over."""
        for one in unit:
            if one.arrival is not None and not one.arrival.has_begun:
                one.arrival.forget()

    def finish(self) -> None:
        """Note that the import is complete: heads continue from the events that it has added."""
        kept_ids.close()


def _looked_at(
    some: list[tuple[int, bytes | None]],
) -> Iterator[tuple[int, bytes | None, Read | None]]:
    for (number, line), usual in zip(some, usual_audits([line for _, line in some]), strict=True):
        yield number, line, usual


def _checked(number: int, line: bytes | None) -> Incoming:
    """The audit of a line; InvalidAudit if it is not as it was written."""
    reason = too_large(line)
    if line is None or reason:
        raise InvalidAudit(reason or "")
    stored, images = from_line(line)
    check_values(stored, images)
    problem = problem_of(stored, older=True)
    if problem and (spelled := _spelled(line)) is not None:
        stored, problem = spelled, None
    for row, image in zip(stored.screenshots, images, strict=True):
        if image is not None:
            problem = problem or image_problem(row, image)
    if problem:
        raise InvalidAudit(f"audit {stored.id}: {problem}")
    return Incoming(number, stored, images)


def _spelled(line: bytes) -> StoredAudit | None:
    """The audit of a line whose values another tool has written in its own way; None if one of them
    is another value."""
    stored, images = from_line(line, spelled=True)
    check_values(stored, images)
    return stored if problem_of(stored, older=True) is None else None


@atomic
def _insert(unit: list[Incoming]) -> int:
    """Insert the rows; returns how many events got another id than they had."""
    database = current_database()
    audits = [one.stored for one in unit]
    seals.expect([audit.id for audit in audits])
    rows = [(*audit.audit, seals.host_in(audit.audit)) for audit in audits]
    insert_rows(Audit, (*AUDIT, "host"), rows)
    findings = [row for audit in audits for row in audit.findings]
    insert_rows(AuditFinding, FINDING, findings)
    shots = [row for audit in audits for row in audit.screenshots]
    images = [image for one in unit for image in one.images]
    with_image = zip(insert_rows(AuditScreenshot, SCREENSHOT, shots), images, strict=True)
    absent = [(row_id,) for row_id, image in with_image if image is None]
    insert_rows(AbsentImage, ("screenshot",), absent)
    status = AUDIT.index("status")
    running = [audit.id for audit in audits if audit.audit[status] == AuditStatus.RUNNING]
    insert_rows(AuditRunner, ("audit", "session"), [(one, IMPORTED) for one in running])
    seals.accept(database, rows, findings)
    with_ids: list[Any] = []
    renumbered: list[Any] = []
    can_keep = kept_ids.can_keep()
    none_removed = not kept_ids.removed_between(0, MAX_EVENT_ID)
    for audit in audits:
        ids = [event[0] for event in audit.events]
        # An id that another audit's event has fails below; then each audit comes by itself.
        taken = (
            bool(ids and ids[-1] > MAX_KEPT_ID)
            or not (none_removed or not kept_ids.removed(ids))
            or (len(unit) == 1 and kept_ids.taken(ids))
        )
        events = with_ids if can_keep and not taken else renumbered
        events += [(event[0], audit.id, *event[1:]) for event in audit.events]
    kept_ids.insert_with_ids(with_ids)
    append_chained([row[1:] for row in renumbered])
    # Last, because until then the rows can be refused, and nothing has to be taken back.
    if arrivals := [one.arrival for one in unit if one.arrival is not None]:
        place(arrivals)
    else:
        pairs = zip(shots, images, strict=True)
        places.take_over((image_file(row), image) for row, image in pairs if image is not None)
    return len(renumbered)
