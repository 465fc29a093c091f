"""Whole outputs of new audits: their final rows are made first, and then inserted once.

Recorded event by event, an audit's row would be inserted, changed and read again, each time with
all of its indexes. Of a new audit everything is known beforehand, because nothing of it is stored
yet. The rows are those that the same events make one by one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

from veritas_peewee.database.current import current_database
from veritas_peewee.database.instances import models_of
from veritas_peewee.database.statements import insert_rows, stored_forms
from veritas_peewee.ledger import log, seals
from veritas_peewee.ledger.contents import image_told
from veritas_peewee.ledger.formulas import ended_seal
from veritas_peewee.ledger.memory import remembered
from veritas_peewee.ledger.stored import AT, AUDIT, FINDING, SCREENSHOT, SEAL
from veritas_peewee.models import Audit, AuditFinding, AuditScreenshot
from veritas_peewee.queries import images
from veritas_peewee.queries.images import current_images
from veritas_peewee.recording.collected import Collected
from veritas_peewee.recording.known_findings import KnownFindings
from veritas_peewee.recording.live import NO_END
from veritas_peewee.recording.operations import AuditState
from veritas_peewee.recording.output import IMAGE_EVENT, Event
from veritas_peewee.recording.preparing import PreparedEvent, prepare
from veritas_peewee.recording.projection import Projection, reported_id
from veritas_peewee.recording.recorder import project
from veritas_peewee.values.addresses import check_url
from veritas_peewee.values.details import AUDIT_RESULT, ENGINE_RESULT
from veritas_peewee.values.moments import format_datetime, utc_now
from veritas_peewee.values.states import FINAL

_COLUMNS = (*AUDIT, "host")
_INDEX = SCREENSHOT.index("index_num")


class NewAudit(NamedTuple):
    """The rows of a new audit that has ended, as they are stored."""

    audit: list[Any]
    events: list[tuple[Any, ...]]
    """(audit id, type, JSON text, time, digest) of each."""
    findings: list[tuple[Any, ...]]
    screenshots: list[tuple[Any, ...]]
    images: list[images.Named]
    """The images that are stored with these rows."""

    def loaded(self, findings: Sequence[int], screenshots: Sequence[int]) -> Audit:
        """The audit as `lookups.get` reads it, with the ids that its rows were given."""
        (audit,) = models_of(Audit, [tuple(self.audit)])
        results = [row[2] for row in self.events if row[1] in (AUDIT_RESULT, ENGINE_RESULT)]
        audit.load_details(results[-1] if results else None)
        found = [(key, *row[1:]) for key, row in zip(findings, self.findings, strict=True)]
        audit.findings = models_of(AuditFinding, found, audit)
        shots = [(key, *row[1:]) for key, row in zip(screenshots, self.screenshots, strict=True)]
        shots.sort(key=lambda row: (row[_INDEX], row[0]))
        audit.screenshots = models_of(AuditScreenshot, shots, audit)
        return audit


class _Fresh(Projection):
    """The changes that the events of an audit make to it, of which nothing is stored yet.

    An event's number stands for the id that it will be given: effects only compare them.
    """

    def __init__(self, audit_id: str, row: list[Any], events: Sequence[PreparedEvent]) -> None:
        super().__init__(audit_id, whole=True)
        self._state = AuditState(audit_id, row)
        self._findings = KnownFindings(audit_id, is_new=True)
        self._log = events

    @property
    def has_ended(self) -> bool:
        return self.state["status"] in FINAL

    def events_by(
        self, event_type: str, key: Callable[[Event], object]
    ) -> dict[object, list[tuple[int, Event]]]:
        if (event_type, key) not in self._events:
            found = self._events[event_type, key] = {}
            for number, one in enumerate(self._log, 1):
                if one.kind == event_type:
                    event = one.stored_event()
                    if isinstance(value := key(event), str | None):
                        found.setdefault(value, []).append((number, event))
        return self._events[event_type, key]

    def images_at(self, path: str) -> list[tuple[int, int]]:
        if self._images is None:
            self._images = {}
            for number, one in enumerate(self._log, 1):
                if one.kind == IMAGE_EVENT and (told := image_told(one.stored_event())):
                    self._images.setdefault(told[0], []).append((number, told[1]))
        return self._images.get(path, [])

    def first_report(self, finding_id: str) -> Event | None:
        found = self.events_by("finding", reported_id).get(finding_id, ())
        return found[0][1] if found else None

    def rows(
        self, row: list[Any]
    ) -> tuple[list[Any], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """The audit's row, changed from `row`, its findings and its screenshots."""
        fields = Audit._meta.fields
        for name, value in self._columns.items():
            stored = value.text() if isinstance(value, Collected) else fields[name].db_value(value)
            row[AT[name]] = stored
        row[AT["screenshots_count"]] = len(self._screenshots)
        return row, self.findings.new, self._screenshots


