"""A file as the older SQLAlchemy code left it, with what its upgrade has to mend."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

from veritas_peewee.database.sqlite_errors import driver

TABLES = ("audits", "audit_findings", "audit_screenshots", "audit_events")
LOST = "gone"
"""The id of an audit whose row is gone."""

_PARENT = "audit_id VARCHAR(16) NOT NULL"
_CHILD = "PRIMARY KEY (id), FOREIGN KEY(audit_id) REFERENCES audits (id) ON DELETE CASCADE"
DDL = f"""
CREATE TABLE audits (id VARCHAR(16) NOT NULL, url TEXT NOT NULL, status VARCHAR(12) NOT NULL,
audit_tier VARCHAR(50), verdict_mode VARCHAR(20), trust_score FLOAT, risk_level VARCHAR(50),
signal_scores JSON, narrative TEXT, site_type VARCHAR(50), site_type_confidence FLOAT,
security_results JSON, pages_scanned INTEGER, screenshots_count INTEGER, elapsed_seconds FLOAT,
errors JSON, error_message TEXT, started_at DATETIME, completed_at DATETIME, created_at DATETIME,
updated_at DATETIME, PRIMARY KEY (id));
CREATE TABLE audit_findings (id INTEGER NOT NULL, {_PARENT}, pattern_type VARCHAR(100) NOT NULL,
category VARCHAR(50), severity VARCHAR(20) NOT NULL, confidence FLOAT NOT NULL,
description TEXT NOT NULL, plain_english TEXT, screenshot_index INTEGER, created_at DATETIME,
{_CHILD});
CREATE TABLE audit_screenshots (id INTEGER NOT NULL, {_PARENT}, file_path TEXT NOT NULL,
label TEXT NOT NULL, index_num INTEGER NOT NULL, file_size_bytes INTEGER, created_at DATETIME,
{_CHILD});
CREATE TABLE audit_events (id INTEGER NOT NULL, {_PARENT}, event_type VARCHAR(100) NOT NULL,
data JSON, timestamp DATETIME, {_CHILD});
CREATE INDEX idx_audits_status ON audits (status);
CREATE INDEX idx_audits_trust_score ON audits (trust_score);
CREATE INDEX idx_audits_created_at ON audits (created_at);
CREATE INDEX idx_audits_url ON audits (url);
CREATE INDEX idx_findings_audit_id ON audit_findings (audit_id);
CREATE INDEX idx_findings_pattern_type ON audit_findings (pattern_type);
CREATE INDEX idx_screenshots_audit_id ON audit_screenshots (audit_id);
CREATE INDEX idx_events_audit_id ON audit_events (audit_id);
"""
_MOMENT = "2025-03-01 10:00:00.000000"


def write_legacy(path: Path, audits: int = 6) -> None:
    """Write such a file: finished audits with rows of all kinds, odd values, and lost parents."""
    path.parent.mkdir(parents=True)
    with closing(driver.connect(path)) as connection, connection:
        connection.executescript(DDL)
        for number in range(audits):
            audit = f"vrts_{number:011d}"
            status = ("COMPLETED", "QUEUED", "ERROR", "completed", "PAUSED")[number % 5]
            scores = ('{"visual": 53.0}', '{"a": NaN}', "null", None)[number % 4]
            connection.execute(
                "INSERT INTO audits (id, url, status, signal_scores, created_at, updated_at) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (audit, f"https://example.com/{number}", status, scores, _MOMENT, _MOMENT),
            )
            # The last audit's row is gone, and its children are still there.
            _children(connection, audit if number < audits - 1 else LOST, number)


def _children(connection: Any, audit: str, number: int) -> None:
    connection.execute(
        "INSERT INTO audit_findings (audit_id, pattern_type, severity, confidence, description, "
        "created_at) VALUES (?, 'nagging', 'MEDIUM', 0.5, 'it nags', ?)",
        (audit, _MOMENT),
    )
    connection.execute(
        "INSERT INTO audit_screenshots (audit_id, file_path, label, index_num, created_at) "
        "VALUES (?, ?, 'a shot', ?, ?)",
        (audit, f"C:\\veritas\\screenshots\\{audit}\\t{number}.png", number, _MOMENT),
    )
    for data in ('{"type": "log_entry"}', None, '{"type": "bro'):
        connection.execute(
            "INSERT INTO audit_events (audit_id, event_type, data, timestamp) "
            "VALUES (?, 'log_entry', ?, ?)",
            (audit, data, _MOMENT),
        )
