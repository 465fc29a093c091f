"""What JSON tools do not keep of a value: the order of keys, and which whole numbers are floats.

Digests cover the stored text, which has both. So a line has a note of them beside its values, in a
form that survives such tools: jq, JavaScript and others may write `85.0` as `85`, `1e2` as `100`,
and sort keys. Whoever changes a value has another text, to which no digest fits.
"""

from __future__ import annotations

import math
from typing import Any

EXACT = 2**53
"""Up to here whole numbers are exact in every tool (RFC 8259)."""


class Spelling:
    """How the JSON values of a line were written; each is known by its number in the line."""

    def __init__(self) -> None:
        self._orders: dict[frozenset[str], list[str]] = {}
        """The order of each set of keys."""
        self._floats: dict[str, list[int]] = {}
        """Which of a value's numbers are floats without a fraction, where there are such: numbers
        are counted in the order of sorted keys."""
        self._value = -1

    @classmethod
    def read(cls, found: object) -> Spelling:
        """A spelling as `written` gave it; what has another form says nothing."""
        spelling = cls()
        if isinstance(found, dict):
            keys, floats = found.get("keys"), found.get("floats")
            for order in keys if isinstance(keys, list) else ():
                if isinstance(order, list) and all(isinstance(key, str) for key in order):
                    spelling._orders[frozenset(order)] = order
            spelling._floats = floats if isinstance(floats, dict) else {}
        return spelling

    def written(self) -> dict[str, Any]:
        """As it is put into a line: sorted keys are the rule, the others are named."""
        keys = [order for order in self._orders.values() if order != sorted(order)]
        return {"keys": keys, "floats": self._floats}

    def note(self, value: Any) -> bool:
        """Note how the next value is written; False if that cannot be noted, so that it must be
        written as text."""
        numbers: list[int | float] = []
        if not self._note_keys(value, numbers):
            return False
        if any((type(number) is int and abs(number) > EXACT) or _is_minus_zero(number)
               for number in numbers):  # fmt: skip
            return False
        self._value += 1
        floats = [at for at, number in enumerate(numbers)
                  if type(number) is float and number.is_integer()]  # fmt: skip
        if floats:
            self._floats[str(self._value)] = floats
        return True

    def _note_keys(self, value: Any, numbers: list[int | float]) -> bool:
        kind = type(value)
        if kind is dict:
            order = list(value)
            if self._orders.setdefault(frozenset(order), order) != order:
                return False
            return all(self._note_keys(value[key], numbers) for key in sorted(order))
        if kind is list:
            return all(self._note_keys(item, numbers) for item in value)
        if kind is int or kind is float:
            numbers.append(value)
        return True

    def spelled(self, value: Any) -> Any:
        """The next value as it was written."""
        self._value += 1
        floats = self._floats.get(str(self._value))
        return self._spelled(value, floats if isinstance(floats, list) else [], [0])

    def _spelled(self, value: Any, floats: list[Any], counted: list[int]) -> Any:
        if isinstance(value, dict):
            found = {key: self._spelled(value[key], floats, counted) for key in sorted(value)}
            return {key: found[key] for key in self._orders.get(frozenset(found), found)}
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


def _is_minus_zero(number: float) -> bool:
    return number == 0 and math.copysign(1, number) < 0
