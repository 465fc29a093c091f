"""An audit's findings and screenshots, as its seal covers them: their digests, in order."""

from __future__ import annotations

from typing import Any, NamedTuple

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.expressions import blob_as_read
from veritas_peewee.database.statements import MARK, per_backend, text_of
from veritas_peewee.ledger.digests import NO_ROWS, Total, grown
from veritas_peewee.models import AuditFinding, AuditScreenshot


class Children(NamedTuple):
    """What an audit's seal was made of besides its row, while the audit had not ended.

    It belongs to that seal: the seal covers it, so wherever the same seal is stored it is right.
    """

    seal: str | None
    findings: Total = NO_ROWS
    screenshots: Total = NO_ROWS
    row: bytes | None = None
    """The row's values as the seal covers them, if they are known and cached."""
    is_sealed: bool = False
    """Whether the seal is known to be that of these very values."""

    def same_rows(self, other: Children) -> bool:
        return self[1:3] == other[1:3]

    def with_rows(self, table: str, digests: list[bytes]) -> Children:
        """With rows of a table that were added after the others."""
        if table == AuditFinding._meta.table_name:
            findings = grown(self.findings, digests)
            return Children(self.seal, findings, self.screenshots, self.row)
        return Children(self.seal, self.findings, grown(self.screenshots, digests), self.row)


Digests = tuple[list[bytes | None], list[bytes | None]]
"""The digests of an audit's findings and of its screenshots."""


def read_digests(database: StoreDatabase, audit_id: str) -> Digests:
    """The digests that are stored."""
    if database.ahead is not None and audit_id in database.ahead.digests:
        known: Digests = database.ahead.digests[audit_id]
        return known
    # By the driver: triggers call this while a statement of Peewee's runs.
    run = database.state.conn.execute
    findings, screenshots = (
        [digest for (digest,) in run(_digests_sql(model), (audit_id,)).fetchall()]
        for model in (AuditFinding, AuditScreenshot)
    )
    return findings, screenshots


def totals(seal: str | None, digests: Digests) -> Children:
    return Children(seal, grown(NO_ROWS, digests[0]), grown(NO_ROWS, digests[1]))


@per_backend
def _digests_sql(model: Any) -> str:
    query = model.select(blob_as_read(model.digest)).where(model.audit == MARK)
    return text_of(query.order_by(model.id))
