"""SQL for what the catalog's entries are counted by."""

from __future__ import annotations

from veritas_peewee.catalog.entries import SET_BUCKET
from veritas_peewee.database.expressions import (
    as_key,
    join_in_order,
    json_items,
    json_keys,
    json_list,
    json_of_keys,
)
from veritas_peewee.models import CatalogEntry


def patterned_sql() -> str:
    """SQL for the rows that `audit_patterns` must hold."""
    return (
        f"SELECT j.key, c.created_at, c.audit_id, j.value FROM {CatalogEntry._meta.table_name} "
        f"AS c, {json_items('c.patterns')} AS j ORDER BY 1, 2, 3"
    )


def counted_sql() -> str:
    """SQL for the rows that `audit_counts` must hold."""
    # An audit counts in each of its buckets once for itself, and once for each pattern type; and
    # once for the set of its pattern types.
    entries = CatalogEntry._meta.table_name
    columns = f"c.status, {as_key('c.risk_level')} AS r, {as_key('c.site_type')} AS s, c.audit_tier"
    each = f"FROM {entries} AS c, {json_list('c.slices')} AS part"
    return (
        "SELECT slice, status, r, s, audit_tier, key, COUNT(*) FROM ("
        f"SELECT part.value AS slice, {columns}, '' AS key {each} UNION ALL "
        f"SELECT part.value, {columns}, j.key {each}, {json_items('c.patterns')} AS j "
        f"WHERE j.key <> '' UNION ALL SELECT '{SET_BUCKET}', {columns}, "
        f"{json_of_keys('c.patterns')} FROM {entries} AS c WHERE c.patterns <> '{{}}') AS counted "
        "GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6"
    )


def patterns_sql(audits: str) -> str:
    """How many audits have each pattern type, by their entries: a query with the columns status,
    risk level, site type and tier, all empty, then the pattern type and the number.

    `audits` is a query for the ids of the audits that are counted.
    """
    return (
        "SELECT '', '', '', '', j.key, COUNT(*) "
        f"FROM ({audits}) AS m {join_in_order()} {CatalogEntry._meta.table_name} AS c "
        f"ON c.audit_id = m.id CROSS JOIN {json_keys('c.patterns')} AS j "
        "WHERE j.key <> '' GROUP BY j.key"
    )
