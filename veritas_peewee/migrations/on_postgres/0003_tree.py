# mypy: ignore-errors
"""The log is a tree of hashes too; what is stored of it makes checkpoints and proofs quick."""

TABLES = (
    """CREATE TABLE store_tree (
    number bigint PRIMARY KEY,
    leaves bigint NOT NULL,
    last_event bigint NOT NULL,
    root bytea NOT NULL,
    parts bytea NOT NULL
)""",
)


def up(migrator, db):
    for table in TABLES:
        db.execute_sql(table)
