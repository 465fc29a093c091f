"""What a transaction leaves in the file: it is looked for when the COMMIT has failed."""

from __future__ import annotations

import functools
from typing import Any

from peewee import SQL

from veritas_peewee.database.expressions import is_integer
from veritas_peewee.database.statements import MARK, per_backend, text_of
from veritas_peewee.models import AuditEvent, RemovedEvent, StoreChanges


class Trace:
    """What the open transaction, or the lone statement that ran last, has written."""

    def __init__(self) -> None:
        self.newest: tuple[str, bytes] | None = None
        """The audit and the digest of the event that was added last; None if none was."""
        self._number: int | None = None
        """The number of changed audits with this transaction's; None if none was counted."""
        self._counted: int | None = None
        """The number of changed audits in the file; None if it has to be read."""

    def begin(self, others_wrote: bool) -> None:
        """A transaction begins."""
        self.newest = self._number = None
        if others_wrote:
            self._counted = None

    def count(self, connection: Any, more: int) -> None:
        """So many changed audits have just been added to the number of them."""
        if self._counted is None:
            self._counted = _number_in(connection)
        else:
            self._counted += more
        self._number = self._counted

    def undone(self) -> None:
        """The transaction, or a part of it, was rolled back."""
        self.newest = self._number = self._counted = None

    def is_there(self, connection: Any) -> bool | None:
        """Whether it is in the file; None if there is nothing to look for."""
        if self.newest is not None:
            (found,) = connection.execute(_event_sql(), self.newest * 2).fetchone()
            return bool(found)
        number = _number_in(connection)
        if number is None or self._number is None:
            return None
        return number >= self._number  # it only ever grows, by others too


def _number_in(connection: Any) -> int | None:
    row = connection.execute(_number_sql()).fetchone()
    return row[0] if row and isinstance(row[0], int) else None


@per_backend
def _number_sql() -> str:
    # Others can have stored anything, also a text that the driver cannot read.
    number = SQL(f"CASE WHEN {is_integer('number')} THEN number END")
    return text_of(StoreChanges.select(number))


@functools.cache
def _event_sql() -> str:
    found = [
        text_of(table.select(SQL("1")).where(audit == MARK, table.digest == MARK))
        for table, audit in ((AuditEvent, AuditEvent.audit), (RemovedEvent, RemovedEvent.audit_id))
    ]
    return f"SELECT {' OR '.join(f'EXISTS ({query})' for query in found)}"
