# mypy: ignore-errors
"""The log is a tree of hashes too; what is stored of it makes checkpoints and proofs quick."""

TABLES = (
    'CREATE TABLE "store_tree" ("number" INTEGER NOT NULL PRIMARY KEY, '
    '"leaves" INTEGER NOT NULL, "last_event" INTEGER NOT NULL, "root" BLOB NOT NULL, '
    '"parts" BLOB NOT NULL)',
)


def up(migrator, db):
    for table in TABLES:
        db.execute_sql(table)
