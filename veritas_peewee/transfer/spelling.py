"""What JSON tools do not keep of a value: the order of keys, and which whole numbers are floats.

Digests cover the stored text, which has both. So a line has a note of them beside its values, in a
form that survives such tools: jq, JavaScript and others may write `85.0` as `85`, `1e2` as `100`,
and sort keys. Whoever changes a value has another text, to which no digest fits.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

EXACT = 2**53
"""Up to here whole numbers are exact in every tool (RFC 8259)."""
Order = tuple[str, ...]
"""An object's keys."""
_MOST_SORTED = 1000
"""How many sets of keys are remembered, and how many characters one has at most."""
_sorted: dict[Order, Order] = {}


class Form(NamedTuple):
    """What a JSON value's text has and tools do not keep."""

    orders: tuple[tuple[Order, Order], ...]
    """The keys of each of its objects, sorted and as they are written; each pair once."""
    floats: list[int]
    """Which of its numbers are floats without a fraction, counted in the order of sorted keys."""


def form_of(value: Any) -> Form | None:
    """The form of a value of strict JSON; None if a line cannot note it, so that the value must be
    written as text."""
    orders: dict[Order, None] = {}
    queue, has_whole = [value], False
    for outer in queue:  # it grows meanwhile; a call for each value would take most of the time
        if type(outer) is dict:
            orders[tuple(outer)] = None
            items: Any = outer.values()
        else:
            items = outer if type(outer) is list else (outer,)
        for item in items:
            kind = type(item)
            if kind is str:
                continue
            if kind is dict or kind is list:
                queue.append(item)
            elif kind is int:
                if not -EXACT <= item <= EXACT:
                    return None
            elif kind is float and item.is_integer():
                if item == 0 and math.copysign(1, item) < 0:
                    return None
                has_whole = True
    pairs = {_in_order(order): order for order in orders}
    if len(pairs) != len(orders):
        return None
    return Form(tuple(pairs.items()), _whole_floats(value) if has_whole else [])


def _in_order(order: Order) -> Order:
    found = _sorted.get(order)
    if found is None:
        found = tuple(sorted(order))
        if len(_sorted) < _MOST_SORTED and sum(map(len, order)) < _MOST_SORTED:
            _sorted[order] = found
    return found


def _whole_floats(value: Any) -> list[int]:
    numbers: list[int | float] = []
    _add_numbers(value, numbers)
    return [at for at, one in enumerate(numbers) if type(one) is float and one.is_integer()]


def _add_numbers(value: Any, numbers: list[int | float]) -> None:
    is_object = type(value) is dict
    items: Any = map(value.__getitem__, _in_order(tuple(value))) if is_object else value
    for item in items if is_object or type(items) is list else (items,):
        kind = type(item)
        if kind is str:
            continue
        if kind is dict or kind is list:
            _add_numbers(item, numbers)
        elif kind is int or kind is float:
            numbers.append(item)


class Spelling:
    """How the JSON values of a line were written; each is known by its number in the line."""

    def __init__(self) -> None:
        self._orders: dict[Order, Order] = {}
        """The order of each set of keys, by the sorted keys."""
        self._floats: dict[str, list[int]] = {}
        """Which of a value's numbers are floats without a fraction, where there are such."""
        self._value = -1

    @classmethod
    def read(cls, found: object) -> Spelling:
        """A spelling as `written` gave it; what has another form says nothing."""
        spelling = cls()
        if isinstance(found, dict):
            keys, floats = found.get("keys"), found.get("floats")
            for order in keys if isinstance(keys, list) else ():
                if isinstance(order, list) and all(isinstance(key, str) for key in order):
                    spelling._orders[tuple(sorted(set(order)))] = tuple(order)
            spelling._floats = floats if isinstance(floats, dict) else {}
        return spelling

    def written(self) -> dict[str, Any]:
        """As it is put into a line: sorted keys are the rule, the others are named."""
        keys = [order for known, order in self._orders.items() if order != known]
        return {"keys": keys, "floats": self._floats}

    def note(self, form: Form | None) -> bool:
        """Note how the next value is written; False if that cannot be noted, so that it must be
        written as text."""
        if form is None:
            return False
        orders = self._orders
        for known, order in form.orders:
            if orders.setdefault(known, order) != order:
                return False
        self._value += 1
        if form.floats:
            self._floats[str(self._value)] = form.floats
        return True

    def spelled(self, value: Any) -> Any:
        """The next value as it was written."""
        self._value += 1
        floats = self._floats.get(str(self._value))
        return self._spelled(value, floats if isinstance(floats, list) else [], [0])

    def _spelled(self, value: Any, floats: list[Any], counted: list[int]) -> Any:
        if isinstance(value, dict):
            found = {key: self._spelled(value[key], floats, counted) for key in sorted(value)}
            return {key: found[key] for key in self._orders.get(tuple(found), found)}
        if isinstance(value, list):
            return [self._spelled(item, floats, counted) for item in value]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        counted[0] += 1
        return as_float(value) if counted[0] - 1 in floats else as_integer(value)


def as_float(number: float) -> float:
    """A number as a float; as it is if it is too large for one."""
    try:
        return float(number)
    except OverflowError:
        return number


def as_integer(number: float) -> float:
    """A number as a whole number, if it is one that every tool keeps; else as it is."""
    whole = isinstance(number, float) and number.is_integer() and abs(number) <= EXACT
    return int(number) if whole else number