def new_audit(audit_id: str, url: str, events: Sequence[PreparedEvent]) -> NewAudit:
    """The rows of a new audit whose whole output is `events`.

    An audit that they give no final status becomes disconnected. Raises InvalidAudit for a url
    that is not http(s), and if a column becomes too long.
    """
    row = list(_first_row())
    row[AT["created_at"]] = row[AT["updated_at"]] = format_datetime(utc_now())
    row[AT["id"]], row[AT["url"]] = audit_id, check_url(url)
    when = utc_now()
    moment = format_datetime(when)
    projection = _Fresh(audit_id, list(row), events)
    for number, one in enumerate(events, 1):
        project(projection, number, one, when)
    if not projection.has_ended:
        end = {"type": "audit_disconnected", "error": NO_END}
        closing = prepare(audit_id, end, current_images(), lenient=True)
        events = [*events, closing]
        project(projection, len(events), closing, when)
    row, findings, screenshots = projection.rows(row)
    before, logged = audit_id.encode(), []
    for one in events:
        before = log.link(before, one.kind, moment, one.text)
        logged.append((audit_id, one.kind, one.text, moment, before))
    digests = [found[-1] for found in findings], [found[-1] for found in screenshots]
    row[AT["host"]] = seals.host_in(row)
    row[SEAL] = ended_seal(row[:SEAL], digests, len(logged), before)
    row[AT["sealed_events"]] = len(logged)
    waiting = [image for one in events for image in one.waiting]
    return NewAudit(row, logged, findings, screenshots, waiting)


@functools.cache
def _first_row() -> tuple[Any, ...]:
    """A new audit's stored values, but for those of its own, in the order of `_COLUMNS`."""
    made = Audit(id="", url="")
    row = [made.__data__.get(name) for name in _COLUMNS]
    for position, convert in stored_forms(Audit, _COLUMNS):
        row[position] = None if row[position] is None else convert(row[position])
    return tuple(row)


def insert(audits: Sequence[NewAudit]) -> list[Audit]:
    """Insert new audits with everything that belongs to them; returns them, loaded.

    To be called in a unit. One statement inserts the rows of many audits.
    """
    database = current_database()
    seals.expect([one.audit[0] for one in audits])
    insert_rows(Audit, _COLUMNS, [tuple(one.audit) for one in audits])
    images.insert([image for one in audits for image in one.images])
    log.append_chained([row for one in audits for row in one.events])
    findings = [row for one in audits for row in one.findings]
    screenshots = [row for one in audits for row in one.screenshots]
    found = iter(insert_rows(AuditFinding, FINDING, findings))
    shots = iter(insert_rows(AuditScreenshot, SCREENSHOT, screenshots))
    seals.accept(database, [one.audit for one in audits], findings)
    remembered(database).changes += len(audits)
    return [
        one.loaded(
            list(islice(found, len(one.findings))), list(islice(shots, len(one.screenshots)))
        )
        for one in audits
    ]
