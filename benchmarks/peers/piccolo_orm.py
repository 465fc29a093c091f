"""Piccolo on SQLite: it opens a connection for each query, and one for each transaction."""

from __future__ import annotations

import json
import operator
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from piccolo.columns import JSON, Real, Serial, Text, Timestamp, Varchar
from piccolo.columns.column_types import Integer
from piccolo.engine.sqlite import SQLiteEngine, TransactionType
from piccolo.table import Table

from benchmarks import effects
from benchmarks.history import PAGE, HistoryQuery
from benchmarks.peers.base import Peer, PragmaConnection
from benchmarks.sample import Row, WholeAudit, audit_row, event_row, stored

_SIGNS: dict[str, Any] = {
    "=": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
}


class Audit(Table, tablename="audits"):
    id = Varchar(16, primary_key=True)
    url = Text()
    status = Varchar(12)
    audit_tier = Varchar(50)
    verdict_mode = Varchar(20)
    trust_score = Real(null=True, default=None)
    risk_level = Varchar(50, null=True, default=None)
    signal_scores = JSON()
    narrative = Text(null=True, default=None)
    site_type = Varchar(50, null=True, default=None)
    site_type_confidence = Real(null=True, default=None)
    security_results = JSON()
    pages_scanned = Integer()
    screenshots_count = Integer()
    elapsed_seconds = Real()
    errors = JSON()
    error_message = Text(null=True, default=None)
    started_at = Timestamp(null=True, default=None)
    completed_at = Timestamp(null=True, default=None)
    created_at = Timestamp()
    updated_at = Timestamp()


class AuditFinding(Table, tablename="audit_findings"):
    id = Serial(primary_key=True)
    audit_id = Varchar(16)
    pattern_type = Varchar(100)
    category = Varchar(50, null=True, default=None)
    severity = Varchar(20)
    confidence = Real()
    description = Text()
    plain_english = Text(null=True, default=None)
    screenshot_index = Integer(null=True, default=None)
    created_at = Timestamp(null=True, default=None)


class AuditScreenshot(Table, tablename="audit_screenshots"):
    id = Serial(primary_key=True)
    audit_id = Varchar(16)
    file_path = Text()
    label = Text()
    index_num = Integer()
    file_size_bytes = Integer(null=True, default=None)
    media_type = Varchar(50, null=True, default=None)
    sha256 = Varchar(64, null=True, default=None)
    created_at = Timestamp(null=True, default=None)


class AuditEvent(Table, tablename="audit_events"):
    id = Serial(primary_key=True)
    audit_id = Varchar(16)
    event_type = Varchar(100)
    data = JSON(null=True, default=None)
    timestamp = Timestamp(null=True, default=None)


def _naive(row: Row) -> Row:
    """Piccolo's Timestamp takes naive times only."""
    return {
        name: value.replace(tzinfo=None) if isinstance(value, datetime) else value
        for name, value in row.items()
    }


class Piccolo(Peer):
    name: ClassVar[str] = "piccolo"

    async def open(self, path: Path) -> None:
        self.engine = SQLiteEngine(path=str(path), timeout=30, factory=PragmaConnection)
        for table in (Audit, AuditFinding, AuditScreenshot, AuditEvent):
            table._meta._db = self.engine

    async def close(self) -> None:
        pass

    async def create(self, audit_id: str, url: str) -> None:
        await Audit.insert(Audit(**_naive(audit_row(audit_id, url))))

    async def record(self, audit_id: str, event: Row) -> None:
        taken = await self.taken(audit_id, event)
        effect = taken.effect
        if effect is None:
            await AuditEvent(**_naive(taken.row(audit_id))).save()
            return
        taken = taken._replace(when=taken.when.replace(tzinfo=None))
        async with self.engine.transaction(transaction_type=TransactionType.immediate):
            await AuditEvent(**_naive(taken.row(audit_id))).save()
            audit = await Audit.objects().get(Audit.id == audit_id)
            assert audit is not None
            audit.security_results = json.loads(audit.security_results)
            if changed := effects.apply(audit, taken):
                await audit.save(columns=[getattr(Audit, name) for name in changed])
            for row in effect.screenshots:
                await AuditScreenshot(**_naive(row)).save()
            if effect.findings:
                found = AuditFinding.select(AuditFinding.pattern_type, AuditFinding.description)
                rows = await found.where(AuditFinding.audit_id == audit_id)
                known = {(row["pattern_type"], row["description"]) for row in rows}
                if new := effects.missing(effect, known):
                    await AuditFinding.insert(*[AuditFinding(**_naive(row)) for row in new])

    async def write_event(self, audit_id: str, event: Row) -> None:
        await AuditEvent(**_naive(event_row(audit_id, event))).save()

    async def write_events(self, audit_id: str, events: Sequence[Row]) -> None:
        async with self.engine.transaction(transaction_type=TransactionType.immediate):
            for start in range(0, len(events), 1000):
                rows = [event_row(audit_id, one) for one in events[start : start + 1000]]
                await AuditEvent.insert(*[AuditEvent(**_naive(row)) for row in rows])

    async def write_audit(self, whole: WholeAudit) -> None:
        async with self.engine.transaction(transaction_type=TransactionType.immediate):
            await Audit.insert(Audit(**_naive(whole.audit)))
            tables: list[tuple[type[Table], list[Row]]] = [
                (AuditFinding, whole.findings),
                (AuditScreenshot, whole.screenshots),
                (AuditEvent, whole.events),
            ]
            for table, rows in tables:
                await table.insert(*[table(**_naive(row)) for row in rows])

    async def read_audit(self, audit_id: str) -> int:
        await Audit.objects().get(Audit.id == audit_id)
        found = AuditFinding.objects().where(AuditFinding.audit_id == audit_id)
        findings = await found.order_by(AuditFinding.id)
        shots = AuditScreenshot.objects().where(AuditScreenshot.audit_id == audit_id)
        screenshots = await shots.order_by(AuditScreenshot.index_num)
        return len(findings) + len(screenshots)

    async def history(self, query: HistoryQuery, after: Any = None) -> int:
        found = Audit.objects().limit(PAGE + 1)
        found = found.order_by(Audit.created_at, Audit.id, ascending=False)
        for column, sign, value in query.conditions():
            found = found.where(_SIGNS[sign](getattr(Audit, column), value))
        if after is not None:
            moment, last = stored(after[0]), after[1]
            earlier = Audit.created_at < moment
            found = found.where(earlier | ((Audit.created_at == moment) & (Audit.id < last)))
        return min(len(await found), PAGE)


KINDS = (Piccolo,)
