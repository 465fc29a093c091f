"""`export_csv`: audits, findings or events as a table for spreadsheets and other programs.

UTF-8, separated by commas, lines end with CR LF (RFC 4180); times are UTC. A text that a
spreadsheet would run as a formula gets an apostrophe in front.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, Literal, Unpack

from veritas_peewee.database.current import with_own_errors
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger.stored import AUDIT, EVENT, FINDING, Row, StoredAudit
from veritas_peewee.models import Severity
from veritas_peewee.queries.filters import Filters
from veritas_peewee.queries.history import Order
from veritas_peewee.transfer.exporting import ExportReport, Progress, write_each
from veritas_peewee.transfer.files import Target
from veritas_peewee.transfer.selection import Selection
from veritas_peewee.values.plain import shown

Table = Literal["audits", "findings", "events"]

_SEVERITIES = tuple(severity.value for severity in reversed(Severity))
AUDIT_COLUMNS = (
    "id", "url", "status", "audit_tier", "verdict_mode", "trust_score", "risk_level", "site_type",
    "site_type_confidence", "pages_scanned", "elapsed_seconds", "screenshots_count", "findings",
    *_SEVERITIES, "events", "created_at", "started_at", "completed_at", "updated_at",
    "error_message", "errors", "signal_scores", "security_results", "narrative", "seal",
)  # fmt: skip
FINDING_COLUMNS = (
    "audit_id", "url", "severity", "pattern_type", "category", "confidence", "description",
    "plain_english", "screenshot_index", "created_at",
)  # fmt: skip
EVENT_COLUMNS = ("id", "audit_id", "url", "timestamp", "event_type", "data")

# Beginnings of a formula; also the full-width signs, which some programs treat like the usual.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")


@with_own_errors
def export_csv(
    target: Target,
    *,
    what: Table = "audits",
    ids: Iterable[str] | None = None,
    progress: Progress | None = None,
    order: Order = "newest",
    **filters: Unpack[Filters],
) -> ExportReport:
    """Write one table of audits of the current database as CSV, a row for each audit (with the
    number of its findings by severity), finding or event.

    The other arguments and errors are those of `sync.export`. InvalidAudit for another `what`.
    """
    if what not in _TABLES:
        raise InvalidAudit(f"what: must be one of {', '.join(_TABLES)}, got {shown(what)}")
    columns, rows_of = _TABLES[what]

    def lines(some: list[StoredAudit]) -> list[bytes]:
        return [_lines(rows_of(stored)) for stored in some]

    selection = Selection(ids, order, **filters)
    return write_each(target, lines, selection, progress, header=_lines([columns]))


def _lines(rows: Collection[tuple[Any, ...]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue().encode(errors="replace")


def _cell(value: Any) -> Any:
    if isinstance(value, bytes):
        value = value.hex()
    if isinstance(value, str) and _FORMULA.match(value):
        return f"'{value}"
    return value


def _audit_rows(stored: StoredAudit) -> list[Row]:
    values = dict(zip(AUDIT, stored.audit, strict=True))
    severity = FINDING.index("severity")
    count = Counter(row[severity] for row in stored.findings)
    values.update({name: count[name] for name in _SEVERITIES})
    values["findings"], values["events"] = len(stored.findings), len(stored.events)
    for name in ("created_at", "started_at", "completed_at", "updated_at"):
        values[name] = _moment(values[name])
    return [tuple(values[name] for name in AUDIT_COLUMNS)]


def _finding_rows(stored: StoredAudit) -> list[Row]:
    found = []
    for row in stored.findings:
        values = dict(zip(FINDING, row, strict=True))
        values.update(audit_id=stored.id, url=_url(stored))
        values["created_at"] = _moment(values["created_at"])
        found.append(tuple(values[name] for name in FINDING_COLUMNS))
    return found


def _event_rows(stored: StoredAudit) -> list[Row]:
    found = []
    for row in stored.events:
        values = dict(zip(EVENT, row, strict=True))
        values.update(audit_id=stored.id, url=_url(stored))
        values["timestamp"] = _moment(values["timestamp"])
        found.append(tuple(values[name] for name in EVENT_COLUMNS))
    return found


def _url(stored: StoredAudit) -> Any:
    return stored.audit[AUDIT.index("url")]


def _moment(value: Any) -> Any:
    # With more digits of a second than three, spreadsheets would take it for text.
    return value[:23] if isinstance(value, str) else value


_TABLES: dict[str, tuple[tuple[str, ...], Callable[[StoredAudit], list[Row]]]] = {
    "audits": (AUDIT_COLUMNS, _audit_rows),
    "findings": (FINDING_COLUMNS, _finding_rows),
    "events": (EVENT_COLUMNS, _event_rows),
}
