"""The words that entries on PostgreSQL have, held against their texts, and made again."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from veritas_peewee.catalog import vectors
from veritas_peewee.catalog.full_text import CONTENT, WORDS
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database
from veritas_peewee.database.statements import execute
from veritas_peewee.models import AuditCount, AuditPattern, CatalogEntry

_AT_ONCE = 200
"""Entries whose words are compared by one statement."""
_ENTRIES = CatalogEntry._meta.table_name
_DIFFERENT = (
    f"SELECT c.id FROM {_ENTRIES} AS c JOIN unnest(CAST(? AS bigint[]), CAST(? AS text[])) "
    "AS wanted(id, words) ON wanted.id = c.id "
    "WHERE c.words IS DISTINCT FROM CAST(wanted.words AS tsvector)"
)


def agrees(*, thoroughly: bool) -> bool:
    """As `full_text_upkeep.agrees`; each place of each word is compared in any case."""
    return not any(_wrong())


def rebuild(database: StoreDatabase) -> None:
    """Make the words again of those entries that have others."""
    for wrong in _wrong():
        vectors.add_words(database, wrong)


def make_tables() -> None:
    """Empty the tables of the catalog, whatever their triggers would say to it."""
    tables = (model._meta.table_name for model in (CatalogEntry, AuditPattern, AuditCount))
    current_database().execute_sql(f"TRUNCATE {', '.join(tables)}")


Texts = list[tuple[int, list[str]]]
"""Entries, each with its id and its texts."""


def _wrong() -> Iterator[Texts]:
    """The entries whose words are not those of their texts, some at a time."""
    texts = iter(_texts())
    while some := list(islice(texts, _AT_ONCE)):
        made = list(vectors.vectors_of(some))
        lists = [entry for entry, _ in made], [vector for _, vector in made]
        different = {entry for (entry,) in execute(_DIFFERENT, lists)}
        yield [(entry, words) for entry, words in some if entry in different]


def _texts() -> Iterator[tuple[int, list[str]]]:
    last = 0
    text = f"SELECT id, {', '.join(WORDS)} FROM {CONTENT} WHERE id > ? ORDER BY id LIMIT {_AT_ONCE}"
    rows: list[tuple[Any, ...]]
    while rows := execute(text, (last,)):
        last = rows[-1][0]
        yield from ((entry, list(words)) for entry, *words in rows)
