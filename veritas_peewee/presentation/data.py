"""Audits and results as plain data: one form for programs, pipes and the web."""

from __future__ import annotations

from typing import Any

from veritas_peewee.models import Audit, AuditEvent
from veritas_peewee.queries.counting import NO_VALUE, Facets
from veritas_peewee.values.named import as_dict

__all__ = ["as_dict", "audit_values", "facet_pairs", "full_audit"]


def audit_values(audit: Audit) -> dict[str, Any]:
    """The columns of an audit by name, without the rows that are loaded with it."""
    values: dict[str, Any] = as_dict(audit.own_columns())
    return values


def full_audit(audit: Audit, events: list[AuditEvent]) -> dict[str, Any]:
    """An audit's columns by name, with its findings, screenshots and events."""
    return {**as_dict(audit), "events": [as_dict(event.own_columns()) for event in events]}


def facet_pairs(found: Facets) -> dict[str, Any]:
    """Facets in which each kind is an ordered list of [value, number], with None for no value."""
    return {
        name: [[None if value == NO_VALUE else value, number] for value, number in kind.items()]
        if isinstance(kind, dict)
        else kind
        for name, kind in as_dict(found).items()
    }
