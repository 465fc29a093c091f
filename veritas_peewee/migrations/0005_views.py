# mypy: ignore-errors
"""Views with plain names, for a person who opens the file in a SQL shell or a browser of tables.

Nothing in the library reads them. A table of the user's that has such a name is left
alone. A later migration that rebuilds a table must drop them first and make them again.
"""

# The site of an address: lower case, without scheme, user, port, path, final dot and `www.`.
AFTER_SCHEME = "substr(url, CASE instr(url, '://') WHEN 0 THEN 1 ELSE instr(url, '://') + 3 END)"
ONE_SLASH = f"replace(replace({AFTER_SCHEME}, '?', '/'), '#', '/') || '/'"
# Of each address once, which its index gives: an audit is looked at only if it is the latest.
# With a single MAX, the other columns of a group are those of the row that has it.
SITES = f"""
SELECT site, SUM(audits) AS audits, id, MAX(created_at) FROM (
SELECT CASE WHEN host LIKE 'www.%.%' THEN substr(host, 5) ELSE host END AS site,
audits, id, created_at FROM (
SELECT lower(rtrim(CASE
WHEN host LIKE '[%]%' THEN substr(host, 2, instr(host, ']') - 2)
WHEN instr(host, ':') THEN substr(host, 1, instr(host, ':') - 1)
ELSE host END, '.')) AS host, audits, id, created_at FROM (
SELECT substr(host, instr(host, '@') + 1) AS host, audits, id, created_at FROM (
SELECT substr(rest, 1, instr(rest, '/') - 1) AS host, audits, id, created_at FROM (
SELECT {ONE_SLASH} AS rest, COUNT(*) AS audits, id, MAX(created_at) AS created_at
FROM audits GROUP BY url))))) GROUP BY site
"""
FINDINGS = "SELECT COUNT(*) FROM audit_findings WHERE audit_findings.audit_id = a.id"
VERDICT = "a.trust_score, a.risk_level, a.site_type"

VIEWS = (
    # What an audit comes to, the newest first.
    f"""CREATE VIEW IF NOT EXISTS completed_audits AS
SELECT a.id, a.url, {VERDICT}, ({FINDINGS}) AS findings,
({FINDINGS} AND severity = 'critical') AS critical,
({FINDINGS} AND severity = 'high') AS high,
a.screenshots_count AS screenshots, a.pages_scanned, a.elapsed_seconds, a.audit_tier,
a.narrative, a.created_at, a.completed_at
FROM audits AS a WHERE a.status = 'completed' ORDER BY a.created_at DESC, a.id DESC""",
    f"""CREATE VIEW IF NOT EXISTS latest_audit_of_each_site AS
SELECT s.site, s.audits, a.id, a.url, a.status, {VERDICT}, a.created_at
FROM ({SITES.strip()}) AS s JOIN audits AS a ON a.id = s.id""",
    f"""CREATE VIEW IF NOT EXISTS findings_with_urls AS
SELECT f.id, f.audit_id, a.url, a.status, {VERDICT}, f.severity, f.pattern_type, f.category,
f.confidence, f.description, f.plain_english, f.screenshot_index, f.created_at,
lower(hex(f.digest)) AS digest
FROM audit_findings AS f JOIN audits AS a ON a.id = f.audit_id""",
    """CREATE VIEW IF NOT EXISTS screenshots_with_urls AS
SELECT s.id, s.audit_id, a.url, s.index_num, s.label, s.file_path, s.file_size_bytes,
s.media_type, s.sha256, s.created_at, lower(hex(s.digest)) AS digest
FROM audit_screenshots AS s JOIN audits AS a ON a.id = s.audit_id""",
    """CREATE VIEW IF NOT EXISTS event_log AS
SELECT e.id, e.audit_id, a.url, e.timestamp, e.event_type, e.data,
lower(hex(e.digest)) AS digest
FROM audit_events AS e JOIN audits AS a ON a.id = e.audit_id""",
    # What is left of audits that were removed.
    """CREATE VIEW IF NOT EXISTS removed AS
SELECT r.audit_id, r.created_at, r.removed_at, COALESCE(e.events, 0) AS events
FROM removed_audits AS r LEFT JOIN
(SELECT audit_id, COUNT(*) AS events FROM removed_events GROUP BY audit_id) AS e
ON e.audit_id = r.audit_id ORDER BY r.removed_at DESC""",
)


def up(migrator, db):
    for view in VIEWS:
        db.execute_sql(view)
