# mypy: ignore-errors
"""What lacked evidence gets it: older images, absent images, running audits, imported events.

By the tables, images that were not in an import are remembered as such, and events that an import
takes over with their ids are covered by heads of their own. The current code then, in the same
transaction, hashes and types the images of the older store, has the seals of unfinished audits
cover their findings and screenshots too, and replaces a placeholder that stood for the head.
"""

TABLES = (
    'CREATE TABLE "absent_images" ("screenshot_id" INTEGER NOT NULL PRIMARY KEY, '
    'FOREIGN KEY ("screenshot_id") REFERENCES "audit_screenshots" ("id") ON DELETE CASCADE)',
    'CREATE TABLE "import_heads" ("id" INTEGER NOT NULL PRIMARY KEY, '
    '"position" INTEGER NOT NULL, "digest" VARCHAR(64) NOT NULL, "total" VARCHAR(64) NOT NULL, '
    '"open" INTEGER NOT NULL)',
)


def up(migrator, db):
    for table in TABLES:
        db.execute_sql(table)
