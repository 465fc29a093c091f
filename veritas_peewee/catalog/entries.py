"""The catalog: one entry for each audit that has ended, by which it is found and counted.

An audit gets its entry in the transaction that ends it, so an audit that is still running costs
nothing. Every later change through this library renews the entry before the commit. Triggers on
the entries update the patterns and the counts, and the full-text index but for the words of a new
entry, which are added here.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from veritas_peewee.catalog.full_text import WORDS, indexed
from veritas_peewee.catalog.indexes import index
from veritas_peewee.catalog.texts import all_texts, as_text, findings_text
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.expressions import is_among
from veritas_peewee.database.failures import add_hint
from veritas_peewee.database.sqlite_errors import CORRUPT_VIRTUAL_TABLE
from veritas_peewee.database.statements import (
    MARK,
    execute,
    insert_rows,
    insert_sql,
    per_backend,
    text_of,
    update_sql,
)
from veritas_peewee.models import (
    AuditFinding,
    AuditStatus,
    CatalogEntry,
    Severity,
)

UNFINISHED = frozenset((AuditStatus.QUEUED, AuditStatus.RUNNING))
READ = (
    "url", "status", "audit_tier", "risk_level", "narrative", "site_type", "errors",
    "error_message", "created_at", "trust_score",
)  # fmt: skip
FROM_FINDINGS = ("pattern_type", "category", "severity", "description", "plain_english")
_LEVELS: dict[str, int] = {severity.value: level for level, severity in enumerate(Severity)}
_COLUMNS = tuple(CatalogEntry._meta.sorted_field_names[1:])


_LOST = re.compile(
    r"no such table: (main\.)?(audit_catalog\w*|audit_patterns|audit_counts|search_index\w*)$"
    r"|invalid fts5 file format"
    r"|constraint failed$"  # of a table of FTS5's
    r"|.* constraint failed: (audit_catalog|audit_patterns|audit_counts|search_index\w*)\."
)
"""The messages about damaged parts of the catalog: SQLite has no error codes for just these."""


@add_hint
def _when_lost(code: int, text: str) -> str | None:
    if code != CORRUPT_VIRTUAL_TABLE and not _LOST.match(text):
        return None
    return "the search or the counts are damaged, `veritas-peewee verify --fix` makes them again"


def level_of(severity: object) -> int:
    """A severity as a number, the graver the greater; -1 for a value that is not a severity."""
    return _LEVELS.get(severity, -1) if isinstance(severity, str) else -1


class Entry(NamedTuple):
    """What an audit's entry should be."""

    row: tuple[Any, ...]
    """Its values, in the order of its columns."""
    words: list[str]
    """All of its texts, also those that its row leaves to the view `audit_catalog_texts`."""


def renew_all(
    database: StoreDatabase,
    audits: dict[str, dict[str, Any]],
    findings: dict[str, list[Any]] | None = None,
) -> list[bool]:
    """Bring audits' entries up to date with their rows' stored values; whether each was not.

    `findings` are given for audits that were just inserted, whose ids were checked: those of each,
    with the columns `FROM_FINDINGS`, in the order of their ids.
    """
    there: dict[str, list[Any]] = {}
    if findings is not None or database.reads_ahead:
        there = _entries_of(list(audits))
    if findings is None and database.reads_ahead:
        findings = _findings_of(list(audits))
    new: list[Entry] = []
    words: list[tuple[int, list[str]]] = []
    renewed = []
    for audit_id, row in audits.items():
        if findings is None:
            wanted = entry_of(audit_id, row)
            found = execute(_entry_sql(), (audit_id,))
        else:
            wanted = entry_of(audit_id, row, findings.get(audit_id, []))
            found = there.get(audit_id, [])
        renewed.append(_renew(database, wanted, found, new, words))
    ids = insert_rows(CatalogEntry, _COLUMNS, [entry.row for entry in new])
    words += [(key, entry.words) for key, entry in zip(ids, new, strict=True)]
    # All at once and at the end: before each statement with a trigger FTS5 writes what it has
    # collected.
    index().add_words(database, words)
    return renewed


def _renew(
    database: StoreDatabase,
    wanted: Entry | None,
    found: list[Any],
    new: list[Entry],
    words: list[tuple[int, list[str]]],
) -> bool:
    if wanted is None:
        if found:
            CatalogEntry.delete().where(CatalogEntry.id == found[0][0]).execute()
    elif not found:
        new.append(wanted)
    else:
        is_same = found[0][1:] == wanted.row
        if not is_same:
            database.execute_sql(update_sql(CatalogEntry, *_COLUMNS), (*wanted.row, found[0][0]))
        if not index().FOLLOWS_ENTRIES:  # a text of the audit's own rows can have changed
            words.append((found[0][0], wanted.words))
        if is_same:
            return False
    return wanted is not None or bool(found)


def _entries_of(audit_ids: list[str]) -> dict[str, list[Any]]:
    """The entries of audits, a list for each that has one."""
    rows = execute(_entries_sql(), (json.dumps(audit_ids),))
    return {row[1]: [row] for row in rows}


def _findings_of(audit_ids: list[str]) -> dict[str, list[Any]]:
    """What entries take from the findings of audits."""
    found: dict[str, list[Any]] = {}
    for audit_id, *row in execute(_all_findings_sql(), (json.dumps(audit_ids),)):
        found.setdefault(audit_id, []).append(tuple(row))
    return found


def insert_entry_sql() -> str:
    return insert_sql(CatalogEntry, "id", *_COLUMNS)


