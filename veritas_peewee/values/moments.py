"""Moments: the present one, and those stored as text, typed by people or given by the engine."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from veritas_peewee.values.plain import invalid, plain_number, plain_text

_AGO = re.compile(r"(\d{1,6})([hdw])", re.ASCII)
_STORED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}", re.ASCII)
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
_formatted: tuple[datetime | None, str] = None, ""
"""The moment that was made text last; both at once, for several threads do so."""
DATES = "2026-01-31, 2026-01, 2026-01-31T18:00+01:00, or 7d ago (h, d, w)"


def utc_now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def format_datetime(value: datetime) -> str:
    """A datetime as it is stored: text in UTC, with six fractional digits and no zone suffix."""
    global _formatted
    moment, text = _formatted
    if moment is not value:  # the time of an event is stored with each row that it changes
        text = datetime.isoformat(datetime.astimezone(value, UTC), " ", "microseconds")[:26]
        _formatted = value, text
    return text


def rfc3339(value: datetime) -> str:
    """A datetime as web APIs write it: in UTC, which is said by a Z."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def is_stored_form(value: object) -> bool:
    """Whether a value is a text of the form that `format_datetime` gives."""
    return type(value) is str and _STORED.fullmatch(value) is not None


def are_moments(texts: Collection[str]) -> bool:
    """Whether each of these texts is a moment as it is stored."""
    try:
        return all(map(_STORED.fullmatch, texts)) and all(map(datetime.fromisoformat, texts))
    except ValueError:  # a month 13, for example
        return False


def epoch(value: object) -> datetime | None:
    """The datetime in UTC of epoch seconds; None if `value` is not a number, or out of range."""
    number = plain_number(value)
    if number is None:
        return None
    try:
        return datetime.fromtimestamp(number, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def engine_time(value: object) -> datetime | None:
    """The datetime in UTC that an engine gives as epoch seconds, or milliseconds, or ISO 8601 text.

    Numbers may be text too. None for a text without a zone, which is no moment, and for anything
    else.
    """
    if (text := plain_text(value)) is not None:
        if len(text) > 40:
            return None
        try:
            found = datetime.fromisoformat(text.strip())
            return None if found.tzinfo is None else found.astimezone(UTC)
        except OverflowError:
            return None
        except ValueError:
            value = _number_in(text)
    if (found_at := epoch(value)) is not None:
        return found_at
    number = plain_number(value)
    # In seconds it would be after the year 9999.
    return epoch(number / 1000) if number is not None and abs(number) < 1e15 else None


def _number_in(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def moment(name: str, value: object) -> object:
    """The moment that a text means, as a datetime in UTC; any other value is returned unchanged.

    The text is an ISO 8601 date or date and time, a year, a month, or a number of hours, days or
    weeks before now (`24h`, `7d`, `2w`); without a zone it is UTC. Raises InvalidAudit for any
    other text; the error begins with `name`, the filter's name.
    """
    text = plain_text(value)
    if text is None:
        return value
    try:
        if ago := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if re.fullmatch(r"\d{4}(-\d\d)?", text):
            text += "-01" if len(text) == 7 else "-01-01"
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(name, f"must be a date such as {DATES}", value) from None
