"""The output of VERITAS's engine and backend, in any of its three forms, as a list of events.

Form 1 is the backend's events, one JSON object each. Form 2 is the engine's standard output:
`##PROGRESS:` lines among other text, then a result. Form 3 is that result by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.recording import forms
from veritas_peewee.recording.forms import IMAGE_EVENT as IMAGE_EVENT
from veritas_peewee.recording.forms import NOTES as NOTES
from veritas_peewee.recording.forms import RESULT_EVENT as RESULT_EVENT
from veritas_peewee.recording.forms import Event as Event
from veritas_peewee.recording.forms import events_of as events_of
from veritas_peewee.recording.forms import progress_event as progress_event
from veritas_peewee.recording.json_text import Unreadable, decode_whole
from veritas_peewee.recording.lines import PROGRESS as PROGRESS
from veritas_peewee.recording.parser import OutputParser as OutputParser

REPLACED = "bytes that are not valid text were replaced by U+FFFD"
"""The one note that is not about a part that could not be read."""


def parse(data: bytes | str, *, may_be_cut: bool = False) -> tuple[list[Event], list[str]]:
    """All events of a whole file in any form, and notes on the parts that had to be passed over.

    Raises InvalidAudit if the file holds no event, or JSON that is cut off; with `may_be_cut` that
    is a note too, if there are events before it.
    """
    notes: list[str] = []
    if isinstance(data, bytes):
        encoding = json.detect_encoding(data)
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            text = data.decode(encoding, errors="replace")
            notes.append(REPLACED)
    else:
        text = data
    try:
        whole = decode_whole(text.lstrip("\ufeff"), long_numbers := list[str]())
    except Unreadable:
        parser = OutputParser()
        events = [event for line in text.split("\n") for event in parser.feed(line)]
        try:
            events += parser.finish()
        except InvalidAudit as error:
            if not (may_be_cut and events):
                raise
            parser.notes.append(str(error))
        notes += parser.notes
    else:
        events = list(forms.events_of(whole))
        for digits in long_numbers:
            line = text.count("\n", 0, text.find(digits)) + 1
            notes.append(f"line {line}: a number of {len(digits)} digits is kept as text")
    check_any(events, notes, _hint(data))
    return events, notes


_PACKED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
"""What packed files begin with."""


def _hint(data: bytes | str) -> str:
    """What is to be done with data in which there is no audit, if it looks like something else."""
    start = data[:100].encode(errors="replace") if isinstance(data, str) else data[:100]
    for beginning, name in _PACKED.items():
        if start.startswith(beginning):
            return f"; it is packed ({name}): unpack it first"
    if b'"veritas-peewee audit"' in start:
        return "; it is an export: `veritas-peewee import` takes it"
    return ""


def check_any(events: list[Event], notes: list[str], hint: str = "") -> None:
    """Raise InvalidAudit, with a hint, unless there is an event that could be read."""
    if all(event["type"] == forms.UNKNOWN_EVENT and NOTES in event for event in events):
        found = unread(events, notes)
        reason = hint or (f"; {found[0]}" if found else "")
        raise InvalidAudit(
            f"there is no audit in it: no event, progress line or result was found{reason}"
        )


def unread(events: Iterable[Event], notes: Iterable[str]) -> list[str]:
    """Those of the notes on an output, and on its events, that are about parts that could not be
    read."""
    found = [note for note in notes if note != REPLACED]
    for event in events:
        if event.get("type") == forms.UNKNOWN_EVENT and isinstance(own := event.get(NOTES), list):
            found += [note for note in own if isinstance(note, str)]
    return found
