"""Which audits are old enough to be removed.

An audit's age counts from when it was stored, so that an old result that was ingested today is not
gone tomorrow. The newest of a site are the audits that ran last, as its trend shows them.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import peewee

from veritas_peewee.catalog.entries import UNFINISHED
from veritas_peewee.database.current import current_database
from veritas_peewee.database.expressions import only_text
from veritas_peewee.database.statements import per_backend, text_of
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.models import Audit
from veritas_peewee.values.addresses import host_of
from veritas_peewee.values.moments import format_datetime, utc_now
from veritas_peewee.values.plain import invalid


def check_limits(older_than: object, keep_newest: object) -> None:
    """Raise InvalidAudit if both limits are missing or one of them is not a limit."""
    if older_than is None and keep_newest is None:
        raise InvalidAudit("prune: say what may go: older_than, keep_newest, or both")
    if older_than is not None:
        _moment(older_than)
    if keep_newest is not None and (
        isinstance(keep_newest, bool) or not isinstance(keep_newest, int) or keep_newest < 0
    ):
        raise invalid("keep_newest", "must be a whole number from 0 on", keep_newest)


def _moment(older_than: object) -> datetime:
    """The moment before which audits are removed, in UTC; InvalidAudit."""
    if isinstance(older_than, datetime):
        if older_than.tzinfo is None:
            raise invalid("older_than", "must have a time zone", older_than)
        return older_than.astimezone(UTC)
    if not isinstance(older_than, timedelta) or older_than < timedelta(0):
        raise invalid("older_than", "must be an age (a timedelta) or a moment", older_than)
    try:
        return utc_now() - older_than
    except OverflowError:  # before the first date that a datetime can hold
        return datetime.min.replace(tzinfo=UTC)


class Expired(NamedTuple):
    """Which ended audits may be removed."""

    ids: list[str]
    """The oldest first."""
    undated: list[Any]
    """The ids of audits of which nobody knows how old they are: another program has stored
    something else than a moment as `created_at`. They stay."""


def expired(older_than: timedelta | datetime | None, keep_newest: int | None) -> Expired:
    """The ended audits of the current database that may be removed."""
    before = None if older_than is None else format_datetime(_moment(older_than))
    newest: Counter[str] = Counter()
    found = Expired([], [])
    check_stored = Audit._meta.fields["created_at"].check_stored
    for audit_id, url, created in current_database().execute_sql(_ended_sql(), ()):
        try:
            check_stored(created)
        except InvalidAudit:
            found.undated.append(audit_id)
            continue
        if keep_newest is not None:
            site = host_of(url) if isinstance(url, str) else ""
            site = site or str(url)
            newest[site] += 1
            if newest[site] <= keep_newest:
                continue
        if before is None or created < before:
            found.ids.append(audit_id)
    found.ids.reverse()
    return found


@per_backend
def _ended_sql() -> str:
    going = [peewee.SQL(f"'{status}'") for status in sorted(UNFINISHED)]
    query = Audit.select(Audit.id, Audit.url, Audit.created_at)
    query = query.where(Audit.status.not_in(going))
    # What another program stored there instead of a time says nothing about when it ran.
    ran = peewee.fn.COALESCE(only_text(Audit.started_at), Audit.created_at)
    return text_of(query.order_by(ran.desc(), Audit.id.desc()))
