"""What the rows say of an image at this very moment, beside a snapshot that is being read.

Files are outside of any snapshot: an image that a row of the snapshot names may have been removed
since, with its row. So before an image is called missing, the rows are asked again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from veritas_peewee.database.backends import connection
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import bound, current_database
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.errors import ReadOnlyStore
from veritas_peewee.models import Audit, AuditScreenshot


class Present:
    """The current database as it is at the moment of each question.

    A `with` block ends the connection of its own that it needs inside a transaction.
    """

    def __init__(self) -> None:
        self._opened: StoreDatabase | None = None

    def __enter__(self) -> Present:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def has_audit(self, audit_id: str) -> bool:
        """Whether the audit exists."""
        with self._asked():
            return bool(execute(_audit_sql(), (audit_id,)))

    def image_rows(self, audit_id: str, file: str) -> list[tuple[Any, ...]]:
        """The (size, SHA-256) in each row of the audit that names the file."""
        with self._asked():
            return execute(_rows_sql(), (audit_id, file))

    @contextmanager
    def _asked(self) -> Iterator[None]:
        database = current_database()
        if not database.transaction_is_open or database.location.in_memory:
            yield
            return
        if self._opened is None:
            opened = connection(database.location, "viewer")
            try:
                opened.connect()
            except ReadOnlyStore:  # a file that is read as one that nobody changes
                yield
                return
            self._opened = opened
        with bound(self._opened):
            yield


@per_backend
def _audit_sql() -> str:
    return text_of(Audit.select(Audit.id).where(Audit.id == MARK))


@per_backend
def _rows_sql() -> str:
    query = AuditScreenshot.select(AuditScreenshot.file_size_bytes, AuditScreenshot.sha256)
    return text_of(
        query.where(AuditScreenshot.audit == MARK, AuditScreenshot.file_path == MARK).order_by(
            AuditScreenshot.id
        )
    )
