# mypy: ignore-errors
"""The first schema: for an empty file, or in place of the tables of the older SQLAlchemy code.

It has the tables as they were, and does not follow the models. Longer than most modules, because
it also copies the older store's rows and mends values that no longer fit.
"""

import json
import os
import re
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import PureWindowsPath

from peewee import chunked

STATUSES = ("queued", "running", "completed", "error", "disconnected")
CHILD = 'FOREIGN KEY ("audit_id") REFERENCES "audits" ("id") ON DELETE CASCADE)'
# As text, and not made by Peewee from models: a file's schema is held against this version's, and
# another version of Peewee could word it otherwise.
TABLES = (
    'CREATE TABLE "audits" ("id" VARCHAR(16) NOT NULL PRIMARY KEY, "url" TEXT NOT NULL, '
    "\"status\" VARCHAR(12) NOT NULL DEFAULT 'queued', "
    "\"audit_tier\" VARCHAR(50) NOT NULL DEFAULT 'standard_audit', "
    '"verdict_mode" VARCHAR(20) NOT NULL DEFAULT \'expert\', "trust_score" FLOAT, '
    '"risk_level" VARCHAR(50), "signal_scores" JSON NOT NULL DEFAULT \'{}\', "narrative" TEXT, '
    '"site_type" VARCHAR(50), "site_type_confidence" FLOAT, '
    "\"security_results\" JSON NOT NULL DEFAULT '{}', "
    '"pages_scanned" INTEGER NOT NULL DEFAULT 0, "screenshots_count" INTEGER NOT NULL DEFAULT 0, '
    '"elapsed_seconds" FLOAT NOT NULL DEFAULT 0, "errors" JSON NOT NULL DEFAULT \'[]\', '
    '"error_message" TEXT, "started_at" DATETIME, "completed_at" DATETIME, '
    '"created_at" DATETIME NOT NULL, "updated_at" DATETIME NOT NULL)',
    'CREATE TABLE "audit_findings" ("id" INTEGER NOT NULL PRIMARY KEY, '
    '"audit_id" VARCHAR(16) NOT NULL, "pattern_type" VARCHAR(100) NOT NULL, '
    '"category" VARCHAR(50), "severity" VARCHAR(20) NOT NULL, "confidence" FLOAT NOT NULL, '
    '"description" TEXT NOT NULL, "plain_english" TEXT, "screenshot_index" INTEGER DEFAULT -1, '
    f'"created_at" DATETIME, {CHILD}',
    'CREATE TABLE "audit_screenshots" ("id" INTEGER NOT NULL PRIMARY KEY, '
    '"audit_id" VARCHAR(16) NOT NULL, "file_path" TEXT NOT NULL, "label" TEXT NOT NULL, '
    '"index_num" INTEGER NOT NULL, "file_size_bytes" INTEGER, "media_type" VARCHAR(50), '
    f'"sha256" VARCHAR(64), "created_at" DATETIME, {CHILD}',
    'CREATE TABLE "audit_events" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, '
    '"audit_id" VARCHAR(16) NOT NULL, "event_type" VARCHAR(100) NOT NULL, "data" JSON, '
    f'"timestamp" DATETIME, {CHILD}',
    'CREATE TABLE "audit_runners" ("audit_id" VARCHAR(16) NOT NULL PRIMARY KEY, '
    f'"session" VARCHAR(32) NOT NULL, {CHILD}',
)
D = "[0-9]"
MOMENT = f"{D * 4}-{D * 2}-{D * 2} {D * 2}:{D * 2}:{D * 2}.{D * 6}"
OLD = ("audits", "audit_findings", "audit_screenshots", "audit_events")
INDEXES = (
    ("audits", "idx_audits_status", "status"),
    ("audits", "idx_audits_created_at", "created_at"),
    ("audits", "idx_audits_trust_score", "trust_score"),
    ("audits", "idx_audits_url", "url"),
    ("audits", "idx_audits_history", "created_at id"),
    ("audits", "idx_audits_status_history", "status created_at id"),
    ("audits", "idx_audits_risk_history", "risk_level created_at id"),
    ("audits", "idx_audits_url_history", "url created_at id"),
    ("audits", "idx_audits_site_history", "site_type created_at id"),
    ("audits", "idx_audits_status_risk_history", "status risk_level created_at id"),
    ("audits", "idx_audits_status_site_history", "status site_type created_at id"),
    ("audits", "idx_audits_risk_site_history", "risk_level site_type created_at id"),
    ("audits", "idx_audits_status_risk_site_history", "status risk_level site_type created_at id"),
    ("audits", "idx_audits_url_status_history", "url status created_at id"),
    ("audit_findings", "idx_findings_audit_id", "audit_id"),
    ("audit_findings", "idx_findings_pattern_type", "pattern_type"),
    ("audit_screenshots", "idx_screenshots_audit_id", "audit_id"),
    ("audit_screenshots", "idx_screenshots_file_path", "file_path"),
    ("audit_events", "idx_events_audit_id", "audit_id"),
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
    for table in TABLES:
        db.execute_sql(table)
    if old:
        copy_rows(db)
    for table, name, columns in INDEXES:
        listed = ", ".join(f'"{column}"' for column in columns.split())
        db.execute_sql(f'CREATE INDEX "{name}" ON "{table}" ({listed})')
    for index in EXPRESSION_INDEXES:
        db.execute_sql(index)
    if old:
        db.execute_sql(COUNT)
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
    # Each table goes as soon as it is copied, so that the next ones take its place in the file.
    db.execute_sql("DROP TABLE old_audits")
    db.execute_sql(
        "INSERT INTO audit_findings SELECT id, audit_id, COALESCE(pattern_type, 'unknown'), "
        "category, COALESCE(lower(severity), 'low'), COALESCE(confidence, 0), "
        "COALESCE(description, ''), plain_english, COALESCE(screenshot_index, -1), "
        "fix_time(created_at, ?) FROM old_audit_findings",
        (now,),
    )
    db.execute_sql("DROP TABLE old_audit_findings")
    db.execute_sql(
        "INSERT INTO audit_screenshots SELECT id, audit_id, fix_path(COALESCE(file_path, '')), "
        "COALESCE(label, ''), COALESCE(index_num, 0), file_size_bytes, NULL, NULL, "
        "fix_time(created_at, ?) FROM old_audit_screenshots",
        (now,),
    )
    db.execute_sql("DROP TABLE old_audit_screenshots")
    db.execute_sql(
        "INSERT INTO audit_events SELECT id, audit_id, COALESCE(event_type, 'unknown'), "
        # What is strict already, as nearly all is, is not read again.
        "CASE WHEN data IS NULL OR data = 'null' THEN NULL "
        "WHEN json_valid(data) AND json_type(data) = 'object' AND instr(data, '\\u') = 0 "
        "AND data NOT GLOB '*[0-9][eE][0-9+]*' THEN data ELSE fix_json(data, '{}') END, "
        f"CASE WHEN timestamp GLOB '{MOMENT}' AND timestamp >= '0001' "
        "AND strftime('%Y-%m-%d %H:%M:%S', timestamp) = substr(timestamp, 1, 19) "
        "THEN timestamp ELSE fix_time(timestamp, ?) END FROM old_audit_events",
        (now,),
    )
    db.execute_sql("DROP TABLE old_audit_events")


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
        if value == moment.isoformat(" ", "microseconds"):
            return value  # as we write it
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC).isoformat(" ", "microseconds")[:26]
    except (ValueError, OverflowError):
        return None


