"""The catalog: what the audits that have ended are found and counted by.

An audit gets its entry in the transaction that ends it, so that one that runs costs nothing; from
then on whatever changes it through this library renews the entry before the commit. The full-text
index, the patterns and the counts follow the entry by triggers.
"""

from __future__ import annotations

import functools
import json
import math
import re
from typing import Any

from peewee import SQL

from veritas_peewee.catalog.full_text import KEPT_OUT, words_of
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database
from veritas_peewee.database.failures import add_hint
from veritas_peewee.database.sqlite_errors import CORRUPT_VIRTUAL_TABLE
from veritas_peewee.database.statements import MARK, execute, insert_sql, text_of, update_sql
from veritas_peewee.models import (
    Audit,
    AuditFinding,
    AuditStatus,
    CatalogEntry,
    Severity,
)

UNFINISHED = frozenset((AuditStatus.QUEUED, AuditStatus.RUNNING))
_READ = (
    "url", "status", "audit_tier", "risk_level", "narrative", "site_type", "errors",
    "error_message", "created_at", "trust_score",
)  # fmt: skip
_LEVELS: dict[str, int] = {severity.value: level for level, severity in enumerate(Severity)}
_COLUMNS = tuple(CatalogEntry._meta.sorted_field_names[1:])


_LOST = re.compile(
    r"no such table: (main\.)?(audit_catalog|audit_patterns|audit_counts|search_index\w*)$"
    r"|invalid fts5 file format"
)
"""SQLite has no code of their own for what is missing of the catalog."""


@add_hint
def _when_lost(code: int, text: str) -> str | None:
    if code != CORRUPT_VIRTUAL_TABLE and not _LOST.match(text):
        return None
    return "the search or the counts are damaged, `veritas-peewee verify --fix` makes them again"


def level_of(severity: object) -> int:
    """A severity as a number, the graver the greater; -1 for what is none."""
    return _LEVELS.get(severity, -1) if isinstance(severity, str) else -1


def renew(database: StoreDatabase, audit_id: str, row: dict[str, Any]) -> bool:
    """Bring an audit's entry up to date with its row's stored values; False if it was."""
    wanted = entry_of(audit_id, row)
    found = execute(_entry_sql(), (audit_id,))
    if wanted is None:
        if found:
            CatalogEntry.delete().where(CatalogEntry.id == found[0][0]).execute()
    elif not found:
        database.execute_sql(insert_sql(CatalogEntry, *_COLUMNS), wanted)
    elif found[0][1:] != wanted:
        database.execute_sql(update_sql(CatalogEntry, *_COLUMNS), (*wanted, found[0][0]))
    else:
        return False
    return wanted is not None or bool(found)


def is_current(audit_id: str, row: dict[str, Any]) -> bool:
    """Whether an audit's entry is what its row and its findings tell."""
    wanted = entry_of(audit_id, row)
    return [values[1:] for values in execute(_entry_sql(), (audit_id,))] == (
        [] if wanted is None else [wanted]
    )


def entry_of(audit_id: str, row: dict[str, Any]) -> tuple[Any, ...] | None:
    """The entry's values, in the order of its columns; None while the audit has not ended."""
    if row["status"] in UNFINISHED:
        return None
    patterns: dict[str, int] = {}
    texts = []
    for pattern, category, severity, description, plain in execute(_findings_sql(), (audit_id,)):
        level = level_of(severity)
        # Under "" the worst of all.
        for key in ("", _text(pattern)):
            patterns[key] = max(level, patterns.get(key, -1))
        title = f"{pattern} ({category})" if category else pattern
        texts.append(f"{title}: {description}\n{plain or ''}")
    return (
        audit_id,
        *(row[name] for name in ("created_at", "status", "risk_level", "site_type", "audit_tier")),
        json.dumps(dict(sorted(patterns.items())), ensure_ascii=False),
        json.dumps(buckets_of(row["created_at"], row["trust_score"], patterns.get("", -1))),
        words_of(_text(row["url"])),
        words_of(_text(row["narrative"])),
        words_of(_text("\n".join(texts))),
        words_of(_text("\n".join(_errors(row["errors"], row["error_message"])))),
    )


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


def time_bucket(moment: object) -> str:
    """The days of a month with the same first digit, from the time as it is stored."""
    if isinstance(moment, int | float):
        return TIME_BUCKET  # by another program: in SQLite numbers sort before all text
    return TIME_BUCKET + _text(moment)[:9]


def score_bucket(score: float) -> str:
    """The whole number at or below a score; other programs may have stored one beyond 100."""
    return f"{SCORE_BUCKET}{math.floor(max(-1, min(score, 999))):03d}"


def _text(value: object) -> str:
    return "" if value is None else str(value).translate(KEPT_OUT)


def _errors(stored: object, message: object) -> list[str]:
    try:
        found = json.loads(stored) if isinstance(stored, str) else stored
    except (ValueError, RecursionError):
        found = stored  # edited by hand, it can be anything
    errors = [str(error) for error in (found if isinstance(found, list) else [found]) if error]
    return [*errors, str(message)] if message and str(message) not in errors else errors


@functools.cache
def _entry_sql() -> str:
    query = CatalogEntry.select(*CatalogEntry._meta.sorted_fields)
    return text_of(query.where(CatalogEntry.audit == MARK))


@functools.cache
def _findings_sql() -> str:
    query = AuditFinding.select(
        AuditFinding.pattern_type,
        AuditFinding.category,
        AuditFinding.severity,
        AuditFinding.description,
        AuditFinding.plain_english,
    )
    return text_of(query.where(AuditFinding.audit == MARK).order_by(AuditFinding.id))


def fill() -> int:
    """Make all entries what their audits tell; returns how many were not."""
    database, renewed, last = current_database(), 0, ""
    while ids := execute(_ids_sql(), (last,)):
        for *values, audit_id in ids:
            renewed += renew(database, audit_id, dict(zip(_READ, values, strict=True)))
        last = ids[-1][-1]
    return renewed


@functools.cache
def _ids_sql() -> str:
    query = Audit.select(*(Audit._meta.fields[name] for name in (*_READ, "id")))
    return text_of(query.where(Audit.id > MARK).order_by(Audit.id).limit(SQL("500")))


def counted_sql() -> str:
    """What `audit_counts` must hold."""
    # In each bucket one row for the audit itself, and one for each pattern type.
    entries = CatalogEntry._meta.table_name
    columns = (
        "c.status, COALESCE(c.risk_level, X'') AS r, COALESCE(c.site_type, X'') AS s, c.audit_tier"
    )
    each = f"FROM {entries} AS c, json_each(c.slices) AS part"
    return (
        "SELECT slice, status, r, s, audit_tier, key, COUNT(*) FROM ("
        f"SELECT part.value AS slice, {columns}, '' AS key {each} UNION ALL "
        f"SELECT part.value, {columns}, j.key {each}, json_each(c.patterns) AS j "
        "WHERE j.key <> '') GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6"
    )


def patterns_sql(audits: str) -> str:
    """How many audits have each pattern type, by their entries: a query with the columns status,
    risk level, site type and tier, all empty, then the pattern type and the number.

    `audits` is a query for the ids of the audits that are counted.
    """
    return (
        "SELECT '', '', '', '', j.key, COUNT(*) "
        f"FROM ({audits}) AS m CROSS JOIN {CatalogEntry._meta.table_name} AS c "
        "ON c.audit_id = m.id CROSS JOIN json_each(c.patterns) AS j WHERE j.key <> '' GROUP BY 5"
    )
