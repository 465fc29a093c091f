"""The changes that one event makes to the rows of its audit.

An effect takes the values that it knows. A value of the wrong type is left out, with a note in the
audit's `errors` that names where it was found; the rest of the event is recorded all the same.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.recording import operations
from veritas_peewee.recording.output import Event
from veritas_peewee.values.plain import shown


class Projection:
    """The changes that one event makes to one audit, gathered and then written once."""

    def __init__(self, audit_id: str, event_id: int, when: datetime) -> None:
        self.audit_id = audit_id
        self.event_id = event_id
        self.when = when
        self.changes: dict[str, Any] = {}
        self.errors: list[str] = []
        self._state: dict[str, Any] | None = None

    @property
    def state(self) -> dict[str, Any]:
        """The audit's status, times, errors and security results before this event, by column."""
        if self._state is None:
            self._state = operations.audit_state(self.audit_id)
        return self._state

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

    def finish(self) -> None:
        """Write the gathered changes, if there are any."""
        if self.changes or self.errors:
            operations.change_row(self.audit_id, self.when, self.changes, self.errors, self._state)
