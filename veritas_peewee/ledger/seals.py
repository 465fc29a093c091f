"""Digests of rows, and an audit's seal over its row and everything that belongs to it.

A change of a row through this library renews the row's digest and its audit's seal before it is
committed. A change in any other way does not, and `verify` then names that row.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

import peewee

from veritas_peewee.catalog import renewing
from veritas_peewee.catalog.entries import FROM_FINDINGS
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database
from veritas_peewee.database.expressions import blob_as_read, is_integer
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of, update_sql
from veritas_peewee.ledger import log
from veritas_peewee.ledger.ahead import reading
from veritas_peewee.ledger.children import Children, read_digests, totals
from veritas_peewee.ledger.digests import covered as covered
from veritas_peewee.ledger.digests import digest_of as digest_of
from veritas_peewee.ledger.digests import marked
from veritas_peewee.ledger.ending import entry_of, is_followed
from veritas_peewee.ledger.followed import Followed
from veritas_peewee.ledger.formulas import (
    ended_seal,
    is_older_seal,
    is_unfinished,
    running_seal,
    running_seal_of,
)
from veritas_peewee.ledger.memory import Remembered, State, cannot_be_read, remembered
from veritas_peewee.ledger.stored import AT, FINDING, ROW, SEAL, audit_row
from veritas_peewee.ledger.stored import stored_audit as stored_audit
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot
from veritas_peewee.values.addresses import host_of

Entries = dict[str, dict[str, Any]]
"""The rows of audits that have ended, for their entries in the catalog: values by column."""


def renew(database: StoreDatabase, memory: Remembered) -> None:
    """Bring digests, seals, hosts and the catalog up to date with the changes in `memory`."""
    if memory.unchained_after is not None:
        log.chain_raw(database, memory)
    for table, row_id in memory.take_rows():
        model = AuditFinding if table == AuditFinding._meta.table_name else AuditScreenshot
        for values in execute(row_sql(model), (row_id,)):
            database.execute_sql(update_sql(model, "digest"), (digest_of(values), row_id))
    ended: Entries = {}
    audits = memory.take_audits()
    if database.reads_ahead:
        unread = [one for one in audits if not (is_read(memory, one) or is_followed(memory, one))]
        with reading(database, unread, ROW, events=True):
            _renew_audits(database, memory, audits, ended)
    else:
        _renew_audits(database, memory, audits, ended)
    if ended:
        renewing.renew_all(database, ended)
    if memory.removed:
        renewing.write_words(database)
        memory.removed = False


def _renew_audits(
    database: StoreDatabase, memory: Remembered, audits: list[str], ended: Entries
) -> None:
    for audit_id in audits:
        _renew_audit(database, memory, audit_id, ended)


def is_read(memory: Remembered, audit_id: str) -> bool:
    """Whether an audit can be sealed by what is remembered of it."""
    children = memory.children.get(audit_id)
    return (
        children is not None
        and children.row is not None
        and audit_id not in memory.changed_rows
        and memory.known.get(audit_id) is not State.WRONG
    )


def _renew_audit(
    database: StoreDatabase, memory: Remembered, audit_id: str, ended: Entries
) -> None:
    children = memory.children.get(audit_id)
    if is_read(memory, audit_id) and children is not None and children.row is not None:
        if children.is_sealed:  # by the statement that changed the row
            return
        # Findings or screenshots were added, and nothing else was changed: nothing is to be read.
        seal = running_seal_of(children.row, children)
        if seal != children.seal:
            database.state.conn.execute(update_sql(Audit, "seal"), (seal, audit_id))
            memory.set_children(audit_id, children._replace(seal=seal, is_sealed=True))
            memory.changes += 1
            if (stored := memory.stored.get(audit_id)) is not None:
                stored[SEAL] = seal
        return
    followed = memory.followed.get(audit_id) if is_followed(memory, audit_id) else None
    memory.changed_rows.discard(audit_id)
    try:
        found = memory.stored.pop(audit_id, None) or audit_row(database, audit_id)
    except DRIVER_ERRORS as error:
        if not cannot_be_read(error):
            raise
        found = None  # there is nothing that could be sealed
    if found is None:
        memory.changes += 1
        return
    *values, old_seal, old_count, old_host = found
    sealed = _sealed(database, memory, audit_id, values, followed)
    if sealed is not None and sealed != (old_seal, old_count):
        update = update_sql(Audit, "seal", "sealed_events")
        database.state.conn.execute(update, (*sealed, audit_id))
    # What did not change the seal changed nothing; what is not sealed may have changed anything.
    memory.changes += sealed is None or sealed != (old_seal, old_count)
    _set_host(database, audit_id, values, old_host)
    if sealed is not None and memory.is_cached(audit_id):
        memory.stored[audit_id] = [*values, *sealed, host_in(values)]
    # An audit that never ended has no entry; to look for one would slow down every event.
    if old_count or not is_unfinished(values):
        columns = dict(zip(covered(Audit), values, strict=True))
        if followed is None or sealed is None or is_unfinished(values):
            ended[audit_id] = columns
            return
        memory.stored[audit_id] = [*values, *sealed, host_in(values)]
        entry = entry_of(sealed[0], columns, followed)
        if followed.entry != entry:
            ended[audit_id] = columns
            followed.entry = entry


def _sealed(
    database: StoreDatabase,
    memory: Remembered,
    audit_id: str,
    values: list[Any],
    followed: Followed | None,
) -> tuple[str, int | None] | None:
    """An audit's seal as it is now, and how many events it covers; None if it is not to be renewed.

    Until the audit ends, the seal covers its row, its findings and its screenshots, and the number
    is None. From its end on the seal also covers the log as it was then.
    """
    if memory.known.get(audit_id) is State.WRONG:
        return None
    children = memory.children.get(audit_id)
    if is_unfinished(values):
        if children is None:
            children = totals(None, read_digests(database, audit_id))
        return seal_running(memory, audit_id, values, children), None
    digests = followed.digests if followed else read_digests(database, audit_id)
    if memory.known.get(audit_id) is State.ROW:
        if children is None or not children.same_rows(totals(None, digests)):
            memory.note_wrong(database, audit_id)
            return None
        memory.known[audit_id] = State.ROWS
    memory.set_children(audit_id, None)
    if followed:
        count, last = followed.events, memory.chain[audit_id] if followed.events else None
    elif database.ahead is not None and audit_id in database.ahead.events:
        count, last = database.ahead.events[audit_id]
    else:
        count, last = database.state.conn.execute(_events_sql(), (audit_id, audit_id)).fetchone()
    return ended_seal(values, digests, count, last), count


def seal_running(memory: Remembered, audit_id: str, values: list[Any], children: Children) -> str:
    """The seal of an audit that has not ended, which from now on is known with what it covers."""
    row = marked(values)
    seal = running_seal_of(row, children)
    kept = memory.if_cached(audit_id, row)
    memory.set_children(
        audit_id, Children(seal, children.findings, children.screenshots, kept, is_sealed=True)
    )
    return seal


def _set_host(
    database: StoreDatabase, audit_id: str, columns: list[Any], old_host: str | None
) -> None:
    """Bring up to date the host, which is derived from an audit's url."""
    if (host := host_in(columns)) != old_host:
        database.execute_sql(update_sql(Audit, "host"), (host, audit_id))


