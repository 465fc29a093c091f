# mypy: ignore-errors
"""What the ended audits are counted by: ten days, a score and a severity too, each by itself.

The entries' slices are filled in after it by the current code, in the same transaction.
"""

ENTRIES = (
    'CREATE TABLE "audit_catalog_new" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, '
    '"audit_id" VARCHAR(16) NOT NULL, "created_at" DATETIME NOT NULL, '
    '"status" VARCHAR(12) NOT NULL, "risk_level" VARCHAR(50), "site_type" VARCHAR(50), '
    '"audit_tier" VARCHAR(50) NOT NULL, "patterns" JSON NOT NULL, "slices" JSON NOT NULL, '
    '"url" TEXT NOT NULL, "narrative" TEXT NOT NULL, "findings" TEXT NOT NULL, '
    '"errors" TEXT NOT NULL, '
    'FOREIGN KEY ("audit_id") REFERENCES "audits" ("id") ON DELETE CASCADE)'
)
COUNTS = (
    'CREATE TABLE "audit_counts" ("slice" VARCHAR(10) NOT NULL, "status" VARCHAR(12) NOT NULL, '
    '"risk_level" VARCHAR(50) NOT NULL, "site_type" VARCHAR(50) NOT NULL, '
    '"audit_tier" VARCHAR(50) NOT NULL, "pattern_type" VARCHAR(100) NOT NULL, '
    '"audits" INTEGER NOT NULL, PRIMARY KEY ("slice", "status", "risk_level", "site_type", '
    '"audit_tier", "pattern_type")) WITHOUT ROWID'
)
OLD = "id, audit_id, created_at, status, risk_level, site_type, audit_tier, patterns"
TEXTS = "url, narrative, findings, errors"
CHANGES = (
    "DROP TRIGGER IF EXISTS catalog_insert",
    "DROP TRIGGER IF EXISTS catalog_delete",
    "DROP TRIGGER IF EXISTS catalog_text_update",
    "DROP TRIGGER IF EXISTS catalog_counts_update",
    "DROP TABLE audit_counts",
    COUNTS,
    ENTRIES,
    # With their ids, for the full-text index knows them by those.
    f"INSERT INTO audit_catalog_new ({OLD}, slices, {TEXTS}) "
    f"SELECT {OLD}, '[]', {TEXTS} FROM audit_catalog",
    # An id that was given out once is not given out again.
    "INSERT INTO sqlite_sequence (name, seq) SELECT 'audit_catalog_new', 0 "
    "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'audit_catalog_new')",
    "UPDATE sqlite_sequence SET seq = (SELECT MAX(seq) FROM sqlite_sequence "
    "WHERE name IN ('audit_catalog', 'audit_catalog_new')) WHERE name = 'audit_catalog_new'",
    "DROP TABLE audit_catalog",
    "ALTER TABLE audit_catalog_new RENAME TO audit_catalog",
    'CREATE UNIQUE INDEX "audit_catalog_audit_id" ON "audit_catalog" ("audit_id")',
)

ADD_TEXT = (
    f"INSERT INTO search_index (rowid, {TEXTS}) "
    "VALUES (NEW.id, NEW.url, NEW.narrative, NEW.findings, NEW.errors);"
)
# The index needs the words that it is to forget.
REMOVE_TEXT = (
    f"INSERT INTO search_index (search_index, rowid, {TEXTS}) "
    "VALUES ('delete', OLD.id, OLD.url, OLD.narrative, OLD.findings, OLD.errors);"
)
# Once in each slice, and in each of those once for each of its pattern types.
ADD_COUNTS = (
    "INSERT INTO audit_patterns SELECT key, NEW.created_at, NEW.audit_id, value "
    "FROM json_each(NEW.patterns); "
    "INSERT INTO audit_counts SELECT s.value, NEW.status, COALESCE(NEW.risk_level, X''), "
    "COALESCE(NEW.site_type, X''), NEW.audit_tier, p.key, 1 FROM json_each(NEW.slices) AS s, "
    "(SELECT '' AS key UNION SELECT key FROM json_each(NEW.patterns)) AS p WHERE true "
    "ON CONFLICT DO UPDATE SET audits = audits + 1;"
)
REMOVE_COUNTS = (
    "DELETE FROM audit_patterns WHERE created_at = OLD.created_at AND audit_id = OLD.audit_id "
    "AND pattern_type IN (SELECT key FROM json_each(OLD.patterns)); "
    "UPDATE audit_counts SET audits = audits - 1 "
    "WHERE slice IN (SELECT value FROM json_each(OLD.slices)) AND status = OLD.status "
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
    f"OR {changed('site_type', 'audit_tier', 'patterns', 'slices')} "
    f"BEGIN {REMOVE_COUNTS} {ADD_COUNTS} END",
)


def up(migrator, db):
    # Without this, a view of the user's that mentions the catalog stops the renaming.
    db.pragma("legacy_alter_table", 1)
    for statement in (*CHANGES, *TRIGGERS):
        db.execute_sql(statement)
    db.pragma("legacy_alter_table", 0)
