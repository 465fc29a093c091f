"""How many audits there are, by any filters, and how many of each kind.

Those that have ended are counted by the catalog as they end, so that to count a million takes no
longer than a thousand; those that have not are few, and counted one by one.
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple, Unpack

from peewee import SQL, NodeList, fn

from veritas_peewee.catalog import UNFINISHED
from veritas_peewee.database.statements import MARK, execute, text_of
from veritas_peewee.filters import (
    FINDING,
    PINNED,
    Condition,
    Filters,
    Shape,
    check_names,
    conditions_of,
    passed_over,
    pattern_key,
    shape_of,
    values_of,
    where,
)
from veritas_peewee.models import Audit, AuditCount, AuditPattern, CatalogEntry
from veritas_peewee.slices import KINDS, Kept, kept_for

_ALIVE = tuple(sorted(str(status) for status in UNFINISHED))


class Facets(NamedTuple):
    """How many audits there are of each kind, most first; None is for those without a value."""

    total: int
    status: dict[str, int]
    risk_level: dict[str | None, int]
    site_type: dict[str | None, int]
    audit_tier: dict[str, int]
    pattern_type: dict[str, int]
    """How many audits have a finding of it."""


def count(**filters: Unpack[Filters]) -> int:
    """How many audits there are; filters as in `history`. InvalidAudit for a bad value."""
    check_names(filters, "count")
    conditions = conditions_of(filters)
    finding, others = _parted(conditions)
    kept = kept_for(conditions)
    if kept is not None and not kept.parts:
        ended = _sum(_kept_sql(shape_of(kept.kinds)), _kept_values(kept))
    elif finding is None or PINNED & {one.column for one in others}:
        return _sum(_all_sql(shape_of(conditions)), values_of(conditions))
    else:
        ended = _sum(_having_sql(shape_of(others)), [*pattern_key(finding), *values_of(others)])
    return ended + _sum(_alive_sql(shape_of(conditions)), [*_ALIVE, *values_of(conditions)])


def _parted(conditions: list[Condition]) -> tuple[Condition | None, list[Condition]]:
    """The condition on findings, and the others."""
    finding = next((one for one in conditions if one.column == FINDING), None)
    return finding, [one for one in conditions if one is not finding]


def _sum(text: str, values: list[Any]) -> int:
    return int(execute(text, values)[0][0])


def _kept_values(kept: Kept) -> list[Any]:
    return [kept.low, kept.high, kept.pattern, *values_of(kept.kinds)]


def facets(**filters: Unpack[Filters]) -> Facets:
    """How many audits there are of each kind; filters as in `history`.

    By status, risk level, site type and tier, alone or with dates, scores or `min_severity`, it
    takes some milliseconds whatever their number; by others, or by two of those at once, time in
    proportion to the audits that match. Raises InvalidAudit for a filter's bad value.
    """
    check_names(filters, "facets")
    conditions = conditions_of(filters)
    counted: tuple[Counter[Any], ...] = tuple(Counter() for _ in KINDS)
    patterns: Counter[str] = Counter()
    for *kinds, pattern, number in _rows(conditions):
        if pattern:
            patterns[pattern] += number
            continue
        for counter, kind in zip(counted, kinds, strict=True):
            counter[None if kind == b"" else kind] += number
    status, risk_level, site_type, audit_tier = map(_sorted, counted)
    total = sum(status.values())
    return Facets(total, status, risk_level, site_type, audit_tier, _sorted(patterns))


def _rows(conditions: list[Condition]) -> Iterator[tuple[Any, ...]]:
    """Each kind's columns, a pattern type or "" for the audits themselves, how many."""
    shape, values = shape_of(conditions), values_of(conditions)
    finding, others = _parted(conditions)
    kept = kept_for(conditions)
    if kept is None and (finding is None or PINNED & {one.column for one in others}):
        yield from execute(_all_kinds_sql(shape), values)
        yield from execute(_patterns_sql(_ids_sql(shape)), values)
    else:
        having = [*pattern_key(finding), *values_of(others)] if finding is not None else []
        if kept is not None:
            yield from _kept_rows(kept)
        else:
            yield from execute(_having_kinds_sql(shape_of(others)), having)
        if having and (kept is None or kept.pattern):
            # Which patterns are found together is not kept.
            yield from execute(_patterns_sql(_having_sql(shape_of(others), ids=True)), having)
        yield from execute(_alive_kinds_sql(shape), [*_ALIVE, *values])
    yield from execute(_alive_patterns_sql(shape), [*_ALIVE, *values])


def _kept_rows(kept: Kept) -> Iterator[tuple[Any, ...]]:
    kinds, values = shape_of(kept.kinds), _kept_values(kept)
    yield from execute(_kept_kinds_sql(kinds), values)
    if not kept.pattern:
        yield from execute(_kept_patterns_sql(kinds), values)
    for part in kept.parts:
        # Of the catalog alone, for an audit's row is a long one.
        for *found, patterns, number in execute(_part_sql(shape_of(part)), values_of(part)):
            yield (*found, "", number)
            for pattern in json.loads(patterns):
                if pattern:
                    yield ("", "", "", "", pattern, number)


def _sorted(counter: Counter[Any]) -> dict[Any, int]:
    kept = [(kind, number) for kind, number in counter.items() if number]
    return dict(sorted(kept, key=lambda item: (-item[1], item[0] is None, str(item[0]))))


