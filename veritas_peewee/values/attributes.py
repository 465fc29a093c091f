"""The types of the attributes of models and rows, for type checkers; never imported at run time.

Peewee's type stubs give the type of a value for Peewee's own fields, but not for subclasses whose
constructors take other options.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar, overload

from peewee import BackrefAccessor, Model, ModelSelect

V = TypeVar("V")
M = TypeVar("M", bound=Model)


class Typed(Generic[V]):
    """A field: read from its model it is the field itself, read from a row it is a `V`."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        return super().__new__(cls)

    @overload
    def __get__(self, instance: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> V: ...
    def __get__(self, instance: object | None, owner: Any) -> Any: ...
    def __set__(self, instance: object, value: V) -> None: ...


class Rows(Protocol[M]):
    """The rows that belong to one audit: a query, or a list where the store has loaded them.

    Both can be iterated over, measured with `len` and indexed.
    """

    def __iter__(self) -> Iterator[M]: ...
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, index: int, /) -> M: ...
    @overload
    def __getitem__(self, index: slice, /) -> list[M]: ...

    # The rest is for scripts, where it is a query: a list that the store loaded cannot be queried.
    def count(self) -> int: ...
    def select(self, *fields: Any) -> ModelSelect[M]: ...
    def where(self, *expressions: Any) -> ModelSelect[M]: ...
    def order_by(self, *values: Any) -> ModelSelect[M]: ...
    def limit(self, value: int) -> ModelSelect[M]: ...


class RowsOf(Generic[M]):
    """The attribute that a foreign key's `backref` adds to the model that the key points to."""

    @overload
    def __get__(self, instance: None, owner: Any) -> BackrefAccessor: ...
    @overload
    def __get__(self, instance: object, owner: Any) -> Rows[M]: ...
    def __get__(self, instance: object | None, owner: Any) -> Any: ...
    def __set__(self, instance: object, value: Sequence[M]) -> None: ...
