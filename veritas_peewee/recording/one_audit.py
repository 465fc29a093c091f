"""An output is of one audit: where it tells of another one too, a note says so.

Files that were put one behind the other, or a pipe of two engines, would else be one audit, in
which the last result has taken the place of all before it, and nobody would know.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from veritas_peewee.recording.effects import kind_named
from veritas_peewee.recording.forms import Event
from veritas_peewee.values.addresses import host_of
from veritas_peewee.values.plain import shown


class OneAudit:
    """Looks at the events of one output, in order."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._url: str | None = None
        self._start: Any = None

    def note(self, event: Event) -> str | None:
        """What this event shows to be of another audit than those before it, in words."""
        kind = kind_named(event.get("type"))
        if kind.names_audit and isinstance(found := event.get("audit_id"), str) and found:
            before, self._id = self._id, found
            if before not in (None, found):
                return (
                    f"{event['type']}: is of another audit, {shown(found)}, than what came before, "
                    f"{shown(before)}; all of it was taken for one"
                )
        result = event.get("result")
        if not (kind.has_url and isinstance(result, dict)):
            return None
        url, start = result.get("url"), result.get("start_time")
        if not isinstance(url, str):
            return None
        (first, begun), self._url = (self._url, self._start), url
        self._start = begun if start is None else start
        if first is None:
            return None
        if not is_same_address(url, first):
            also = f"of {shown(first)}"
        elif None not in (start, begun) and start != begun:
            also = f"of {shown(first)} that began at {shown(begun)}"
        else:
            return None
        return (
            f"{event['type']}: a further result, of {shown(url)}, took the place of the one "
            f"{also}; all of it was taken for one audit"
        )


def notes_on_others(events: Iterable[Event]) -> list[str]:
    """The notes on all events of an output that are of another audit than those before them."""
    one = OneAudit()
    return [note for event in events if (note := one.note(event)) is not None]


def is_same_address(one: str, other: str) -> bool:
    """Whether two texts are one address, in whichever of its spellings an engine writes it."""
    return one == other or _place(one) == _place(other)


def _place(url: str) -> tuple[str, str]:
    """What two spellings of an address have in common."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, ""
    return host_of(url), f"{parts.path.rstrip('/')}?{parts.query}"
