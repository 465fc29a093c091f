"""An operator's work on the current database, where each backend needs its own way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from veritas_peewee.database.current import current_backend

if TYPE_CHECKING:
    from veritas_peewee.ledger.problems import Problems
    from veritas_peewee.maintenance.verified import Report

    class Upkeep(Protocol):
        """What each of the two modules has; `on_file` says what each function does."""

        def check_storage(self, report: Report) -> None: ...
        def check_schema(self, report: Report) -> None: ...
        def check_counter(self, problems: Problems, newest: int, start: int) -> None: ...
        def check_own_tables(self, problems: Problems) -> None: ...
        def settle(self, database: Any, done: list[str]) -> int: ...
        def mend_storage(self) -> list[str]: ...
        def fill_hosts(self) -> int: ...
        def refuse_vacuum(self) -> None: ...
        def give_back(self, *, vacuum: bool) -> None: ...
        def give_back_some(self) -> bool: ...
        def size(self) -> tuple[int, int | None]: ...


def upkeep(backend: str | None = None) -> Upkeep:
    """The module for a backend; by default that of the current database."""
    if (backend or current_backend()) == "sqlite":
        from veritas_peewee.maintenance import on_file

        return cast("Upkeep", on_file)
    from veritas_peewee.maintenance import on_server

    return cast("Upkeep", on_server)
