"""Pages of the history: any filters, four orders, and the cursors from one page to the next."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Unpack, get_args

from veritas_peewee.database.current import current_database
from veritas_peewee.database.instances import models_of
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.models import Audit
from veritas_peewee.queries.filters import Filters, check_names, conditions_of
from veritas_peewee.queries.paging import Page, bad_cursor, check_limit, read_cursor, write_cursor
from veritas_peewee.queries.walks import Position, by_score, by_time, position_by_time
from veritas_peewee.values.odd_text import after, before
from veritas_peewee.values.plain import check_text, invalid

Order = Literal["newest", "oldest", "highest", "lowest"]
"""By `created_at` (`newest`, `oldest`), or by trust score (`highest`, `lowest`). By score, audits
without one come last, and audits with the same score are ordered by time: with `highest` the newest
first, with `lowest` the oldest."""


_LONGEST = 1000
"""The most characters of a text in a cursor."""


class _Way(NamedTuple):
    """An order: by score or by time, from the greatest down or from the least up."""

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
    """One page of at most `limit` audits, newest first or in another `order`; see `Filters`.

    `cursor` is the `next_cursor` of the page before; pages stay right while audits are added.
    Raises InvalidAudit for a filter's bad value, an unknown order, a limit outside 1 to 1000 or a
    damaged cursor.
    """
    rows, next_cursor = rows_of_page(limit, cursor, order, filters)
    return Page(models_of(Audit, rows), next_cursor)


def rows_of_page(
    limit: int, cursor: str | None, order: Order, filters: Filters
) -> tuple[list[tuple[Any, ...]], str | None]:
    """`history` as rows of all columns in the model's order, and the cursor of the next page."""
    check_names(filters, "history")
    limit = check_limit(limit)
    if not isinstance(order, str) or order not in _WAYS:
        raise invalid("order", f"must be one of {', '.join(get_args(Order))}", order)
    way = _WAYS[order]
    conditions = conditions_of(filters)
    after = None if cursor is None else _read(cursor, way)
    ordered = by_score if way.scored else by_time
    rows = ordered(conditions, way.down, after, limit + 1)
    more = len(rows) > limit
    rows = rows[:limit]
    return rows, _write(rows[-1], way) if more else None


def history_from(number: int, *, limit: int, **filters: Unpack[Filters]) -> list[Audit]:
    """At most `limit` audits after the newest `number`, for callers who count and have no cursor.

    An audit that is added between two pages moves all others: with `history` none comes twice.
    """
    conditions = conditions_of(filters)
    after = position_by_time(conditions, number) if number else None
    if number and after is None:
        return []
    return models_of(Audit, by_time(conditions, True, after, limit))


# ---- reading and writing cursors ----


def _write(row: tuple[Any, ...], way: _Way) -> str:
    # As stored: another program may have written a time in another form.
    names = Audit._meta.sorted_field_names
    score, *moment = (row[names.index(name)] for name in ("trust_score", "created_at", "id"))
    # Nothing is before or after NULL, and everything is after this number.
    moment = [float("-inf") if value is None else value for value in moment]
    return write_cursor([_bound(one, way) for one in ([score] if way.scored else []) + moment])


def _bound(value: Any, way: _Way) -> Any:
    """A stored value as a cursor holds it: another program may have stored any."""
    if isinstance(value, str):
        value = (before if way.down else after)(value, _LONGEST)
    if isinstance(value, bytes):
        shorter = value[:_LONGEST]
        if not way.down and len(value) > _LONGEST and (rest := shorter.rstrip(b"\xff")):
            shorter = rest[:-1] + bytes([rest[-1] + 1])
        return {"$blob": shorter.hex()}
    return value


def _read(cursor: str, way: _Way) -> Position:
    position = read_cursor(cursor, "history")
    try:
        *score, created_at, audit_id = position
        moment = _stored(created_at), _stored(audit_id)
        if not current_database().holds_any_type:
            _check_types(score, *moment)
        if not way.scored and not score:
            return moment
        (value,) = score
        if way.scored:
            return (None if value is None else _stored(value), *moment)
    except (ValueError, InvalidAudit):
        pass
    raise bad_cursor(cursor, "history") from None


def _check_types(score: list[Any], *texts: object) -> None:
    """Raise InvalidAudit for a value that is not of its column's type."""
    for text in texts:
        check_text("cursor", text)
    if any(type(value) not in (int, float, type(None)) for value in score):
        raise invalid("cursor", "must be a number", score)


def _stored(value: object) -> Any:
    """`value`, if a column can hold it; else raises InvalidAudit.

    A time may be a number or a blob and a score a text: other programs can have written those.
    """
    if isinstance(value, dict) and list(value) == ["$blob"]:
        return bytes.fromhex(check_text("cursor", value["$blob"]))
    if type(value) is float and value == value:
        return value
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if type(value) is not str:
        raise invalid("cursor", "must be text", value)
    value.encode()
    return value