def expect(audit_ids: Iterable[str]) -> None:
    """Note that audits are about to be inserted, with rows that `accept` then accepts."""
    remembered(current_database()).known |= dict.fromkeys(audit_ids, State.ROWS)


def accept(
    database: StoreDatabase, audits: Iterable[Sequence[Any]], findings: Iterable[Sequence[Any]]
) -> None:
    """Accept audits that were inserted with checked digests and seals, which are not renewed.

    Each is its row's values, which begin as `stored.AUDIT` does; the host is there already. The
    rows of all of their `findings` are as in `stored.FINDING`, each audit's in their order. Only
    the catalog entry is brought up to date; and an unfinished audit whose seal is one of an earlier
    version gets one of this version.
    """
    memory = remembered(database)
    names, at = covered(Audit), SEAL + 1
    ended: Entries = {}
    for row in audits:
        audit_id, values = str(row[AT["id"]]), list(row[:SEAL])
        if row[at] is not None:
            ended[audit_id] = dict(zip(names, values, strict=True))
        if is_unfinished(values):
            seal_running_of_before(database, audit_id, values, row[SEAL])
        memory.audits.pop(audit_id, None)
        memory.known.pop(audit_id, None)
        memory.set_children(audit_id, None)
        memory.accepted.add(audit_id)
    if ended:
        told: dict[str, list[Any]] = {}
        for row in findings:
            told.setdefault(row[0], []).append(_TOLD(row))
        renewing.renew_all(database, ended, told)


