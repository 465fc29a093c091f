# mypy: ignore-errors
"""The first schema: for an empty file, or in place of the tables of the older SQLAlchemy code.

It has a frozen copy of the models as they were, which does not follow them. Longer than most
modules, because it also copies the older store's rows and mends values that no longer fit.
"""

import json
import os
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import PureWindowsPath

from peewee import (
    SQL,
    AutoField,
    CharField,
    DateTimeField,
    FloatField,
    ForeignKeyField,
    Index,
    IntegerField,
    JSONField,
    Model,
    TextField,
    chunked,
)

STATUSES = ("queued", "running", "completed", "error", "disconnected")


def default(value):
    return [SQL(f"DEFAULT {value}")]


class Base(Model):
    class Meta:
        legacy_table_names = False


class Audit(Base):
    id = CharField(16, primary_key=True)
    url = TextField()
    status = CharField(12, constraints=default("'queued'"))
    audit_tier = CharField(50, constraints=default("'standard_audit'"))
    verdict_mode = CharField(20, constraints=default("'expert'"))
    trust_score = FloatField(null=True)
    risk_level = CharField(50, null=True)
    signal_scores = JSONField(constraints=default("'{}'"))
    narrative = TextField(null=True)
    site_type = CharField(50, null=True)
    site_type_confidence = FloatField(null=True)
    security_results = JSONField(constraints=default("'{}'"))
    pages_scanned = IntegerField(constraints=default("0"))
    screenshots_count = IntegerField(constraints=default("0"))
    elapsed_seconds = FloatField(constraints=default("0"))
    errors = JSONField(constraints=default("'[]'"))
    error_message = TextField(null=True)
    started_at = DateTimeField(null=True)
    completed_at = DateTimeField(null=True)
    created_at = DateTimeField()
    updated_at = DateTimeField()

    class Meta:
        table_name = "audits"


class AuditFinding(Base):
    audit = ForeignKeyField(Audit, on_delete="CASCADE", index=False)
    pattern_type = CharField(100)
    category = CharField(50, null=True)
    severity = CharField(20)
    confidence = FloatField()
    description = TextField()
    plain_english = TextField(null=True)
    screenshot_index = IntegerField(null=True, constraints=default("-1"))
    created_at = DateTimeField(null=True)

    class Meta:
        table_name = "audit_findings"


class AuditScreenshot(Base):
    audit = ForeignKeyField(Audit, on_delete="CASCADE", index=False)
    file_path = TextField()
    label = TextField()
    index_num = IntegerField()
    file_size_bytes = IntegerField(null=True)
    media_type = CharField(50, null=True)
    sha256 = CharField(64, null=True)
    created_at = DateTimeField(null=True)

    class Meta:
        table_name = "audit_screenshots"


class AuditEvent(Base):
    id = AutoField(constraints=[SQL("AUTOINCREMENT")])
    audit = ForeignKeyField(Audit, on_delete="CASCADE", index=False)
    event_type = CharField(100)
    data = JSONField(null=True)
    timestamp = DateTimeField(null=True)

    class Meta:
        table_name = "audit_events"


class AuditRunner(Base):
    audit = ForeignKeyField(Audit, on_delete="CASCADE", primary_key=True, index=False)
    session = CharField(32)

    class Meta:
        table_name = "audit_runners"


