"""The full-text index on PostgreSQL: each entry's words, as FTS5 would cut them, in a `tsvector`.

PostgreSQL's own parser cuts other words (a url is one, scripts without spaces are none), so the
words come from FTS5 in memory, and a search finds on both backends what it finds on either. A word
has at most 2,000 bytes, and of the places of a word in an entry the first 255 count.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from veritas_peewee.catalog.full_text import CONTENT, TOKENIZER, WORDS, marked_apart
from veritas_peewee.database.control import PLANNED_ANEW
from veritas_peewee.database.sqlite import scratch
from veritas_peewee.database.statements import execute
from veritas_peewee.models import CatalogEntry

if TYPE_CHECKING:
    from veritas_peewee.database.connection import StoreDatabase
    from veritas_peewee.database.sqlite_driver import Connection

FOLLOWS_ENTRIES = False
_WEIGHTS = dict(zip(WORDS, "ABCC", strict=True))
"""How much a word in a url, a narrative, findings and errors counts, as the index has it."""
_RANK = "ts_rank('{0.25, 0.25, 0.5, 1.0}', c.words, ask.query)"
_COLUMN = 4000
"""Places that a column has before those of the next one; later ones are all at its end. Between two
columns is a hole, so that no phrase spans them."""
_FIRST = {column: number * (_COLUMN + 90) + 1 for number, column in enumerate(WORDS)}
"""The first place of each column; the last of all is below 16,384, as a `tsvector` needs it."""
_MOST_PLACES, _LONGEST = 255, 2000
_ENTRIES = CatalogEntry._meta.table_name
_PUT = f"UPDATE {_ENTRIES} SET words = CAST(? AS tsvector) WHERE id = ?"
_TEXTS = (
    f"SELECT id, {', '.join(f'left({name}, ?)' for name in WORDS)} FROM {CONTENT} "
    "WHERE id = ANY(CAST(? AS bigint[]))"
)
"""The texts of some entries, each as far as it may be long."""
_TERM = re.compile(r'"([^"]*)"( \*)?')
_OR, _NOT = " OR ", ") NOT ("


def add_words(database: StoreDatabase, entries: list[tuple[int, list[str]]]) -> None:
    """Put the words of entries, each with its id and its texts, into the index."""
    # Not by `executemany`, which in a pipeline waits for an answer.
    for entry, vector in vectors_of(entries):
        database.state.conn.execute(_PUT, (vector, entry))


def vectors_of(entries: list[tuple[int, list[str]]]) -> Iterator[tuple[int, str]]:
    """The id of each entry with the text of the `tsvector` that it should have."""
    cut, columns = _cutter(), ", ".join(WORDS)
    marks = ", ?" * len(WORDS)
    for entry, texts in entries:
        cut.execute("INSERT INTO pieces (pieces) VALUES ('delete-all')")
        cut.execute(f"INSERT INTO pieces (rowid, {columns}) VALUES (1{marks})", texts)
        words: dict[str, list[str]] = {}
        for word, column, place in cut.execute("SELECT term, col, offset FROM cut"):
            at = _FIRST[column] + (place if place < _COLUMN else _COLUMN)
            words.setdefault(word, []).append(f"{at}{_WEIGHTS[column]}")
        vector = [
            f"{_quoted(word)}:{','.join(places[:_MOST_PLACES])}"
            for word, places in words.items()
            if len(word) < _LONGEST // 4 or len(word.encode()) < _LONGEST
        ]
        yield entry, " ".join(vector)


class _Cutter:
    """Tables in memory by which FTS5 cuts texts into words.

    It is one thread's, and closed when that ends: newer Pythons warn of a connection that nobody
    has closed.
    """

    def __init__(self) -> None:
        self.connection = scratch()
        columns = ", ".join(WORDS)
        self.connection.execute(
            f"CREATE VIRTUAL TABLE pieces USING fts5({columns}, content='', {TOKENIZER})"
        )
        self.connection.execute("CREATE VIRTUAL TABLE cut USING fts5vocab(pieces, instance)")

    def __del__(self) -> None:
        self.connection.close()


def _cutter() -> Connection:
    made: _Cutter | None = getattr(_of_thread, "cutter", None)
    if made is None:
        made = _of_thread.cutter = _Cutter()
    return made.connection


_of_thread = threading.local()


def _quoted(word: str) -> str:
    return "'" + word.replace("\\", "\\\\").replace("'", "''") + "'"


# ---- expressions ----


def query_of(expression: str) -> str:
    """A `tsquery` for an expression as `full_text` makes it."""
    # What is between the terms alone: in a phrase the words of operators are words.
    between, phrases = _TERM.split(expression)[:: 1 + _TERM.groups], _phrases(expression)
    if _NOT in between:
        first = between.index(_NOT)
        wanted = [one for one in phrases[:first] if one]
        nots = [f"!({one})" for one in phrases[first:] if one]
        return " & ".join([*wanted, *nots] if wanted else [])
    return (" | " if _OR in between else " & ").join(filter(None, phrases))


def _phrases(expression: str) -> list[str]:
    cut, found = _cutter(), []
    for text, more in _TERM.findall(expression):
        cut.execute("INSERT INTO pieces (pieces) VALUES ('delete-all')")
        cut.execute(f"INSERT INTO pieces (rowid, {WORDS[0]}) VALUES (1, ?)", (text,))
        words = [
            _quoted(word)
            for (word,) in cut.execute("SELECT term FROM cut ORDER BY offset")
            if len(word.encode()) < _LONGEST
        ]
        if words and more:
            words[-1] += ":*"
        found.append(f"({' <-> '.join(words)})" if words else "")
    return found


def matches_sql(*, among: str = "", such: str = "") -> str:
    """As `full_text.matches_sql`; the first of the values is a text of `query_of`."""
    condition = ""
    if among:
        condition = f" AND c.audit_id IN ({among})"
    elif such:
        condition = f" AND EXISTS ({such})"
    # Whether matches are found by the index of words or by reading the newest entries depends on
    # the words. What is sorted are ids: an entry's words are read only to rank it, from the place
    # where this statement has found it.
    return (
        f"{PLANNED_ANEW}SELECT c.id, -{_RANK} FROM (SELECT CAST(? AS tsquery) AS query) AS ask, "
        f"LATERAL (SELECT c.id, c.ctid AS place FROM {_ENTRIES} AS c WHERE c.words @@ ask.query "
        f"AND c.id >= ? AND c.id <= ?{condition} ORDER BY c.id DESC LIMIT ?) AS found "
        f"JOIN {_ENTRIES} AS c ON c.ctid = found.place ORDER BY found.id DESC"
    )


# ---- marking ----


def marked(
    expression: str, entries: Sequence[int], most: int
) -> tuple[list[tuple[Any, ...]], list[int]]:
    """As `full_text.marked`, by an index of these entries alone."""
    short: list[tuple[Any, ...]] = []
    long: list[tuple[Any, ...]] = []
    for row in execute(_TEXTS, (*[most + 1] * len(WORDS), list(entries))):
        (long if sum(map(len, row[1:])) > most else short).append(row)
    return marked_apart(WORDS, short, expression), [row[0] for row in long]


def make_writable(database: StoreDatabase) -> bool:
    """What damages the index damages the table of the entries."""
    return True


def write_words(database: StoreDatabase) -> None:
    """The words are in the entries."""
