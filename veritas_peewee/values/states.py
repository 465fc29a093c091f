"""Where an audit stands and how grave a finding is: closed sets of texts."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias


class AuditStatus(StrEnum):
    """Where an audit stands; `disconnected` is one whose engine went away."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    ERROR = "error"
    DISCONNECTED = "disconnected"


class Severity(StrEnum):
    """How grave a finding is."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


# A type checker must read the texts themselves, so they are written twice; a test compares them.
StatusText: TypeAlias = Literal["queued", "running", "completed", "error", "disconnected"]
SeverityText: TypeAlias = Literal["low", "medium", "high", "critical"]
