"""SQL for what the catalog's entries are counted by."""

from __future__ import annotations

from veritas_peewee.catalog.entries import SET_BUCKET
from veritas_peewee.models import CatalogEntry


def patterned_sql() -> str:
    """SQL for the rows that `audit_patterns` must hold."""
    return (
        f"SELECT key, created_at, audit_id, value FROM {CatalogEntry._meta.table_name}, "
        "json_each(patterns) ORDER BY 1, 2, 3"
    )


def counted_sql() -> str:
    """SQL for the rows that `audit_counts` must hold."""
    # An audit counts in each of its buckets once for itself, and once for each pattern type; and
    # once for the set of its pattern types.
    entries = CatalogEntry._meta.table_name
    columns = (
        "c.status, COALESCE(c.risk_level, X'') AS r, COALESCE(c.site_type, X'') AS s, c.audit_tier"
    )
    each = f"FROM {entries} AS c, json_each(c.slices) AS part"
    return (
        "SELECT slice, status, r, s, audit_tier, key, COUNT(*) FROM ("
        f"SELECT part.value AS slice, {columns}, '' AS key {each} UNION ALL "
        f"SELECT part.value, {columns}, j.key {each}, json_each(c.patterns) AS j "
        f"WHERE j.key <> '' UNION ALL SELECT '{SET_BUCKET}', {columns}, "
        "(SELECT json_group_array(key) FROM (SELECT key FROM json_each(c.patterns) "
        f"WHERE key <> '')) FROM {entries} AS c WHERE c.patterns <> '{{}}') "
        "GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6"
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
