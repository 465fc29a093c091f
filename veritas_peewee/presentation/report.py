"""`report_html`: one audit as a page that needs no other file, to be read, printed and archived.

The page has its screenshots inside, no script, and loads nothing; every text in it is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from veritas_peewee.database.current import snapshot
from veritas_peewee.database.failures import lacking
from veritas_peewee.errors import ScreenshotNotFound, StoreError
from veritas_peewee.ledger.checking import image_problem, problem_of
from veritas_peewee.ledger.stored import SCREENSHOT, Row, image_file, read_stored
from veritas_peewee.models import AuditScreenshot
from veritas_peewee.presentation.audit_page import Picture, page_parts
from veritas_peewee.queries import lookups
from veritas_peewee.queries.absent import absent_images
from veritas_peewee.queries.images import Images, images_if_any
from veritas_peewee.queries.present import Present
from veritas_peewee.values.ids import not_found


def report_html(audit_id: str) -> str:
    """An audit of the current database as one HTML page, with its screenshots inside.

    The page says whether the audit is as it was written. Raises AuditNotFound.
    """
    return "".join(report_parts(audit_id))


def report_parts(audit_id: str, left_out: Mapping[str, str] | None = None) -> Iterator[str]:
    """The text of `report_html` piece by piece, so that one image at a time is in memory.

    `left_out` has the reasons why images are not shown, by their files.
    """
    with snapshot():  # so that exactly the rows that are checked are shown
        audit = lookups.get(audit_id)
        events = lookups.events(audit_id)
        stored = read_stored(audit_id)
    problem = None if stored is None else problem_of(stored)
    with Present() as present:
        yield from page_parts(audit, events, problem, partial(_picture, present, left_out or {}))


def _picture(present: Present, left_out: Mapping[str, str], shot: AuditScreenshot) -> Picture:
    """A screenshot's image, checked against its row."""
    if reason := left_out.get(shot.file_path):
        return Picture(None, None, reason)
    if (images := images_if_any()) is None:
        return Picture(None, None)
    row = tuple([shot.__data__.get(name) for name in SCREENSHOT])
    picture, missing = _read(images, row)
    if picture.problem is None:
        return picture
    # Asked again: the audit may have been removed since, and then its images go too.
    if not present.image_rows(shot.audit_id, image_file(row)):
        if not present.has_audit(shot.audit_id):
            raise not_found(shot.audit_id)
        return Picture(None, None, "this screenshot was removed while the page was made")
    picture, missing = _read(images, row)
    if missing and image_file(row) in absent_images(shot.audit_id):
        return Picture(None, None, "the image was not in the import that brought this audit")
    return picture


def _read(images: Images, row: Row) -> tuple[Picture, bool]:
    try:
        image = images.read(image_file(row))
    except StoreError as error:
        if lacking(error):  # this says nothing about the image
            raise
        return Picture(None, str(error)), isinstance(error, ScreenshotNotFound)
    return Picture(image, image_problem(row, image)), False