TABLES = (Audit, AuditFinding, AuditScreenshot, AuditEvent, AuditRunner)
OLD = ("audits", "audit_findings", "audit_screenshots", "audit_events")
INDEXES = (
    (Audit, "idx_audits_status", ("status",)),
    (Audit, "idx_audits_created_at", ("created_at",)),
    (Audit, "idx_audits_trust_score", ("trust_score",)),
    (Audit, "idx_audits_url", ("url",)),
    (Audit, "idx_audits_history", ("created_at", "id")),
    (Audit, "idx_audits_status_history", ("status", "created_at", "id")),
    (Audit, "idx_audits_risk_history", ("risk_level", "created_at", "id")),
    (Audit, "idx_audits_url_history", ("url", "created_at", "id")),
    (Audit, "idx_audits_site_history", ("site_type", "created_at", "id")),
    (Audit, "idx_audits_status_risk_history", ("status", "risk_level", "created_at", "id")),
    (Audit, "idx_audits_status_site_history", ("status", "site_type", "created_at", "id")),
    (Audit, "idx_audits_risk_site_history", ("risk_level", "site_type", "created_at", "id")),
    (
        Audit,
        "idx_audits_status_risk_site_history",
        ("status", "risk_level", "site_type", "created_at", "id"),
    ),
    (Audit, "idx_audits_url_status_history", ("url", "status", "created_at", "id")),
    (AuditFinding, "idx_findings_audit_id", ("audit",)),
    (AuditFinding, "idx_findings_pattern_type", ("pattern_type",)),
    (AuditScreenshot, "idx_screenshots_audit_id", ("audit",)),
    (AuditScreenshot, "idx_screenshots_file_path", ("file_path",)),
    (AuditEvent, "idx_events_audit_id", ("audit",)),
)
EXPRESSION_INDEXES = (
    'CREATE INDEX "idx_audits_status_score_history" ON "audits" '
    '("status", CAST("trust_score" AS INTEGER), "created_at", "id")',
    'CREATE INDEX "idx_audits_score_history" ON "audits" (CAST("trust_score" AS INTEGER), '
    '"created_at", "id", "trust_score", "risk_level", "site_type")',
    'CREATE INDEX "idx_events_finding" ON "audit_events" '
    '("audit_id", json_extract("data", \'$.finding.id\')) '
    "WHERE (\"event_type\" = 'finding')",
)
# screenshots_count is the number of screenshot rows, whoever adds or removes one.
COUNT = (
    "UPDATE audits SET screenshots_count = "
    "(SELECT COUNT(*) FROM audit_screenshots WHERE audit_id = audits.id)"
)
TRIGGERS = (
    f"CREATE TRIGGER count_screenshots_insert AFTER INSERT ON audit_screenshots "
    f"BEGIN {COUNT} WHERE id = NEW.audit_id; END",
    f"CREATE TRIGGER count_screenshots_delete AFTER DELETE ON audit_screenshots "
    f"BEGIN {COUNT} WHERE id = OLD.audit_id; END",
    f"CREATE TRIGGER count_screenshots_update AFTER UPDATE OF audit_id ON audit_screenshots "
    f"BEGIN {COUNT} WHERE id IN (OLD.audit_id, NEW.audit_id); END",
)


def up(migrator, db):
    old = "audits" in db.get_tables()
    if old:
        set_aside(db)
    with db.bind_ctx(TABLES, bind_refs=False, bind_backrefs=False):
        for model in TABLES:
            model.create_table(safe=False)
        if old:
            copy_rows(db)
        for model, name, columns in INDEXES:
            fields = [getattr(model, column) for column in columns]
            db.execute(Index(name, model._meta.table, fields))
    for index in EXPRESSION_INDEXES:
        db.execute_sql(index)
    if old:
        db.execute_sql(COUNT)
        for table in OLD:
            db.execute_sql(f"DROP TABLE old_{table}")
    for trigger in TRIGGERS:
        db.execute_sql(trigger)


def set_aside(db):
    # Without this, renaming a table rewrites every view that mentions it.
    db.pragma("legacy_alter_table", 1)
    for table in OLD:
        for index in db.get_indexes(table):
            if index.sql:
                db.execute_sql(f'DROP INDEX "{index.name}"')
        db.execute_sql(f"ALTER TABLE {table} RENAME TO old_{table}")
    db.pragma("legacy_alter_table", 0)


def copy_rows(db):
    now = datetime.now(UTC).isoformat(" ", "microseconds")[:26]
    screenshots = db.location.screenshots
    functions = {
        ("fix_time", 2): lambda value, other: fix_time(value) or other,
        ("fix_json", 2): lambda value, other: fix_json(value, json.loads(other)),
        ("fix_path", 1): lambda value: fix_path(value, screenshots),
    }
    for (name, arguments), function in functions.items():
        db.connection().create_function(name, arguments, function)
    columns = [column.name for column in db.get_columns("old_audits")]
    rows = db.execute_sql("SELECT * FROM old_audits ORDER BY rowid")
    for group in chunked(rows, 500):
        # A column that the file lacks is as one that holds NULL.
        fixed = [
            fix_audit(defaultdict(lambda: None, zip(columns, row, strict=True)), now)
            for row in group
        ]
        insert(db, "audits", fixed)
    rescue_orphans(db, now)
    db.execute_sql(
        "INSERT INTO audit_findings SELECT id, audit_id, COALESCE(pattern_type, 'unknown'), "
        "category, COALESCE(lower(severity), 'low'), COALESCE(confidence, 0), "
        "COALESCE(description, ''), plain_english, COALESCE(screenshot_index, -1), "
        "fix_time(created_at, ?) FROM old_audit_findings",
        (now,),
    )
    db.execute_sql(
        "INSERT INTO audit_screenshots SELECT id, audit_id, fix_path(COALESCE(file_path, '')), "
        "COALESCE(label, ''), COALESCE(index_num, 0), file_size_bytes, NULL, NULL, "
        "fix_time(created_at, ?) FROM old_audit_screenshots",
        (now,),
    )
    db.execute_sql(
        "INSERT INTO audit_events SELECT id, audit_id, COALESCE(event_type, 'unknown'), "
        # What is strict already, as nearly all is, is not read again.
        "CASE WHEN data IS NULL OR data = 'null' THEN NULL "
        "WHEN json_valid(data) AND json_type(data) = 'object' AND instr(data, '\\u') = 0 "
        "AND data NOT GLOB '*[0-9][eE][0-9+]*' THEN data ELSE fix_json(data, '{}') END, "
        "fix_time(timestamp, ?) FROM old_audit_events",
        (now,),
    )