# ---- the statements; each kind's columns, a pattern type or '', a number ----


def _fields(model: Any) -> list[Any]:
    return [model._meta.fields[name] for name in KINDS]


def _number() -> Any:
    return fn.COUNT(SQL("*"))


@functools.cache
def _all_sql(shape: Shape) -> str:
    return text_of(where(Audit.select(_number()), shape))


@functools.cache
def _alive_sql(shape: Shape) -> str:
    return text_of(_alive(shape, _number()))


def _alive(shape: Shape, *columns: Any) -> Any:
    """Columns of the audits that have not ended, which are found by their status or their site."""
    pinned = PINNED & {column for column, _ in shape}
    query = Audit.select(*columns).where(
        (passed_over(Audit.status) if pinned else Audit.status).in_([MARK] * len(_ALIVE))
    )
    return where(query, shape, looked_up=frozenset(pinned or ("risk_level", "site_type")))


@functools.cache
def _kept_sql(shape: Shape) -> str:
    return text_of(_kept(shape, fn.COALESCE(fn.SUM(AuditCount.audits), SQL("0")), pattern="= ?"))


@functools.cache
def _kept_kinds_sql(shape: Shape) -> str:
    columns = _fields(AuditCount)
    query = _kept(shape, *columns, SQL("''"), fn.SUM(AuditCount.audits), pattern="= ?")
    return text_of(query.group_by(*columns))


@functools.cache
def _kept_patterns_sql(shape: Shape) -> str:
    empty = [SQL("''")] * len(KINDS)
    query = _kept(shape, *empty, AuditCount.pattern_type, fn.SUM(AuditCount.audits), pattern="<> ?")
    return text_of(query.group_by(AuditCount.pattern_type))


def _kept(shape: Shape, *columns: Any, pattern: str) -> Any:
    """Columns of the counts of some slices, those whose pattern type is one or is not."""
    query = AuditCount.select(*columns).where(AuditCount.slice >= MARK, AuditCount.slice < MARK)
    query = query.where(NodeList((AuditCount.pattern_type, SQL(pattern))))
    return where(query, shape, fields=AuditCount._meta.fields)


@functools.cache
def _having_sql(shape: Shape, *, ids: bool = False) -> str:
    """How many in the catalog have a finding, or which."""
    query = AuditPattern.select(AuditPattern.audit_id.alias("id") if ids else _number())
    if any(column != "created_at" for column, _ in shape):
        query = query.from_(AuditPattern, Audit).where(Audit.id == AuditPattern.audit_id)
    query = query.where(AuditPattern.pattern_type == MARK, AuditPattern.severity >= MARK)
    fields = {"created_at": AuditPattern.created_at}
    return text_of(where(query, shape, looked_up=frozenset(fields), fields=fields))


@functools.cache
def _part_sql(shape: Shape) -> str:
    """The kinds of the ended audits in a part of a slice, each with its patterns as JSON."""
    columns = [*_fields(CatalogEntry), CatalogEntry.patterns]
    query = Audit.select(*columns, _number()).from_(Audit, CatalogEntry)
    query = query.where(CatalogEntry.audit == Audit.id)
    kinds = dict(zip(KINDS, columns, strict=False))
    query = where(query, shape, looked_up=frozenset((shape[0][0],)), fields=kinds)
    return text_of(query.group_by(*columns))


@functools.cache
def _all_kinds_sql(shape: Shape) -> str:
    query = where(Audit.select(*_fields(Audit), SQL("''"), _number()), shape)
    return text_of(query.group_by(*_fields(Audit)))


@functools.cache
def _alive_kinds_sql(shape: Shape) -> str:
    columns = _fields(Audit)
    return text_of(_alive(shape, *columns, SQL("''"), _number()).group_by(*columns))


@functools.cache
def _having_kinds_sql(shape: Shape) -> str:
    columns = ", ".join(f"a.{name}" for name in KINDS)
    return (
        f"SELECT {columns}, '', COUNT(*) FROM ({_having_sql(shape, ids=True)}) AS m "
        f"CROSS JOIN {Audit._meta.table_name} AS a ON a.id = m.id GROUP BY 1, 2, 3, 4"
    )


@functools.cache
def _ids_sql(shape: Shape) -> str:
    return text_of(where(Audit.select(Audit.id), shape))


@functools.cache
def _patterns_sql(matching: str) -> str:
    """The pattern types of those audits that are in the catalog."""
    return (
        "SELECT '', '', '', '', j.key, COUNT(*) "
        f"FROM ({matching}) AS m CROSS JOIN {CatalogEntry._meta.table_name} AS c "
        "ON c.audit_id = m.id CROSS JOIN json_each(c.patterns) AS j WHERE j.key <> '' GROUP BY 5"
    )


@functools.cache
def _alive_patterns_sql(shape: Shape) -> str:
    """The pattern types of the audits that have not ended."""
    return (
        "SELECT '', '', '', '', f.pattern_type, COUNT(DISTINCT f.audit_id) "
        f"FROM ({text_of(_alive(shape, Audit.id))}) AS m "
        "CROSS JOIN audit_findings AS f ON f.audit_id = m.id GROUP BY 5"
    )