_TOLD = itemgetter(*(FINDING.index(name) for name in FROM_FINDINGS))


def seal_running_of_before(
    database: StoreDatabase, audit_id: str, values: list[Any], seal: object
) -> None:
    """Replace an unfinished audit's seal of an earlier version, which covers its row alone."""
    new = running_seal(values, totals(None, read_digests(database, audit_id)))
    if seal != new and is_older_seal(seal, values, None):
        database.state.conn.execute(update_sql(Audit, "seal"), (new, audit_id))


def begin(audit_id: str, row: bytes, values: list[Any]) -> None:
    """Note that an audit was just added with these values, as in `stored.ROW`; its seal covers
    `row`."""
    memory = remembered(database := current_database())
    memory.known[audit_id] = State.ROWS
    memory.chain[audit_id] = audit_id.encode()
    if audit_id in memory.audits:  # a caller's trigger has changed it, or added to it, already
        return
    memory.set_children(audit_id, Children(values[SEAL], row=memory.if_cached(audit_id, row)))
    memory.stored[audit_id] = values
    memory.add_contents(audit_id, set())
    if database.follows:
        memory.followed[audit_id] = Followed()


def add_rows(audit_id: str, model: type[peewee.Model], digests: list[bytes]) -> None:
    """Note that rows with these digests are about to be added to an audit."""
    remembered(current_database()).adds(audit_id, model._meta.table_name, digests)


def host_in(values: Sequence[Any]) -> str:
    """The host that an audit should have, from its row's stored values."""
    return _host(values[covered(Audit).index("url")])


def _host(url: object) -> str:
    # Another program may have stored anything.
    return host_of(url) if isinstance(url, str) else ""


@functools.cache
def row_sql(model: Any) -> str:
    """SQL for the values of a finding or screenshot, by its id, that its digest covers."""
    fields = [model._meta.fields[name] for name in covered(model)]
    return text_of(model.select(*fields).where(model.id == MARK))


@per_backend
def _events_sql() -> str:
    last = AuditEvent.select(blob_as_read(AuditEvent.digest)).where(AuditEvent.audit == MARK)
    last = last.order_by(AuditEvent.id.desc()).limit(peewee.SQL("1"))
    count = AuditEvent.select(peewee.fn.COUNT(peewee.SQL("*"))).where(AuditEvent.audit == MARK)
    return f"SELECT ({text_of(count)}), ({text_of(last)})"


def fill_hosts(database: StoreDatabase) -> int:
    """Give each audit the host of its url; returns how many audits had another host or none."""
    database.raw.create_function("veritas_host", 1, _host, deterministic=True)
    query = f"UPDATE {Audit._meta.table_name} SET host = veritas_host(url)"
    return int(database.execute_sql(f"{query} WHERE host IS NOT veritas_host(url)").rowcount)


def count_changes(database: StoreDatabase, number: int) -> None:
    """Add to the number of changed audits, which a head states: no log records all changes."""
    # A number that another program has made something else stays so, for `verify` to name.
    database.state.conn.execute(_count_sql(), (number,))


@per_backend
def _count_sql() -> str:
    return f"UPDATE store_changes SET number = number + ? WHERE {is_integer('number')}"