def insert(db, table, rows):
    names = list(rows[0])
    marks = ", ".join("?" * len(names))
    db.connection().executemany(
        f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})",
        [tuple(row.values()) for row in rows],
    )


def fix_audit(row, now):
    notes = []
    status = str(row["status"] or "queued").lower()
    if status not in STATUSES:
        notes.append(f"status: {row['status']!r} of the older file is unknown")
        status = "error"
    started, completed, created, updated = (
        fix_time(row[name]) for name in ("started_at", "completed_at", "created_at", "updated_at")
    )
    created = created or started or updated or now
    updated = updated or completed or created
    if status == "completed":
        completed = completed or updated
    errors = json.loads(fix_json(row["errors"], []))
    errors = [str(text) for text in errors] if isinstance(errors, list) else [str(errors)]
    return {
        "id": row["id"],
        "url": row["url"] or "",
        "status": status,
        "audit_tier": row["audit_tier"] or "standard_audit",
        "verdict_mode": row["verdict_mode"] or "expert",
        "trust_score": row["trust_score"],
        "risk_level": row["risk_level"],
        "signal_scores": fix_json(row["signal_scores"], {}),
        "narrative": row["narrative"],
        "site_type": row["site_type"],
        "site_type_confidence": row["site_type_confidence"],
        "security_results": fix_json(row["security_results"], {}),
        "pages_scanned": row["pages_scanned"] or 0,
        "screenshots_count": 0,
        "elapsed_seconds": row["elapsed_seconds"] or 0,
        "errors": json.dumps(errors + notes, ensure_ascii=False),
        "error_message": row["error_message"],
        "started_at": started,
        "completed_at": completed,
        "created_at": created,
        "updated_at": updated,
    }


def rescue_orphans(db, now):
    """Rows whose audit is gone (foreign keys were off) keep a place: an audit that says so."""
    reason = "the older file held rows of this audit, but not the audit itself"
    for table in OLD[1:]:
        db.execute_sql(
            "INSERT INTO audits (id, url, status, error_message, errors, created_at, updated_at) "
            "SELECT DISTINCT audit_id, '', 'error', ?, json_array(?), ?, ? "
            f"FROM old_{table} WHERE audit_id NOT IN (SELECT id FROM audits)",
            (reason, reason, now, now),
        )


def fix_time(value):
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat(" ", "microseconds")[:26]
    except (ValueError, OverflowError):
        return None


def fix_json(value, empty):
    if value is None or value == "":
        return json.dumps(empty)
    try:
        found = strict(json.loads(value))
    except (TypeError, ValueError, RecursionError):
        found = str(value).translate(UNSTORABLE)
    if found is None:
        found = empty
    elif isinstance(empty, dict) and not isinstance(found, dict):
        found = {"unreadable": found}
    elif isinstance(empty, list) and not isinstance(found, list):
        found = [found]
    return json.dumps(found, ensure_ascii=False, allow_nan=False)


MOST_PARTS = 256
UNSTORABLE = {0: "\ufffd"} | dict.fromkeys(range(0xD800, 0xE000), "\ufffd")


def strict(value):
    """The JSON value with what strict JSON cannot hold replaced."""
    if isinstance(value, dict):
        return {key.translate(UNSTORABLE): strict(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [strict(inner) for inner in value]
    if isinstance(value, str):
        return value.translate(UNSTORABLE)
    if isinstance(value, float) and value - value != 0:
        return None
    return value


def fix_path(value, screenshots):
    """The path below the screenshot folder, where its last parts lead to a file there."""
    if not isinstance(value, str):
        value = bytes(value).decode(errors="replace") if isinstance(value, bytes) else str(value)
    if screenshots is None:
        return value
    # Splits at both kinds of slash: the file may have been written on any system.
    parts = [part for part in PureWindowsPath(value).parts if part.strip("\\/")]
    # More parts no path can have, and to try each beginning takes time with the square of them.
    for start in range(max(0, len(parts) - MOST_PARTS), len(parts)):
        tail = parts[start:]
        if ".." in tail or ":" in tail[0]:
            continue
        relative = "/".join(tail)
        candidate = os.path.join(screenshots, relative)
        inside = os.path.join(os.path.realpath(screenshots), relative)
        try:
            if os.path.isfile(candidate) and os.path.realpath(candidate) == inside:
                return relative
        except (OSError, ValueError):
            continue  # no name that a file can have
    return value
