"""The full-text index, in FTS5: its words, its expressions, and the marks around its matches.

Other modules make expressions with `term`, `all_of` and `any_of`, and know nothing else about
FTS5's syntax.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any

from peewee import SQL

from veritas_peewee.catalog.folding import folded
from veritas_peewee.catalog.segments import pages_agree
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.sqlite import scratch
from veritas_peewee.database.statements import execute
from veritas_peewee.models import CatalogEntry

SEARCH_INDEX = "search_index"
CONTENT = "audit_catalog_texts"
"""The view with the texts of all entries, by which FTS5 knows the content of its index."""
TOKENIZER = "tokenize = 'unicode61 remove_diacritics 2'"
WORDS = ("url", "narrative", "findings", "errors")
"""The columns of the full-text index."""
FOLLOWS_ENTRIES = True
"""Whether triggers bring the index up to date when an entry is changed."""
WEIGHTS = "4.0, 2.0, 1.0, 1.0"
"""How much a word in a url, a narrative, findings and errors counts for the rank (BM25)."""

MARKS = "\ufdd0", "\ufdd1"
"""Put around the matches in a snippet. They are noncharacters of Unicode, which no text needs, so
they are removed from texts before these are indexed."""
LEFT_OUT = {0: " "} | {ord(mark): " " for mark in MARKS}
"""Replaces, by `str.translate`, the characters that texts of the index must not have by spaces."""
BREAK = "\u200b"
"""Separates words in the index. A folded text has none of its own."""

# Thai, Lao, Burmese, Khmer; CJK signs, kana and Han. Hangul too: it has spaces between words, but
# its words have endings.
_UNSPACED = (
    "\u0e01-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U000323af"
)


@functools.cache
def _unspaced() -> tuple[re.Pattern[str], re.Pattern[str]]:
    # Compiled only when needed: it takes a fifth of the time of the package's import, and few texts
    # need it.
    between = f"(?<=[{_UNSPACED}])(?=\\w)|(?<=\\w)(?=[{_UNSPACED}])"
    return re.compile(f"[{_UNSPACED}]"), re.compile(between)


def words_of(text: str) -> str:
    """`text` as it is indexed and looked for: folded (`catalog.folding`), and each letter of a
    script without spaces between words is a word of its own.

    So any part of a sentence in such a script can be found, as a phrase.
    """
    if text.isascii():
        return text
    text = folded(text)
    any_letter, between = _unspaced()
    return between.sub(BREAK, text) if any_letter.search(text) else text


def indexed(text: str) -> str:
    """`text` as an entry has it: `words_of`, with a break at its end if another text was written,
    so that only then a snippet looks for that one."""
    words = words_of(text)
    return words if text.isascii() or words.replace(BREAK, "") == text else words + BREAK


def was_folded(entry: str) -> bool:
    """Whether another text was written than an entry has, as `indexed` made it."""
    return entry.endswith(BREAK)


# ---- expressions ----


def term(words: str, *, is_beginning: bool) -> str:
    """The expression for words side by side; with `is_beginning` the last one may be longer."""
    # In quotes nothing is an operator, and words are separated as in the index.
    return f'"{words_of(words)}"{" *" if is_beginning else ""}'


def all_of(wanted: Iterable[str], unwanted: Iterable[str]) -> str:
    """The expression for entries with all wanted terms and no unwanted one; empty if none is
    wanted."""
    # Side by side, not joined by AND: FTS5 then ignores a term in which it finds no word.
    words, others = " ".join(wanted), " OR ".join(unwanted)
    return f"({words}) NOT ({others})" if words and others else words


def any_of(wanted: Iterable[str]) -> str:
    """The expression for entries with any of some terms."""
    return " OR ".join(wanted)


def query_of(expression: str) -> str:
    """An expression as `matches_sql` takes it."""
    return expression


# ---- writing ----

_LAST = 1 << 62
"""So far no counter comes by itself."""


def add_words(database: StoreDatabase, entries: list[tuple[int, list[str]]]) -> None:
    """Add the words of new entries, each with its id and its texts, to the index."""
    if entries:
        database.state.conn.executemany(
            f"INSERT INTO {SEARCH_INDEX} (rowid, {', '.join(WORDS)}) "
            f"VALUES (?{', ?' * len(WORDS)})",
            [(entry, *words) for entry, words in entries],
        )


def make_writable(database: StoreDatabase) -> bool:
    """Whether FTS5 can write to its index.

    If so, entries are numbered on from the newest one where SQLite's counter is at its end: another
    program can have made it anything, and SQLite would then say that the disk is full.
    """
    if not pages_agree():
        return False
    entries = CatalogEntry._meta.table_name
    database.execute_sql(
        f"UPDATE sqlite_sequence SET seq = (SELECT COALESCE(MAX(id), 0) FROM {entries}) "
        f"WHERE name = ? AND (typeof(seq) <> 'integer' OR seq > {_LAST})",
        (entries,),
    )
    return True


def write_words(database: StoreDatabase) -> None:
    """Have FTS5 write what it has collected, so that it is known whether it can.

    Otherwise it does so before the next savepoint or with the COMMIT, and what has no part in it
    fails.
    """
    database.state.conn.execute("SAVEPOINT words")
    database.state.conn.execute("RELEASE words")


# ---- matching and ranking ----

AUDIT_ID = SQL("c.audit_id")
"""The audit of a matching entry, for the query `such` of `matches_sql`."""


def matches_sql(*, among: str = "", such: str = "") -> str:
    """SQL for the newest matches in a range of entries: ids and ranks (BM25, the lower the better).

    `among` is a query for the ids of all audits that may be found; `such` is a query that has a row
    if the audit `AUDIT_ID` may be found. The SQL's values are the expression, the first and the
    last entry, the values of the inner query, and how many matches at most.
    """
    entries = CatalogEntry._meta.table_name
    joined = condition = ""
    if among:
        # A set in which each match is looked up: looking each up in an index would take longer.
        condition = (
            f" AND +i.rowid IN (SELECT c.id FROM ({among}) AS a "
            f"CROSS JOIN {entries} AS c ON c.audit_id = a.id)"
        )
    elif such:
        joined = f"CROSS JOIN {entries} AS c ON c.id = i.rowid "
        condition = f" AND EXISTS ({such})"
    return (
        f"SELECT i.rowid, bm25({SEARCH_INDEX}, {WEIGHTS}) FROM {SEARCH_INDEX} AS i "
        f"{joined}WHERE {SEARCH_INDEX} MATCH ? AND i.rowid >= ? AND i.rowid <= ?{condition} "
        "ORDER BY i.rowid DESC LIMIT ?"
    )


# ---- marking ----


def marked(
    expression: str, entries: Sequence[int], most: int
) -> tuple[list[tuple[Any, ...]], list[int]]:
    """The entries among these that match: the id and the texts of each, with the matches marked.

    Those with more than `most` characters are only named, by their ids.
    """
    size = " + ".join(f"length({name})" for name in WORDS)
    given = f"id IN ({', '.join('?' * len(entries))})"
    text = f"SELECT id FROM {CONTENT} WHERE {given} AND {size} > ?"
    long = [entry for (entry,) in execute(text, (*entries, most))]
    short = [entry for entry in entries if entry not in long]
    if " *" in expression:
        # To look for the beginning of a word, FTS5 reads all words that begin so, again for each
        # entry. In an index of these entries alone they are few.
        text = f"SELECT id, {', '.join(WORDS)} FROM {CONTENT} WHERE id = ?"
        rows = [row for entry in short for row in execute(text, (entry,))]
        return marked_apart(WORDS, rows, expression), long
    text = f"{_marked_sql(SEARCH_INDEX, WORDS)} AND rowid = ?"
    marks = MARKS * len(WORDS)
    rows = [row for entry in short for row in execute(text, (*marks, expression, entry))]
    return rows, long


def marked_apart(
    columns: Sequence[str], rows: list[tuple[Any, ...]], expression: str, most: int = -1
) -> list[tuple[Any, ...]]:
    """The rows (an id, then texts) that match, with marks, found by an index of these rows alone.

    The best `most` of them are returned, best first; all if it is negative.
    """
    with closing(scratch()) as apart:
        apart.execute(f"CREATE VIRTUAL TABLE pieces USING fts5({', '.join(columns)}, {TOKENIZER})")
        apart.executemany(
            f"INSERT INTO pieces (rowid, {', '.join(columns)}) "
            f"VALUES (?{', ?' * len(columns)})", rows
        )  # fmt: skip
        text = f"{_marked_sql('pieces', columns)} ORDER BY rank LIMIT ?"
        return list(apart.execute(text, (*MARKS * len(columns), expression, most)).fetchall())


def _marked_sql(table: str, columns: Sequence[str]) -> str:
    texts = ", ".join(f"highlight({table}, {column}, ?, ?)" for column in range(len(columns)))
    return f"SELECT rowid, {texts} FROM {table} WHERE {table} MATCH ?"
