"""Whether the tables and the full-text index derived from the catalog's entries agree with them."""

from __future__ import annotations

from veritas_peewee.catalog.counted import counted_sql
from veritas_peewee.catalog.indexes import upkeep
from veritas_peewee.database.expressions import json_items
from veritas_peewee.database.statements import execute
from veritas_peewee.models import AuditCount, AuditPattern, CatalogEntry

PATTERNS_DISAGREE = "the patterns of audits are not those of the catalog"
COUNTS_DISAGREE = "the counts of audits are not those of the catalog"
INDEX_DISAGREES = "the full-text index is not that of the catalog"


def disagreements(*, thoroughly: bool = False) -> list[str]:
    """A message for each of patterns, counts and full-text index that disagrees with the entries.

    `thoroughly` compares the position of each word too, on a connection that may write.
    """
    agrees = upkeep().agrees(thoroughly=thoroughly)
    return _tables() + ([] if agrees else [INDEX_DISAGREES])


def _tables() -> list[str]:
    """A message for each of patterns and counts that disagrees with the entries."""
    catalog, patterns = CatalogEntry._meta.table_name, AuditPattern._meta.table_name
    items = json_items("c.patterns")
    found = []
    (missing,) = execute(
        f"SELECT COUNT(*) FROM {catalog} AS c, {items} AS j WHERE NOT EXISTS "
        f"(SELECT 1 FROM {patterns} AS p WHERE p.pattern_type = j.key AND "
        "p.created_at = c.created_at AND p.audit_id = c.audit_id AND p.severity = j.value)",
        (),
    )[0]
    (said,) = execute(f"SELECT COUNT(*) FROM {catalog} AS c, {items} AS j", ())[0]
    if missing or execute(f"SELECT COUNT(*) FROM {patterns}", ()) != [(said,)]:
        found.append(PATTERNS_DISAGREE)
    table = AuditCount._meta.table_name
    counts = execute(f"SELECT * FROM {table} WHERE audits <> 0", ())
    wanted = execute(counted_sql(), ())
    # Each backend sorts in its own way.
    if len(counts) != len(wanted) or set(counts) != set(wanted):
        found.append(COUNTS_DISAGREE)
    return found
