"""Rows of audits in the order of a page, each walk through one index, from where the last ended.

A walk reads no more than the page needs, so a page costs the same wherever it is in a long
history. Where one index cannot give the order, several walks in the same order are merged.
"""

from __future__ import annotations

import functools
import heapq
import json
import operator
from itertools import chain
from typing import Any

import peewee

from veritas_peewee.catalog.entries import UNFINISHED
from veritas_peewee.database.current import current_database
from veritas_peewee.database.expressions import json_values, passed_over
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.models import Audit, AuditPattern, score_band
from veritas_peewee.queries.filters import COMMON, PINNED, Condition, Conditions, Shape, where

Row = tuple[Any, ...]
Position = tuple[Any, ...]
"""Where a page ended: (created_at, id), or (trust_score, created_at, id)."""


def _narrowed(
    conditions: Conditions, column: str, after: Position | None, down: bool
) -> tuple[Conditions, Position]:
    """The conditions and the position between which a page begins; () is no position.

    If a filter already bounds the same column on the same side, keep only the tighter bound: with
    both, SQLite would scan everything between them.
    """
    if after is None:
        return conditions, ()
    for condition in conditions.on(column).columns:
        if condition.compare in (("le", "lt") if down else ("ge", "gt")):
            ends = _sort_key(condition.value), _sort_key(after[0])
            first, last = ends if down else ends[::-1]
            # Of two equal bounds a strict one is the tighter.
            if first < last or (first == last and condition.compare in ("lt", "gt")):
                return conditions, ()
            rest = tuple(one for one in conditions.columns if one is not condition)
            return Conditions(rest, conditions.finding), after
    return conditions, after


def _sort_key(value: Any) -> tuple[int, Any]:
    """A key by which Python sorts as SQLite does: another program can have stored any type."""
    if value is None:
        return -1, 0
    return 1 if isinstance(value, str) else 0 if isinstance(value, int | float) else 2, value


# ---- by time ----


def by_time(conditions: Conditions, down: bool, after: Position | None, limit: int) -> list[Row]:
    """The first audits after a position in the order of `created_at`."""
    conditions, position = _narrowed(conditions, "created_at", after, down)
    pinned = conditions.names & PINNED
    if conditions.finding is not None and not pinned:
        walks = _pattern_walks(conditions, position, down, limit)
    elif "trust_score" in conditions.names and not pinned:
        walks = _band_walks(conditions, position, down, limit)
    else:
        text = _page_sql(_time_sql(conditions.shape, down, bool(position)), conditions, limit)
        return execute(text, [*conditions.values, *position, limit])
    return _merged(walks, down, limit)


Walk = tuple[str, list[Any]]
"""The text of a walk, whose rows are the times and ids of audits, and its values."""


def _merged(walks: list[Walk], down: bool, limit: int) -> list[Row]:
    """The first audits of several walks in the same order."""
    database = current_database()
    if walks and database.reads_ahead:
        texts, values = zip(*walks, strict=True)
        return execute(_together_sql(texts, down, _most(limit)), [*chain(*values), limit])
    cursors = [database.execute_sql(text, values) for text, values in walks]
    merged = heapq.merge(
        *cursors, key=lambda row: (_sort_key(row[0]), _sort_key(row[1])), reverse=down
    )
    ids = [audit_id for _, (_, audit_id) in zip(range(limit), merged, strict=False)]
    for cursor in cursors:
        cursor.close()
    return rows_by_id(ids)


def rows_by_id(ids: list[str]) -> list[Row]:
    """The rows of audits, in the order of their ids here."""
    found = execute(_by_ids_sql(len(ids)), ids) if ids else []
    order = {audit_id: number for number, audit_id in enumerate(ids)}
    return sorted(found, key=lambda row: order[row[0]])


@per_backend
def _by_ids_sql(number: int) -> str:
    return text_of(Audit.select().where(Audit.id.in_([MARK] * number)))


def _page_sql(text: str, conditions: Conditions, limit: int) -> str:
    """A statement that ends with the limit of its rows, in the form in which it is asked."""
    # One that looks up a value which most audits have is planned for each value.
    if not current_database().reads_ahead or conditions.names & COMMON:
        return text
    return _bounded(text, _most(limit))


