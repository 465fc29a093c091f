"""The output of an engine that runs: its lines as they come, as events to record."""

from __future__ import annotations

from collections.abc import Iterator

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.recording.forms import NOTES, NOTES_EVENT, Event, with_notes
from veritas_peewee.recording.one_audit import OneAudit
from veritas_peewee.recording.output import REPLACED, OutputParser, unread
from veritas_peewee.values.plain import shown

NO_END = "the engine's output ended before the audit did"


class LiveOutput:
    """Lines of output, each of which completes events; to be recorded leniently, in order.

    An event has the notes on what could not be read since the one before it.
    """

    def __init__(self) -> None:
        self.troubles: list[str] = []
        """What could not be read or recorded, in words."""
        self._parser = OutputParser()
        self._kept: list[str] = []
        """The notes of events that could not be recorded; the next one has them."""
        self._one = OneAudit()
        self._is_empty = True
        self._has_replaced = False
        self._last_text = ""

    def events(self, line: bytes) -> Iterator[Event]:
        """The events that a line completes."""
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = line.decode(errors="replace")
            if not self._has_replaced:  # engines may print other text in another encoding for hours
                self._parser.notes.append(REPLACED)
            self._has_replaced = True
        text = text.rstrip("\r\n")
        self._last_text = text if text.strip() else self._last_text
        for event in self._parser.feed(text):
            yield self._noted(event)

    def rest(self) -> Iterator[Event]:
        """The events and notes that are left at the end of the output.

        Raises InvalidAudit after them if the output is cut off.
        """
        cut_off = None
        try:
            for event in self._parser.finish():
                yield self._noted(event)
        except InvalidAudit as error:
            cut_off = error
        if self._parser.notes or self._kept:
            yield self._with_notes({"type": NOTES_EVENT})
        if cut_off is not None:
            raise cut_off

    def passed_over(self, event: Event, error: InvalidAudit) -> None:
        """Note that an event could not be recorded, with the notes that it had."""
        told = f"an event was passed over: {error}"
        self.troubles.append(told)
        self._kept += [*event.get(NOTES, ()), told]

    def nothing_came(self) -> str | None:
        """Why there was no event at all, which is one of the troubles; None if there was one."""
        if not self._is_empty:
            return None
        reason = "no event, progress line or result came through the pipe"
        if self._last_text:
            reason += f"; its last line was {shown(self._last_text)}"
        self.troubles.append(reason)
        return reason

    def _noted(self, event: Event) -> Event:
        self._is_empty = False
        if (note := self._one.note(event)) is not None:
            self._parser.notes.append(note)
        return self._with_notes(event)

    def _with_notes(self, event: Event) -> Event:
        notes, self._parser.notes = self._parser.notes, []
        self.troubles += unread([event], notes)
        kept, self._kept = self._kept, []
        return with_notes(event, [*kept, *notes])
