# mypy: ignore-errors
"""Each audit's host beside its url, and the indexes by which a site's audits are found.

The hosts of the audits that are there are filled in after it by the current code, in one
transaction.
"""

INDEXES = (
    'CREATE INDEX "idx_audits_host_history" ON "audits" ("host", "created_at", "id")',
    'CREATE INDEX "idx_audits_url_time" ON "audits" '
    '("url", COALESCE("started_at", "created_at"), "id")',
    'CREATE INDEX "idx_audits_host_time" ON "audits" '
    '("host", COALESCE("started_at", "created_at"), "id")',
)


def up(migrator, db):
    db.execute_sql('ALTER TABLE "audits" ADD COLUMN "host" TEXT')
    for index in INDEXES:
        db.execute_sql(index)
