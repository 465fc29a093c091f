# mypy: ignore-errors
"""What Datasette, sqlite-utils and DuckDB need to read each table and each view.

The rows remain as they are, but for the counts: what is counted without a value is under the text
NUL, which no value can be, and no longer under an empty BLOB. DuckDB stops at a value that is not
of its column's type.
"""

from pathlib import Path
from runpy import run_path

from peewee import DatabaseError

BEFORE = run_path(str(Path(__file__).with_name("0009_texts_once.py")))

# Datasette and sqlite-utils take an index for that of a table if its declaration has this text.
# sqlite-utils knows tables only, and both join by rowid: the texts are in a view, and the table is
# named in a comment. SQLite keeps that, and passes it to nobody.
INDEX = (
    "CREATE VIRTUAL TABLE search_index USING fts5(url, narrative, findings, errors, "
    "content=\"audit_catalog_texts\", content_rowid='id', "
    "tokenize='unicode61 remove_diacritics 2' /* by rowid also content=\"audit_catalog\" */)"
)
# DuckDB runs a view itself where it can, and gives the others to SQLite. Its `group_concat` does
# not promise the order of a subquery. In quotes `char` is a function that it does not know, and no
# type as which it could not read it.
TEXTS = {
    name: text.replace("char(10)", '"char"(10)') for name, text in BEFORE["texts"]("c").items()
}
CONTENT = (
    "CREATE VIEW audit_catalog_texts AS SELECT c.id, c.id AS rowid, c.audit_id, "
    + ", ".join(f"{text} AS {name}" for name, text in TEXTS.items())
    + " FROM audit_catalog AS c"
)
# With columns beside a single MAX, which only SQLite has, it was of no use to DuckDB.
LATEST = """CREATE VIEW latest_audit_of_each_site AS
SELECT s.site, s.audits, a.id, a.url, a.status, a.trust_score, a.risk_level, a.site_type,
a.created_at
FROM (SELECT host AS site, COUNT(*) AS audits FROM audits GROUP BY host) AS s
JOIN audits AS a ON a.id = (SELECT n.id FROM audits AS n WHERE n.host = s.site
ORDER BY COALESCE(n.started_at, n.created_at) DESC, n.id DESC LIMIT 1)"""

# Together, for whoever reads the old form and the new one may find both in a damaged file.
COUNTS = (
    "INSERT INTO audit_counts SELECT slice, status, "
    "CASE risk_level WHEN X'' THEN char(0) ELSE risk_level END, "
    "CASE site_type WHEN X'' THEN char(0) ELSE site_type END, audit_tier, pattern_type, "
    "SUM(audits) FROM audit_counts WHERE risk_level = X'' OR site_type = X'' "
    "GROUP BY 1, 2, 3, 4, 5, 6 ON CONFLICT DO UPDATE SET audits = audits + excluded.audits",
    "DELETE FROM audit_counts WHERE risk_level = X'' OR site_type = X''",
)
TRIGGERS = tuple(text.replace("X''", "char(0)") for text in BEFORE["OF_ENTRIES"] if "X''" in text)


def up(migrator, db):
    named = _name_content(db)
    for view in (CONTENT, LATEST):
        name = view.split()[2]
        found = db.execute_sql("SELECT type FROM main.sqlite_master WHERE name = ?", (name,))
        kind = found.fetchone()
        if kind == ("view",):
            db.execute_sql(f"DROP VIEW main.{name}")
        if kind in (None, ("view",)):  # a table of the user's with that name stays
            db.execute_sql(view)
    if not named:
        db.execute_sql("DROP TABLE main.search_index")
        db.execute_sql(INDEX)
        db.execute_sql("INSERT INTO search_index (search_index) VALUES ('rebuild')")
    tables = set(db.get_tables())
    for trigger in TRIGGERS:
        db.execute_sql(f"DROP TRIGGER IF EXISTS main.{trigger.split()[2]}")
        # What belongs to a table that is lost is made with it, by `verify --fix`.
        if "audit_catalog" in tables:
            db.execute_sql(trigger)
    if "audit_counts" in tables:
        for statement in COUNTS:
            db.execute_sql(statement)


def _name_content(db):
    """Give the index its new declaration, and keep its words; False where SQLite is built so that
    nobody changes its schema by hand, as Apple's is: then it is made anew, which takes minutes.

    One that was altered is left to `verify`.
    """
    is_former = ("search_index", BEFORE["INDEX"])
    found = "SELECT 1 FROM main.sqlite_master WHERE name = ? AND sql = ?"
    if not db.execute_sql(found, is_former).fetchone():
        return True
    db.execute_sql("PRAGMA writable_schema = ON")
    try:
        db.execute_sql(
            "UPDATE main.sqlite_master SET sql = ? WHERE name = ? AND sql = ?", (INDEX, *is_former)
        )
    except DatabaseError as error:
        if "may not be modified" not in str(error):
            raise
        return False
    finally:
        db.execute_sql("PRAGMA writable_schema = RESET")
    return True
