"""What `doctor` reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["ok", "note", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was examined, and how it is."""

    level: Level
    name: str
    text: str
    value: Any = None
    """The same as the text, for programs."""
