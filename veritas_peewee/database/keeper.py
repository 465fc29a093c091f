"""The protocol of an object that a connection calls at the turning points of a transaction."""

from __future__ import annotations

from typing import Any, Protocol


class Keeper(Protocol):
    """Updates what is derived from rows whenever a connection writes rows.

    The connection calls it at the turning points of a transaction and knows nothing else about it.
    """

    watched: str
    """A part of the text of those statements that `before` is called for."""

    failure: BaseException | None
    """What one of the functions has raised that SQLite calls for a changed row, or to compile a
    statement. SQLite makes the statement fail, and says of it only that there was something; who
    takes it sets it to None."""

    def install(self) -> None:
        """Begin to notice changes on the connection, which has just been opened."""

    def before(self, sql: str) -> None:
        """A statement is about to run."""

    def callers_write(self) -> None:
        """A function of a caller's is about to run, which may write anything in any way."""

    def takes_back(self) -> None:
        """SQL of a caller's is about to undo some part of the transaction; nobody knows which."""

    def began(self, others_wrote: bool) -> None:
        """A transaction has begun; `others_wrote` if other connections wrote since the last one.

        What this raises undoes the transaction.
        """

    def seal(self) -> None:
        """Bring up to date what depends on the rows changed so far.

        What this raises makes the write fail that changed the rows.
        """

    def before_commit(self) -> bool:
        """The transaction is about to be committed; returns whether anything was written for it."""

    def is_there(self) -> bool | None:
        """The transaction is over, or a lone statement: whether it is in the file.

        None if it has written nothing that could be looked for.
        """

    def mark(self) -> Any:
        """How far the transaction is; for `undone` at a savepoint that begins here."""

    def undone(self, since: Any = None) -> None:
        """The transaction, or only its part after the mark `since`, was rolled back."""
