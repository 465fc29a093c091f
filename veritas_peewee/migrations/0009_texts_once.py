# mypy: ignore-errors
"""The catalog stores a text only where it is not the one in the audit's own rows.

An entry's url, narrative or findings are NULL where they are as `audit_catalog_texts` makes them of
those rows; that view is the content of the full-text index. Before such a row is changed, triggers
that every program obeys keep what the entry had of it, for the index must be told which words it is
to forget. They change these columns alone, and so reach no other trigger: a damaged index, or
damaged counts, stop no finding from being stored. Indexes of the audits that began alike are one.
And each audit is counted once for the set of its pattern types, in a slice `p` of its own.
"""

import re

from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.errors import DatabaseCorrupt

SHADOWS = ("search_index_data", "search_index_idx", "search_index_docsize", "search_index_config")
ENTRIES = (
    'CREATE TABLE "audit_catalog_new" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, '
    '"audit_id" VARCHAR(16) NOT NULL, "created_at" DATETIME NOT NULL, '
    '"status" VARCHAR(12) NOT NULL, "risk_level" VARCHAR(50), "site_type" VARCHAR(50), '
    '"audit_tier" VARCHAR(50) NOT NULL, "patterns" JSON NOT NULL, "slices" JSON NOT NULL, '
    '"url" TEXT, "narrative" TEXT, "findings" TEXT, "errors" TEXT NOT NULL, '
    'FOREIGN KEY ("audit_id") REFERENCES "audits" ("id") ON DELETE CASCADE)'
)


def told(audit_id):
    """The text of an audit's findings, as the library makes it of plain texts."""
    return (
        "(SELECT group_concat(line, char(10)) FROM (SELECT pattern_type || "
        "CASE WHEN category <> '' THEN ' (' || category || ')' ELSE '' END || ': ' || "
        "description || char(10) || COALESCE(plain_english, '') AS line FROM audit_findings "
        f"WHERE audit_id = {audit_id} ORDER BY id))"
    )


def texts(entry):
    """An entry's texts, of its own or of its audit, by their names."""
    audit = f"FROM audits WHERE id = {entry}.audit_id"
    return {
        "url": f"COALESCE({entry}.url, (SELECT url {audit}), '')",
        "narrative": f"COALESCE({entry}.narrative, (SELECT narrative {audit}), '')",
        "findings": f"COALESCE({entry}.findings, {told(f'{entry}.audit_id')}, '')",
        "errors": f"{entry}.errors",
    }


def listed(entry):
    return ", ".join(texts(entry).values())


CONTENT = (
    "CREATE VIEW audit_catalog_texts AS SELECT c.id, "
    + ", ".join(f"{text} AS {name}" for name, text in texts("c").items())
    + " FROM audit_catalog AS c"
)
INDEX = (
    "CREATE VIRTUAL TABLE search_index USING fts5(url, narrative, findings, errors, "
    "content = 'audit_catalog_texts', content_rowid = 'id', "
    "tokenize = 'unicode61 remove_diacritics 2')"
)
NAMES = "id, audit_id, created_at, status, risk_level, site_type, audit_tier, patterns, slices"
COPY = (
    f"INSERT INTO audit_catalog_new ({NAMES}, url, narrative, findings, errors) "
    f"SELECT {', '.join('c.' + name for name in NAMES.split(', '))}, NULLIF(c.url, a.url), "
    "CASE WHEN a.id IS NULL THEN c.narrative "
    "ELSE NULLIF(c.narrative, COALESCE(a.narrative, '')) END, "
    f"CASE WHEN a.id IS NULL THEN c.findings "
    f"ELSE NULLIF(c.findings, COALESCE({told('c.audit_id')}, '')) END, c.errors "
    "FROM audit_catalog AS c LEFT JOIN audits AS a ON a.id = c.audit_id"
)
# An id that was given out once is not given out again.
NUMBERS = (
    "INSERT INTO sqlite_sequence (name, seq) SELECT 'audit_catalog_new', 0 "
    "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'audit_catalog_new')",
    "UPDATE sqlite_sequence SET seq = (SELECT MAX(seq) FROM sqlite_sequence "
    "WHERE name IN ('audit_catalog', 'audit_catalog_new')) WHERE name = 'audit_catalog_new'",
)
RENAMED = (
    "DROP TABLE IF EXISTS audit_catalog",
    "ALTER TABLE audit_catalog_new RENAME TO audit_catalog",
    'CREATE UNIQUE INDEX "audit_catalog_audit_id" ON "audit_catalog" ("audit_id")',
)
INDEXES = tuple(
    statement
    for name, wider, columns in (
        ("idx_audits_created_at", "idx_audits_history", '"created_at", "id"'),
        ("idx_audits_status", "idx_audits_status_history", '"status", "created_at", "id"'),
        ("idx_audits_url", "idx_audits_url_history", '"url", "created_at", "id"'),
    )
    for statement in (
        f'DROP INDEX IF EXISTS "{name}"',
        f'DROP INDEX IF EXISTS "{wider}"',
        f'CREATE INDEX "{name}" ON "audits" ({columns})',
    )
)

