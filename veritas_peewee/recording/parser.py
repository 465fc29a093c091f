"""Lines of the engine's or the backend's output, in any form, turned into events as they arrive.

Whatever begins like JSON of ours and cannot be read becomes a note, which names its line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.recording import forms
from veritas_peewee.recording.forms import Event
from veritas_peewee.recording.json_text import Unreadable, decode, decode_whole, excerpt
from veritas_peewee.recording.lines import (
    EVENT,
    PROGRESS,
    ends_of,
    event_in,
    is_event,
    measured,
    progress_in,
)
from veritas_peewee.recording.salvage import began_anew, reason_of, salvage
from veritas_peewee.values.plain import EndlessJSON

_ENDLESS = "JSON that never ends was passed over"
_GOES_ON = (",", ":", "}", "]", '"')
"""With one of these after its end, a value was damaged, and may have ended too early."""
MOST_NOTES = 1000
"""The most notes on one output; the others are counted."""


class OutputParser:
    """Turns lines of any form into events as they arrive; call `finish()` after the last one."""

    def __init__(self, *, line: int = 0, is_inner: bool = False) -> None:
        self.notes: list[str] = []
        """On the lines so far; whoever takes them removes them."""
        self._line = line
        self._is_inner = is_inner
        """Whether the lines are a part of a value that could not be read."""
        self._noted = 0
        self._tail = ""
        """What was taken from the line's end, and belongs to it inside a text."""
        self._begin()

    def _begin(self) -> None:
        self._held: list[str] = []
        self._lines: list[int] = []
        """The lines so far of a value that has begun, and their numbers."""
        self._begun = 0
        self._is_indented: bool | None = None
        """Whether the value is printed with indentation; None while it has one line."""
        self._depth = self._depth_of_texts = 0
        """Its open brackets, if a text ends with its line, and if it goes on in the next one."""
        self._in_text = False
        self._is_cut = False
        """Whether the last line goes on in the next: something else came between its halves."""
        self._tried: Unreadable | None = None
        """Why it was no JSON where its brackets were closed first."""
        self._error: Unreadable | None = None
        """Why it is not JSON, although it may have ended."""
        self._is_followed = False
        """Whether events have come since it began."""

    def feed(self, line: str) -> Iterator[Event]:
        """The events that `line` completes."""
        self._line += 1
        line = line.rstrip("\n").removeprefix("\ufeff")
        self._tail = "\r" if line.endswith("\r") else ""
        line = line.removesuffix("\r")
        if "\r" in line and not self._is_whole(line):  # progress bars overwrite their line
            for part in line.split("\r"):
                yield from self._feed(part.lstrip("\ufeff"))
        else:
            yield from self._feed(line)

    def _is_whole(self, line: str) -> bool:
        if self._held:
            return PROGRESS not in line
        try:
            return line.startswith("{") and bool(decode_whole(line))
        except Unreadable:
            return False

    def _feed(self, text: str) -> Iterator[Event]:
        if self._error is not None:  # it ended, unless its members continue
            if text[:1] in (" ", "\t"):
                self._error = None
            else:
                yield from self._give_up()
        if PROGRESS in text and (found := progress_in(text)):
            yield from self._aside(*found)
        elif text.lstrip().startswith(PROGRESS):
            if not self._is_indented:
                yield from self._give_up()
            self._note("a progress line that is not JSON was passed over", text)
        elif text.find(EVENT, 1) > 0 and (found := event_in(text, bool(self._held))):
            yield from self._aside(*found)
        elif self._held:
            yield from self._continue(text)
        # Only a line that is not indented can begin a value: the inner values of one that was
        # cut off must not be mistaken for a result.
        elif text.startswith(("{", "[")):
            yield from self._value(text)
        elif forms.looks_like_event(text):
            self._note("looks like an event and is no JSON", text)

    def _aside(self, before: str, event: Event, rest: str) -> Iterator[Event]:
        if before.strip():
            self._tail = ""
            yield from self._feed(before)
            self._is_cut = bool(self._held)
        elif self._held and not self._is_indented:
            # A progress line is never inside JSON: a value begun before it has been cut off.
            yield from self._give_up()
        self._is_followed = bool(self._held)
        yield event
        if rest.strip():
            yield from self._feed(rest.lstrip())

    def _continue(self, text: str) -> Iterator[Event]:
        is_own = text.startswith('{"') and self._held[0].startswith("{")
        if is_own and is_event(text):
            if not (self._is_indented or self._is_cut):
                yield from self._give_up()
            self._is_followed = bool(self._held)
            yield from self._value(text)
        else:
            yield from self._hold(text)

    def _value(self, text: str) -> Iterator[Event]:
        """The events of the values that a line begins with; one that has no end yet is held."""
        start, is_ours = 0, False
        while start < len(text):
            long_numbers = list[str]()
            try:
                value, end = decode(text, start, long_numbers=long_numbers)
            except Unreadable:
                yield from self._hold(text[start:] if start else text)
                return
            events = self._events(value, text, start, long_numbers)
            if text[end : end + 1] in _GOES_ON and (events or forms.begins_like_ours(text[start:])):
                self._note(f"column {end + 1}: JSON goes on after its end", text, end)
                return
            yield from events
            start, is_ours = end, is_ours or bool(events)
            if not text.startswith(("{", "["), end):
                break
        if is_ours and start < len(text):
            self._note(f"column {start + 1}: what follows the JSON was passed over", text, start)

    def _events(
        self, value: object, text: str, start: int, long_numbers: Iterable[str] = ()
    ) -> list[Event]:
        """The events of a value, with notes on what is none of them."""
        for digits in long_numbers:
            self._note(f"a number of {len(digits)} digits is kept as text", digits)
        try:
            return list(forms.events_of(value, f"line {self._begun or self._line}: "))
        except EndlessJSON as error:
            self._note(f"{error}: it was passed over", text, start)
            return []

    def _hold(self, text: str) -> Iterator[Event]:
        """Add a line to the value that has begun, and the value's events if that is its end."""
        if self._is_cut:
            self._held[-1] += text
            self._is_cut = False
            self._depth, self._depth_of_texts, self._in_text = 0, 0, False
            for one in self._held:
                self._count(one)
        else:
            if self._is_indented is None and self._held and text.strip():
                self._is_indented = self._held[0].strip() in ("{", "[") and text[0] in " \t"
            self._held.append(text + self._tail)
            self._lines.append(self._line)
            if not self._is_indented:
                self._count(text)
        if self._is_indented:
            if text.rstrip() in ("}", "]"):
                yield from self._end()
        elif self._depth_of_texts <= 0 or (self._depth <= 0 and self._tried is None):
            yield from self._end()

    def _count(self, text: str) -> None:
        opened, in_text = measured(text)
        self._depth += opened
        if self._in_text:
            opened, in_text = measured('"' + text)
        self._depth_of_texts += opened
        self._in_text = in_text

    def _end(self) -> Iterator[Event]:
        if self._tried is not None and self._is_indented:
            self._error = self._tried
            return
        whole, long_numbers = "\n".join(self._held), list[str]()
        try:
            value = decode_whole(whole, long_numbers)
        except Unreadable as error:
            self._tried = error
            if error.is_open and self._depth_of_texts > 0 and not self._is_indented:
                return  # the text may go on in the next line
            self._error = error
            if not self._is_indented:  # else the next line shows whether it has ended
                yield from self._give_up()
            return
        events = self._events(value, whole, 0, long_numbers)
        self._begin()
        yield from events

    def _give_up(self) -> Iterator[Event]:
        """The events in what can be read of the value that has begun; the rest is noted."""
        held, lines, error = self._held, self._lines, self._error
        is_indented = self._is_indented
        self._begin()
        if error is not None and (is_indented or len(held) == 1):
            if begun_anew := began_anew(held):
                self._note(_ENDLESS, line=lines[0])
                held, lines = held[begun_anew:], lines[begun_anew:]
            self._begun = lines[0]
            value, lost = salvage(held)
            events = self._events(value, held[0], 0)
            self._begun = 0
            if events:
                for part in lost:
                    self._note(part.reason, line=lines[part.line])
                if not (lost or begun_anew):
                    reason = f"{reason_of(error, held, lines)}; it was read in parts"
                    self._note(reason, line=lines[0])
                yield from events
                return
        events, endless = self._later(held, lines)
        if error is not None and forms.begins_like_ours("\n".join(held)):
            reason = f"{reason_of(error, held, lines)} and was passed over"
            self._note(reason, held[0], line=lines[0])
        elif endless:
            self._note(_ENDLESS, line=endless)
        yield from events

    def finish(self) -> list[Event]:
        """The events that come after other text which only looked like the beginning of JSON.

        Raises InvalidAudit if the output ended in the middle of a JSON value.
        """
        if self._error is not None:
            events, endless = list(self._give_up()), 0
        else:
            held, lines, is_followed = self._held, self._lines, self._is_followed
            self._begin()
            events, endless = self._later(held, lines)
            if endless and (events or is_followed):
                self._note(_ENDLESS, line=endless)
                endless = 0
        if self._noted > MOST_NOTES:
            more = self._noted - MOST_NOTES
            self.notes.append(f"line {self._line}: {more} more parts could not be read")
        if endless:
            raise InvalidAudit(
                f"line {endless}: the JSON object that begins here is cut off or damaged"
            )
        return events

    def _later(self, held: list[str], lines: list[int]) -> tuple[list[Event], int]:
        """The events that begin on later lines of a value that is none, and the line of the last
        value that has no end and no events behind it, or 0."""
        events = list[Event]()
        endless = lines[0] if held and forms.begins_like_ours("\n".join(held[:3])) else 0
        if self._is_inner:
            return [], endless
        position, ends = 1, ends_of(held)
        while position < len(held):
            end = ends[position]
            if not held[position].startswith(("{", "[")):
                position += 1
            elif end is None:
                if forms.begins_like_ours("\n".join(held[position : position + 3])):
                    endless = lines[position]
                position += 1
            else:
                rest = OutputParser(line=lines[position] - 1, is_inner=True)
                found = [event for line in held[position : end + 1] for event in rest.feed(line)]
                if rest._error is not None:
                    found += rest._give_up()
                if found and endless:
                    self._note(_ENDLESS, line=endless)
                    endless = 0
                events += found
                self.notes += rest.notes
                endless = rest._lines[0] if rest._lines else endless
                position = end + 1
        return events, endless

    def _note(self, reason: str, text: str = "", position: int = 0, *, line: int = 0) -> None:
        self._noted += 1
        if self._noted <= MOST_NOTES:
            shown = f": {excerpt(text, position)}" if text else ""
            self.notes.append(f"line {line or self._line}: {reason}{shown}")
