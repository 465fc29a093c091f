"""Audits of another store put into the current one, under the ids that they and their rows have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.statements import insert_rows
from veritas_peewee.files.arrivals import Arrival, Arrivals
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.ledger import kept_ids, seals
from veritas_peewee.ledger.stored import AUDIT, FINDING, SCREENSHOT, Row
from veritas_peewee.models import AbsentImage, Audit, AuditFinding, AuditScreenshot
from veritas_peewee.queries import images
from veritas_peewee.recording.arriving import place
from veritas_peewee.transfer.whole import Whole


@dataclass
class Coming:
    """An audit on its way."""

    whole: Whole
    images: list[images.Named]
    arrival: Arrival | None = None

    def discard(self) -> None:
        """Remove its images, unless a transaction has taken them over."""
        if self.arrival is not None and not self.arrival.has_begun:
            self.arrival.forget()


def arrive(unit: list[Coming]) -> None:
    """Put images on disk, if they are in a folder, under names of their own."""
    folder = images.current_images()
    if not isinstance(folder, ScreenshotFolder):
        return
    arrivals = Arrivals(folder, current_database().location.name)
    for one in unit:
        one.arrival = arrivals.audit()
        for file, image in one.images:
            one.arrival.add(file, image)
    arrivals.make_ready(one.arrival for one in unit if one.arrival is not None)


@atomic
def insert(unit: list[Coming]) -> None:
    """Insert the rows of audits under the ids that they have, with their images."""
    database = current_database()
    audits = [one.whole.stored for one in unit]
    seals.expect([audit.id for audit in audits])
    rows = [(*audit.audit, seals.host_in(audit.audit)) for audit in audits]
    insert_rows(Audit, (*AUDIT, "host"), rows)
    wholes = [one.whole for one in unit]
    _insert_numbered(AuditFinding, FINDING, [(one.findings, one.stored.findings) for one in wholes])
    _insert_numbered(
        AuditScreenshot, SCREENSHOT, [(one.screenshots, one.stored.screenshots) for one in wholes]
    )
    absent = [(row_id,) for one in unit for row_id in sorted(one.whole.absent)]
    insert_rows(AbsentImage, ("screenshot",), absent)
    seals.accept(database, rows, [row for audit in audits for row in audit.findings])
    kept_ids.insert_with_ids(
        [(event[0], audit.id, *event[1:]) for audit in audits for event in audit.events]
    )
    if arrivals := [one.arrival for one in unit if one.arrival is not None]:
        place(arrivals)
    else:
        images.take_over(image for one in unit for image in one.images)


def _insert_numbered(
    model: Any, names: tuple[str, ...], children: list[tuple[list[int], list[Row]]]
) -> None:
    rows = [
        (row_id, *row)
        for row_ids, found in children
        for row_id, row in zip(row_ids, found, strict=True)
    ]
    insert_rows(model, ("id", *names), rows)
    current_database().give_ids_after(model._meta.table_name)
