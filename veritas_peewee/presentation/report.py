"""`report_html`: one audit as a page that needs no other file, to be read, printed and archived.

The page has its screenshots inside, no script, and loads nothing; every text in it is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator

from veritas_peewee.database.current import current_database, snapshot
from veritas_peewee.errors import StoreError
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.ledger.checking import image_problem, problem_of
from veritas_peewee.ledger.stored import SCREENSHOT, read_stored
from veritas_peewee.models import AuditScreenshot
from veritas_peewee.presentation.audit_page import Picture, page_parts
from veritas_peewee.queries import lookups


def report_html(audit_id: str) -> str:
    """An audit of the current database as one HTML page, with its screenshots inside.

    The page says whether the audit is as it was written. Raises AuditNotFound.
    """
    return "".join(report_parts(audit_id))


def report_parts(audit_id: str) -> Iterator[str]:
    """The text of `report_html` piece by piece, so that one image at a time is in memory."""
    with snapshot():  # so that exactly the rows that are checked are shown
        audit = lookups.get(audit_id)
        events = lookups.events(audit_id)
        stored = read_stored(audit_id)
    problem = None if stored is None else problem_of(stored)
    yield from page_parts(audit, events, problem, _picture)


def _picture(shot: AuditScreenshot) -> Picture:
    """A screenshot's image from the store's folder, checked against its row."""
    location = current_database().location
    if location.screenshots is None:
        return Picture(None, None)
    try:
        image = ScreenshotFolder(location.screenshots).read(shot.file_path)
    except StoreError as error:
        return Picture(None, str(error))
    row = tuple([shot.__data__.get(name) for name in SCREENSHOT])
    return Picture(image, image_problem(row, image))
