"""What a transaction will ask for of many audits, read from a server at once.

In a file each question takes some microseconds; on a server each is a way there and back, during
which all other writers wait. So what is asked audit by audit is read before, a few statements for
all, and given from here where it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from peewee import SQL

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.expressions import blob_as_read, is_among
from veritas_peewee.database.statements import per_backend, text_of
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot

if TYPE_CHECKING:
    from veritas_peewee.ledger.children import Digests


class Ahead(NamedTuple):
    """What was read of some audits; who is not in it was not asked for."""

    rows: dict[str, tuple[Any, ...] | None]
    """The values of each audit's row as `stored.audit_row` gives them; None if it is absent."""
    digests: dict[str, Digests]
    events: dict[str, tuple[int, bytes | None]]
    """How many events each has, and the digest of the last."""


@contextmanager
def reading(database: StoreDatabase, audit_ids: Iterable[str], names: tuple[str, ...],
            *, events: bool) -> Iterator[Ahead | None]:  # fmt: skip
    """Inside the block questions about these audits' rows and digests are answered from what was
    read at its beginning; with `events` also what `events` has.

    `names` are the columns of `stored.audit_row`. Where there is no way to a server, nothing is
    read. Nothing of these audits may be changed inside the block before it is asked for.
    """
    ids = list(audit_ids)
    if not database.reads_ahead or len(ids) < 1:
        yield None
        return
    values = (json.dumps(ids),)
    run = database.raw.execute
    found = [run(_rows_sql(names), values)]
    found += [run(_digests_sql(model), values) for model in (AuditFinding, AuditScreenshot)]
    if events:
        found.append(run(_events_sql(), values))
    audits, findings, screenshots, *logs = [cursor.fetchall() for cursor in found]
    rows: dict[str, tuple[Any, ...] | None] = dict.fromkeys(ids)
    rows |= {row[0]: row for row in audits}
    digests: dict[str, Digests] = {audit_id: ([], []) for audit_id in ids}
    for number, children in enumerate((findings, screenshots)):
        for audit_id, digest in children:
            digests[audit_id][number].append(digest)
    counted = {audit_id: (number, last) for audit_id, number, last in logs[0]} if logs else {}
    ahead = Ahead(rows, digests, counted)
    before, database.ahead = database.ahead, ahead
    try:
        yield ahead
    finally:
        database.ahead = before


@per_backend
def _rows_sql(names: tuple[str, ...]) -> str:
    fields = [Audit._meta.fields[name] for name in names]
    return text_of(Audit.select(*fields).where(is_among(Audit.id)))


@per_backend
def _digests_sql(model: Any) -> str:
    query = model.select(model.audit, blob_as_read(model.digest))
    return text_of(query.where(is_among(model.audit)).order_by(model.audit, model.id))


@per_backend
def _events_sql() -> str:
    """SQL for how many events each of some audits has, and the digest of the last."""
    mine = AuditEvent.audit == Audit.id
    last = AuditEvent.select(blob_as_read(AuditEvent.digest)).where(mine)
    last = last.order_by(AuditEvent.id.desc()).limit(SQL("1"))
    count = AuditEvent.select(SQL("COUNT(*)")).where(mine)
    return text_of(Audit.select(Audit.id, count, last).where(is_among(Audit.id)))
