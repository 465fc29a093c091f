# mypy: ignore-errors
"""The words of the search are folded, hosts are a browser's, a site's latest audit ran last.

The tables remain as they are. The current code, after it and in the same transaction, makes the
entries of audits with other text than ASCII again, and the hosts that browsers read otherwise; an
older version would write the old forms. The view took the audit that was stored last, and had its
own way to find a site.
"""

LATEST = "latest_audit_of_each_site"
# With a single MAX, the other columns of a group are those of the row that has it.
VIEW = f"""CREATE VIEW IF NOT EXISTS {LATEST} AS
SELECT s.site, s.audits, a.id, a.url, a.status, a.trust_score, a.risk_level, a.site_type,
a.created_at
FROM (SELECT host AS site, COUNT(*) AS audits, id, MAX(COALESCE(started_at, created_at))
FROM audits GROUP BY host) AS s JOIN audits AS a ON a.id = s.id"""


def up(migrator, db):
    found = db.execute_sql("SELECT type FROM main.sqlite_master WHERE name = ?", (LATEST,))
    if found.fetchone() == ("view",):  # a table of the user's with that name stays
        db.execute_sql(f"DROP VIEW main.{LATEST}")
    db.execute_sql(VIEW)
