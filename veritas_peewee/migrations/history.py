"""Which migrations a file has had: by its record of them, and by the parts that they made.

Another program can empty the record, or alter it. The parts are there all the same, and a migration
that runs a second time would fail, or take what was altered since for what it has to complete.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.migrations.scripts import folder

HISTORY = "veritas_migrations"
COLUMNS = ("id", "name", "applied")
DIRECTORY = folder()
KNOWN = tuple(sorted(path.stem for path in DIRECTORY.glob("[0-9]*.py")))
LEGACY_TABLES = {"audits", "audit_findings", "audit_screenshots", "audit_events"}
MADE: dict[str, tuple[tuple[str, str], ...]] = {
    "0001_initial": (("audit_runners", "session"),),
    "0002_seals": (("audits", "seal"), ("removed_events", "digest"), ("store_heads", "digest")),
    "0003_hosts": (("audits", "host"),),
    "0004_search": (
        ("audit_catalog", "audit_id"),
        ("audit_patterns", "severity"),
        ("search_index", "narrative"),
    ),
    "0006_slices": (("audit_catalog", "slices"), ("audit_counts", "slice")),
    "0007_evidence": (("absent_images", "screenshot_id"), ("import_heads", "position")),
    "0008_words_and_hosts": (("latest_audit_of_each_site", "SELECT host AS site"),),
    "0009_texts_once": (("audit_catalog_texts", "FROM audit_catalog AS c"),),
    "0010_other_tools": (("audit_catalog_texts", "c.id AS rowid"),),
    "0011_tree": (("store_tree", "last_event"),),
}
"""The tables and columns by which it is seen that a migration was applied, or a view or a virtual
table and a part of its text. Whoever adds a migration that makes any puts one here."""


class History(NamedTuple):
    """Which migrations a file has had."""

    tables: frozenset[str]
    """The names of the file's tables, without SQLite's own."""
    recorded: tuple[str, ...]
    """What its record names, in order; empty if there is none that can be read."""
    applied: tuple[str, ...]
    """The known migrations that it has had, by its record or by their parts, in order."""
    trouble: str
    """What is wrong with the record, in words; empty if it is right."""

    @property
    def newer(self) -> list[str]:
        """The migrations of a newer version that the record names."""
        last = KNOWN[-1].partition("_")[0]
        return [
            name for name in self.recorded
            if name.partition("_")[0].isdecimal() and name[: len(last)] > last
        ]  # fmt: skip


def read(database: SqliteStore) -> History:
    """Which migrations the file has had, read without changing anything."""
    tables = frozenset(database.get_tables())
    tables -= {"sqlite_sequence", "sqlite_stat1", "sqlite_stat4"}
    names, trouble = _recorded(database) if HISTORY in tables else ([], "")
    known = set(names) & set(KNOWN)
    applied = tuple(name for name in KNOWN if name in known)
    if applied == KNOWN:
        if not trouble and len(names) > len(KNOWN):
            trouble = f"{HISTORY} names what is not a migration of this version"
        return History(tables, tuple(names), applied, trouble)
    # Migrations are applied in order and one transaction is around each run of them.
    made = _made(database) if tables & LEGACY_TABLES else 0
    last = max([made, *(KNOWN.index(name) + 1 for name in known)])
    if lost := [name for name in KNOWN[:last] if name not in known]:
        if HISTORY not in tables:
            trouble = f"the table {HISTORY} is missing, though the file has what migrations made"
        trouble = trouble or f"{HISTORY} does not name {', '.join(lost)}, though the file has it"
    elif not trouble and len(names) > len(known):
        trouble = f"{HISTORY} names what is not a migration of this version"
    return History(tables, tuple(names), KNOWN[:last], trouble)


def _recorded(database: SqliteStore) -> tuple[list[str], str]:
    """What the record names, and what is wrong with the record itself."""
    trouble = ""
    if (columns := sorted(_columns(database, HISTORY))) != sorted(COLUMNS):
        trouble = f"{HISTORY} has other columns than {', '.join(COLUMNS)}"
    if "name" not in columns:
        return [], trouble
    found = database.execute_sql(f"SELECT typeof(name), CAST(name AS BLOB) FROM {HISTORY}")
    names = []
    for kind, name in found.fetchall():
        text = (name or b"").decode(errors="backslashreplace")
        names.append(text if kind == "text" else f"{text} ({kind})")
    if not trouble and max(Counter(names).values(), default=0) > 1:
        trouble = f"{HISTORY} names a migration twice"
    return sorted(names), trouble


def _made(database: SqliteStore) -> int:
    """How many of the known migrations have been applied, by the parts that are in the file."""
    text = "SELECT type, sql FROM main.sqlite_master WHERE name = ? AND type IN ('table', 'view')"
    for number in range(len(KNOWN), 0, -1):
        for table, part in MADE.get(KNOWN[number - 1], ()):
            for kind, sql in database.execute_sql(text, (table,)).fetchall():
                # SQLite tells no columns of a view or an index whose table is lost.
                is_text = kind == "view" or sql.upper().startswith("CREATE VIRTUAL")
                if part in (sql if is_text else _columns(database, table)):
                    return number
    return 0


def _columns(database: SqliteStore, table: str) -> list[str]:
    rows = database.execute_sql(f"PRAGMA main.table_info({table})").fetchall()
    return [row[1].lower() for row in rows]


def mend(database: SqliteStore, found: History) -> None:
    """Have the record name the migrations that the file has had, and no others.

    What it held beside them is in a table of another name afterwards. The caller must have begun a
    transaction. Raises a driver's error if the record cannot be written.
    """
    from playhouse.migrations import Runner

    if HISTORY in found.tables and sorted(_columns(database, HISTORY)) != sorted(COLUMNS):
        _set_aside(database, found)
    history = Runner(database, str(DIRECTORY), HISTORY).History
    history.create_table()
    database.execute_sql(
        f"DELETE FROM {HISTORY} WHERE typeof(name) <> 'text' OR name NOT IN "
        f"({', '.join('?' * len(KNOWN))}) OR rowid NOT IN "
        f"(SELECT MIN(rowid) FROM {HISTORY} GROUP BY name)",
        KNOWN,
    )
    rows = database.execute_sql(f"SELECT name FROM {HISTORY}").fetchall()
    for name in found.applied:
        if (name,) not in rows:
            history.create(name=name)


def _set_aside(database: SqliteStore, found: History) -> None:
    """Give the altered record another name: others may have stored something of theirs in it."""
    number = 1
    while (aside := f"{HISTORY}_altered_{number}") in found.tables:
        number += 1
    indexes = database.execute_sql(f"PRAGMA main.index_list({HISTORY})").fetchall()
    if f"{HISTORY}_name" in {row[1] for row in indexes}:
        database.execute_sql(f"DROP INDEX main.{HISTORY}_name")
    try:
        database.pragma("legacy_alter_table", 1)
        database.execute_sql(f"ALTER TABLE main.{HISTORY} RENAME TO {aside}")
    finally:
        database.pragma("legacy_alter_table", 0)
