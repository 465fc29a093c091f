"""A run of the demo: which samples are played, how, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TextIO

from veritas_peewee.recording.output import Event


@dataclass
class Sample:
    """A sample: events to be recorded one by one, or a result to be ingested whole."""

    name: str
    url: str
    events: list[Event]
    whole: bool


@dataclass
class Run:
    """One run of the demo; the counts and times are filled in while it lasts."""

    samples: list[Sample]
    copies: int
    """Audits of each sample that run at once."""
    speed: float
    """Events a second in each audit; 0 is as fast as possible."""
    log: TextIO | None = None
    """Where each acknowledged event is written, as `audit event`."""
    audits: list[str] = field(default_factory=list)
    """The ids of the audits that have ended."""
    acknowledged: int = 0
    refused: int = 0
    seconds: float = 0.0
    longest: tuple[int, str] = (-1, "")
    """The number of events and the id of the audit with the most events."""

    def acknowledge(self, audit_id: str, event_id: int) -> None:
        """Count an event whose id the store has returned: from then on it must not be lost."""
        self.acknowledged += 1
        if self.log is not None:
            self.log.write(f"{audit_id} {event_id}\n")
            self.log.flush()
