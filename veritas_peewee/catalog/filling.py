"""The entries of all audits at once: brought up to date, or made where there are none."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from peewee import SQL, NodeList

from veritas_peewee.catalog import entries, full_text
from veritas_peewee.catalog.counted import counted_sql, patterned_sql
from veritas_peewee.catalog.full_text import CONTENT, WORDS
from veritas_peewee.catalog.indexes import index
from veritas_peewee.database.current import current_database
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.migrations.fresh import fresh_parts
from veritas_peewee.models import Audit, AuditCount, AuditFinding, AuditPattern, CatalogEntry
from veritas_peewee.values.odd_text import OddText, after

AT_ONCE = 500
"""How many audits are read together."""
_TRIGGER = "catalog_insert"


def fill(*, other_than_ascii: bool = False) -> int:
    """Bring the entries of all audits up to date, or only those with other text than ASCII; returns
    how many were not."""
    if (
        index().FOLLOWS_ENTRIES
        and not other_than_ascii
        and not CatalogEntry.select(SQL("1")).exists()
    ):
        return _make_all()
    database, renewed = current_database(), 0
    last: Any = ""
    while rows := execute(_ids_sql(other_than_ascii), (last,)):
        # SQLite cannot be given back an id that is not valid text.
        found = {row[0]: entries.row_of(row[1:]) for row in rows if not isinstance(row[0], OddText)}
        renewed += sum(entries.renew_all(database, found))
        last = rows[-1][0]
        if isinstance(last, OddText):
            last = after(last, len(last))
    return renewed


def are_lost() -> bool:
    """Whether there are audits that have ended, and no entry at all."""
    ended = Audit.select(SQL("1")).where(Audit.status.not_in([str(one) for one in _UNFINISHED]))
    return ended.exists() and not CatalogEntry.select(SQL("1")).exists()


_UNFINISHED = sorted(entries.UNFINISHED)


@per_backend
def _ids_sql(other_than_ascii: bool) -> str:
    query = Audit.select(*(Audit._meta.fields[name] for name in ("id", *entries.READ)))
    query = query.where(Audit.id > MARK)
    if other_than_ascii:
        entry = CatalogEntry.select(CatalogEntry.id).where(CatalogEntry.audit == Audit.id)
        longer = " OR ".join(f"length(CAST({name} AS BLOB)) > length({name})" for name in WORDS)
        ours = SQL(f"EXISTS (SELECT 1 FROM {CONTENT} AS t WHERE t.id ="), entry
        query = query.where(NodeList((*ours, SQL(f"AND ({longer}))"))))
    return text_of(query.order_by(Audit.id).limit(SQL(str(AT_ONCE))))


# ---- where there are none ----


def _make_all() -> int:
    """Make all entries, oldest first, and what triggers would make of each, at the end.

    Beside a trigger FTS5 writes the words of each entry by themselves, for each statement could
    have to be undone; and to count one audit after the other takes longer than to count them all.
    """
    database = current_database()
    patterns, counts = AuditPattern._meta.table_name, AuditCount._meta.table_name
    database.execute_sql(f"DROP TRIGGER IF EXISTS main.{_TRIGGER}")
    for table in (patterns, counts):
        database.execute_sql(f"DELETE FROM {table}")
    table = CatalogEntry._meta.table_name
    last = execute("SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = ?", (table,))
    first = number = int(last[0][0])
    connection = database.state.conn
    for made in _entries():
        connection.executemany(
            entries.insert_entry_sql(),
            [(number + place, *entry.row) for place, entry in enumerate(made, 1)],
        )
        full_text.add_words(
            database, [(number + at, entry.words) for at, entry in enumerate(made, 1)]
        )
        number += len(made)
    database.execute_sql(f"INSERT INTO {patterns} {patterned_sql()}")
    database.execute_sql(f"INSERT INTO {counts} {counted_sql()}")
    database.execute_sql(fresh_parts()["trigger", _TRIGGER].text)
    return number - first


def _entries() -> Iterator[list[entries.Entry]]:
    """The entries of all audits that have ended, some at a time."""
    last = -(2**63)
    while rows := execute(_rows_sql(), (last,)):
        last = rows[-1][0]
        told = _findings_of(rows[0][0], last)
        made = [
            entries.entry_of(audit_id, entries.row_of(values), told[audit_id])
            for _, audit_id, *values in rows
            if not isinstance(audit_id, OddText)
        ]
        yield [entry for entry in made if entry is not None]


def _findings_of(first: int, last: int) -> defaultdict[str, list[Any]]:
    """What the entries of audits take from their findings, by audit id."""
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for audit_id, *values in execute(_findings_sql(), (first, last)):
        if not isinstance(audit_id, OddText):
            found[audit_id].append(values)
    return found


@functools.cache
def _rows_sql() -> str:
    columns = ", ".join(entries.READ)
    return (
        f"SELECT rowid, id, {columns} FROM {Audit._meta.table_name} "
        f"WHERE rowid > ? ORDER BY rowid LIMIT {AT_ONCE}"
    )


@functools.cache
def _findings_sql() -> str:
    # By their audits' rows: an id of another program's can be anything.
    ids = f"SELECT id FROM {Audit._meta.table_name} WHERE rowid BETWEEN ? AND ?"
    return (
        f"SELECT audit_id, {', '.join(entries.FROM_FINDINGS)} FROM {AuditFinding._meta.table_name} "
        f"WHERE audit_id IN ({ids}) ORDER BY audit_id, id"
    )
