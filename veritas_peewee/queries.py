"""Every domain read, sync, over the models; what they return needs no further query."""

from __future__ import annotations

import base64
import functools
import heapq
import json
import operator
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

import peewee

from veritas_peewee.database import current_database
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.fields import check_text, invalid, plain_number
from veritas_peewee.models import (
    Audit,
    AuditEvent,
    AuditFinding,
    AuditScreenshot,
    AuditStatus,
    score_band,
)
from veritas_peewee.rows import MARK, execute, key_of, models_of, not_found, text_of

T = TypeVar("T")

MAX_LIMIT = 1000
"""The most items a page can have."""


class Page(NamedTuple, Generic[T]):
    """Some items, and the cursor that continues after them (None: these were the last)."""

    items: list[T]
    next_cursor: str | None


def get(audit_id: str) -> Audit:
    """An audit with `.findings` and `.screenshots` loaded; AuditNotFound if there is none."""
    key = (key_of(audit_id),)
    audit_sql, findings_sql, screenshots_sql = _get_sql()
    found = models_of(Audit, execute(audit_sql, key))
    if not found:
        raise not_found(audit_id)
    (audit,) = found
    audit.findings = models_of(AuditFinding, execute(findings_sql, key))
    audit.screenshots = models_of(AuditScreenshot, execute(screenshots_sql, key))
    for row in (*audit.findings, *audit.screenshots):
        row.__rel__["audit"] = audit
    return audit


@functools.cache
def _get_sql() -> tuple[str, str, str]:
    findings = AuditFinding.select().where(AuditFinding.audit == MARK)
    screenshots = AuditScreenshot.select().where(AuditScreenshot.audit == MARK)
    return (
        text_of(Audit.select().where(Audit.id == MARK)),
        text_of(findings.order_by(AuditFinding.id)),
        text_of(screenshots.order_by(AuditScreenshot.index_num, AuditScreenshot.id)),
    )


def events(audit_id: str, *, after: int = 0, limit: int | None = None) -> list[AuditEvent]:
    """An audit's events in the order they were recorded, from the one after `after` on."""
    numbers = []
    for name, value in (("after", after), ("limit", -1 if limit is None else limit)):
        number = plain_number(value)
        if not isinstance(number, int) or abs(number) >= 2**63:
            raise invalid(name, "must be a whole number", value)
        numbers.append(number)
    return models_of(AuditEvent, execute(_events_sql(), (key_of(audit_id), *numbers)))


@functools.cache
def _events_sql() -> str:
    query = AuditEvent.select().where(AuditEvent.audit == MARK, AuditEvent.id > MARK)
    return text_of(query.order_by(AuditEvent.id).limit(MARK))


class _Condition(NamedTuple):
    column: str
    compare: str
    value: Any


def history(
    *,
    status: AuditStatus | str | None = None,
    risk_level: str | None = None,
    url: str | None = None,
    site_type: str | None = None,
    min_score: float | None = None,
    max_score: float | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 20,
    cursor: str | None = None,
) -> Page[Audit]:
    """One page of audits, newest first; `since` is included, `until` is not.

    Raises InvalidAudit for a filter's bad value, a limit outside 1 to 1000 or a damaged cursor.
    """
    number = plain_number(limit)
    if not isinstance(number, int) or not 1 <= number <= MAX_LIMIT:
        raise invalid("limit", f"must be a whole number from 1 to {MAX_LIMIT}", limit)
    limit = number
    conditions = [
        _Condition(column, compare, _stored(name, column, value))
        for name, column, compare, value in (
            ("status", "status", "eq", status),
            ("risk_level", "risk_level", "eq", risk_level),
            ("url", "url", "eq", url),
            ("site_type", "site_type", "eq", site_type),
            ("min_score", "trust_score", "ge", min_score),
            ("max_score", "trust_score", "le", max_score),
            ("since", "created_at", "ge", since),
        )
        if value is not None
    ]
    before = None if until is None else _stored("until", "created_at", until)
    position = None if cursor is None else _read_cursor(cursor)
    # Two upper bounds would leave SQLite to walk from one to the other: the lower one says all.
    if position is not None and (before is None or position[0] < before):
        conditions.append(_Condition("position", "lt", position))
    elif before is not None:
        conditions.append(_Condition("created_at", "lt", before))
    scored = any(condition.column == "trust_score" for condition in conditions)
    if scored and url is None:
        rows = _walk_bands(conditions, limit + 1)
    else:
        rows = execute(_history_sql(_shape(conditions)), [*_values(conditions), limit + 1])
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(models_of(Audit, rows), _write_cursor(rows[-1]) if more else None)


