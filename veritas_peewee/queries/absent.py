"""Which images a store has never had: they were not in the import that brought their rows."""

from __future__ import annotations

from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.models import AbsentImage, AuditScreenshot


def absent_images(audit_id: str) -> set[str]:
    """The files of the audit's images that were not in its import."""
    return {file for (file,) in execute(_absent_sql(), (audit_id,))}


@per_backend
def _absent_sql() -> str:
    query = AuditScreenshot.select(AuditScreenshot.file_path).join(AbsentImage)
    return text_of(query.where(AuditScreenshot.audit == MARK))
