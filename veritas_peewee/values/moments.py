"""Moments: now, as text on disk, and as the engine writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from veritas_peewee.values.plain import plain_number


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