ADD_TEXT = f"INSERT INTO search_index (rowid, {', '.join(texts('NEW'))}) "
ADD_TEXT += f"VALUES (NEW.id, {listed('NEW')});"
# The index needs the words that it is to forget. Nobody knows them if the audit went first, past
# its trigger; `verify` then names the index.
REMOVE_TEXT = (
    f"INSERT INTO search_index (search_index, rowid, {', '.join(texts('OLD'))}) "
    f"SELECT 'delete', OLD.id, {listed('OLD')} "
    "WHERE EXISTS (SELECT 1 FROM audits WHERE id = OLD.audit_id) OR "
    "(OLD.url IS NOT NULL AND OLD.narrative IS NOT NULL AND OLD.findings IS NOT NULL);"
)


def together(entry):
    """Which pattern types an entry's audit has, as the name of one count; none if it has none."""
    names = f"SELECT key FROM json_each({entry}.patterns) WHERE key <> ''"
    return f"(SELECT json_group_array(key) FROM ({names}))"


def counted(entry):
    return (
        f"{entry}.status, COALESCE({entry}.risk_level, X''), COALESCE({entry}.site_type, X''), "
        f"{entry}.audit_tier"
    )


# Once in each slice, in each of those once for each of its pattern types, and once for the set of
# these.
ADD_COUNTS = (
    "INSERT INTO audit_patterns SELECT key, NEW.created_at, NEW.audit_id, value "
    "FROM json_each(NEW.patterns); "
    f"INSERT INTO audit_counts SELECT s.value, {counted('NEW')}, p.key, 1 "
    "FROM json_each(NEW.slices) AS s, "
    "(SELECT '' AS key UNION SELECT key FROM json_each(NEW.patterns)) AS p WHERE true "
    "ON CONFLICT DO UPDATE SET audits = audits + 1; "
    f"INSERT INTO audit_counts SELECT 'p', {counted('NEW')}, {together('NEW')}, 1 "
    "WHERE NEW.patterns <> '{}' ON CONFLICT DO UPDATE SET audits = audits + 1;"
)
REMOVE_COUNTS = (
    "DELETE FROM audit_patterns WHERE created_at = OLD.created_at AND audit_id = OLD.audit_id "
    "AND pattern_type IN (SELECT key FROM json_each(OLD.patterns)); "
    "UPDATE audit_counts SET audits = audits - 1 "
    "WHERE slice IN (SELECT value FROM json_each(OLD.slices)) "
    f"AND (status, risk_level, site_type, audit_tier) = ({counted('OLD')}) "
    "AND pattern_type IN (SELECT '' UNION SELECT key FROM json_each(OLD.patterns)); "
    "UPDATE audit_counts SET audits = audits - 1 WHERE slice = 'p' "
    f"AND (status, risk_level, site_type, audit_tier) = ({counted('OLD')}) "
    f"AND pattern_type = {together('OLD')};"
)


COUNT_SETS = (
    f"INSERT INTO audit_counts SELECT 'p', {counted('c')}, {together('c')}, COUNT(*) "
    "FROM audit_catalog AS c WHERE c.patterns <> '{}' GROUP BY 2, 3, 4, 5, 6"
)


def changed(*columns):
    return " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in columns)


COUNTED = (
    "audit_id", "created_at", "status", "risk_level", "site_type", "audit_tier", "patterns",
    "slices",
)  # fmt: skip
OLD_TEXTS, NEW_TEXTS = texts("OLD"), texts("NEW")
OF_ENTRIES = (
    # The library itself adds the words of new entries, all at once.
    f"CREATE TRIGGER catalog_insert AFTER INSERT ON audit_catalog BEGIN {ADD_COUNTS} END",
    "CREATE TRIGGER catalog_delete AFTER DELETE ON audit_catalog "
    f"BEGIN {REMOVE_TEXT} {REMOVE_COUNTS} END",
    # The library writes all columns of an entry; what is kept below are the other texts alone.
    "CREATE TRIGGER catalog_text_update AFTER UPDATE OF id, audit_id, errors ON audit_catalog "
    f"WHEN {changed('id')} OR "
    + " OR ".join(f"{OLD_TEXTS[name]} IS NOT {NEW_TEXTS[name]}" for name in OLD_TEXTS)
    + f" BEGIN {REMOVE_TEXT} {ADD_TEXT} END",
    f"CREATE TRIGGER catalog_counts_update AFTER UPDATE OF {', '.join(COUNTED)} ON audit_catalog "
    f"WHEN {changed(*COUNTED)} BEGIN {REMOVE_COUNTS} {ADD_COUNTS} END",
)

