"""The export: audits with everything that belongs to them, for the import."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Unpack

from veritas_peewee.errors import InvalidAudit, ScreenshotNotFound, StoreError
from veritas_peewee.ledger.checking import image_problem, problem_of
from veritas_peewee.ledger.problems import Problems
from veritas_peewee.ledger.stored import Row, StoredAudit, image_file, read_each
from veritas_peewee.queries.absent import absent_images
from veritas_peewee.queries.filters import Filters
from veritas_peewee.queries.history import Order
from veritas_peewee.queries.images import Images, images_if_any
from veritas_peewee.queries.present import Present
from veritas_peewee.transfer.accepting import check_images, check_values
from veritas_peewee.transfer.files import Target, new_file, too_large
from veritas_peewee.transfer.lines import to_line
from veritas_peewee.transfer.selection import Selection
from veritas_peewee.transfer.usual import are_usual
from veritas_peewee.transfer.writing import Prepared, prepare

Progress = Callable[[int, int | None], object]
"""Called with how many audits have been written, and of how many if that is known."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export wrote."""

    audits: int = 0
    findings: int = 0
    screenshots: int = 0
    """Images that were written."""
    events: int = 0
    problems: Problems = field(default_factory=Problems)
    """What is missing or was altered. An audit that was altered, or holds values that the store
    itself would not have stored, is written as it is, and an import refuses it; an image that is
    missing is left out."""
    notes: Problems = field(default_factory=Problems)
    """Images that were lost before: they were not in the import that brought their rows."""

    @property
    def ok(self) -> bool:
        return not self.problems


def export_jsonl(
    target: Target,
    *,
    ids: Iterable[str] | None = None,
    images: bool = True,
    progress: Progress | None = None,
    order: Order = "newest",
    **filters: Unpack[Filters],
) -> ExportReport:
    """Write audits of the current database as JSON Lines, one a line, for `import_` to read.

    `target` is a new file (packed by gzip if its name ends in .gz) or a stream of bytes; `ids`
    or the filters and the order of `history` select audits, else all are written, newest
    first. Each audit is as of one moment; writers continue meanwhile. `images` says whether the
    screenshots' files are written too. `progress` is called with how many audits are written, of
    how many. Raises AuditNotFound, InvalidAudit for a bad filter or for ids and filters at once,
    StoreError if the file exists already, StoreFull.
    """
    place = images_if_any() if images else None
    screenshots, problems, notes = 0, Problems(), Problems()

    def lines(some: list[StoredAudit]) -> Iterator[bytes | None]:
        if are_usual(some):
            return map(line, some, prepare(some))
        return (line(one, prepare([one])[0] if are_usual([one]) else None) for one in some)

    def line(stored: StoredAudit, usual: Prepared | None) -> bytes | None:
        nonlocal screenshots
        before = len(problems)
        found = _images(stored, place, present, problems, notes)
        if found is None:
            return None
        screenshots += sum(image is not None for image in found)
        if problem := problem_of(stored):
            problems.add(f"audit {stored.id}: {problem}")
        # Whatever is wrong already is refused for that.
        if len(problems) == before:
            try:
                (check_values if usual is None else check_images)(stored, found)
            except InvalidAudit as error:
                problems.add(f"audit {stored.id}: an import will refuse it: {error}")
        text = to_line(stored, found) if usual is None else usual.line(found)
        if problem := too_large(text):
            problems.add(f"audit {stored.id}: its line {problem}")
        return text

    with Present() as present:
        report = write_each(target, lines, Selection(ids, order, **filters), progress)
    return replace(report, screenshots=screenshots, problems=problems, notes=notes)


def write_each(
    target: Target,
    texts_of: Callable[[list[StoredAudit]], Iterable[bytes | None]],
    selection: Selection,
    progress: Progress | None,
    header: bytes = b"",
) -> ExportReport:
    """Write `header`, then what `texts_of` makes of some selected audits after the others, one text
    for each; count them.

    An audit of which it makes None was removed just now, and is left out.
    """
    audits = findings = events = 0
    with new_file(target) as file:
        file.write(header)
        pairs = (zip(some, texts_of(some), strict=True) for some in read_each(selection))
        for stored, text in chain.from_iterable(pairs):
            if text is None:
                continue
            file.write(text)
            audits += 1
            findings += len(stored.findings)
            events += len(stored.events)
            if progress is not None:
                progress(audits, selection.total)
    return ExportReport(audits, findings, events=events)


def _images(
    stored: StoredAudit,
    place: Images | None,
    present: Present,
    problems: Problems,
    notes: Problems,
) -> list[bytes | None] | None:
    """The images of an audit; None if the audit was removed while they were read."""
    images: list[bytes | None] = []
    absent: set[str] | None = None
    for row in stored.screenshots:
        if place is None:
            images.append(None)
            continue
        image, problem, missing = _image(place, row)
        if problem and not present.image_rows(stored.id, image_file(row)):
            if not present.has_audit(stored.id):
                return None
            image = problem = None  # only this screenshot was removed
        elif problem:
            # It may be there by now: of a row that was removed, and brought back by an import.
            image, problem, missing = _image(place, row)
        if problem:
            absent = absent_images(stored.id) if absent is None else absent
            noted = missing and image_file(row) in absent
            what = "its image was not in the import" if noted else problem
            (notes if noted else problems).add(f"audit {stored.id}: {what}")
        images.append(image)
    return images


def _image(place: Images, row: Row) -> tuple[bytes | None, str | None, bool]:
    """The image of a screenshot's row, what is wrong with it, and whether it is missing."""
    try:
        image = place.read(image_file(row))
    except StoreError as error:
        return None, str(error), isinstance(error, ScreenshotNotFound)
    return image, image_problem(row, image), False
