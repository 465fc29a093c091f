"""Whether the tables and the full-text index derived from the catalog's entries agree with them."""

from __future__ import annotations

from contextlib import closing
from itertools import zip_longest
from typing import Any

from veritas_peewee.catalog.counted import counted_sql
from veritas_peewee.catalog.full_text import CONTENT, SEARCH_INDEX, TOKENIZER, WORDS
from veritas_peewee.catalog.segments import pages_agree
from veritas_peewee.config import MEMORY
from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import DRIVER_ERRORS, lacking, store_error
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.database.statements import execute
from veritas_peewee.errors import DatabaseCorrupt
from veritas_peewee.models import AuditCount, AuditPattern, CatalogEntry

PATTERNS_DISAGREE = "the patterns of audits are not those of the catalog"
COUNTS_DISAGREE = "the counts of audits are not those of the catalog"
INDEX_DISAGREES = "the full-text index is not that of the catalog"


def disagreements(*, by_fts5: bool = False) -> list[str]:
    """A message for each of patterns, counts and full-text index that disagrees with the entries.

    With `by_fts5` FTS5 checks its index itself. It compares the position of each word too, but for
    SQLite this is a write, so the connection must be allowed to write. Otherwise the entries of
    each word are counted.
    """
    agrees = pages_agree() and (_fts5_agrees() if by_fts5 else _index_agrees())
    return _tables() + ([] if agrees else [INDEX_DISAGREES])


def _tables() -> list[str]:
    """A message for each of patterns and counts that disagrees with the entries."""
    catalog, patterns = CatalogEntry._meta.table_name, AuditPattern._meta.table_name
    found = []
    (missing,) = execute(
        f"SELECT COUNT(*) FROM {catalog} AS c, json_each(c.patterns) AS j WHERE NOT EXISTS "
        f"(SELECT 1 FROM {patterns} AS p WHERE p.pattern_type = j.key AND "
        "p.created_at = c.created_at AND p.audit_id = c.audit_id AND p.severity = j.value)",
        (),
    )[0]
    (said,) = execute(f"SELECT COUNT(*) FROM {catalog} AS c, json_each(c.patterns)", ())[0]
    if missing or execute(f"SELECT COUNT(*) FROM {patterns}", ()) != [(said,)]:
        found.append(PATTERNS_DISAGREE)
    table = AuditCount._meta.table_name
    counts = f"SELECT * FROM {table} WHERE audits <> 0 ORDER BY 1, 2, 3, 4, 5, 6"
    if execute(counts, ()) != execute(counted_sql(), ()):
        found.append(COUNTS_DISAGREE)
    return found


# ---- the full-text index ----


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
            with closing(driver.connect(scratch)) as again:
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
