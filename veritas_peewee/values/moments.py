"""Moments: now, as text on disk, as people write them, and as the engine does."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from veritas_peewee.values.plain import invalid, plain_number, plain_text

_AGO = re.compile(r"(\d{1,6})([hdw])", re.ASCII)
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
DATES = "2026-01-31, 2026-01, 2026-01-31T18:00+01:00, or 7d ago (h, d, w)"


def utc_now() -> datetime:
    """The present moment, in UTC."""
    return datetime.now(UTC)


def format_datetime(value: datetime) -> str:
    """Text as it is on disk: UTC, always six fractional digits, no zone suffix."""
    return datetime.isoformat(datetime.astimezone(value, UTC), " ", "microseconds")[:26]


def epoch(value: object) -> datetime | None:
    """Epoch seconds as a datetime in UTC, or None."""
    number = plain_number(value)
    if number is None:
        return None
    try:
        return datetime.fromtimestamp(number, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def moment(name: str, value: object) -> object:
    """The moment that a text means; anything but a text is returned as it is.

    The text is an ISO date or date and time, a year, a month, or a number of hours, days or weeks
    before now (`24h`, `7d`, `2w`); without a zone it is UTC. Raises InvalidAudit, which names the
    filter.
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
