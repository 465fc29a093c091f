"""What each backend answers about its connection, beside what `Transactions` asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from veritas_peewee.database.transactions import Transactions


class Answers(Transactions):
    """The questions of which a backend's class answers each in its own way."""

    backend: ClassVar[str]
    """The backend's name; the text of a statement can be another one for each."""
    counts_events: ClassVar[bool]
    """Whether the backend counts the ids of events, without gaps."""
    storage: ClassVar[str]
    """What holds the rows, in words."""
    reads_ahead: ClassVar[bool]
    """Whether each statement is a way to a server and back, so that it pays to ask many things at
    once."""
    ends_late: ClassVar[bool]
    """Whether `interrupt` can end another statement than the one that ran when it was called."""
    holds_any_type: ClassVar[bool]
    """Whether other programs can have stored a value of any type in any column."""
    begin_snapshot: ClassVar[str]
    """Begins a transaction that reads everything as of one moment."""

    def read_only(self) -> AbstractContextManager[None]:
        """Refuse writes for the length of a `with` block."""
        raise NotImplementedError

    def is_alone(self) -> bool:
        """Whether no other connection, of any process, has the database open."""
        raise NotImplementedError

    def is_closed_beneath(self) -> bool:
        """Whether a caller's function has closed the driver's own connection."""
        return False

    def cancel_when(self, asked: Callable[[], bool], steps: int) -> None:
        """Call `asked` now and then while a statement runs; True ends the statement."""
        raise NotImplementedError

    def committed(self) -> None:
        """What the writer has committed is answered: let other processes know, if they are told."""

    def due(self) -> float | None:
        """Seconds after which a writer that waits for work has to call `beat`; None if never."""
        return None

    def beat(self) -> None:
        """Show others that this process is alive, and tell them what is still to be told."""

    def insert(self, sql: str, values: Any, rows: int) -> Sequence[int]:
        """Run an INSERT of `rows` rows; returns their ids, if the backend has given them any."""
        raise NotImplementedError

    def give_ids_after(self, table: str) -> None:
        """Have the backend give ids after the greatest one, once rows were inserted with theirs."""

    def accept_odd_text(self, error: BaseException) -> None:
        """From now on give text that cannot be decoded as `OddText`, if it is what `error` is
        about; else raise `error`."""
        raise error

    def looking(self) -> AbstractContextManager[None]:
        """A transaction in which everything is looked at, whatever of it cannot be read."""
        raise NotImplementedError

    def look_on(self) -> None:
        """Inside `looking`, after a failure: let the next part be looked at."""

    def each_row(self, sql: str, params: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a SELECT one by one, for more than should be held at once; nothing else is
        asked meanwhile."""
        rows: Iterator[tuple[Any, ...]] = iter(self.execute_sql(sql, params))
        return rows

    def interrupt(self) -> None:
        """End the statement that runs now, if there is one; called from any thread."""
        raise NotImplementedError

    def release_memory(self) -> None:
        """Free memory that only saves time, such as caches."""
        raise NotImplementedError

    def limit_wal(self, size: int) -> None:
        """Have the WAL cut back to `size` bytes whenever it is restarted."""
        raise NotImplementedError

    def checkpoint(self, *, truncate: bool, patience: float) -> bool:
        """Restart the WAL, with `truncate` as an empty file; False if reads still need it.

        Waits up to `patience` seconds for them.
        """
        raise NotImplementedError

    def sync_commits(self) -> None:
        """Wait until all commits so far are on disk; StoreError if that cannot be said."""
        raise NotImplementedError

    def commits_of_others(self) -> int:
        """A number that is another one after any other connection has committed."""
        raise NotImplementedError
