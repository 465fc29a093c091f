# mypy: ignore-errors
"""Events that an import takes over with their ids are covered by heads of their own.

The seals of unfinished audits, which cover their findings and screenshots too from now on, and a
placeholder that stood for the head during such an import are replaced after it by the current
code, in the same transaction.
"""

TABLES = (
    'CREATE TABLE "import_heads" ("id" INTEGER NOT NULL PRIMARY KEY, '
    '"position" INTEGER NOT NULL, "digest" VARCHAR(64) NOT NULL, "total" VARCHAR(64) NOT NULL, '
    '"open" INTEGER NOT NULL)',
)


def up(migrator, db):
    for table in TABLES:
        db.execute_sql(table)
