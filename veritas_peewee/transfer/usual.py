"""Values of the usual sort, recognised at a glance: of many rows at once, column by column.

What is not recognised need not be wrong: the thorough check (`accepting.check_values`) decides, and
finds the words. All rules are those of the fields.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from operator import lt
from types import NoneType
from typing import Any

import peewee

from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger.stored import AUDIT, EVENT, FINDING, SCREENSHOT, Row, StoredAudit
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot
from veritas_peewee.transfer.accepting import MAX_EVENT_ID
from veritas_peewee.values.fields import (
    CharField,
    DateTimeField,
    FloatField,
    IntegerField,
    TextField,
)
from veritas_peewee.values.moments import are_moments
from veritas_peewee.values.plain import MAX_TEXT

_Column = Sequence[Any]
_Test = Callable[[_Column], bool]
_LARGEST = 2**63 - 1
_REMEMBERED, _SHORT = 4096, 300
"""How many texts are remembered for each column, and how many characters one has at most."""


def are_usual(audits: Iterable[StoredAudit]) -> bool:
    """Whether it is plain that no value of these audits would be refused, JSON columns left out.

    False may also mean that it is not plain.
    """
    rows = list(audits)
    return (
        _pass(Audit, AUDIT, [one.audit for one in rows])
        and _pass(AuditFinding, FINDING, [row for one in rows for row in one.findings])
        and _pass(AuditScreenshot, SCREENSHOT, [row for one in rows for row in one.screenshots])
        and all(_have_usual_ids(one.events) for one in rows)
        and _pass(AuditEvent, EVENT, [row for one in rows for row in one.events])
    )


def _have_usual_ids(events: list[Row]) -> bool:
    ids = [row[0] for row in events]
    if not ids:
        return True
    in_order = set(map(type, ids)) == {int} and all(map(lt, ids, ids[1:]))
    return bool(in_order and ids[0] > 0 and ids[-1] <= MAX_EVENT_ID)


def _pass(model: Any, names: tuple[str, ...], rows: list[Row]) -> bool:
    if not rows:
        return True
    columns = list(zip(*rows, strict=True))
    return all(test(columns[at]) for at, test in _tests(model, names))


@functools.cache
def _tests(model: Any, names: tuple[str, ...]) -> tuple[tuple[int, _Test], ...]:
    """What each column that is not JSON and no digest is tested with, by its position."""
    fields = [(at, model._meta.fields[name]) for at, name in enumerate(names)]
    left_out = (peewee.BlobField, peewee.JSONField, peewee.AutoField, peewee.ForeignKeyField)
    return tuple((at, _test_of(field)) for at, field in fields if not isinstance(field, left_out))


def _test_of(field: Any) -> _Test:
    rule = getattr(field, "rule", None)
    if isinstance(field, CharField | TextField) and rule is None:
        longest = getattr(field, "max_length", MAX_TEXT)
        return functools.partial(_are_texts, null=field.null, longest=longest)
    if isinstance(field, FloatField):
        high = math.inf if field.high is None else field.high
        low = -math.inf if field.low is None else field.low
        return functools.partial(_are_numbers, kind=float, null=field.null, low=low, high=high)
    if isinstance(field, IntegerField):
        low = -_LARGEST if field.low is None else field.low
        return functools.partial(_are_numbers, kind=int, null=field.null, low=low, high=_LARGEST)
    if isinstance(field, DateTimeField):
        return functools.partial(_are_moments, null=field.null)
    return functools.partial(_are_accepted, accepts=_remembering(field.check_stored))


def _are_texts(column: _Column, *, null: bool, longest: int) -> bool:
    kinds, column = _kinds_of(column, null)
    if not column:
        return True
    return kinds == {str} and len(max(column, key=len)) <= longest and is_storable("".join(column))


def _are_numbers(column: _Column, *, kind: type, null: bool, low: float, high: float) -> bool:
    kinds, column = _kinds_of(column, null)
    if not column:
        return True
    in_range = kinds == {kind} and low <= min(column) and max(column) <= high
    return in_range and (kind is int or all(map(math.isfinite, column)))


def _are_moments(column: _Column, *, null: bool) -> bool:
    kinds, column = _kinds_of(column, null)
    return not column or (kinds == {str} and are_moments(set(column)))


def _kinds_of(column: _Column, null: bool) -> tuple[set[type], _Column]:
    """The types of the values in a column that can be empty (`null`), and those that are not."""
    kinds = set(map(type, column))
    if null and NoneType in kinds:
        kinds.discard(NoneType)
        column = [value for value in column if value is not None]
    return kinds, column


def _are_accepted(column: _Column, *, accepts: Callable[[Any], bool]) -> bool:
    return all(map(accepts, set(column))) if set(map(type, column)) <= {str, NoneType} else False


def _remembering(check: Callable[[Any], object]) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        try:
            check(value)
        except InvalidAudit:
            return False
        return True

    remembered = functools.lru_cache(_REMEMBERED)(accepts)
    return lambda value: (accepts if value is not None and len(value) > _SHORT else remembered)(
        value
    )


def is_storable(text: str) -> bool:
    """Whether every database can hold a text; see `values.plain.check_text`."""
    if "\0" in text:
        return False
    try:
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:  # a lone surrogate
        return False
