"""What the log states of an audit's rows, so that the log alone proves them.

A seal is a digest over values as Python writes them, which no other language can compute again. So
before a checkpoint is signed, each audit that has ended gets one more event, `audit_sealed`: its
row, its findings, its screenshots with their images' digests, and its seal, as JSON. What is stated
was held against chain, digests and seal just before. The event has no effect on any row; an audit
to which more is recorded afterwards is stated again with the next checkpoint.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any

from peewee import SQL

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.evidence import blocks
from veritas_peewee.ledger import log, log_questions
from veritas_peewee.ledger.checking import flaws
from veritas_peewee.ledger.stored import AUDIT, FINDING, SCREENSHOT, Row, each_event, read_rows
from veritas_peewee.models import Audit, AuditEvent, AuditRunner
from veritas_peewee.values.details import SEALED as SEALED
from veritas_peewee.values.moments import utc_now
from veritas_peewee.values.plain import encode_json
from veritas_peewee.values.states import FINAL

VERSION = 1
"""The form of what it states."""
AT_ONCE = 50
"""How many audits are stated in one transaction."""
_logger = logging.getLogger("veritas_peewee")


def text_of_rows(audit: Row, findings: Iterable[Row], screenshots: Iterable[Row]) -> str:
    """The JSON text that states an audit's rows, given as in `ledger.stored`.

    Values are those on disk: a JSON column is its text, a digest is in hexadecimal, and a finding
    or screenshot comes without its audit's id. Raises InvalidAudit for what is no text of JSON, or
    far too long.
    """
    seal, sealed_events = audit[-2:]
    stated = {
        "type": SEALED,
        "version": VERSION,
        "seal": seal,
        "sealed_events": sealed_events,
        "audit": dict(zip(AUDIT[:-2], audit, strict=False)),
        "findings": [_row(FINDING, one) for one in findings],
        "screenshots": [_row(SCREENSHOT, one) for one in screenshots],
    }
    return encode_json(stated, SEALED)


def _row(names: tuple[str, ...], row: Row) -> dict[str, Any]:
    found = dict(zip(names[1:-1], row[1:-1], strict=True))
    return {**found, "digest": row[-1].hex() if isinstance(row[-1], bytes) else None}


def is_stated(audit_id: str) -> bool | None:
    """Whether the newest statement in an audit's log is of the rows as they are; None if its log
    has none."""
    rows = execute(_newest_sql(), (audit_id, SEALED))
    stored = read_rows(audit_id)
    if not rows or stored is None:
        return None
    try:
        return bool(rows[0][0] == text_of_rows(stored.audit, stored.findings, stored.screenshots))
    except InvalidAudit:
        return False


def is_misstated(audit_id: str) -> bool:
    """Whether the last event in an audit's log states other rows than there are: they were changed
    without an event, or the statement came with an import and is false."""
    return log_questions.last_event(audit_id) == SEALED and not is_stated(audit_id)


def to_state() -> list[str]:
    """The ids of the audits that have ended and are not stated, or whose log has grown since the
    last checkpoint.

    That one has been made says of no audit before it that it is stated: it may have ended while the
    checkpoint was being signed, or later without an event, or not have been as it was written.
    """
    return [
        audit_id
        for (audit_id,) in execute(_ended_sql(one=False), (blocks.signed_upto(),))
        if type(audit_id) is str
    ]


@atomic
def state(audit_ids: Sequence[str]) -> int:
    """State the rows of these audits, except those that are stated already, have not ended or are
    gone by now; returns how many were stated.

    One that is not as it was written is left out, with a warning in the log: `verify` names it.
    """
    made = []
    if blocks.is_importing():
        return 0  # an event of our own would end the import
    for audit_id in audit_ids:
        if not execute(_ended_sql(one=True), (audit_id,)):
            continue
        if log_questions.last_event(audit_id) == SEALED and is_stated(audit_id):
            continue
        if (text := _text(audit_id)) is not None:
            made.append((audit_id, SEALED, text))
    log.append_events(made, utc_now())
    return len(made)


def _text(audit_id: str) -> str | None:
    stored = read_rows(audit_id)
    if stored is None:
        return None
    found = flaws(stored.audit, stored.findings, stored.screenshots, each_event(audit_id))
    reason = "it is not as it was written" if list(found) else None
    if reason is None:
        try:
            return text_of_rows(stored.audit, stored.findings, stored.screenshots)
        except InvalidAudit as error:
            reason = str(error)
    _logger.warning(
        "%s: the rows of audit %s are not stated in its log, because %s; `veritas-peewee verify` "
        "says more",
        current_database().name,
        audit_id,
        reason,
    )
    return None


@per_backend
def _newest_sql() -> str:
    query = AuditEvent.select(AuditEvent.data.converter(str))
    query = query.where(AuditEvent.audit == MARK, AuditEvent.event_type == MARK)
    return text_of(query.order_by(AuditEvent.id.desc()).limit(SQL("1")))


@per_backend
def _ended_sql(one: bool) -> str:
    """SQL for the ids of audits that have ended and that nobody runs: that of one, or those whose
    last event is no statement, or one that came after an event's id."""
    names = ", ".join(f"'{status}'" for status in FINAL)
    stated = (
        f"SELECT CASE e.event_type WHEN '{SEALED}' THEN e.id END "
        f"FROM {AuditEvent._meta.table_name} AS e WHERE e.audit_id = a.id "
        "ORDER BY e.id DESC LIMIT 1"
    )
    asked = "a.id = ?" if one else f"(({stated}) <= ?) IS NOT TRUE"
    return (
        f"SELECT a.id FROM {Audit._meta.table_name} AS a WHERE {asked} "
        f"AND a.status IN ({names}) "
        f"AND NOT EXISTS (SELECT 1 FROM {AuditRunner._meta.table_name} AS r "
        "WHERE r.audit_id = a.id) ORDER BY a.id"
    )
