# mypy: ignore-errors
"""A catalog of the audits that have ended: a full-text index, their patterns, counts of them.

The entries are made after it by the current code, in the same transaction.
"""

TABLES = (
    'CREATE TABLE "audit_catalog" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, '
    '"audit_id" VARCHAR(16) NOT NULL, "created_at" DATETIME NOT NULL, '
    '"status" VARCHAR(12) NOT NULL, "risk_level" VARCHAR(50), "site_type" VARCHAR(50), '
    '"audit_tier" VARCHAR(50) NOT NULL, "patterns" JSON NOT NULL, "url" TEXT NOT NULL, '
    '"narrative" TEXT NOT NULL, "findings" TEXT NOT NULL, "errors" TEXT NOT NULL, '
    'FOREIGN KEY ("audit_id") REFERENCES "audits" ("id") ON DELETE CASCADE)',
    'CREATE UNIQUE INDEX "audit_catalog_audit_id" ON "audit_catalog" ("audit_id")',
    'CREATE TABLE "audit_patterns" ("pattern_type" VARCHAR(100) NOT NULL, '
    '"created_at" DATETIME NOT NULL, "audit_id" VARCHAR(16) NOT NULL, '
    '"severity" INTEGER NOT NULL, PRIMARY KEY ("pattern_type", "created_at", "audit_id")) '
    "WITHOUT ROWID",
    'CREATE TABLE "audit_counts" ("status" VARCHAR(12) NOT NULL, '
    '"risk_level" VARCHAR(50) NOT NULL, "site_type" VARCHAR(50) NOT NULL, '
    '"audit_tier" VARCHAR(50) NOT NULL, "pattern_type" VARCHAR(100) NOT NULL, '
    '"audits" INTEGER NOT NULL, PRIMARY KEY ("status", "risk_level", "site_type", '
    '"audit_tier", "pattern_type")) WITHOUT ROWID',
    "CREATE VIRTUAL TABLE search_index USING fts5(url, narrative, findings, errors, "
    "content = 'audit_catalog', content_rowid = 'id', "
    "tokenize = 'unicode61 remove_diacritics 2')",
)
INDEXES = (
    'DROP INDEX IF EXISTS "idx_audits_trust_score"',
    'CREATE INDEX "idx_audits_trust_score" ON "audits" ("trust_score", "created_at", "id")',
    'CREATE INDEX "idx_audits_tier_history" ON "audits" ("audit_tier", "created_at", "id")',
)

ADD_TEXT = (
    "INSERT INTO search_index (rowid, url, narrative, findings, errors) "
    "VALUES (NEW.id, NEW.url, NEW.narrative, NEW.findings, NEW.errors);"
)
# The index needs the words that it is to forget.
REMOVE_TEXT = (
    "INSERT INTO search_index (search_index, rowid, url, narrative, findings, errors) "
    "VALUES ('delete', OLD.id, OLD.url, OLD.narrative, OLD.findings, OLD.errors);"
)
ADD_COUNTS = (
    "INSERT INTO audit_patterns SELECT key, NEW.created_at, NEW.audit_id, value "
    "FROM json_each(NEW.patterns); "
    "INSERT INTO audit_counts SELECT NEW.status, COALESCE(NEW.risk_level, X''), "
    "COALESCE(NEW.site_type, X''), NEW.audit_tier, key, 1 "
    "FROM (SELECT '' AS key UNION SELECT key FROM json_each(NEW.patterns)) WHERE true "
    "ON CONFLICT DO UPDATE SET audits = audits + 1;"
)
REMOVE_COUNTS = (
    "DELETE FROM audit_patterns WHERE created_at = OLD.created_at AND audit_id = OLD.audit_id "
    "AND pattern_type IN (SELECT key FROM json_each(OLD.patterns)); "
    "UPDATE audit_counts SET audits = audits - 1 WHERE status = OLD.status "
    "AND risk_level = COALESCE(OLD.risk_level, X'') AND site_type = COALESCE(OLD.site_type, X'') "
    "AND audit_tier = OLD.audit_tier "
    "AND pattern_type IN (SELECT '' UNION SELECT key FROM json_each(OLD.patterns));"
)


def changed(*columns):
    return " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in columns)


TRIGGERS = (
    "CREATE TRIGGER catalog_insert AFTER INSERT ON audit_catalog "
    f"BEGIN {ADD_TEXT} {ADD_COUNTS} END",
    "CREATE TRIGGER catalog_delete AFTER DELETE ON audit_catalog "
    f"BEGIN {REMOVE_TEXT} {REMOVE_COUNTS} END",
    "CREATE TRIGGER catalog_text_update AFTER UPDATE ON audit_catalog "
    f"WHEN {changed('id', 'url', 'narrative', 'findings', 'errors')} "
    f"BEGIN {REMOVE_TEXT} {ADD_TEXT} END",
    "CREATE TRIGGER catalog_counts_update AFTER UPDATE ON audit_catalog "
    f"WHEN {changed('audit_id', 'created_at', 'status', 'risk_level')} "
    f"OR {changed('site_type', 'audit_tier', 'patterns')} "
    f"BEGIN {REMOVE_COUNTS} {ADD_COUNTS} END",
)


def up(migrator, db):
    for statement in (*TABLES, *INDEXES, *TRIGGERS):
        db.execute_sql(statement)
