"""Which pattern types are found in the same audits: each audit is counted by the set of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from peewee import fn

from veritas_peewee.catalog.entries import SET_BUCKET
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.models import AuditCount
from veritas_peewee.queries.buckets import Buckets
from veritas_peewee.queries.filters import Shape, where


def found_together(buckets: Buckets) -> Iterator[tuple[Any, ...]]:
    """How many audits with findings of a pattern type have each other one too, by their sets."""
    values = [SET_BUCKET, *buckets.others.values]
    for told, number in execute(_sets_sql(buckets.others.shape), values):
        together = json.loads(told)
        if buckets.pattern in together:
            for pattern in together:
                yield ("", "", "", "", pattern, number)


@per_backend
def _sets_sql(shape: Shape) -> str:
    query = AuditCount.select(AuditCount.pattern_type, fn.SUM(AuditCount.audits))
    query = where(query.where(AuditCount.slice == MARK), shape, fields=AuditCount._meta.fields)
    return text_of(query.group_by(AuditCount.pattern_type))