def _walk_bands(conditions: list[_Condition], limit: int) -> list[tuple[Any, ...]]:
    """The newest audits in a range of scores, merged from the bands that it touches.

    An index can be walked in the order of the history only where all before it is equal, so a
    range of scores is one walk for each whole number in it, at most 101.
    """
    bounds = [c for c in conditions if c.column == "trust_score"]
    others = [c for c in conditions if c.column != "trust_score"]
    low = max([0.0, *(c.value for c in bounds if c.compare == "ge")])
    high = min([100.0, *(c.value for c in bounds if c.compare == "le")])
    database = current_database()
    inner = _band_sql(_shape(others), ())
    edge = _band_sql(_shape(others), tuple(c.compare for c in bounds))
    walks = []
    for band in range(int(low), int(high) + 1):
        # Only a band that a bound cuts through has to look at the scores themselves.
        cut = band < low or band + 1 > high
        values = [band, *_values(others), *(c.value for c in bounds if cut), limit]
        walks.append(database.execute_sql(edge if cut else inner, values))
    merged = heapq.merge(*walks, key=operator.itemgetter(0, 1), reverse=True)
    ids = [audit_id for _, (_, audit_id) in zip(range(limit), merged, strict=False)]
    for walk in walks:
        walk.close()
    found = execute(_by_ids_sql(len(ids)), ids) if ids else []
    place = {audit_id: number for number, audit_id in enumerate(ids)}
    return sorted(found, key=lambda row: place[row[0]])


def _shape(conditions: list[_Condition]) -> tuple[tuple[str, str], ...]:
    return tuple((condition.column, condition.compare) for condition in conditions)


def _values(conditions: list[_Condition]) -> list[Any]:
    values: list[Any] = []
    for condition in conditions:
        if condition.column == "position":
            values.extend(condition.value)
        else:
            values.append(condition.value)
    return values


def _where(query: Any, shape: tuple[tuple[str, str], ...]) -> Any:
    for column, compare in shape:
        if column == "position":
            left, right = peewee.Tuple(Audit.created_at, Audit.id), peewee.Tuple(MARK, MARK)
        else:
            left, right = Audit._meta.fields[column], MARK
        query = query.where(getattr(operator, compare)(left, right))
    return query.order_by(Audit.created_at.desc(), Audit.id.desc()).limit(MARK)


@functools.cache
def _history_sql(shape: tuple[tuple[str, str], ...]) -> str:
    return text_of(_where(Audit.select(), shape))


@functools.cache
def _band_sql(shape: tuple[tuple[str, str], ...], bounds: tuple[str, ...]) -> str:
    query = Audit.select(Audit.created_at, Audit.id).where(score_band == MARK)
    return text_of(_where(query, (*shape, *(("trust_score", bound) for bound in bounds))))


@functools.cache
def _by_ids_sql(number: int) -> str:
    return text_of(Audit.select().where(Audit.id.in_([MARK] * number)))


def _stored(name: str, column: str, value: Any) -> Any:
    """A filter's value as the column stores it; the error names the filter."""
    try:
        return Audit._meta.fields[column].db_value(value)
    except InvalidAudit as error:
        raise InvalidAudit(str(error).replace(column, name, 1)) from None


def _write_cursor(row: tuple[Any, ...]) -> str:
    # As it is on disk: another program may have written a time in another form.
    names = Audit._meta.sorted_field_names
    position = [row[names.index("created_at")], row[names.index("id")]]
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _read_cursor(cursor: str) -> tuple[str, str]:
    try:
        text = check_text("cursor", cursor)
        created_at, audit_id = json.loads(base64.urlsafe_b64decode(text))
        return check_text("cursor", created_at), check_text("cursor", audit_id)
    except (ValueError, TypeError, RecursionError):
        raise invalid("cursor", "is not one that history() returned", cursor) from None
