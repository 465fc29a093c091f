"""Pages of the history: any filters, four orders, each read in order by an index."""

from __future__ import annotations

import functools
import heapq
import operator
from typing import Any, Literal, NamedTuple, Unpack, get_args

import peewee

from veritas_peewee.catalog import UNFINISHED
from veritas_peewee.database.current import current_database
from veritas_peewee.database.statements import MARK, execute, models_of, text_of
from veritas_peewee.errors import InvalidAudit
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
from veritas_peewee.models import Audit, AuditPattern, score_band
from veritas_peewee.paging import Page, bad_cursor, check_limit, read_cursor, write_cursor
from veritas_peewee.values.plain import check_text, invalid

Order = Literal["newest", "oldest", "highest", "lowest"]
"""By `created_at`, or by trust score: those without one come last, and of equal ones the newest
first with `highest`, the oldest first with `lowest`."""

Position = tuple[Any, ...]
"""Where a page ended: (created_at, id), or (trust_score, created_at, id)."""


class _Way(NamedTuple):
    """Which way an order goes through its index."""

    scored: bool
    down: bool


_WAYS = {
    "newest": _Way(scored=False, down=True),
    "oldest": _Way(scored=False, down=False),
    "highest": _Way(scored=True, down=True),
    "lowest": _Way(scored=True, down=False),
}


def history(
    *,
    limit: int = 20,
    cursor: str | None = None,
    order: Order = "newest",
    **filters: Unpack[Filters],
) -> Page[Audit]:
    """One page of audits, newest first or in another `order`; see `Filters` for the filters.

    Pages stay right while audits are added. Raises InvalidAudit for a filter's bad value, an
    unknown order, a limit outside 1 to 1000 or a damaged cursor.
    """
    check_names(filters, "history")
    limit = check_limit(limit)
    if not isinstance(order, str) or order not in _WAYS:
        raise invalid("order", f"must be one of {', '.join(get_args(Order))}", order)
    way = _WAYS[order]
    conditions = conditions_of(filters)
    after = None if cursor is None else _read(cursor, way)
    if way.scored:
        rows = _by_score(conditions, way.down, after, limit + 1)
    else:
        rows = _by_time(conditions, way.down, after, limit + 1)
    more = len(rows) > limit
    rows = rows[:limit]
    return Page(models_of(Audit, rows), _write(rows[-1], way) if more else None)


# ---- by time ----


def _by_time(
    conditions: list[Condition], down: bool, after: Position | None, limit: int
) -> list[tuple[Any, ...]]:
    if after is not None:
        conditions = _go_on(conditions, "created_at", after, down)
    columns = {condition.column for condition in conditions}
    pinned = columns & PINNED
    if FINDING in columns and not pinned:
        walks = _pattern_walks(conditions, down, limit)
    elif "trust_score" in columns and not pinned:
        walks = _band_walks(conditions, down, limit)
    else:
        text = _time_sql(shape_of(conditions), down)
        return execute(text, [*values_of(conditions), limit])
    return _merged(walks, down, limit)


def _go_on(
    conditions: list[Condition], column: str, after: Position, down: bool
) -> list[Condition]:
    """The conditions with the position that a page begins after.

    Two bounds on one side would leave SQLite to walk from one to the other: the nearer says all.
    """
    side = ("le", "lt") if down else ("ge", "gt")
    kept = []
    for condition in conditions:
        if condition.column == column and condition.compare in side:
            bound = condition.values[0]
            ends = _place(bound), _place(after[0])
            first, last = ends if down else ends[::-1]
            # At the position itself a strict bound is the nearer one.
            if first < last or (first == last and condition.compare in ("lt", "gt")):
                return conditions
            continue
        kept.append(condition)
    return [*kept, Condition("position", "lt" if down else "gt", after)]


