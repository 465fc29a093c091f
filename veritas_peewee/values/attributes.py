"""What the attributes of models and of their rows are, for type checkers; never imported.

Peewee's own types know the values of its fields, but not of fields that have options of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar, overload

from peewee import BackrefAccessor, Model, ModelSelect

V = TypeVar("V")
M = TypeVar("M", bound=Model)


class Typed(Generic[V]):
    """A field: on the model the field itself, on a row a `V`."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        return super().__new__(cls)

    @overload
    def __get__(self, instance: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> V: ...
    def __get__(self, instance: object | None, owner: Any) -> Any: ...
    def __set__(self, instance: object, value: V) -> None: ...


class Rows(Protocol[M]):
    """The rows that belong to one: a query, or a list where the store has loaded them.

    Both can be iterated over, measured with `len` and indexed.
    """

    def __iter__(self) -> Iterator[M]: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> M: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[M]: ...

    # The rest is for scripts: what the store has loaded is no query any more.
    def count(self) -> int: ...
    def select(self, *fields: Any) -> ModelSelect[M]: ...
    def where(self, *expressions: Any) -> ModelSelect[M]: ...
    def order_by(self, *values: Any) -> ModelSelect[M]: ...
    def limit(self, value: int) -> ModelSelect[M]: ...


class RowsOf(Generic[M]):
    """What a foreign key's `backref` adds to the model that it points to."""

    @overload
    def __get__(self, instance: None, owner: Any) -> BackrefAccessor: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> Rows[M]: ...
    def __get__(self, instance: object | None, owner: Any) -> Any: ...
    def __set__(self, instance: object, value: Sequence[M]) -> None: ...
