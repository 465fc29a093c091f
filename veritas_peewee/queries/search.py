"""Full-text search over the audits that have ended, by what people type into a search box.

A page costs the same however many audits match: the newest thousand matches are ranked, then the
thousand before them. So all matches of a rare word are ranked together, and of a word that is in
every audit the newest matches come first. A cursor stays right while audits are added, although
each new audit changes the ranks of all others.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple, Unpack

import peewee
from peewee import SQL

from veritas_peewee.catalog.entries import texts_of
from veritas_peewee.catalog.full_text import AUDIT_ID, LEFT_OUT, all_of, any_of, term
from veritas_peewee.catalog.indexes import index
from veritas_peewee.database.expressions import is_among, is_text
from veritas_peewee.database.instances import models_of
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.models import Audit, CatalogEntry
from veritas_peewee.queries.filters import (
    PINNED,
    Conditions,
    Filters,
    Shape,
    check_names,
    conditions_of,
    where,
)
from veritas_peewee.queries.paging import Page, bad_cursor, check_limit, read_cursor, write_cursor
from veritas_peewee.queries.snippets import Snippet, snippets_of
from veritas_peewee.values.plain import invalid

LONGEST = 1000
"""Characters of a search text that are read; the rest is left out."""
MOST_WORDS = 64
"""Words of a search text that are looked for; the rest is left out."""
BLOCK = 1000
"""How many matches are ranked together."""
_END = 2**62 - 1
"""Beyond all entries."""
_IN_ENTRIES = {
    name: SQL(f"c.{name}")
    for name in ("status", "risk_level", "site_type", "audit_tier", "created_at")
}
"""The columns of audits that their entries have too."""
FEW = 20_000
"""If a site has at most this many audits, they are looked up first, and matches only among them."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An audit that was found."""

    audit: Audit
    snippet: Snippet
    score: float
    """How well it matches (BM25), the greater the better; comparable only within one search."""


class _Position(NamedTuple):
    """Where a search continues: at the matches from entry `high` down to `low` that are not in
    `given`, the entries already on earlier pages."""

    high: int
    low: int
    given: frozenset[int]


def search(
    text: str, *, limit: int = 20, cursor: str | None = None, **filters: Unpack[Filters]
) -> Page[Hit]:
    """One page of at most `limit` audits that match `text`, best first; filters as in `history`.

    An audit matches if it has all words, in any case, with or without accents and other
    marks, and whatever invisible signs are in them: `word`,
    `"exact phrase"`, `-not`, `wor*` for a beginning. Any text is accepted: a text without a word
    to look for finds nothing, and of a very long one the first 64 words within 1,000 characters
    count. A beginning of one or two letters takes longer, because many words have it. `cursor` is
    the `next_cursor` of the page before. Raises InvalidAudit if `text` is not a str, and for a
    filter's bad value, a limit outside 1 to 1000 or a damaged cursor.
    """
    check_names(filters, "search")
    limit = check_limit(limit)
    conditions = conditions_of(filters)
    position = None if cursor is None else _read(cursor)
    words, some = expressions(text)
    if not words:
        return Page([], None)
    if position is None:
        position = _Position(_END, 0, frozenset())
    asked = index().query_of(words)
    block = _block_sql(conditions.shape, _are_few(conditions))
    hits: list[tuple[int, float]] = []
    while True:
        # One more than the page holds, to know whether it is the last.
        limits = (position.low, position.high, *conditions.values, BLOCK + len(position.given))
        found = execute(block, (asked, *limits))
        if not position.low and len(found) >= BLOCK:
            position = position._replace(low=found[-1][0])
        found = [row for row in found if row[0] not in position.given]
        found.sort(key=lambda row: (row[1], -row[0]))
        taken = found[: limit - len(hits)]
        hits += taken
        if len(taken) < len(found):
            given = position.given.union(row[0] for row in taken)
            high = _newest_entry() if position.high == _END else position.high
            next_cursor = _write(_Position(high, position.low, given))
            return Page(_hits(words, some, hits), next_cursor)
        if position.low <= 1:
            return Page(_hits(words, some, hits), None)
        # Entries below may be in `given` too: the cursor can be of another search, or audits have
        # changed since.
        rest = frozenset(entry for entry in position.given if entry < position.low)
        position = _Position(position.low - 1, 0, rest)


def _newest_entry() -> int:
    return int(execute("SELECT COALESCE(MAX(id), 0) FROM audit_catalog", ())[0][0])