def _merged(walks: list[tuple[str, list[Any]]], down: bool, limit: int) -> list[tuple[Any, ...]]:
    """The first audits of several walks in the same order."""
    database = current_database()
    cursors = [database.execute_sql(text, values) for text, values in walks]
    merged = heapq.merge(*cursors, key=lambda row: (_place(row[0]), row[1]), reverse=down)
    ids = [audit_id for _, (_, audit_id) in zip(range(limit), merged, strict=False)]
    for cursor in cursors:
        cursor.close()
    return rows_by_id(ids)


def _place(value: Any) -> tuple[int, Any]:
    """For the order in which SQLite has values: another program may have written any."""
    return 1 if isinstance(value, str) else 0 if isinstance(value, int | float) else 2, value


def rows_by_id(ids: list[str]) -> list[tuple[Any, ...]]:
    """The rows of audits, in the order of their ids here."""
    found = execute(_by_ids_sql(len(ids)), ids) if ids else []
    place = {audit_id: number for number, audit_id in enumerate(ids)}
    return sorted(found, key=lambda row: place[row[0]])


def _band_walks(conditions: list[Condition], down: bool, limit: int) -> list[tuple[str, list[Any]]]:
    """The audits in a range of scores, by the bands that it touches.

    An index can be walked in the order of the history only where all before it is equal, so a
    range of scores is one walk for each whole number in it, at most 101.
    """
    bounds = [c for c in conditions if c.column == "trust_score"]
    others = [c for c in conditions if c.column != "trust_score"]
    low = max([0.0, *(c.values[0] for c in bounds if c.compare == "ge")])
    high = min([100.0, *(c.values[0] for c in bounds if c.compare == "le")])
    inner = _time_sql(shape_of(others), down, band=True)
    edge = _time_sql(shape_of([*bounds, *others]), down, band=True)
    walks = []
    for band in range(int(low), int(high) + 1):
        # Only a band that a bound cuts through has to look at the scores themselves.
        cut = band < low or band + 1 > high
        values = [band, *(values_of(bounds) if cut else ()), *values_of(others), limit]
        walks.append((edge if cut else inner, values))
    return walks


def _pattern_walks(
    conditions: list[Condition], down: bool, limit: int
) -> list[tuple[str, list[Any]]]:
    """The audits that have a finding: of those that ended the catalog tells, in order; those
    that have not are looked at themselves."""
    (status,) = [c.values[0] for c in conditions if c.column == "status"] or (None,)
    (finding,) = [c for c in conditions if c.column == FINDING]
    others = [c for c in conditions if c.column not in (FINDING, "status")]
    walks = []
    if status not in UNFINISHED:
        kept = [c for c in conditions if c.column != FINDING]
        text = _pattern_sql(shape_of(kept), down)
        walks.append((text, [*pattern_key(finding), *values_of(kept), limit]))
    for one in sorted(UNFINISHED) if status is None else UNFINISHED & {status}:
        alive = [Condition("status", "eq", (str(one),)), finding, *others]
        walks.append((_time_sql(shape_of(alive), down, ids=True), [*values_of(alive), limit]))
    return walks


def _ordered(query: Any, left: tuple[Any, ...], shape: Shape, down: bool) -> Any:
    for column, compare in shape:
        if column == "position":
            marks = peewee.Tuple(*[MARK] * len(left))
            query = query.where(getattr(operator, compare)(peewee.Tuple(*left), marks))
    return query.order_by(*[column.desc() if down else column for column in left]).limit(MARK)


def _without_position(shape: Shape) -> Shape:
    return tuple(part for part in shape if part[0] != "position")


@functools.cache
def _time_sql(shape: Shape, down: bool, *, band: bool = False, ids: bool = False) -> str:
    left = (Audit.created_at, Audit.id)
    query = Audit.select(*left) if band or ids else Audit.select()
    columns = {column for column, _ in shape}
    looked_up = columns - {FINDING}
    if columns - {"audit_tier", "created_at", "position", FINDING}:
        looked_up -= {"audit_tier"}  # nearly all audits are of one
    if ids:
        looked_up -= {"trust_score"}
    if band:
        query = query.where(score_band == MARK)
    query = where(query, _without_position(shape), looked_up=frozenset(looked_up))
    return text_of(_ordered(query, left, shape, down))


