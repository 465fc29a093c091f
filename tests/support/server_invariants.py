"""What must hold in every store on a server: what `verify` does not look at there yet."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from veritas_peewee.catalog import vectors
from veritas_peewee.database.current import snapshot
from veritas_peewee.database.statements import execute
from veritas_peewee.ledger.problems import Problems
from veritas_peewee.maintenance import log_check, verify
from veritas_peewee.maintenance.verified import Report

_RULES = {
    "an event's id is in two places": "SELECT id FROM audit_events JOIN removed_events "
    "ON removed_events.event_id = audit_events.id",
    "a child's audit is missing": " UNION ALL ".join(
        f"SELECT audit_id FROM {table} WHERE audit_id NOT IN (SELECT id FROM audits)"
        for table in ("audit_findings", "audit_screenshots", "audit_events", "audit_runners")
    ),
    "screenshots_count is wrong": "SELECT id FROM audits WHERE screenshots_count <> "
    "(SELECT COUNT(*) FROM audit_screenshots WHERE audit_id = audits.id)",
    "the patterns are not those of the catalog": "(SELECT p.key, c.created_at, c.audit_id, "
    "CAST(p.value AS bigint) FROM audit_catalog AS c, "
    "json_each_text(CAST(c.patterns AS json)) AS p "
    "EXCEPT SELECT * FROM audit_patterns) UNION ALL (SELECT * FROM audit_patterns EXCEPT "
    "SELECT p.key, c.created_at, c.audit_id, CAST(p.value AS bigint) FROM audit_catalog AS c, "
    "json_each_text(CAST(c.patterns AS json)) AS p)",
    "an event was removed without its audit": "SELECT event_id FROM removed_events "
    "WHERE audit_id NOT IN (SELECT audit_id FROM removed_audits)",
    "there is more or less than one number of changes": "SELECT 1 FROM store_changes "
    "HAVING COUNT(*) <> 1",
}


def broken() -> list[str]:
    """What of the current database, on a server, is not as it must be."""
    report, problems = Report(), Problems()
    with snapshot():
        verify._check_audits(report, True, None)
        walk = _Walk(problems, None, None)
        walk.through()
        found = [*report.problems, *report.unchecked, *problems]
        for what, sql in _RULES.items():
            if rows := execute(sql, ()):
                found.append(f"{what}: {rows}")
        found += _counts() + _words()
    return found


class _Walk(log_check._Walk):
    def _counter(self) -> None:
        """There is none: ids follow the newest one."""


def _counts() -> list[str]:
    """The counts, which triggers keep up, against those of the entries."""
    columns = "status, risk_level, site_type, audit_tier, patterns, slices"
    wanted: Counter[tuple[Any, ...]] = Counter()
    for *values, patterns, slices in execute(f"SELECT {columns} FROM audit_catalog", ()):
        names = [name for name in json.loads(patterns) if name]
        for part in json.loads(slices):
            wanted.update((part, *values, name) for name in ("", *names))
        if json.loads(patterns):
            wanted[("p", *values, tuple(names))] += 1
    kept = Counter({
        (part, *values, tuple(json.loads(key)) if part == "p" else key): number
        for part, *values, key, number in execute("SELECT * FROM audit_counts", ())
        if number
    })  # fmt: skip
    return [] if kept == wanted else ["the counts are not those of the catalog"]


def _words() -> list[str]:
    """The words of each entry against those that its texts have now."""
    texts = execute("SELECT id, url, narrative, findings, errors FROM audit_catalog_texts", ())
    vectors_of = vectors.vectors_of([(entry, list(rest)) for entry, *rest in texts])
    return [
        f"entry {entry} is not found by its words"
        for entry, vector in vectors_of
        if not execute(
            "SELECT 1 FROM audit_catalog WHERE id = ? AND words = CAST(? AS tsvector)",
            (entry, vector),
        )
    ]
