"""Values as plain data with names, for JSON, pydantic and FastAPI."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from veritas_peewee.values.plain import shown


def as_dict(value: object, *, moment: Callable[[datetime], str] = datetime.isoformat) -> Any:
    """A result, a model instance, or lists and dicts of them, as data that `json` can write.

    Attributes and columns become the names of an object; a model instance brings along the rows
    that are loaded with it. A moment becomes ISO 8601 text with its offset, an enum's member its
    value, bytes (digests) hexadecimal text, a path text, and a number that JSON does not have
    (NaN, infinity) None. `moment` writes moments in another form. Raises TypeError for any other
    value, and for a name that is not text.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Named):
        value = value.named()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    # Loops, not comprehensions: stored JSON is nested up to 200 levels, and each of them would be
    # two frames.
    if isinstance(value, Mapping):
        named = {}
        for name, inner in value.items():
            if not isinstance(name, str):
                raise TypeError(f"as_dict: a name must be text, got {shown(name)}")
            named[as_dict(name)] = as_dict(inner, moment=moment)
        return named
    if isinstance(value, list | tuple | set | frozenset):
        items = []
        for inner in value:
            items.append(as_dict(inner, moment=moment))
        return items
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, os.PathLike):
        return as_dict(os.fspath(value))
    raise TypeError(f"as_dict: cannot be shown as plain data: {shown(value)}")


class _Serializer:
    """Pydantic's serializer of a class, made when pydantic first asks for it."""

    def __get__(self, instance: object, owner: type) -> Any:
        return _serializer()


@functools.cache
def _serializer() -> Any:
    try:
        from pydantic_core import SchemaSerializer, core_schema
    except ImportError:
        raise AttributeError("pydantic is not installed") from None
    return SchemaSerializer(core_schema.any_schema(serialization=_written()))


def _written() -> Any:
    from pydantic_core import core_schema

    return core_schema.plain_serializer_function_ser_schema(as_dict)


class Named:
    """A class whose instances give their values by name, to `as_dict` and to pydantic.

    Pydantic calls the methods below of a class that it does not know, and for an instance in a
    field of any type it takes the class's serializer. Pydantic is imported only then, so this
    library does not need it.
    """

    __slots__ = ()
    __pydantic_serializer__ = _Serializer()

    def named(self) -> dict[str, Any]:
        """The instance's values, by name."""
        raise NotImplementedError

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON Schema of `as_dict` of an instance."""
        raise NotImplementedError

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        from pydantic_core import core_schema

        name = f"{cls.__module__}.{cls.__qualname__}"
        return core_schema.is_instance_schema(cls, ref=name, serialization=_written())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: object) -> dict[str, Any]:
        return cls.json_schema()