def _most(limit: int) -> int:
    """A power of two that is not below a limit, so that few statements differ by it."""
    return max(32, 1 << (limit - 1).bit_length())


@functools.cache
def _bounded(text: str, most: int) -> str:
    """A statement that ends with the limit of its rows, which is `most` or less.

    Of a limit that is only a value a server supposes a tenth of all rows. The plan that it could
    keep for all values then looks dear, and it plans the statement anew each time, for longer than
    it runs.
    """
    return f"SELECT * FROM ({text.removesuffix('?')}{most}) AS page LIMIT ?"


@per_backend
def _together_sql(walks: tuple[str, ...], down: bool, most: int) -> str:
    """One statement for the first audits of several walks."""
    found = " UNION ALL ".join(f"({walk})" for walk in walks)
    order = "{0}.created_at DESC, {0}.id DESC" if down else "{0}.created_at, {0}.id"
    columns = ", ".join(f'a."{field.column_name}"' for field in Audit._meta.sorted_fields)
    first = (
        f"SELECT * FROM ({found}) AS walk(created_at, id) ORDER BY {order.format('walk')} LIMIT ?"
    )
    return (
        f"SELECT {columns} FROM ({_bounded(first, most)}) AS found "
        f"JOIN {Audit._meta.table_name} AS a ON a.id = found.id ORDER BY {order.format('found')}"
    )


def _band_walks(conditions: Conditions, position: Position, down: bool, limit: int) -> list[Walk]:
    """The walks to the audits in a range of scores, one for each band that the range touches.

    An index can be walked in the order of the history only where all columns before the time are
    equal, so a range of scores is one walk for each whole number in it, at most 101.
    """
    bounds, others = conditions.on("trust_score"), conditions.but_on("trust_score")
    low = max([0.0, *(one.value for one in bounds.columns if one.compare == "ge")])
    high = min([100.0, *(one.value for one in bounds.columns if one.compare == "le")])
    both = Conditions((*bounds.columns, *others.columns), others.finding)
    bands = range(int(low), int(high) + 1)
    # The scores themselves are compared only in a band that a bound cuts through.
    cut = [band for band in bands if band < low or band + 1 > high]
    whole = [band for band in bands if band not in cut]
    walks: list[Walk] = []
    for asked, some in (both, cut), (others, whole):
        rest = [*asked.values, *position, limit]
        if some and current_database().reads_ahead:
            text = _bands_sql(asked.shape, down, bool(position), _most(limit))
            walks.append((text, [json.dumps(some), *rest]))
            continue
        text = _time_sql(asked.shape, down, bool(position), band="?")
        walks += [(text, [band, *rest]) for band in some]
    return walks


def _pattern_walks(
    conditions: Conditions, position: Position, down: bool, limit: int
) -> list[Walk]:
    """The walks to the audits that have a finding.

    The catalog has the audits that have ended, in order; the others are few, and each is examined.
    """
    (status,) = [one.value for one in conditions.on("status").columns] or (None,)
    others, finding = conditions.but_on("status"), conditions.finding
    walks = []
    if status not in UNFINISHED and finding is not None:
        ended = conditions.without_finding()
        text = _page_sql(_pattern_sql(ended.shape, down, bool(position)), conditions, limit)
        walks.append((text, [*finding.key, *ended.values, *position, limit]))
    for one in sorted(UNFINISHED) if status is None else UNFINISHED & {status}:
        alive = Conditions((Condition("status", "eq", str(one)), *others.columns), finding)
        text = _time_sql(alive.shape, down, bool(position), ids=True)
        text = _page_sql(text, conditions, limit)
        walks.append((text, [*alive.values, *position, limit]))
    return walks


def _ordered(query: Any, left: tuple[Any, ...], down: bool, placed: bool) -> Any:
    if placed:
        compare = operator.lt if down else operator.gt
        query = query.where(compare(peewee.Tuple(*left), peewee.Tuple(*[MARK] * len(left))))
    return query.order_by(*[column.desc() if down else column for column in left]).limit(MARK)


