"""The columns of a table as JSON Schema, in the form that `as_dict` gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import peewee

from veritas_peewee.values.fields import EnumField
from veritas_peewee.values.json_field import JSONField


def object_of(fields: Iterable[peewee.Field], **more: Any) -> dict[str, Any]:
    """The schema of a row with these columns; `more` has the schemas of further names it brings."""
    columns = {_name(field): _column(field) for field in fields}
    return {"type": "object", "properties": columns | more, "required": list(columns)}


def _name(field: peewee.Field) -> str:
    return str(field.object_id_name if isinstance(field, peewee.ForeignKeyField) else field.name)


def _column(field: peewee.Field) -> dict[str, Any]:
    schema: dict[str, Any]
    match field:
        case EnumField():
            schema = {"type": "string", "enum": [member.value for member in field.enum]}
        case JSONField():
            # In a file that was edited by hand the items can be anything.
            schema = {"type": "array", "items": {}} if field.kind is list else {"type": "object"}
        case peewee.IntegerField():
            schema = {"type": "integer"}
        case peewee.FloatField():
            schema = {"type": "number"}
        case peewee.DateTimeField():
            schema = {"type": "string", "format": "date-time"}
        case _:
            schema = {"type": "string"}
    if field.null:
        schema["type"] = [schema["type"], "null"]
    return schema


def with_more(schema: dict[str, Any], **types: str | list[str]) -> dict[str, Any]:
    """The schema of an object that has further names, of these types, in every case."""
    more = {name: {"type": kind} for name, kind in types.items()}
    return {
        **schema,
        "properties": schema["properties"] | more,
        "required": [*schema["required"], *more],
    }
