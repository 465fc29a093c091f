"""The full-text index of the current database: FTS5's in a file, the entries' own on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from veritas_peewee.database.current import current_backend

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from veritas_peewee.database.connection import StoreDatabase

    class Upkeep(Protocol):
        """What each of the two modules beside those has; `full_text_upkeep` says what it does."""

        def agrees(self, *, thoroughly: bool) -> bool: ...
        def rebuild(self, database: StoreDatabase) -> None: ...
        def make_tables(self) -> None: ...

    class Index(Protocol):
        """What each of the two modules has; `full_text` says what each function does."""

        FOLLOWS_ENTRIES: bool

        def add_words(
            self, database: StoreDatabase, entries: list[tuple[int, list[str]]]
        ) -> None: ...
        def query_of(self, expression: str) -> str: ...
        def matches_sql(self, *, among: str = "", such: str = "") -> str: ...
        def marked(
            self, expression: str, entries: Sequence[int], most: int
        ) -> tuple[list[tuple[Any, ...]], list[int]]: ...
        def make_writable(self, database: StoreDatabase) -> bool: ...
        def write_words(self, database: StoreDatabase) -> None: ...


def index() -> Index:
    """The module of the current database's index."""
    if current_backend() == "sqlite":
        from veritas_peewee.catalog import full_text

        return cast("Index", full_text)
    from veritas_peewee.catalog import vectors

    return cast("Index", vectors)


def upkeep() -> Upkeep:
    """The module that checks the current database's index, and makes it again."""
    if current_backend() == "sqlite":
        from veritas_peewee.catalog import full_text_upkeep

        return cast("Upkeep", full_text_upkeep)
    from veritas_peewee.catalog import vectors_upkeep

    return cast("Upkeep", vectors_upkeep)
