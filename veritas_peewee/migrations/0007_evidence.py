# mypy: ignore-errors
"""Images of the older store are hashed and typed; absent images are remembered as such.

The hashes, media types and sizes are filled in after it by the current code, in the same
transaction.
"""

TABLES = (
    'CREATE TABLE "absent_images" ("screenshot_id" INTEGER NOT NULL PRIMARY KEY, '
    'FOREIGN KEY ("screenshot_id") REFERENCES "audit_screenshots" ("id") ON DELETE CASCADE)',
)


def up(migrator, db):
    for table in TABLES:
        db.execute_sql(table)