@per_backend
def _time_sql(shape: Shape, down: bool, placed: bool, *, band: str = "", ids: bool = False) -> str:
    left = (Audit.created_at, Audit.id)
    query = Audit.select(*left) if band or ids else Audit.select()
    looked_up = shape.names
    if looked_up - COMMON - {"created_at"}:
        looked_up -= COMMON
    if ids:
        looked_up -= {"trust_score"}
    if band:
        query = query.where(score_band == peewee.SQL(band))
    query = where(query, shape, looked_up=looked_up)
    return text_of(_ordered(query, left, down, placed))


@per_backend
def _bands_sql(shape: Shape, down: bool, placed: bool, most: int) -> str:
    """SQL for the walks through the bands that are given as JSON, in one statement."""
    walk = _bounded(_time_sql(shape, down, placed, band="CAST(band.value AS bigint)"), most)
    return f"SELECT walk.* FROM ({json_values()}) AS band CROSS JOIN LATERAL ({walk}) AS walk"


@per_backend
def _pattern_sql(shape: Shape, down: bool, placed: bool) -> str:
    left = (AuditPattern.created_at, AuditPattern.audit_id)
    query = AuditPattern.select(*left)
    if shape.names - {"created_at"}:
        query = query.from_(AuditPattern, Audit).where(Audit.id == AuditPattern.audit_id)
    query = query.where(AuditPattern.pattern_type == MARK, AuditPattern.severity >= MARK)
    fields = {"created_at": AuditPattern.created_at}
    query = where(query, shape, looked_up=frozenset(fields), fields=fields)
    return text_of(_ordered(query, left, down, placed))


def position_by_time(conditions: Conditions, number: int) -> Position | None:
    """The position after the newest `number` audits; None if there are not that many."""
    rows = execute(_position_sql(conditions.shape), [*conditions.values, 1, number - 1])
    return rows[0] if rows else None


@per_backend
def _position_sql(shape: Shape) -> str:
    left = (Audit.created_at, Audit.id)
    query = where(Audit.select(*left), shape)
    return text_of(_ordered(query, left, True, False).offset(MARK))


# ---- by score ----


def by_score(conditions: Conditions, down: bool, after: Position | None, limit: int) -> list[Row]:
    """The first audits after a position: by score, and then the audits without a score, by time."""
    rows: list[Row] = []
    ranged = "trust_score" in conditions.names
    if after is None or after[0] is not None:
        scored, position = _narrowed(conditions, "trust_score", after, down)
        text = _page_sql(_score_sql(scored.shape, down, bool(position)), scored, limit)
        rows = execute(text, [*scored.values, *position, limit])
        after = None
    if not ranged and len(rows) < limit:
        position = () if after is None else after[1:]
        text = _unscored_sql(conditions.shape, down, bool(position))
        text = _page_sql(text, conditions, limit)
        rows += execute(text, [*conditions.values, *position, limit - len(rows)])
    return rows


@per_backend
def _score_sql(shape: Shape, down: bool, placed: bool) -> str:
    left: tuple[Any, ...] = (Audit.trust_score, Audit.created_at, Audit.id)
    looked_up = frozenset(("trust_score",))
    if pinned := PINNED & shape.names:
        # Few audits have that url or host: they are found by it, and then sorted.
        looked_up = pinned
        left = (passed_over(Audit.trust_score), Audit.created_at, Audit.id)
    query = where(Audit.select(), shape, looked_up=looked_up)
    # Stated in any case: it ends the walk through the index where audits without a score begin.
    query = query.where(left[0].is_null(False))
    return text_of(_ordered(query, left, down, placed))


@per_backend
def _unscored_sql(shape: Shape, down: bool, placed: bool) -> str:
    left = (Audit.created_at, Audit.id)
    pinned = PINNED & shape.names
    query = where(Audit.select(), shape, looked_up=pinned)
    score: Any = passed_over(Audit.trust_score) if pinned else Audit.trust_score
    return text_of(_ordered(query.where(score.is_null()), left, down, placed))
