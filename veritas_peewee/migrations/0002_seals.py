# mypy: ignore-errors
"""The log becomes a chain, rows get digests, audits a seal; what is removed leaves a trace.

The digests of rows and the seals are computed after it by the current code, in one transaction.
"""

from hashlib import sha256

from peewee import chunked

COLUMNS = (
    ("audits", "seal", "VARCHAR(64)"),
    ("audits", "sealed_events", "INTEGER"),
    ("audit_findings", "digest", "BLOB"),
    ("audit_screenshots", "digest", "BLOB"),
    ("audit_events", "digest", "BLOB"),
)
TABLES = (
    'CREATE TABLE "removed_events" ("event_id" INTEGER NOT NULL PRIMARY KEY, '
    '"audit_id" VARCHAR(16) NOT NULL, "digest" BLOB)',
    'CREATE TABLE "removed_audits" ("id" INTEGER NOT NULL PRIMARY KEY, '
    '"audit_id" VARCHAR(16) NOT NULL, "created_at" DATETIME NOT NULL, '
    '"removed_at" DATETIME NOT NULL)',
    'CREATE TABLE "store_changes" ("id" INTEGER NOT NULL PRIMARY KEY, "number" INTEGER NOT NULL)',
    'CREATE TABLE "store_heads" ("event_id" INTEGER NOT NULL PRIMARY KEY, '
    '"digest" VARCHAR(64) NOT NULL)',
)
TRIGGERS = (
    "CREATE TRIGGER remember_removed_event AFTER DELETE ON audit_events "
    "BEGIN INSERT OR REPLACE INTO removed_events (event_id, audit_id, digest) "
    "VALUES (OLD.id, OLD.audit_id, OLD.digest); END",
    "CREATE TRIGGER remember_removed_audit AFTER DELETE ON audits "
    "BEGIN INSERT INTO removed_audits (audit_id, created_at, removed_at) "
    "VALUES (OLD.id, OLD.created_at, strftime('%Y-%m-%d %H:%M:%f000', 'now')); END",
)


def up(migrator, db):
    for table, column, kind in COLUMNS:
        db.execute_sql(f'ALTER TABLE "{table}" ADD COLUMN "{column}" {kind}')
    for table in TABLES:
        db.execute_sql(table)
    db.execute_sql("INSERT INTO store_changes VALUES (1, 0)")
    chain(db)
    for trigger in TRIGGERS:
        db.execute_sql(trigger)


def chain(db):
    """Give each event its digest, and the store its first head."""
    connection = db.connection()
    rows = connection.execute(
        "SELECT id, audit_id, event_type, timestamp, data FROM audit_events ORDER BY audit_id, id"
    )
    owner = before = None
    for group in chunked(rows, 5000):
        digests = []
        for event_id, audit_id, kind, moment, data in group:
            if audit_id != owner:
                owner, before = audit_id, audit_id.encode()
            text = f"\0{kind}\0{moment or ''}\0{data or ''}"
            before = sha256(before + text.encode(errors="surrogatepass")).digest()
            digests.append((before, event_id))
        connection.executemany("UPDATE audit_events SET digest = ? WHERE id = ?", digests)
    empty = sha256().hexdigest()
    head, last = sha256(empty.encode()), 0
    rows = connection.execute("SELECT id, digest FROM audit_events ORDER BY id")
    for event_id, digest in rows:
        head.update(digest)
        last = event_id
    digest = head.hexdigest() if last else empty
    connection.execute("INSERT INTO store_heads VALUES (?, ?)", (last, digest))
