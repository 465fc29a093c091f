"""FTS5's index held against the entries, and made again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import zip_longest
from typing import Any

from veritas_peewee.catalog.full_text import CONTENT, SEARCH_INDEX, TOKENIZER, WORDS
from veritas_peewee.catalog.segments import pages_agree
from veritas_peewee.config import MEMORY
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import DRIVER_ERRORS, lacking, store_error
from veritas_peewee.database.sqlite_driver import connect
from veritas_peewee.database.statements import execute
from veritas_peewee.errors import DatabaseCorrupt
from veritas_peewee.migrations.fresh import fresh_parts
from veritas_peewee.models import AuditCount, AuditPattern, CatalogEntry

_SHADOWS = tuple(f"{SEARCH_INDEX}_{part}" for part in ("data", "idx", "docsize", "config"))
_ENTRIES, _PATTERNS, _COUNTS = (
    model._meta.table_name for model in (CatalogEntry, AuditPattern, AuditCount)
)
TABLES = frozenset((SEARCH_INDEX, *_SHADOWS, _ENTRIES, _PATTERNS, _COUNTS))
"""The names of the catalog's tables."""


def agrees(*, thoroughly: bool) -> bool:
    """Whether the index is that of the entries.

    `thoroughly` has FTS5 check it itself. It compares the position of each word too, but for SQLite
    this is a write, so the connection must be allowed to write. Otherwise the entries of each word
    are counted.
    """
    return pages_agree() and (_fts5_agrees() if thoroughly else _index_agrees())


def rebuild(database: StoreDatabase) -> None:
    """Make the index again of the entries."""
    database.execute_sql(f"INSERT INTO {SEARCH_INDEX} ({SEARCH_INDEX}) VALUES ('rebuild')")


def _fts5_agrees() -> bool:
    """Whether FTS5 finds each word of the entries in its index, and nothing else."""
    database = current_database()
    try:
        with database.unit():
            database.execute_sql(
                f"INSERT INTO {SEARCH_INDEX} ({SEARCH_INDEX}, rank) VALUES ('integrity-check', 1)"
            )
    except DRIVER_ERRORS as error:
        if isinstance(store_error(error), DatabaseCorrupt):
            return False
        raise
    return True


def _index_agrees() -> bool:
    """Whether each word is in as many entries as the index says, and the index has all entries."""
    try:
        # A temporary file, which SQLite removes: the words may not fit into memory.
        return _agrees_with_new_one("")
    except DRIVER_ERRORS as error:
        if lacking(error) is None:
            raise
        return _agrees_with_new_one(MEMORY)


def _agrees_with_new_one(scratch: str) -> bool:
    """Whether the index agrees with one that is made anew in the database `scratch`."""
    raw = current_database().raw
    (guarded,) = raw.execute("PRAGMA query_only").fetchone()
    raw.execute("PRAGMA query_only = 0")  # for a table of this connection alone
    try:
        raw.execute("DROP TABLE IF EXISTS temp.indexed")
        raw.execute(f"CREATE VIRTUAL TABLE temp.indexed USING fts5vocab(main, {SEARCH_INDEX}, row)")
        try:
            with closing(connect(scratch)) as again:
                again.execute(
                    "CREATE VIRTUAL TABLE words USING fts5"
                    f"({', '.join(WORDS)}, content = '', detail = none, {TOKENIZER})"
                )
                again.execute("CREATE VIRTUAL TABLE wanted USING fts5vocab(words, row)")
                again.executemany(
                    "INSERT INTO words (rowid, url, narrative, findings, errors) "
                    "VALUES (?, ?, ?, ?, ?)",
                    raw.execute(f"SELECT id, {', '.join(WORDS)} FROM {CONTENT} ORDER BY id"),
                )
                wanted = again.execute("SELECT term, doc FROM wanted")
                # Closed before the table is dropped: a table is locked as long as it is read.
                with closing(raw.execute("SELECT term, doc FROM temp.indexed")) as found:
                    return all(
                        one == other and _is_found(raw, one[0])
                        for one, other in zip_longest(found, wanted)
                    ) and (_sizes_agree(raw, again) and _is_ranked(raw))
        finally:
            raw.execute("DROP TABLE temp.indexed")
    finally:
        raw.execute(f"PRAGMA query_only = {guarded}")


def _is_found(raw: Any, term: str) -> bool:
    """Whether a word that is in the index is also found there."""
    text = "SELECT 1 FROM temp.indexed WHERE term = ?"
    return raw.execute(text, (term,)).fetchone() is not None


def _sizes_agree(raw: Any, again: Any) -> bool:
    """Whether the index has the numbers of words of all texts, by which a match is ranked."""
    text = "SELECT id, CAST(sz AS BLOB) FROM {}_docsize ORDER BY id"
    with closing(raw.execute(text.format(SEARCH_INDEX))) as found:
        wanted = again.execute(text.format("words"))
        return all(one == other for one, other in zip_longest(found, wanted))


def _is_ranked(raw: Any) -> bool:
    """Whether the index can rank a match, for which it needs the size of all its texts together;
    raises DatabaseError if that is damaged."""
    words = raw.execute("SELECT term FROM temp.indexed LIMIT 1").fetchone()
    text = f"SELECT bm25({SEARCH_INDEX}) FROM {SEARCH_INDEX} WHERE {SEARCH_INDEX} MATCH ? LIMIT 1"
    return words is None or raw.execute(text, (f'"{words[0]}"',)).fetchone() is not None


# ---- the tables of the catalog ----


def make_tables() -> None:
    """Make the tables of the catalog anew, without any row."""
    database = current_database()
    last = execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (_ENTRIES,))
    with _schema_writable():
        # SQLite opens an index to drop it, and a damaged one cannot be opened.
        database.execute_sql("DELETE FROM main.sqlite_master WHERE name = ?", (SEARCH_INDEX,))
    database.execute_sql(f"DROP VIEW IF EXISTS main.{CONTENT}")
    for table in (*_SHADOWS, _ENTRIES, _PATTERNS, _COUNTS):
        database.execute_sql(f"DROP TABLE IF EXISTS main.{table}")
    # A table that was given another name has kept its indexes and triggers, with their names.
    for part in fresh_parts().values():
        if part.table in TABLES and part.kind in ("index", "trigger"):
            database.execute_sql(f"DROP {part.kind.upper()} IF EXISTS main.{part.name}")
    # Tables, then their indexes and triggers.
    for statement in sorted(_wanted(), key=lambda text: " TABLE " not in text[:30]):
        database.execute_sql(statement)
    if last:
        # Ids must not be given out twice: the cursors of searches contain them.
        database.execute_sql("DELETE FROM sqlite_sequence WHERE name = ?", (_ENTRIES,))
        database.execute_sql(
            "INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (_ENTRIES, *last[0])
        )


def _wanted() -> Iterator[str]:
    """The statements of this version's schema that make the catalog."""
    for part in fresh_parts().values():
        # With the full-text index SQLite makes its tables.
        if part.table in {*TABLES, CONTENT} and part.name not in _SHADOWS:
            yield part.text


@contextmanager
def _schema_writable() -> Iterator[None]:
    database = current_database()
    database.execute_sql("PRAGMA writable_schema = ON")
    try:
        yield
    finally:
        database.execute_sql("PRAGMA writable_schema = RESET")
