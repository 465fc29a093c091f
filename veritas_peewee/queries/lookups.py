"""One audit, its events and its images, looked up; using the results runs no further query."""

from __future__ import annotations

import functools

from veritas_peewee.database.current import screenshot_folder
from veritas_peewee.database.statements import MARK, execute, models_of, text_of, whole
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot
from veritas_peewee.values.ids import key_of, not_found
from veritas_peewee.values.plain import invalid, plain_number


def get(audit_id: str) -> Audit:
    """An audit with `.findings` and `.screenshots` loaded; raises AuditNotFound if it is absent."""
    key = (key_of(audit_id),)
    audit_sql, findings_sql, screenshots_sql = _get_sql()
    found = models_of(Audit, execute(audit_sql, key))
    if not found:
        raise not_found(audit_id)
    (audit,) = found
    audit.findings = models_of(AuditFinding, execute(findings_sql, key))
    audit.screenshots = models_of(AuditScreenshot, execute(screenshots_sql, key))
    for row in (*audit.findings, *audit.screenshots):
        row.__rel__["audit"] = audit
    return audit


@functools.cache
def _get_sql() -> tuple[str, str, str]:
    findings = whole(AuditFinding).where(AuditFinding.audit == MARK)
    screenshots = whole(AuditScreenshot).where(AuditScreenshot.audit == MARK)
    return (
        text_of(Audit.select().where(Audit.id == MARK)),
        text_of(findings.order_by(AuditFinding.id)),
        text_of(screenshots.order_by(AuditScreenshot.index_num, AuditScreenshot.id)),
    )


def events(audit_id: str, *, after: int = 0, limit: int | None = None) -> list[AuditEvent]:
    """An audit's events with ids above `after`, in order, at most `limit`; empty if it is absent.

    Raises InvalidAudit if `after` or `limit` is not a whole number.
    """
    numbers = []
    for name, value in (("after", after), ("limit", -1 if limit is None else limit)):
        number = plain_number(value)
        if not isinstance(number, int) or abs(number) >= 2**63:
            raise invalid(name, "must be a whole number", value)
        numbers.append(number)
    return models_of(AuditEvent, execute(_events_sql(), (key_of(audit_id), *numbers)))


@functools.cache
def _events_sql() -> str:
    query = whole(AuditEvent).where(AuditEvent.audit == MARK, AuditEvent.id > MARK)
    return text_of(query.order_by(AuditEvent.id).limit(MARK))


def screenshot(file_path: str) -> bytes:
    """The bytes of a stored screenshot, by its row's `file_path`.

    Raises StoreError if it cannot be read, InvalidAudit for a path outside the folder.
    """
    return screenshot_folder().read(file_path)
