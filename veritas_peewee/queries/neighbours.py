"""The completed audits of a site just before and just after one of them."""

from __future__ import annotations

import operator
from typing import NamedTuple

from peewee import SQL, Tuple

from veritas_peewee.database.expressions import is_text
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.models import Audit, AuditStatus, audit_time
from veritas_peewee.values.ids import key_of


class Pair(NamedTuple):
    """The ids of two audits, the older one first."""

    older: str
    newer: str


def pairs_beside(older: str, newer: str) -> tuple[Pair | None, Pair | None]:
    """The pairs of completed audits before and after a pair: of the same url if both have the
    same, else of the older one's host. None where there is no further audit."""
    rows = {row[0]: row[1:] for row in execute(_audits_sql(), (key_of(older), key_of(newer)))}
    if len(rows) < 2:
        return None, None
    column = "url" if rows[older][1] == rows[newer][1] else "host"
    site = rows[older][1 if column == "url" else 2]
    if site is None:
        return None, None
    before = execute(_next_sql(column, False), (site, AuditStatus.COMPLETED, rows[older][0], older))
    after = execute(_next_sql(column, True), (site, AuditStatus.COMPLETED, rows[newer][0], newer))
    return (
        Pair(before[0][0], older) if before else None,
        Pair(newer, after[0][0]) if after else None,
    )


@per_backend
def _audits_sql() -> str:
    query = Audit.select(Audit.id, audit_time, Audit.url, Audit.host)
    return text_of(query.where(Audit.id.in_([MARK, MARK])))


@per_backend
def _next_sql(column: str, later: bool) -> str:
    compare = operator.gt if later else operator.lt
    place = (audit_time, Audit.id)
    query = Audit.select(Audit.id).where(
        is_text(Audit._meta.fields[column], MARK),
        Audit.status == MARK,
        compare(Tuple(*place), Tuple(MARK, MARK)),
    )
    return text_of(query.order_by(*[one if later else one.desc() for one in place]).limit(SQL("1")))
