"""Removing an audit: first its rows, then the files that no other audit uses."""

from __future__ import annotations

import functools
from typing import Any

from peewee import SQL

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.statements import MARK, execute, text_of
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.models import Audit, AuditScreenshot
from veritas_peewee.values.ids import key_of, not_found


@atomic
def delete(audit_id: str) -> None:
    """Remove an audit and all that belongs to it: rows now, files after the commit.

    Raises AuditNotFound.
    """
    audit_id = key_of(audit_id)
    files = _own_files(audit_id)
    if not Audit.delete().where(Audit.id == audit_id).execute():
        raise not_found(audit_id)
    remove_after_commit(files)


def remove_after_commit(files: list[str]) -> None:
    """Remove files once the removal of their rows is committed and on disk."""
    database = current_database()
    if files and (root := database.location.screenshots) is not None:
        database.after_commit(_Removal(database, ScreenshotFolder(root), files))


class _Removal:
    """What follows the commit that removes rows: their files go too."""

    def __init__(self, database: StoreDatabase, folder: ScreenshotFolder, files: list[str]) -> None:
        self.database = database
        self.folder = folder
        self.files = files

    def __call__(self) -> None:
        self.database.sync_wal()
        self.folder.remove(self.files)


def keep_files(files: list[str]) -> None:
    """Keep files that rows name again, in the transaction that has removed rows with them."""
    for removal in current_database().state.commit_callbacks:
        if isinstance(removal, _Removal):
            removal.files = [file for file in removal.files if file not in files]


def _own_files(audit_id: str) -> list[str]:
    """The audit's files that no other audit uses: older audits and replayed logs can share some."""
    path = AuditScreenshot.file_path
    own = AuditScreenshot.select(path).where(AuditScreenshot.audit == audit_id)
    other = AuditScreenshot.alias()
    shared = other.select(other.file_path).where(other.file_path.in_(own), other.audit != audit_id)
    return sorted(_texts(own) - _texts(shared))


def is_shown(file_path: str) -> bool:
    """Whether a row names this file of the screenshot folder."""
    return bool(execute(_shown_sql(), (file_path,)))


@functools.cache
def _shown_sql() -> str:
    query = AuditScreenshot.select(AuditScreenshot.id).where(AuditScreenshot.file_path == MARK)
    return text_of(query.limit(SQL("1")))


def _texts(query: Any) -> set[str]:
    """The texts that a query of one column gives, without other values that were stored by hand."""
    return {found for (found,) in execute(*query.sql()) if isinstance(found, str)}
