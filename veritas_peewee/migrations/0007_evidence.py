# mypy: ignore-errors
"""Images that were not in the import that brought their rows are remembered as such."""

TABLES = (
    'CREATE TABLE "absent_images" ("screenshot_id" INTEGER NOT NULL PRIMARY KEY, '
    'FOREIGN KEY ("screenshot_id") REFERENCES "audit_screenshots" ("id") ON DELETE CASCADE)',
)


def up(migrator, db):
    for table in TABLES:
        db.execute_sql(table)
