"""Which audits an export takes, found page by page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from veritas_peewee import queries
from veritas_peewee.database import current_database
from veritas_peewee.filters import moment
from veritas_peewee.models import Audit
from veritas_peewee.rows import MARK, execute, not_found, text_of

_PAGE = 500


def selected_ids(ids: Iterable[str] | None, filters: dict[str, Any]) -> Iterator[str]:
    """The ids of the audits to take: `ids`, or what the history's filters leave, newest first.

    Raises AuditNotFound before the first one for an id that is not there, and what
    `queries.history` raises. Audits that are added meanwhile are not among them.
    """
    if ids is not None:
        wanted = list(dict.fromkeys(ids))
        text = text_of(Audit.select(Audit.id).where(Audit.id == MARK))
        for audit_id in wanted:
            if not execute(text, (audit_id,)):
                raise not_found(audit_id)
        yield from wanted
        return
    # Once: what is `7d` ago moves on while the pages are read.
    filters = {name: moment(name, value) if name in ("since", "until") else value
               for name, value in filters.items()}  # fmt: skip
    database, cursor = current_database(), None
    while True:
        page = queries.history(**filters, limit=_PAGE, cursor=cursor)
        yield from [audit.id for audit in page.items]
        # What has been read will not be read again.
        database.raw.execute("PRAGMA shrink_memory")
        if (cursor := page.next_cursor) is None:
            return


def how_many(ids: Iterable[str] | None, filters: dict[str, Any]) -> int | None:
    """How many audits `selected_ids` gives, if that is known without looking for them."""
    if ids is not None:
        return len(set(ids))
    if any(value is not None for value in filters.values()):
        return None
    return int(Audit.select().count())