def _are_few(conditions: Conditions) -> bool:
    """Whether only one site is asked for, and it has few audits: these are looked up first."""
    for one in conditions.on(*PINNED).columns:
        found = execute(_site_sql(one.column), (one.value, FEW + 1))
        return int(found[0][0]) <= FEW
    return False


@per_backend
def _site_sql(column: str) -> str:
    site = Audit.select(SQL("1")).where(is_text(Audit._meta.fields[column], MARK)).limit(MARK)
    return f"SELECT COUNT(*) FROM ({text_of(site)}) AS site"


@per_backend
def _block_sql(shape: Shape, few: bool) -> str:
    """SQL for the newest matches in a range of entries, with their ranks."""
    if few:
        return index().matches_sql(
            among=text_of(where(Audit.select(Audit.id), shape, looked_up=PINNED))
        )
    if shape == Shape():
        return index().matches_sql()
    if shape.finding is None and shape.names <= _IN_ENTRIES.keys():
        # What the entry itself says costs a third of what its audit's row does.
        entry = where(peewee.Select(columns=[SQL("1")]), shape, fields=_IN_ENTRIES)
        return index().matches_sql(such=text_of(entry))
    audit = Audit.select(SQL("1")).where(Audit.id == AUDIT_ID)
    # The audit is known, so no index is to be taken for its other columns.
    return index().matches_sql(such=text_of(where(audit, shape, looked_up=frozenset())))


def _hits(words: str, some: str, found: list[tuple[int, float]]) -> list[Hit]:
    if not found:
        return []
    rows = execute(_audits_sql(), (json.dumps([entry for entry, _ in found]),))
    # Without those whose audit another program has removed without foreign keys.
    there = [row[-1] for row in rows]
    audits = dict(zip(there, models_of(Audit, [row[:-1] for row in rows]), strict=True))

    def originals(entry: int) -> list[str]:
        audit = audits[entry]
        return texts_of(audit.id, audit.__data__)

    snippets = snippets_of(words, some, there, originals)
    return [
        Hit(audits[entry], snippets[entry], -rank) for entry, rank in found if entry in snippets
    ]


@per_backend
def _audits_sql() -> str:
    """SQL for the audits of some entries, each with the id of its entry behind all its columns."""
    query = Audit.select(*Audit._meta.sorted_fields, CatalogEntry.id).from_(Audit, CatalogEntry)
    query = query.where(CatalogEntry.audit == Audit.id, is_among(CatalogEntry.id))
    return text_of(query)


# ---- what people type ----

_QUOTES = dict.fromkeys(map(ord, "“”„‟«»\uff02"), '"')
_UNSEARCHABLE = dict.fromkeys(range(0xD800, 0xE000), " ") | LEFT_OUT | _QUOTES
_WORD = re.compile(r'(?P<no>-*)(?:"(?P<phrase>[^"]*)"?|(?P<word>[^\s"]+))(?P<more>\*?)')


def expressions(text: object) -> tuple[str, str]:
    """Two expressions of the index: for what `text` asks for, and for any of its wanted words.

    Both are empty if there are no wanted words. Raises InvalidAudit if `text` is not a str.
    """
    if not isinstance(text, str):
        raise invalid("text", "must be text", text)
    wanted: dict[str, None] = {}
    unwanted: dict[str, None] = {}
    for found in _WORD.finditer(text[:LONGEST].translate(_UNSEARCHABLE)):
        words = found["phrase"] if found["word"] is None else found["word"]
        more = found["more"] or ("*" if found["word"] and words.endswith("*") else "")
        if any(character.isalnum() for character in words):
            (unwanted if found["no"] else wanted)[term(words, is_beginning=bool(more))] = None
        if len(wanted) + len(unwanted) == MOST_WORDS:
            break
    return all_of(wanted, unwanted), any_of(wanted)


# ---- cursors ----


def _write(position: _Position) -> str:
    given = sorted(position.given)
    steps = [later - earlier for earlier, later in pairwise([0, *given])]
    return write_cursor([position.high, position.low, *steps])


def _read(cursor: str) -> _Position:
    numbers = read_cursor(cursor, "search")
    if len(numbers) < 2 or not all(type(one) is int and 0 <= one < 2**62 for one in numbers):
        raise bad_cursor(cursor, "search")
    high, low, *steps = numbers
    return _Position(high, low, frozenset(accumulate(steps)))
