"""The status of an audit and the severity of a finding: closed sets of texts."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias


class AuditStatus(StrEnum):
    """The status of an audit; `disconnected` means that its engine went away before the end."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    ERROR = "error"
    DISCONNECTED = "disconnected"


FINAL = (AuditStatus.COMPLETED, AuditStatus.ERROR, AuditStatus.DISCONNECTED)
"""The statuses of audits that have their outcome."""


class Ended(StrEnum):
    """How a follower's events came to an end."""

    COMPLETED = "completed"
    ERROR = "error"
    DISCONNECTED = "disconnected"
    DELETED = "deleted"
    """The audit was deleted: AuditNotFound is raised."""
    CLOSING = "closing"
    """The store was closed: for one audit StoreClosed is raised."""
    LEFT = "left"
    """The follower itself was closed."""
    FAILED = "failed"
    """Any other error was raised."""


class Severity(StrEnum):
    """How grave a finding is; the members are in rising order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


# A type checker must read the texts themselves, so they are written twice; a test compares them.
StatusText: TypeAlias = Literal["queued", "running", "completed", "error", "disconnected"]
SeverityText: TypeAlias = Literal["low", "medium", "high", "critical"]
