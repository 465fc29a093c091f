"""Values that are nested too deeply, cut to a depth that can be stored."""

from __future__ import annotations

from typing import Any, cast

from veritas_peewee.values.plain import MAX_DEPTH


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
