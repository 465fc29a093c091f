"""What `doctor` reports."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

Level = Literal["ok", "note", "warning", "problem"]


class Finding(NamedTuple):
    """One thing that was examined, and how it is."""

    level: Level
    name: str
    text: str
    value: Any = None
    """The same as the text, for programs."""
