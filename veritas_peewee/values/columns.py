"""The types of values that the columns of a row accept, by name, for type checkers.

At run time the models' fields decide; a test compares the two.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from veritas_peewee.values.states import AuditStatus, Severity, SeverityText, StatusText


class AuditChanges(TypedDict, total=False):
    """The columns of an audit that `update` can change."""

    url: str
    status: AuditStatus | StatusText
    audit_tier: str
    verdict_mode: str
    trust_score: float | None
    risk_level: str | None
    signal_scores: dict[str, float]
    narrative: str | None
    site_type: str | None
    site_type_confidence: float | None
    security_results: dict[str, Any]
    pages_scanned: int
    elapsed_seconds: float
    errors: list[str]
    error_message: str | None
    started_at: datetime | None
    completed_at: datetime | None


class AuditColumns(AuditChanges, total=False):
    """All columns of an audit, including the columns that only the store or Peewee code sets."""

    id: str
    screenshots_count: int
    created_at: datetime
    updated_at: datetime
    seal: str | None
    sealed_events: int | None
    host: str | None


class _ChildColumns(TypedDict, total=False):
    id: int
    audit_id: str
    digest: bytes | None


class FindingColumns(_ChildColumns, total=False):
    """The columns of a finding."""

    pattern_type: str
    category: str | None
    severity: Severity | SeverityText
    confidence: float
    description: str
    plain_english: str | None
    screenshot_index: int | None
    created_at: datetime | None


class ScreenshotColumns(_ChildColumns, total=False):
    """The columns of a screenshot."""

    file_path: str
    label: str
    index_num: int
    file_size_bytes: int | None
    media_type: str | None
    sha256: str | None
    created_at: datetime | None


class EventColumns(_ChildColumns, total=False):
    """The columns of an event."""

    event_type: str
    data: dict[str, Any] | None
    timestamp: datetime | None
