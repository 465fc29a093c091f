"""How deep values are nested, and those that are nested too deeply cut to what can be stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

MAX_DEPTH = 200
"""JSON nested deeper than this is refused: every reader recurses once per level, and we cannot know
how much stack it has left."""
_NESTED = (dict, list, tuple)


def cut(value: object, depth: int = 0, outer: tuple[int, ...] = ()) -> Any:
    """A copy of `value` in which None replaces what is nested too deeply, or contains itself."""
    kind = type(value)
    is_list, is_tuple = issubclass(kind, list), issubclass(kind, tuple)
    if not (is_list or is_tuple or issubclass(kind, dict)):
        return value
    if depth >= MAX_DEPTH or id(value) in outer:
        return None
    outer = (*outer, id(value))
    # The built-in classes' own methods: a caller's subclass may override them with anything.
    if is_list:
        return [cut(item, depth + 1, outer) for item in list.__iter__(cast(list[Any], value))]
    if is_tuple:
        items = tuple.__iter__(cast(tuple[Any, ...], value))
        return [cut(item, depth + 1, outer) for item in items]
    found = dict.items(cast(dict[Any, Any], value))
    return {key: cut(item, depth + 1, outer) for key, item in found}


def items_of(value: object) -> Iterator[Any] | None:
    """The items of a list or tuple, by the built-in classes' own methods; None for other values."""
    if issubclass(type(value), list):
        return list.__iter__(cast(list[Any], value))
    if issubclass(type(value), tuple):
        return tuple.__iter__(cast(tuple[Any, ...], value))
    return None


def is_deeper(value: object, depth: int) -> bool:
    """Whether a value that strict JSON can hold is nested more than `depth` levels deep."""
    level: list[Any] = [value]
    for _ in range(depth):
        # All of a level in one go: a call for each of its values would take most of the time.
        level = [
            item
            for outer in level
            for item in (outer.values() if type(outer) is dict else _inner(outer))
            if isinstance(item, _NESTED)
        ]
        if not level:
            return False
    return True


def _inner(value: object) -> Iterable[Any]:
    """The values in a dict, list or tuple, also of a caller's class; none in anything else."""
    if type(value) is list:
        return value
    return dict.values(value) if isinstance(value, dict) else items_of(value) or ()