def is_current(audit_id: str, row: dict[str, Any]) -> bool:
    """Whether an audit's entry agrees with its row's stored values and its findings."""
    wanted = entry_of(audit_id, row)
    found = execute(_entry_sql(), (audit_id,))
    if wanted is None or len(found) != 1:
        return wanted is None and not found
    # A text that was kept before a change of the audit's rows is right as long as it is the same.
    same = [*wanted.row[: -len(WORDS)], *(words or None for words in wanted.words)]
    return all(map(_is_either, found[0][1:], wanted.row, same))


def _is_either(value: object, one: object, other: object) -> bool:
    return value == one or (value is not None and value == other)


def row_of(values: Iterable[Any]) -> dict[str, Any]:
    """An audit's stored values of the columns `READ`, by their names."""
    return dict(zip(READ, values, strict=True))


def entry_of(audit_id: str, row: dict[str, Any], findings: list[Any] | None = None) -> Entry | None:
    """An audit's entry; None if it has not ended. `findings` have the columns `FROM_FINDINGS`, in
    the order of their ids; they are read if they are not given."""
    if row["status"] in UNFINISHED:
        return None
    if findings is None:
        findings = execute(_findings_sql(), (audit_id,))
    patterns: dict[str, int] = {}
    for pattern, severity in {(found[0], found[2]) for found in findings}:
        level = level_of(severity)
        # The key "" has the worst severity of all findings.
        for key in ("", as_text(pattern)):
            patterns[key] = max(level, patterns.get(key, -1))
    words = list(map(indexed, all_texts(row, findings)))
    values = (
        audit_id,
        # The entry's column cannot be NULL; the audit's can, by another program's hand.
        *("" if row[name] is None else row[name] for name in ("created_at", "status")),
        *(row[name] for name in ("risk_level", "site_type")),
        "" if row["audit_tier"] is None else row["audit_tier"],
        json.dumps(dict(sorted(patterns.items())), ensure_ascii=False),
        json.dumps(buckets_of(row["created_at"], row["trust_score"], patterns.get("", -1))),
        *_own_texts(words, row, findings),
    )
    return Entry(values, words)


def _own_texts(words: list[str], row: dict[str, Any], findings: list[Any]) -> list[str | None]:
    """The texts that an entry has itself; None for one that is as the view `audit_catalog_texts`
    makes it of the audit's rows."""
    url, narrative, told, errors = words
    plain = all(
        type(pattern) is type(description) is str and {type(category), type(more)} <= _TEXT_OR_NONE
        for pattern, category, _, description, more in findings
    )
    return [
        None if _is_as_written(row["url"], url) else url,
        None if _is_as_written(row["narrative"], narrative) else narrative,
        None if plain and told == findings_text(findings) else told,
        errors,
    ]


_TEXT_OR_NONE = {str, type(None)}


def _is_as_written(stored: object, words: str) -> bool:
    return (type(stored) is str and words == stored) or (stored is None and not words)


def texts_of(audit_id: str, row: dict[str, Any]) -> list[str]:
    """The texts that an audit is found by, as they are shown: its entry has them as `indexed`
    makes them. `row` has the audit's url, narrative, errors and error_message, as they are stored
    or as a model has them."""
    return all_texts(row, execute(_findings_sql(), (audit_id,)))


def buckets_of(created_at: object, score: object, level: int) -> list[str]:
    """The buckets in which an audit is counted: one for the worst severity of its findings (every
    audit has one), one for its ten days, and one for its score if it has one.

    Buckets of one sort begin with the same letter and sort in the order of what they represent.
    """
    buckets = [f"{SEVERITY_BUCKET}{level}", time_bucket(created_at)]
    if isinstance(score, int | float):
        buckets.append(score_bucket(score))
    return buckets


SEVERITY_BUCKET, TIME_BUCKET, SCORE_BUCKET = "v", "t", "s"
SET_BUCKET = "p"
"""The bucket in which audits are counted by the set of their pattern types, as JSON."""


def time_bucket(moment: object) -> str:
    """The bucket of a time as it is stored: the days of its month with the same first digit."""
    if isinstance(moment, int | float):
        return TIME_BUCKET  # written by another program; SQLite sorts numbers before text
    return TIME_BUCKET + as_text(moment)[:9]


def score_bucket(score: float) -> str:
    """The bucket of a score: the whole number at or below it, from -1 to 999.

    Scores of ours are 0 to 100, but other programs may have stored any.
    """
    return f"{SCORE_BUCKET}{math.floor(max(-1, min(score, 999))):03d}"


@functools.cache
def _entry_sql() -> str:
    query = CatalogEntry.select(*CatalogEntry._meta.sorted_fields)
    return text_of(query.where(CatalogEntry.audit == MARK))


@per_backend
def _entries_sql() -> str:
    query = CatalogEntry.select(*CatalogEntry._meta.sorted_fields)
    return text_of(query.where(is_among(CatalogEntry.audit)))


@per_backend
def _all_findings_sql() -> str:
    fields = (AuditFinding._meta.fields[name] for name in FROM_FINDINGS)
    query = AuditFinding.select(AuditFinding.audit, *fields)
    query = query.where(is_among(AuditFinding.audit))
    return text_of(query.order_by(AuditFinding.id))


@per_backend
def _findings_sql() -> str:
    query = AuditFinding.select(*(AuditFinding._meta.fields[name] for name in FROM_FINDINGS))
    return text_of(query.where(AuditFinding.audit == MARK).order_by(AuditFinding.id))
