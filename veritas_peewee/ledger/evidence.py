"""What an upgrade adds to the rows of images that the older store left without a hash.

From then on a change of such a file is noticed. A row whose file is missing, is not an image, or
has another size than the row states is left as it was: `verify` names it.
"""

from __future__ import annotations

import hashlib

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.statements import (
    MARK,
    execute,
    per_backend,
    rows_of,
    text_of,
    update_sql,
)
from veritas_peewee.errors import StoreError
from veritas_peewee.files.images import ScreenshotFolder, media_type
from veritas_peewee.ledger import completing, seals
from veritas_peewee.ledger.checking import problem_of
from veritas_peewee.ledger.memory import Remembered
from veritas_peewee.ledger.stored import read_stored
from veritas_peewee.models import AuditScreenshot


def complete(database: SqliteStore, applied: list[str]) -> None:
    """Add what a file that was just upgraded lacks: all that `completing.complete` adds, and the
    hashes of images.

    `applied` are the names of the migrations that were applied.
    """
    had_seals = "0002_seals" not in applied
    if not had_seals:
        for audit_id in _without_hash():
            _describe(database, audit_id)
    completing.complete(database, applied)
    if had_seals and "0007_evidence" in applied:
        for audit_id in _without_hash():
            _describe_sealed(database, audit_id)


def _describe_sealed(database: StoreDatabase, audit_id: str) -> None:
    stored = read_stored(audit_id)
    # Only where all is as it was written: a new seal would make an altered row look right.
    if stored is None or problem_of(stored) is not None:
        return
    if described := _describe(database, audit_id):
        memory = Remembered()
        memory.rows = {(AuditScreenshot._meta.table_name, row_id): None for row_id in described}
        memory.touched(audit_id)
        seals.renew(database, memory)
        seals.count_changes(database, memory.changes)


def _describe(database: StoreDatabase, audit_id: str) -> list[int]:
    """Give an audit's images their hashes; returns the ids of the rows that got one."""
    root, described = database.location.screenshots, []
    if root is None:
        return []
    folder = ScreenshotFolder(root)
    for row_id, file, size in execute(_rows_sql(), (audit_id,)):
        try:
            data = folder.read(file)
        except StoreError:
            continue
        kind = media_type(data)
        if kind is None or size not in (None, len(data)):
            continue
        sql = update_sql(AuditScreenshot, "file_size_bytes", "media_type", "sha256")
        database.execute_sql(sql, (len(data), kind, hashlib.sha256(data).hexdigest(), row_id))
        described.append(row_id)
    return described


def _without_hash() -> list[str]:
    """The ids of the audits that have images without a hash."""
    query = AuditScreenshot.select(AuditScreenshot.audit).where(AuditScreenshot.sha256.is_null())
    return [audit_id for (audit_id,) in rows_of(query.distinct().order_by(AuditScreenshot.audit))]


@per_backend
def _rows_sql() -> str:
    query = AuditScreenshot.select(
        AuditScreenshot.id, AuditScreenshot.file_path, AuditScreenshot.file_size_bytes
    )
    query = query.where(AuditScreenshot.audit == MARK, AuditScreenshot.sha256.is_null())
    return text_of(query.order_by(AuditScreenshot.id))
