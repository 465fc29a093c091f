"""An audit as plain data: dicts, lists and values for JSON, or that `as_text` makes text."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from peewee import Model

from veritas_peewee.models import Audit, AuditEvent


def audit_values(audit: Audit) -> dict[str, Any]:
    """The columns of an audit."""
    return _columns(audit)


def event_values(event: AuditEvent) -> dict[str, Any]:
    """The columns of an event, and whose it is."""
    return {"audit_id": event.audit_id, **_columns(event)}


def full_audit(audit: Audit, events: list[AuditEvent]) -> dict[str, Any]:
    """An audit with all that belongs to it."""
    return {
        **_columns(audit),
        "findings": [_columns(row) for row in audit.findings],
        "screenshots": [_columns(row) for row in audit.screenshots],
        "events": [_columns(row) for row in events],
    }


def plain(value: Any) -> Any:
    """Named tuples, at any depth, as objects with their names."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(inner) for name, inner in value._asdict().items()}
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value


def as_text(value: object) -> str:
    """A value that JSON has no form for: a moment in ISO form, bytes in hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _columns(row: Model) -> dict[str, Any]:
    """A row's values, without the audit's id: the caller gives that once, around them."""
    values: dict[str, Any] = dict(row.__data__)
    values.pop("audit", None)
    return values
