"""Which of the counts that the catalog keeps answer a question, and what of it they do not.

Each ended audit is counted in a slice of each sort: the worst severity of its findings, its ten
days, its score (see `catalog.slices_of`). A range of one sort is whole slices, and at either end a
part of one, in which the audits are counted one by one: of a million a few thousand.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from veritas_peewee.catalog import (
    SCORE_SLICE,
    SEVERITY_SLICE,
    TIME_SLICE,
    score_slice,
    time_slice,
)
from veritas_peewee.filters import FINDING, Condition, pattern_key

KINDS = ("status", "risk_level", "site_type", "audit_tier")
"""The columns that each slice is counted by."""

_END = ":"
"""Comes after all digits: a slice with it behind comes after that slice, and before the next."""


class Kept(NamedTuple):
    """What answers a question: the slices from `low` to below `high`, and the rest, in parts."""

    low: str
    high: str
    pattern: str
    """The pattern type that is asked for; "" for audits with or without any."""
    kinds: list[Condition]
    parts: list[list[Condition]]
    """Of each part the conditions that its audits must meet, the one that finds them first."""


def kept_for(conditions: list[Condition]) -> Kept | None:
    """What answers these conditions; None if there are no such counts.

    There are for the four kinds together with one of: a range of time or of scores, the worst
    severity, a pattern type.
    """
    kinds = [one for one in conditions if one.column in KINDS]
    others = [one for one in conditions if one.column not in KINDS]
    columns = {one.column for one in others}
    if columns == {"created_at"}:
        return _by_time(kinds, others)
    if columns == {"trust_score"}:
        return _by_score(kinds, others)
    pattern, level = "", -1
    if columns == {FINDING}:
        pattern, level = pattern_key(others[0])
    elif columns:
        return None
    if pattern and level >= 0:
        return None
    low = f"{SEVERITY_SLICE}{level}" if level >= 0 else SEVERITY_SLICE
    return Kept(low, _after(SEVERITY_SLICE), pattern, kinds, [])


def _after(letter: str) -> str:
    return chr(ord(letter) + 1)


def _bounds(conditions: list[Condition]) -> tuple[Any, Any]:
    found = {one.compare: one.values[0] for one in conditions}
    return found.get("ge"), found.get("lt", found.get("le"))


def _by_time(kinds: list[Condition], bounds: list[Condition]) -> Kept:
    since, until = _bounds(bounds)
    low, high, parts = TIME_SLICE, _after(TIME_SLICE), []
    if since is not None:
        first = time_slice(since)
        low = first + _END
        end = first.removeprefix(TIME_SLICE) + _END
        parts.append(_range("created_at", since, end if until is None else min(end, until)))
    if until is not None:
        high = time_slice(until)
        begin = high.removeprefix(TIME_SLICE)
        if since is None or since < begin:  # else the first part has all of it
            parts.append(_range("created_at", begin, until))
    return Kept(low, high, "", kinds, [[*part, *kinds] for part in parts])


def _by_score(kinds: list[Condition], bounds: list[Condition]) -> Kept:
    least, most = _bounds(bounds)
    low, high, parts = SCORE_SLICE, _after(SCORE_SLICE), []
    if least is not None:
        low = score_slice(math.ceil(least))
        if least != math.ceil(least):
            part = _range("trust_score", least, math.ceil(least))
            parts.append(part if most is None else [*part, *_upto(most)])
    if most is not None:
        high = score_slice(most)
        begin = math.floor(most)
        if least is None or least <= begin:
            parts.append([Condition("trust_score", "ge", (begin,)), *_upto(most)])
    return Kept(low, high, "", kinds, [[*part, *kinds] for part in parts])


def _range(column: str, first: Any, end: Any) -> list[Condition]:
    return [Condition(column, "ge", (first,)), Condition(column, "lt", (end,))]


def _upto(most: Any) -> list[Condition]:
    return [Condition("trust_score", "le", (most,))]
