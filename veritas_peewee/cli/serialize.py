"""Audits as JSON for other programs."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

from peewee import Model

from veritas_peewee.cli.text import ReaderGone
from veritas_peewee.models import Audit, AuditEvent


def print_json(value: object) -> None:
    """Write `value` on standard output."""
    # ASCII only: no control character and no encoding can get in the way.
    _write(json.dumps(value, indent=2, default=_text))


def print_line(value: object) -> None:
    """Write `value` as one line on standard output."""
    _write(json.dumps(value, default=_text))


def _write(text: str) -> None:
    try:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise ReaderGone from None


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


def _columns(row: Model) -> dict[str, Any]:
    values: dict[str, Any] = dict(row.__data__)
    values.pop("audit", None)  # it stands above
    return values


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, datetime) else str(value)
