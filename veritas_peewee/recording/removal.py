"""Removing audits, and the one place where files go that rows named.

The removal of the rows is committed and on disk first, else a power cut would bring the rows back.
Then each file goes only if no row names it at that moment, and under the write lock, so that nobody
can add such a row meanwhile: the same audit can be imported again at any time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from peewee import SQL, IntegrityError

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import atomic, bound, current_database
from veritas_peewee.database.expressions import is_text
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.errors import StoreError
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.models import Audit, AuditScreenshot
from veritas_peewee.queries.images_of_others import named_by_others
from veritas_peewee.values.ids import key_of, not_found

# Not IS NULL, which SQLite takes for false where a column is NOT NULL.
_UNDATED = (
    f"UPDATE {Audit._meta.table_name} SET created_at = '' "
    "WHERE id = ? AND typeof(created_at) = 'null'"
)
PIECE = 100
"""The most files that are removed while the write lock is held."""
FAILURES = (OSError, StoreError, *DRIVER_ERRORS)
"""With these a removal of files can fail; what the rows say is committed all the same."""
_logger = logging.getLogger("veritas_peewee")


@atomic
def delete(audit_id: str) -> None:
    """Remove an audit and all that belongs to it: rows now, files after the commit.

    Raises AuditNotFound.
    """
    audit_id = key_of(audit_id)
    files = _files_of(audit_id)
    if not remove_row(audit_id, text_of(Audit.delete().where(Audit.id == MARK))):
        raise not_found(audit_id)
    remove_after_commit(files)


def remove_row(audit_id: str, sql: str) -> bool:
    """Run `sql`, which removes the audit's row if that still may go; returns whether it did.

    Of each removal there is a note with the audit's moment, and none can be made of an audit that
    another program has left without one: it is removed with an empty moment.
    """
    database = current_database()
    try:
        return bool(database.execute_sql(sql, (audit_id,)).rowcount)
    except IntegrityError:
        if not database.execute_sql(_UNDATED, (audit_id,)).rowcount:
            raise
    return bool(database.execute_sql(sql, (audit_id,)).rowcount)


def remove_after_commit(files: Iterable[str]) -> None:
    """Once the open transaction is committed, remove those of these files that no row then names.

    A failure to remove them is logged: then they remain, for `verify --fix`.
    """
    database = current_database()
    root = database.location.screenshots
    if root is None or not (named := list(files)):
        return
    for removal in database.state.commit_callbacks:
        # One for all writes of the transaction; what is undone of it is named by its row again.
        if isinstance(removal, _Removal):
            removal.files += named
            return
    database.after_commit(_Removal(database, ScreenshotFolder(root), named))


class _Removal:
    """What follows the commit that removes rows: their files go too."""

    def __init__(self, database: StoreDatabase, folder: ScreenshotFolder, files: list[str]) -> None:
        self.database = database
        self.folder = folder
        self.files = files

    def __call__(self) -> None:
        try:
            with bound(self.database):
                remove_unnamed(self.folder, self.files)
        except FAILURES:
            _logger.warning(
                "%s: image files of removed audits remain; `verify --fix` removes them",
                self.database.name,
                exc_info=True,
            )


def remove_unnamed(
    folder: ScreenshotFolder,
    files: Sequence[str],
    may_go: Callable[[str], bool] = lambda file: True,
    *,
    are_new: bool = False,
) -> list[str]:
    """Remove those of these files that no row names, and that `may_go`; returns those removed.

    One that another database beside this one names stays, unless they `are_new`: brought by what
    is undone now, or asked for already. To be called outside of a transaction. Raises StoreError,
    and removes nothing, if the commits so far cannot be brought to disk; StoreError or a driver's
    error if there is no write lock.
    """
    database = current_database()
    gone: list[str] = []
    others = set[str]() if are_new else named_by_others(database.location, files)
    files = [file for file in dict.fromkeys(files) if file not in others]
    for start in range(0, len(files), PIECE):
        with database.durable_unit():
            piece = files[start : start + PIECE]
            gone += folder.remove([f for f in piece if not is_named(f) and may_go(f)])
    return gone


def is_named(file_path: str) -> bool:
    """Whether a row names this file of the screenshot folder."""
    return bool(execute(_named_sql(), (file_path,)))


@per_backend
def _named_sql() -> str:
    query = AuditScreenshot.select(AuditScreenshot.id)
    query = query.where(is_text(AuditScreenshot.file_path, MARK))
    return text_of(query.limit(SQL("1")))


def _files_of(audit_id: str) -> list[str]:
    """The files that an audit's rows name, without other values that were stored by hand."""
    query: Any = AuditScreenshot.select(AuditScreenshot.file_path)
    rows = execute(*query.where(AuditScreenshot.audit == audit_id).sql())
    return sorted({file for (file,) in rows if isinstance(file, str)})
