"""Options and arguments whose values need no conversion, told to Typer.

Newer versions of Typer convert each parameter by a validator of pydantic's, and build one even for
an option that was not given. To import pydantic and to build them takes longer than most commands.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from typer.core import TyperCommand, TyperGroup


class PlainCommand(TyperCommand):
    """A command whose parameters convert only what is not of its type yet."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _spared(super().get_params(ctx))


class PlainGroup(TyperGroup):
    """The same for a group of commands."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _spared(super().get_params(ctx))


def _spared(parameters: list[Any]) -> list[Any]:
    for one in parameters:
        # Other versions of Typer have nothing of that name, and need no help.
        if getattr(one, "_runtime_param", one) is None and hasattr(one, "type_descriptor"):
            one._runtime_param = _AsItIs(one)
    return parameters


class _AsItIs:
    """Stands for the validator of a parameter, which is built when it is needed."""

    def __init__(self, parameter: Any) -> None:
        described = parameter.type_descriptor
        self._parameter = parameter
        self._type = described.annotation
        self._is_plain = getattr(described.parameter_info, "parser", None) is None

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        if self._is_plain:
            if type(value) is self._type and self._is_known():
                return value
            if self._type == list[str] and all(type(one) is str for one in value):
                return list(value)
        self._parameter._runtime_param = None
        return self._parameter.get_runtime_param().coerce(value, param=param, ctx=ctx)

    def _is_known(self) -> bool:
        # A number of this type is a default; what is given on the command line is text.
        return self._type in (str, int, float) or issubclass(self._type, Enum)
