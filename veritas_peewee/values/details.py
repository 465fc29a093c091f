"""What a result tells beyond the columns and rows of its audit."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

AUDIT_RESULT, ENGINE_RESULT = "audit_result", "engine_result"
"""The types of the events that bring a result: the backend's, and the engine's own."""
SEALED = "audit_sealed"
"""The type of the event by which the store states an audit's rows."""

_LIFTED: dict[str, tuple[str, ...]] = {
    "recommendations": ("judge_decision", "recommendations"),
    "dark_pattern_summary": ("judge_decision", "dark_pattern_summary"),
    "overrides": ("judge_decision", "trust_score_result", "overrides_applied"),
    "domain_info": ("graph_result", "domain_intel"),
}
"""Where an engine's result has what a backend's result has under these names."""
_IN_ROWS: tuple[tuple[str, ...], ...] = (
    ("start_time",),
    ("vision_result", "findings"),
    ("judge_decision", "narrative"),
    ("judge_decision", "trust_score_result", "final_score"),
    ("judge_decision", "trust_score_result", "risk_level"),
    ("judge_decision", "trust_score_result", "signal_scores"),
)
"""What in an engine's result becomes columns and findings."""


def details_of(event: object, columns: Collection[str]) -> dict[str, Any]:
    """The parts of the result in an event that are not among the `columns`, and no findings.

    `recommendations`, `overrides`, `domain_info` and `dark_pattern_summary` have these names
    whichever form the result has.
    """
    result = event.get("result") if isinstance(event, dict) else None
    if not isinstance(result, dict):
        return {}
    found = {name: value for name, value in result.items() if name not in columns}
    if isinstance(event, dict) and event.get("type") == AUDIT_RESULT:
        found.pop("findings", None)
        return found
    for path in _IN_ROWS:
        _take(found, path)
    for name, path in _LIFTED.items():
        if (value := _take(found, path)) is not None:
            found.setdefault(name, value)
    return found


def _take(found: dict[str, Any], path: tuple[str, ...]) -> Any:
    """Remove and return the value at a path; the objects on the way are copied first."""
    name, *rest = path
    if not rest:
        return found.pop(name, None)
    inner = found.get(name)
    if not isinstance(inner, dict):
        return None
    found[name] = inner = dict(inner)
    return _take(inner, tuple(rest))
