"""The images of a store held against their rows, while others remove audits with their images."""

from __future__ import annotations

from typing import Any, NamedTuple

import peewee

from veritas_peewee.database.failures import lacking
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.errors import ScreenshotNotFound, StoreError
from veritas_peewee.ledger.checking import is_other_image
from veritas_peewee.maintenance.verified import Report
from veritas_peewee.models import AbsentImage, AuditScreenshot
from veritas_peewee.queries.images import Images
from veritas_peewee.queries.present import Present
from veritas_peewee.values.plain import shown


class ImageCheck:
    """Checks images for a report; a `with` block ends the connection that it may need."""

    def __init__(self, report: Report, folder: Images | None) -> None:
        self._report = report
        self._folder = folder
        self._present = Present()

    def __enter__(self) -> ImageCheck:
        return self

    def __exit__(self, *_: object) -> None:
        self._present.__exit__()

    def check(self, audit_id: str) -> None:
        """Check the images of an audit, unless no folder was given."""
        if self._folder is None:
            return
        with self._report.part(f"the screenshots of audit {audit_id}"):
            for row_id, *row in execute(_images_sql(), (audit_id,)):
                where = f"screenshot {row_id} of audit {audit_id}"
                self._report.files += 1
                with self._report.part(where):
                    self._check(self._folder, audit_id, where, *row)

    def _check(
        self,
        folder: Images,
        audit_id: str,
        where: str,
        file: Any,
        size: Any,
        sha256: Any,
        absent: bool,
    ) -> None:
        if (fault := _fault(folder, file, size, sha256)) is None:
            if sha256 is None:
                unnoticed = f"has no hash, so a change of the file {shown(file)} is not noticed"
                self._report.notes.append(f"{where}: {unnoticed}")
            return
        # Asked again: the row may have been removed since, and then its file goes too.
        rows = self._present.image_rows(audit_id, file)
        if not rows:
            return
        size, sha256 = rows[0]
        if (fault := _fault(folder, file, size, sha256)) is None:
            return
        if absent and fault.missing:
            self._report.notes.append(f"{where}: its image was not in the import: {shown(file)}")
        # Rows of the older store can have paths of another machine, and then no digest.
        elif sha256 is None and not fault.altered:
            self._report.notes.append(f"{where}: {fault.text}")
        else:
            self._report.problems.add(f"{where}: {fault.text}")


class _Fault(NamedTuple):
    text: str
    missing: bool = False
    altered: bool = False


def _fault(folder: Images, file: Any, size: Any, sha256: Any) -> _Fault | None:
    """How the file is not the image of its row; None if it is. Raises StoreError if it cannot be
    looked at."""
    try:
        image = folder.read(file)
    except StoreError as error:
        if lacking(error):
            raise
        return _Fault(str(error), missing=isinstance(error, ScreenshotNotFound))
    if is_other_image(image, size, sha256):
        return _Fault(f"the file {file} was altered", altered=True)
    return None


@per_backend
def _images_sql() -> str:
    query = AuditScreenshot.select(
        AuditScreenshot.id,
        AuditScreenshot.file_path,
        AuditScreenshot.file_size_bytes,
        AuditScreenshot.sha256,
        AbsentImage.screenshot.is_null(False),
    )
    query = query.join(AbsentImage, peewee.JOIN.LEFT_OUTER)
    return text_of(query.where(AuditScreenshot.audit == MARK).order_by(AuditScreenshot.id))