@functools.cache
def _pattern_sql(shape: Shape, down: bool) -> str:
    left = (AuditPattern.created_at, AuditPattern.audit_id)
    query = AuditPattern.select(*left)
    rest = _without_position(shape)
    if any(column != "created_at" for column, _ in rest):
        query = query.from_(AuditPattern, Audit).where(Audit.id == AuditPattern.audit_id)
    query = query.where(AuditPattern.pattern_type == MARK, AuditPattern.severity >= MARK)
    fields = {"created_at": AuditPattern.created_at}
    query = where(query, rest, looked_up=frozenset(fields), fields=fields)
    return text_of(_ordered(query, left, shape, down))


# ---- by score ----


def _by_score(
    conditions: list[Condition], down: bool, after: Position | None, limit: int
) -> list[tuple[Any, ...]]:
    """Those with a score in its order, then those without one in the order of time."""
    rows: list[tuple[Any, ...]] = []
    ranged = any(condition.column == "trust_score" for condition in conditions)
    if after is None or after[0] is not None:
        scored = conditions
        if after is not None:
            scored = _go_on(conditions, "trust_score", after, down)
            after = None
        rows = execute(_score_sql(shape_of(scored), down), [*values_of(scored), limit])
    if not ranged and len(rows) < limit:
        rest = conditions
        if after is not None:
            rest = [*rest, Condition("position", "lt" if down else "gt", after[1:])]
        text = _unscored_sql(shape_of(rest), down)
        rows += execute(text, [*values_of(rest), limit - len(rows)])
    return rows


@functools.cache
def _score_sql(shape: Shape, down: bool) -> str:
    left: tuple[Any, ...] = (Audit.trust_score, Audit.created_at, Audit.id)
    looked_up = frozenset(("trust_score",))
    if pinned := PINNED & {column for column, _ in shape}:
        # They are few: they are found by that, and sorted.
        looked_up = pinned
        left = (passed_over(Audit.trust_score), Audit.created_at, Audit.id)
    query = where(Audit.select(), _without_position(shape), looked_up=looked_up)
    # Said in any case: it makes the walk through the index end where those without one begin.
    query = query.where(left[0].is_null(False))
    return text_of(_ordered(query, left, shape, down))


@functools.cache
def _unscored_sql(shape: Shape, down: bool) -> str:
    left = (Audit.created_at, Audit.id)
    pinned = frozenset(PINNED & {column for column, _ in shape})
    query = where(Audit.select(), _without_position(shape), looked_up=pinned)
    score: Any = passed_over(Audit.trust_score) if pinned else Audit.trust_score
    return text_of(_ordered(query.where(score.is_null()), left, shape, down))


# ---- reading and writing cursors ----


def _write(row: tuple[Any, ...], way: _Way) -> str:
    # As it is on disk: another program may have written a time in another form.
    names = Audit._meta.sorted_field_names
    columns = ("trust_score", "created_at", "id") if way.scored else ("created_at", "id")
    return write_cursor([row[names.index(name)] for name in columns])


def _read(cursor: str, way: _Way) -> Position:
    position = read_cursor(cursor, "history")
    try:
        *score, created_at, audit_id = position
        moment = _stored(created_at), check_text("cursor", audit_id)
        if not way.scored and not score:
            return moment
        (value,) = score
        if way.scored:
            return (None if value is None else _stored(value), *moment)
    except (ValueError, InvalidAudit):
        pass
    raise bad_cursor(cursor, "history") from None


def _stored(value: object) -> Any:
    """What a column can hold; numbers where text belongs, and the reverse, are of others."""
    if type(value) is float and value == value:
        return value
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    return check_text("cursor", value)


@functools.cache
def _by_ids_sql(number: int) -> str:
    return text_of(Audit.select().where(Audit.id.in_([MARK] * number)))
