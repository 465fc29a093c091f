"""The changes that events make to the rows of their audit.

An effect takes the values that it knows. A value of the wrong type is left out, with a note in the
audit's `errors` that names where it was found; the rest of the event is recorded all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger import log_questions
from veritas_peewee.recording import known_findings, operations, screenshot_rows
from veritas_peewee.recording.known_findings import KnownFindings
from veritas_peewee.recording.output import Event
from veritas_peewee.values.plain import shown

_FEW = 8
"""How many events of findings a call asks for one by one, before it reads all."""


def reported_id(event: Event) -> object:
    """The engine's own id of the finding that an event reports."""
    finding = event.get("finding")
    return finding.get("id") if isinstance(finding, dict) else None


class Projection:
    """The changes that the events of one call make to one audit, gathered and then written once.

    Each event sees what the events before it have changed, as if they were recorded one by one.
    What an event adds to a collection is added in place: to copy the collection for each event
    would take time with the square of their number.
    """

    def __init__(self, audit_id: str, *, whole: bool = False) -> None:
        self.audit_id = audit_id
        self._whole = whole
        """Whether these are the last events of the audit: then any final status closes it."""
        self._columns: dict[str, Any] = {}
        """The columns that all events so far have changed."""
        self._runs: bool | None = None
        self._state: operations.AuditState | None = None
        self._errors: set[str] | None = None
        self._findings: KnownFindings | None = None
        self._screenshots: list[tuple[Any, ...]] = []
        self._events: dict[object, dict[object, list[tuple[int, Event]]]] = {}
        self._images: dict[str, list[tuple[int, int]]] | None = None
        self._reports = 0

    def begin(self, event_id: int, when: datetime, *, closes: bool) -> None:
        """Apply this event next; if it `closes` its audit, a final status is the end of it."""
        self.event_id, self.when = event_id, when
        self._closes = closes or self._whole
        self.changes: dict[str, Any] = {}
        """The columns that the event sets."""
        self.added_errors: list[str] = []
        """Errors that the event adds to those before it."""
        self.added_results: dict[str, Any] = {}
        """Security results that the event adds to those before it."""
        self.errors: list[str] = []
        """Errors, and notes about the event's values, that follow all others."""

    @property
    def findings(self) -> KnownFindings:
        """The audit's findings, with those that the events so far have added."""
        if self._findings is None:
            self._findings = KnownFindings(self.audit_id)
        return self._findings

    def events_by(
        self, event_type: str, key: Callable[[Event], object]
    ) -> dict[object, list[tuple[int, Event]]]:
        """The audit's events of a type, as (id, event) by `key`; read once for the whole call.

        The log may have later events than this one: an effect looks only at those before it.
        """
        if (event_type, key) not in self._events:
            found = self._events[event_type, key] = {}
            for event_id, event in log_questions.event_data(self.audit_id, event_type):
                if isinstance(value := key(event), str | None):
                    found.setdefault(value, []).append((event_id, event))
        return self._events[event_type, key]

    def images_at(self, path: str) -> list[tuple[int, int]]:
        """The images of the audit that have a path of the engine's, as (the event's id, index)."""
        if self._images is None:
            self._images = log_questions.images_told(self.audit_id)
        return self._images.get(path, [])

    def first_report(self, finding_id: str) -> Event | None:
        """The audit's first `finding` event with this id of the engine's.

        A few are asked for one by one, and of many all are read at once.
        """
        self._reports += 1
        if self._reports <= _FEW:
            return log_questions.first_report(self.audit_id, finding_id)
        found = self.events_by("finding", reported_id).get(finding_id, ())
        return found[0][1] if found else None

    @property
    def state(self) -> operations.AuditState:
        """The audit's status, times, errors and security results before this event, by column."""
        if self._state is None:
            self._state = operations.audit_state(self.audit_id)
            for name in operations.STATE:
                if name in self._columns:
                    self._state.change(name, self._columns[name])
        return self._state

    def has_error(self, text: str) -> bool:
        """Whether the audit's errors before this event include `text`."""
        if self._errors is None:
            # In a file that was edited by hand they can be anything.
            self._errors = {error for error in self.state["errors"] if isinstance(error, str)}
        return text in self._errors

    def take(self, column: str, value: object, where: str) -> None:
        """Set a column; if it cannot hold `value`, add a note that names `where` instead."""
        try:
            self.changes[column] = operations.check_column(column, value)
        except InvalidAudit as error:
            self.errors.append(f"{where}: {error}")

    def text(self, event: Event, key: str, default: str) -> str:
        """The event's text under `key`; `default` if it is missing, empty or not text."""
        value = event.get(key)
        if isinstance(value, str) and value:
            return value
        if value not in (None, ""):
            self.errors.append(f"{event['type']}.{key}: must be text, got {shown(value)}")
        return default

    def settle(self) -> None:
        """Add the changes of this event to those of the events before it."""
        changes, columns = self.changes, self._columns
        errors = self.added_errors + self.errors
        if not (changes or errors or self.added_results):
            return
        if "status" in changes:
            runs = operations.follow_status(changes, self.state, self.when, closes=self._closes)
            self._runs = self._runs if runs is None else runs
        if "errors" in changes:
            self._errors = None
        columns.update(changes)
        if self._state is not None:
            for name in operations.STATE:
                if name in changes:
                    self._state.change(name, changes[name])
        if errors:
            self._add("errors", errors)
            if self._errors is not None:
                self._errors.update(errors)
        if self.added_results:
            self._add("security_results", self.added_results)
        columns["updated_at"] = self.when

    def _add(self, name: str, items: Any) -> None:
        self._columns[name] = collected = self.state.collected(name)
        collected.add(items)

    def add_screenshot(self, values: dict[str, Any], when: datetime) -> None:
        """Add a screenshot with these checked values, taken at `when`."""
        self._screenshots.append(screenshot_rows.screenshot_row(self.audit_id, values, when))


def write_all(projections: Iterable[Projection]) -> None:
    """Write the changes of audits: what is added to all of them, and then the row of each."""
    projections = list(projections)
    known_findings.write_all([one._findings for one in projections if one._findings is not None])
    added = {one.audit_id: one._screenshots for one in projections if one._screenshots}
    if added:
        screenshot_rows.note_screenshots(added)
    # Where the row that is written counts them, its seal is that of all of it.
    counts = {audit_id: screenshot_rows.counted(audit_id) for audit_id in added}
    is_counted = None not in counts.values()
    if added and not is_counted:
        screenshot_rows.add_screenshots(added)
    for one in projections:
        if is_counted and one.audit_id in counts:
            one._columns["screenshots_count"] = counts[one.audit_id]
        if one._columns:
            operations.write_row(one.audit_id, one._columns, one._runs)
    if added and is_counted:
        screenshot_rows.add_screenshots(added, are_counted=True)
