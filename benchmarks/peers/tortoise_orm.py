"""Tortoise ORM on SQLite: its one connection, models, in_transaction for what is atomic."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from tortoise import Tortoise, fields
from tortoise.expressions import Q
from tortoise.models import Model
from tortoise.transactions import in_transaction

from benchmarks import effects
from benchmarks.history import PAGE, HistoryQuery
from benchmarks.peers.base import PRAGMAS, Peer
from benchmarks.sample import Row, WholeAudit, audit_row, event_row

_SIGNS = {"=": "", ">=": "__gte", "<=": "__lte", "<": "__lt"}


class Audit(Model):
    id = fields.CharField(16, primary_key=True)
    url = fields.TextField()
    status = fields.CharField(12)
    audit_tier = fields.CharField(50)
    verdict_mode = fields.CharField(20)
    trust_score = fields.FloatField(null=True)
    risk_level = fields.CharField(50, null=True)
    signal_scores: Any = fields.JSONField()
    narrative = fields.TextField(null=True)
    site_type = fields.CharField(50, null=True)
    site_type_confidence = fields.FloatField(null=True)
    security_results: Any = fields.JSONField()
    pages_scanned = fields.IntField()
    screenshots_count = fields.IntField()
    elapsed_seconds = fields.FloatField()
    errors: Any = fields.JSONField()
    error_message = fields.TextField(null=True)
    started_at = fields.DatetimeField(null=True)
    completed_at = fields.DatetimeField(null=True)
    created_at = fields.DatetimeField()
    updated_at = fields.DatetimeField()
    findings: fields.ReverseRelation[AuditFinding]
    screenshots: fields.ReverseRelation[AuditScreenshot]

    class Meta:
        table = "audits"


class AuditFinding(Model):
    id = fields.IntField(primary_key=True)
    audit: Any = fields.ForeignKeyField("models.Audit", related_name="findings")
    pattern_type = fields.CharField(100)
    category = fields.CharField(50, null=True)
    severity = fields.CharField(20)
    confidence = fields.FloatField()
    description = fields.TextField()
    plain_english = fields.TextField(null=True)
    screenshot_index = fields.IntField(null=True)
    created_at = fields.DatetimeField(null=True)

    class Meta:
        table = "audit_findings"


class AuditScreenshot(Model):
    id = fields.IntField(primary_key=True)
    audit: Any = fields.ForeignKeyField("models.Audit", related_name="screenshots")
    file_path = fields.TextField()
    label = fields.TextField()
    index_num = fields.IntField()
    file_size_bytes = fields.IntField(null=True)
    media_type = fields.CharField(50, null=True)
    sha256 = fields.CharField(64, null=True)
    created_at = fields.DatetimeField(null=True)

    class Meta:
        table = "audit_screenshots"


class AuditEvent(Model):
    id = fields.IntField(primary_key=True)
    audit: Any = fields.ForeignKeyField("models.Audit", related_name="events")
    event_type = fields.CharField(100)
    data: Any = fields.JSONField(null=True)
    timestamp = fields.DatetimeField(null=True)

    class Meta:
        table = "audit_events"


class TortoiseORM(Peer):
    name: ClassVar[str] = "tortoise"

    async def open(self, path: Path) -> None:
        # The keys beside file_path are PRAGMAs; the size limit is one of its own defaults.
        credentials = {"file_path": str(path), **PRAGMAS, "journal_size_limit": -1}
        await Tortoise.init(
            config={
                "connections": {
                    "default": {"engine": "tortoise.backends.sqlite", "credentials": credentials}
                },
                "apps": {"models": {"models": [__name__], "default_connection": "default"}},
                "use_tz": True,
                "timezone": "UTC",
            }
        )

    async def close(self) -> None:
        await Tortoise.close_connections()

    async def create(self, audit_id: str, url: str) -> None:
        await Audit.create(**audit_row(audit_id, url))

    async def record(self, audit_id: str, event: Row) -> None:
        taken = await self.taken(audit_id, event)
        if taken.effect is None:
            await AuditEvent.create(**taken.row(audit_id))
            return
        async with in_transaction() as connection:
            await AuditEvent.create(using_db=connection, **taken.row(audit_id))
            audit = await Audit.get(id=audit_id, using_db=connection)
            if changed := effects.apply(audit, taken):
                await audit.save(using_db=connection, update_fields=changed)
            for row in taken.effect.screenshots:
                await AuditScreenshot.create(using_db=connection, **row)
            if taken.effect.findings:
                found = AuditFinding.filter(audit_id=audit_id).using_db(connection)
                known = {(kind, text) for kind, text
                         in await found.values_list("pattern_type", "description")}  # fmt: skip
                new = effects.missing(taken.effect, known)
                await AuditFinding.bulk_create([AuditFinding(**row) for row in new],
                                               using_db=connection)  # fmt: skip

    async def write_event(self, audit_id: str, event: Row) -> None:
        await AuditEvent.create(**event_row(audit_id, event))

    async def write_events(self, audit_id: str, events: Sequence[Row]) -> None:
        async with in_transaction() as connection:
            rows = [AuditEvent(**event_row(audit_id, one)) for one in events]
            await AuditEvent.bulk_create(rows, using_db=connection)

    async def write_audit(self, whole: WholeAudit) -> None:
        async with in_transaction() as connection:
            await Audit.create(using_db=connection, **whole.audit)
            tables: list[tuple[type[Model], list[Row]]] = [
                (AuditFinding, whole.findings),
                (AuditScreenshot, whole.screenshots),
                (AuditEvent, whole.events),
            ]
            for model, rows in tables:
                await model.bulk_create([model(**row) for row in rows], using_db=connection)

    async def read_audit(self, audit_id: str) -> int:
        audit = await Audit.get(id=audit_id).prefetch_related("findings", "screenshots")
        return len(audit.findings) + len(audit.screenshots)

    async def history(self, query: HistoryQuery, after: Any = None) -> int:
        found = Audit.all().order_by("-created_at", "-id").limit(PAGE + 1)
        for column, sign, value in query.conditions():
            if column == "created_at":
                value = datetime.fromisoformat(f"{value}+00:00")
            found = found.filter(**{column + _SIGNS[sign]: value})
        if after is not None:
            moment, last = after
            found = found.filter(Q(created_at__lt=moment) | Q(created_at=moment, id__lt=last))
        return min(len(await found), PAGE)


KINDS = (TortoiseORM,)
