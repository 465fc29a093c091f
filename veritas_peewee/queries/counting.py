"""How many audits there are, by any filters, and how many with each value of some columns.

Audits that have ended are counted by the catalog as they end, so that counting a million takes no
longer than counting a thousand; the others are few, and are counted one by one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Unpack

from peewee import SQL, NodeList, fn

from veritas_peewee.catalog.counted import patterns_sql
from veritas_peewee.catalog.entries import UNFINISHED
from veritas_peewee.database.expressions import join_in_order, passed_over
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.models import Audit, AuditCount, AuditPattern, CatalogEntry
from veritas_peewee.queries.buckets import COUNTED_BY, Buckets, buckets_for
from veritas_peewee.queries.filters import (
    PINNED,
    Conditions,
    Filters,
    Shape,
    check_names,
    conditions_of,
    where,
)
from veritas_peewee.queries.together import found_together

_ALIVE = tuple(sorted(str(status) for status in UNFINISHED))


NO_VALUE = "\0"
"""The name under which audits without a value are counted. A name in JSON is text, and every other
text, the empty one and "null" too, can be a value: NUL cannot be stored."""


class Counts(dict[str, int]):
    """How many audits have each value, most first; `NO_VALUE` is for audits without one.

    The values are text, because names in JSON are: None would become the text "null" or "None".
    Where a count is looked up or compared, None means `NO_VALUE`.
    """

    __slots__ = ()
    __hash__ = None

    def __missing__(self, value: object) -> int:
        if value is None:
            return self[NO_VALUE]
        raise KeyError(value)

    def __contains__(self, value: object) -> bool:
        return super().__contains__(_text(value))

    def get(self, value: Any, default: Any = None) -> Any:
        return super().get(_text(value), default)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, dict):
            other = {_text(value): number for value, number in other.items()}
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other


@dataclass(frozen=True, slots=True)
class Facets:
    """How many audits have each value, most first; see `Counts` for those without a value."""

    total: int
    status: dict[str, int]
    risk_level: dict[str, int]
    site_type: dict[str, int]
    audit_tier: dict[str, int]
    pattern_type: dict[str, int]
    """How many audits have a finding of each pattern type."""


def count(**filters: Unpack[Filters]) -> int:
    """How many audits match the filters, which are those of `history`.

    Raises InvalidAudit for a filter's bad value.
    """
    check_names(filters, "count")
    conditions = conditions_of(filters)
    finding, others = conditions.finding, conditions.without_finding()
    buckets = buckets_for(conditions)
    if buckets is not None and not buckets.parts:
        ended = _sum(_stored_sql(buckets.others.shape), _stored_values(buckets))
    elif finding is None or PINNED & others.names:
        return _sum(_all_sql(conditions.shape), conditions.values)
    else:
        ended = _sum(_having_sql(others.shape), [*finding.key, *others.values])
    return ended + _sum(_alive_sql(conditions.shape), [*_ALIVE, *conditions.values])


def _sum(text: str, values: list[Any]) -> int:
    return int(execute(text, values)[0][0])


def _stored_values(buckets: Buckets) -> list[Any]:
    return [buckets.low, buckets.high, buckets.pattern, *buckets.others.values]


def facets(**filters: Unpack[Filters]) -> Facets:
    """How many audits have each status, risk level, site type, tier and pattern type.

    The filters are those of `history`. By status, risk level, site type and tier, alone or with
    one of dates, scores, pattern type and `min_severity`, it takes some milliseconds however many
    audits there are. With other filters, or two of these at once, the time grows with the number of
    audits that match. Raises InvalidAudit for a filter's bad value.
    """
    check_names(filters, "facets")
    conditions = conditions_of(filters)
    counted: tuple[Counter[str], ...] = tuple(Counter() for _ in COUNTED_BY)
    patterns: Counter[str] = Counter()
    for *values, pattern, number in _rows(conditions):
        if pattern:
            patterns[pattern] += number
            continue
        for counter, value in zip(counted, values, strict=True):
            counter[_text(value)] += number
    status, risk_level, site_type, audit_tier = map(_sorted, counted)
    total = sum(status.values())
    return Facets(total, status, risk_level, site_type, audit_tier, _sorted(patterns))


def _rows(conditions: Conditions) -> Iterator[tuple[Any, ...]]:
    """The rows whose numbers `facets` adds up, in two forms.

    One has the values of `COUNTED_BY`, "" and how many audits have these values; the other has
    empty values, a pattern type and how many audits have that.
    """
    shape, values = conditions.shape, conditions.values
    finding, others = conditions.finding, conditions.without_finding()
    buckets = buckets_for(conditions)
    if buckets is None and (finding is None or PINNED & others.names):
        yield from execute(_all_values_sql(shape), values)
        yield from execute(patterns_sql(_ids_sql(shape)), values)
    else:
        having = [] if finding is None else [*finding.key, *others.values]
        if buckets is not None:
            yield from _stored_rows(buckets)
        else:
            yield from execute(_having_values_sql(others.shape), having)
        if buckets is not None and buckets.pattern:
            yield from found_together(buckets)
        elif having and buckets is None:
            # Which patterns are found together beside dates, scores or a severity is not stored.
            yield from execute(patterns_sql(_having_sql(others.shape, ids=True)), having)
        yield from execute(_alive_values_sql(shape), [*_ALIVE, *values])
    yield from execute(_alive_patterns_sql(shape), [*_ALIVE, *values])


def _stored_rows(buckets: Buckets) -> Iterator[tuple[Any, ...]]:
    shape, values = buckets.others.shape, _stored_values(buckets)
    yield from execute(_stored_rows_sql(shape), values)
    if not buckets.pattern:
        yield from execute(_stored_patterns_sql(shape), values)
    for part in buckets.parts:
        # From the catalog alone: audits' own rows are long, and reading them takes more time.
        for *found, patterns, number in execute(_part_sql(part.shape), part.values):
            yield (*found, "", number)
            for pattern in json.loads(patterns):
                if pattern:
                    yield ("", "", "", "", pattern, number)


def _text(value: object) -> str:
    """A value as the name of a count: text, also if another program has stored something else."""
    if isinstance(value, str):
        return value
    return NO_VALUE if value is None else str(value)


def _sorted(counter: Counter[str]) -> Counts:
    found = [(value, number) for value, number in counter.items() if number]
    return Counts(sorted(found, key=lambda item: (-item[1], item[0] == NO_VALUE, item[0])))


# ---- the statements; most select the columns of COUNTED_BY, a pattern type or '', a number ----


def _fields(model: Any) -> list[Any]:
    return [model._meta.fields[name] for name in COUNTED_BY]


def _number() -> Any:
    return fn.COUNT(SQL("*"))


@per_backend
def _all_sql(shape: Shape) -> str:
    return text_of(where(Audit.select(_number()), shape))


@per_backend
def _alive_sql(shape: Shape) -> str:
    return text_of(_alive(shape, _number()))


def _alive(shape: Shape, *columns: Any) -> Any:
    """A query for columns of the audits that have not ended, found by status or by site."""
    pinned = PINNED & shape.names
    query = Audit.select(*columns).where(
        (passed_over(Audit.status) if pinned else Audit.status).in_([MARK] * len(_ALIVE))
    )
    return where(query, shape, looked_up=frozenset(pinned or ("risk_level", "site_type")))


@per_backend
def _stored_sql(shape: Shape) -> str:
    return text_of(_stored(shape, fn.COALESCE(fn.SUM(AuditCount.audits), SQL("0")), pattern="= ?"))


@per_backend
def _stored_rows_sql(shape: Shape) -> str:
    columns = _fields(AuditCount)
    query = _stored(shape, *columns, SQL("''"), fn.SUM(AuditCount.audits), pattern="= ?")
    return text_of(query.group_by(*columns))


@per_backend
def _stored_patterns_sql(shape: Shape) -> str:
    columns = [*[SQL("''")] * len(COUNTED_BY), AuditCount.pattern_type]
    query = _stored(shape, *columns, fn.SUM(AuditCount.audits), pattern="<> ?")
    return text_of(query.group_by(AuditCount.pattern_type))


def _stored(shape: Shape, *columns: Any, pattern: str) -> Any:
    """A query for columns of the counts in a range of buckets; `pattern` is the condition on
    their pattern type."""
    query = AuditCount.select(*columns).where(AuditCount.slice >= MARK, AuditCount.slice < MARK)
    query = query.where(NodeList((AuditCount.pattern_type, SQL(pattern))))
    return where(query, shape, fields=AuditCount._meta.fields)


@per_backend
def _having_sql(shape: Shape, *, ids: bool = False) -> str:
    """SQL for how many audits in the catalog have a finding, or for their ids."""
    query = AuditPattern.select(AuditPattern.audit_id.alias("id") if ids else _number())
    if shape.names - {"created_at"}:
        query = query.from_(AuditPattern, Audit).where(Audit.id == AuditPattern.audit_id)
    query = query.where(AuditPattern.pattern_type == MARK, AuditPattern.severity >= MARK)
    fields = {"created_at": AuditPattern.created_at}
    return text_of(where(query, shape, looked_up=frozenset(fields), fields=fields))


@per_backend
def _part_sql(shape: Shape) -> str:
    """SQL that counts the ended audits in part of a bucket; before the number comes the JSON of
    their pattern types."""
    columns = [*_fields(CatalogEntry), CatalogEntry.patterns]
    query = Audit.select(*columns, _number()).from_(Audit, CatalogEntry)
    query = query.where(CatalogEntry.audit == Audit.id)
    fields = dict(zip(COUNTED_BY, columns, strict=False))
    query = where(query, shape, looked_up=frozenset((shape.columns[0][0],)), fields=fields)
    return text_of(query.group_by(*columns))


@per_backend
def _all_values_sql(shape: Shape) -> str:
    query = where(Audit.select(*_fields(Audit), SQL("''"), _number()), shape)
    return text_of(query.group_by(*_fields(Audit)))


@per_backend
def _alive_values_sql(shape: Shape) -> str:
    return text_of(_alive(shape, *_fields(Audit), SQL("''"), _number()).group_by(*_fields(Audit)))


@per_backend
def _having_values_sql(shape: Shape) -> str:
    columns = ", ".join(f"a.{name}" for name in COUNTED_BY)
    return (
        f"SELECT {columns}, '', COUNT(*) FROM ({_having_sql(shape, ids=True)}) AS m "
        f"{join_in_order()} {Audit._meta.table_name} AS a ON a.id = m.id GROUP BY 1, 2, 3, 4"
    )


@per_backend
def _ids_sql(shape: Shape) -> str:
    return text_of(where(Audit.select(Audit.id), shape))


@per_backend
def _alive_patterns_sql(shape: Shape) -> str:
    """SQL for how many audits that have not ended have each pattern type."""
    return (
        "SELECT '', '', '', '', f.pattern_type, COUNT(DISTINCT f.audit_id) "
        f"FROM ({text_of(_alive(shape, Audit.id))}) AS m "
        f"{join_in_order()} audit_findings AS f ON f.audit_id = m.id GROUP BY f.pattern_type"
    )
