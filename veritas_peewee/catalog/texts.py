"""The texts that an audit is found by, as they are shown, made of its rows' stored values."""

from __future__ import annotations

import json
from typing import Any

from veritas_peewee.catalog.full_text import LEFT_OUT


def as_text(value: object) -> str:
    """A stored value as text, without what no index takes."""
    return "" if value is None else str(value).translate(LEFT_OUT)


def all_texts(row: dict[str, Any], findings: list[Any]) -> list[str]:
    """The texts of an entry, in the order of its columns."""
    errors = _errors(row["errors"], row["error_message"])
    texts = row["url"], row["narrative"], findings_text(findings), "\n".join(errors)
    return [as_text(text) for text in texts]


def findings_text(findings: list[Any]) -> str:
    """What all findings say; they have the columns `FROM_FINDINGS` of an entry."""
    told = []
    for pattern, category, _, description, plain in findings:
        title = f"{pattern} ({category})" if category else pattern
        told.append(f"{title}: {description}\n{plain or ''}")
    return "\n".join(told)


def _errors(stored: object, message: object) -> list[str]:
    try:
        found = json.loads(stored) if isinstance(stored, str) else stored
    except (ValueError, RecursionError):
        found = stored  # edited by hand, it can be anything
    errors = [str(error) for error in (found if isinstance(found, list) else [found]) if error]
    return [*errors, str(message)] if message and str(message) not in errors else errors
