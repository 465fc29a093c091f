"""What a connection calls at the turning points of a transaction."""

from __future__ import annotations

from typing import Protocol


class Keeper(Protocol):
    """Keeps what is derived from the rows in step with what a connection writes.

    The connection calls it at the turning points of a transaction and knows nothing else of it.
    """

    def before(self, sql: str) -> None:
        """A statement is about to run."""

    def began(self, others_wrote: bool) -> None:
        """A transaction has begun; `others_wrote`: another connection wrote since the last one."""

    def touched(self, audit_id: str) -> None:
        """Rows of this audit were changed."""

    def seal(self) -> None:
        """Bring up to date what depends on the rows changed so far; a failure is their writer's."""

    def before_commit(self) -> None:
        """The transaction is about to be committed."""

    def undone(self, *, whole: bool) -> None:
        """The transaction (`whole`), or a part of it, was rolled back."""