# Of audits that run there are no entries: their changes do not look for one.
ENDED = "status IS NOT 'queued' AND {0}status IS NOT 'running'"
# One that has the new one's id is replaced by it.
BOTH = "(NEW.audit_id, (SELECT audit_id FROM audit_findings WHERE id = NEW.id))"
ALL_THREE = BOTH.replace("(", "(OLD.audit_id, ", 1)


def keep(which, audits):
    kept = ", ".join(f"{name} = {texts('audit_catalog')[name]}" for name in which)
    lacking = " OR ".join(f"{name} IS NULL" for name in which)
    return f"UPDATE audit_catalog SET {kept} WHERE audit_id IN {audits} AND ({lacking});"


def one_ended(audits):
    ended = ENDED.format("")
    return f"EXISTS (SELECT 1 FROM audits WHERE id IN {audits} AND {ended})"


ALL = ("url", "narrative", "findings")
# With OR REPLACE, audits that have the new one's id or rowid go without a trigger of their own.
REPLACED = "SELECT id FROM audits WHERE id = NEW.id OR rowid = NEW.rowid"
# An entry whose audit went past all triggers must not take the texts of the new one for its own.
LEFT = "SELECT audit_id FROM audit_catalog WHERE audit_id = NEW.id"
OF_AUDITS = (
    "CREATE TRIGGER keep_texts_audit_insert BEFORE INSERT ON audits "
    f"WHEN EXISTS ({REPLACED}) OR EXISTS ({LEFT}) "
    f"BEGIN {keep(ALL, f'({REPLACED} UNION ALL {LEFT})')} END",
    "CREATE TRIGGER keep_texts_audit_update BEFORE UPDATE OF id, url, narrative, status ON audits "
    f"WHEN {changed('id')} OR (OLD.{ENDED.format('OLD.')} AND ({changed('url', 'narrative')} "
    "OR NEW.status IN ('queued', 'running'))) "
    f"BEGIN {keep(ALL, '(OLD.id, NEW.id)')} END",
    "CREATE TRIGGER catalog_audit_delete BEFORE DELETE ON audits "
    "BEGIN DELETE FROM audit_catalog WHERE audit_id = OLD.id; END",
    "CREATE TRIGGER keep_texts_finding_insert BEFORE INSERT ON audit_findings "
    f"WHEN {one_ended(BOTH)} BEGIN {keep(ALL[2:], BOTH)} END",
    "CREATE TRIGGER keep_texts_finding_update BEFORE UPDATE OF id, audit_id, pattern_type, "
    "category, description, plain_english ON audit_findings "
    f"WHEN {one_ended(ALL_THREE)} BEGIN {keep(ALL[2:], ALL_THREE)} END",
    "CREATE TRIGGER keep_texts_finding_delete BEFORE DELETE ON audit_findings "
    f"WHEN {one_ended('(OLD.audit_id)')} BEGIN {keep(ALL[2:], '(OLD.audit_id)')} END",
)
TRIGGERS = (*OF_ENTRIES, *OF_AUDITS)


def up(migrator, db):
    for trigger in OF_ENTRIES:
        db.execute_sql(f"DROP TRIGGER IF EXISTS {trigger.split()[2]}")
    # SQLite opens an index to drop it, and a damaged one cannot be opened.
    db.execute_sql("PRAGMA writable_schema = ON")
    db.execute_sql("DELETE FROM main.sqlite_master WHERE name = 'search_index'")
    db.execute_sql("PRAGMA writable_schema = RESET")
    for table in SHADOWS:
        db.execute_sql(f"DROP TABLE IF EXISTS main.{table}")
    db.execute_sql(ENTRIES)
    copied = tried(db, COPY)
    for statement in NUMBERS:
        db.execute_sql(statement)
    # Without this, a view of the user's that mentions the catalog stops the renaming.
    db.pragma("legacy_alter_table", 1)
    for statement in RENAMED:
        db.execute_sql(statement)
    db.pragma("legacy_alter_table", 0)
    tables = set(db.get_tables())
    if not (copied and tried(db, "DELETE FROM audit_counts WHERE slice = 'p'", COUNT_SETS)):
        # Damaged, or not as it was: the current code makes all of it anew after this.
        for table in tables.intersection(("audit_catalog", "audit_patterns", "audit_counts")):
            db.execute_sql(f"DELETE FROM {table}")
    for statement in (CONTENT, INDEX, *INDEXES, *TRIGGERS):
        # What belongs to a table that is lost is made with it, by `verify --fix`.
        if (on := re.search(r' ON "?(\w+)', statement)) is None or on[1] in tables:
            db.execute_sql(statement)
    db.execute_sql(
        "INSERT INTO search_index (search_index) "
        "SELECT 'rebuild' WHERE EXISTS (SELECT 1 FROM audit_catalog)"
    )


def tried(db, *statements):
    """Whether statements could be run, all of them or none."""
    try:
        with db.atomic():
            for statement in statements:
                db.execute_sql(statement)
    except (DatabaseCorrupt, *DRIVER_ERRORS):
        return False
    return True
