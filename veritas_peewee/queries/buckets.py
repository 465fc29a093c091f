"""Which of the counts that the catalog stores answer a question, and which audits they leave out.

Each ended audit is counted in several buckets: one for the worst severity of its findings, one for
its ten days, one for its score (see `catalog.entries.buckets_of`). A range of times or scores
consists of whole buckets and, at either end, of part of a bucket; the audits in that part are
counted one by one: a few thousand of a million.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from veritas_peewee.catalog.entries import (
    SCORE_BUCKET,
    SEVERITY_BUCKET,
    TIME_BUCKET,
    score_bucket,
    time_bucket,
)
from veritas_peewee.queries.filters import Condition, Conditions

COUNTED_BY = ("status", "risk_level", "site_type", "audit_tier")
"""The columns by whose values the audits of a bucket are counted."""

_END = ":"
"""A bucket's name with this appended sorts after that bucket and before the next one, because `:`
sorts after all digits."""


class Buckets(NamedTuple):
    """The counts that answer a question: the buckets from `low` to below `high`, and parts of
    others."""

    low: str
    high: str
    pattern: str
    """The pattern type that is asked for; "" if audits with and without findings count."""
    others: Conditions
    """The conditions on the columns by which the audits of a bucket are counted."""
    parts: list[Conditions]
    """The conditions on the audits of each part; they are looked up by the first of these."""


def buckets_for(conditions: Conditions) -> Buckets | None:
    """The stored counts that answer these conditions; None if there are none that do.

    Stored counts answer conditions on the columns in `COUNTED_BY` together with one of: a range
    of times, a range of scores, a worst severity, a pattern type.
    """
    others, finding = conditions.on(*COUNTED_BY), conditions.finding
    ranges = conditions.but_on(*COUNTED_BY)
    if ranges.names:
        if finding is not None:
            return None
        if ranges.names == {"created_at"}:
            return _by_time(others, ranges)
        return _by_score(others, ranges) if ranges.names == {"trust_score"} else None
    pattern, level = ("", -1) if finding is None else finding.key
    if pattern and level >= 0:
        return None
    low = f"{SEVERITY_BUCKET}{level}" if level >= 0 else SEVERITY_BUCKET
    return Buckets(low, _after(SEVERITY_BUCKET), pattern, others, [])


def _after(letter: str) -> str:
    return chr(ord(letter) + 1)


def _bounds(ranges: Conditions) -> tuple[Any, Any]:
    found = {one.compare: one.value for one in ranges.columns}
    return found.get("ge"), found.get("lt", found.get("le"))


def _by_time(others: Conditions, ranges: Conditions) -> Buckets:
    since, until = _bounds(ranges)
    low, high, parts = TIME_BUCKET, _after(TIME_BUCKET), []
    if since is not None:
        first = time_bucket(since)
        low = first + _END
        end = first.removeprefix(TIME_BUCKET) + _END
        parts.append(_range("created_at", since, end if until is None else min(end, until)))
    if until is not None:
        high = time_bucket(until)
        begin = high.removeprefix(TIME_BUCKET)
        if since is None or since < begin:  # else the first part is the whole range
            parts.append(_range("created_at", begin, until))
    return Buckets(low, high, "", others, [_with(part, others) for part in parts])


def _by_score(others: Conditions, ranges: Conditions) -> Buckets:
    least, most = _bounds(ranges)
    low, high, parts = SCORE_BUCKET, _after(SCORE_BUCKET), []
    if least is not None:
        low = score_bucket(math.ceil(least))
        if least != math.ceil(least):
            part = _range("trust_score", least, math.ceil(least))
            parts.append(part if most is None else [*part, _up_to(most)])
    if most is not None:
        high = score_bucket(most)
        begin = float(math.floor(most))  # an int could be larger than SQLite's
        if least is None or least <= begin:
            parts.append([Condition("trust_score", "ge", begin), _up_to(most)])
    return Buckets(low, high, "", others, [_with(part, others) for part in parts])


def _with(part: list[Condition], others: Conditions) -> Conditions:
    return Conditions((*part, *others.columns))


def _range(column: str, first: Any, end: Any) -> list[Condition]:
    return [Condition(column, "ge", first), Condition(column, "lt", end)]


def _up_to(most: Any) -> Condition:
    return Condition("trust_score", "le", most)