def fix_json(value, empty):
    if value is None or value == "":
        return json.dumps(empty)
    try:
        found = json.loads(value)
        if not is_strict(value):
            found = strict(found)
        elif type(found) is type(empty):
            return json.dumps(found, ensure_ascii=False) if "\\u" in value else value
    except (TypeError, ValueError, RecursionError):
        found = str(value).translate(UNSTORABLE)
    if found is None:
        found = empty
    elif isinstance(empty, dict) and not isinstance(found, dict):
        found = {"unreadable": found}
    elif isinstance(empty, list) and not isinstance(found, list):
        found = [found]
    return json.dumps(found, ensure_ascii=False, allow_nan=False)


def is_strict(value):
    """Whether JSON in this text has nothing that strict JSON cannot hold, as nearly all has."""
    return isinstance(value, str) and not ODD.search(value)


ODD = re.compile(r"\\u0000|\\u[dD][89a-fA-F]|NaN|Infinity|[0-9][eE][0-9+]|[\0\ud800-\udfff]")
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
        try:
            if not os.path.isfile(candidate):
                continue
            inside = os.path.normpath(os.path.join(os.path.realpath(screenshots), relative))
            if os.path.realpath(candidate) == inside:
                return relative
        except (OSError, ValueError):
            continue  # no name that a file can have
    return value
