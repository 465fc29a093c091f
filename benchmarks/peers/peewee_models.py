"""Plain Peewee models of the same tables, for Peewee's own two ways."""

from __future__ import annotations

import json
from operator import eq, ge, le, lt
from types import SimpleNamespace
from typing import Any

import peewee
from peewee import Model

from benchmarks import effects
from benchmarks.history import PAGE, HistoryQuery
from benchmarks.sample import Row, WholeAudit, audit_row, event_row, stored

_SIGNS: dict[str, Any] = {"=": eq, ">=": ge, "<=": le, "<": lt}


class JSONField(peewee.TextField):
    def db_value(self, value: Any) -> Any:
        return None if value is None else stored(value)

    def python_value(self, value: Any) -> Any:
        return None if value is None else json.loads(value)


class MomentField(peewee.DateTimeField):
    def db_value(self, value: Any) -> Any:
        return stored(value)


def make_models(database: peewee.Database) -> SimpleNamespace:
    """The four models, bound to `database`."""

    class Base(Model):
        class Meta:
            legacy_table_names = False

    Base._meta.set_database(database)

    class Audit(Base):
        id = peewee.CharField(16, primary_key=True)
        url = peewee.TextField()
        status = peewee.CharField(12)
        audit_tier = peewee.CharField(50)
        verdict_mode = peewee.CharField(20)
        trust_score = peewee.FloatField(null=True)
        risk_level = peewee.CharField(50, null=True)
        signal_scores = JSONField()
        narrative = peewee.TextField(null=True)
        site_type = peewee.CharField(50, null=True)
        site_type_confidence = peewee.FloatField(null=True)
        security_results = JSONField()
        pages_scanned = peewee.IntegerField()
        screenshots_count = peewee.IntegerField()
        elapsed_seconds = peewee.FloatField()
        errors = JSONField()
        error_message = peewee.TextField(null=True)
        started_at = MomentField(null=True)
        completed_at = MomentField(null=True)
        created_at = MomentField()
        updated_at = MomentField()

        class Meta:
            table_name = "audits"

    class AuditFinding(Base):
        audit = peewee.ForeignKeyField(Audit, backref="findings")
        pattern_type = peewee.CharField(100)
        category = peewee.CharField(50, null=True)
        severity = peewee.CharField(20)
        confidence = peewee.FloatField()
        description = peewee.TextField()
        plain_english = peewee.TextField(null=True)
        screenshot_index = peewee.IntegerField(null=True)
        created_at = MomentField(null=True)

        class Meta:
            table_name = "audit_findings"

    class AuditScreenshot(Base):
        audit = peewee.ForeignKeyField(Audit, backref="screenshots")
        file_path = peewee.TextField()
        label = peewee.TextField()
        index_num = peewee.IntegerField()
        file_size_bytes = peewee.IntegerField(null=True)
        media_type = peewee.CharField(50, null=True)
        sha256 = peewee.CharField(64, null=True)
        created_at = MomentField(null=True)

        class Meta:
            table_name = "audit_screenshots"

    class AuditEvent(Base):
        audit = peewee.ForeignKeyField(Audit, backref="events")
        event_type = peewee.CharField(100)
        data = JSONField(null=True)
        timestamp = MomentField(null=True)

        class Meta:
            table_name = "audit_events"

    return SimpleNamespace(
        Audit=Audit,
        AuditFinding=AuditFinding,
        AuditScreenshot=AuditScreenshot,
        AuditEvent=AuditEvent,
    )


def create_audit(models: SimpleNamespace, audit_id: str, url: str) -> None:
    models.Audit.create(**audit_row(audit_id, url))


def record(models: SimpleNamespace, audit_id: str, taken: effects.Taken) -> None:
    """To be called in a transaction."""
    models.AuditEvent.create(**taken.row(audit_id))
    if taken.effect is None:
        return
    audit = models.Audit.get_by_id(audit_id)
    if changed := effects.apply(audit, taken):
        audit.save(only=changed)
    for row in taken.effect.screenshots:
        models.AuditScreenshot.create(**row)
    if taken.effect.findings:
        findings = models.AuditFinding
        found = findings.select(findings.pattern_type, findings.description)
        known = set(found.where(findings.audit == audit_id).tuples())
        if new := effects.missing(taken.effect, known):
            findings.insert_many(new).execute()


def create_event(models: SimpleNamespace, audit_id: str, event: Row) -> None:
    models.AuditEvent.create(**event_row(audit_id, event))


def insert_events(models: SimpleNamespace, audit_id: str, events: list[Row]) -> None:
    rows = [event_row(audit_id, event) for event in events]
    for chunk in peewee.chunked(rows, 1000):
        models.AuditEvent.insert_many(chunk).execute()


def insert_whole(models: SimpleNamespace, whole: WholeAudit) -> None:
    models.Audit.insert(**whole.audit).execute()
    models.AuditFinding.insert_many(whole.findings).execute()
    models.AuditScreenshot.insert_many(whole.screenshots).execute()
    models.AuditEvent.insert_many(whole.events).execute()


def load_audit(models: SimpleNamespace, audit_id: str) -> int:
    audit = models.Audit.get_by_id(audit_id)
    findings = list(audit.findings.order_by(models.AuditFinding.id))
    screenshots = list(audit.screenshots.order_by(models.AuditScreenshot.index_num))
    return len(findings) + len(screenshots)


def load_page(models: SimpleNamespace, query: HistoryQuery, after: Any) -> int:
    audits = models.Audit
    select = audits.select().order_by(audits.created_at.desc(), audits.id.desc())
    for column, sign, value in query.conditions():
        select = select.where(_SIGNS[sign](getattr(audits, column), value))
    if after is not None:
        select = select.where(peewee.Tuple(audits.created_at, audits.id) < peewee.Tuple(*after))
    return min(len(list(select.limit(PAGE + 1))), PAGE)
