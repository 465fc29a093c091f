"""Digests of rows, and an audit's seal over its row and everything that belongs to it.

A change of a row through this library renews the row's digest and its audit's seal before it is
committed. A change in any other way does not, and `verify` then names that row.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import peewee

from veritas_peewee.catalog import entries
from veritas_peewee.catalog.entries import UNFINISHED
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.statements import (
    MARK,
    execute,
    rows_of,
    stored_forms,
    text_of,
    update_sql,
)
from veritas_peewee.ledger import log
from veritas_peewee.ledger.memory import Remembered, remembered
from veritas_peewee.models import (
    Audit,
    AuditEvent,
    AuditFinding,
    AuditScreenshot,
)
from veritas_peewee.values.addresses import host_of

_KEPT_APART = frozenset(("id", "digest"))
# The host is derived from the url, which is covered.
_SEAL = frozenset(("seal", "sealed_events", "host"))


def digest_of(values: Iterable[Any]) -> bytes:
    """SHA-256 over values in the form in which they are on disk: text, numbers, bytes, None."""
    # The `s` distinguishes the text "1" from the number 1, at a third of the cost of JSON.
    marked = "\0".join([f"s{value}" if type(value) is str else repr(value) for value in values])
    return sha256(marked.encode(errors="surrogatepass")).digest()


@functools.cache
def covered(model: type[peewee.Model]) -> tuple[str, ...]:
    """The names of the fields that a row's digest covers, in their order.

    The id of a finding or screenshot is not covered: in another store the row gets another id.
    """
    left_out = _SEAL if model is Audit else _KEPT_APART
    return tuple(name for name in model._meta.sorted_field_names if name not in left_out)


def renew(database: StoreDatabase, memory: Remembered) -> None:
    """Bring digests, seals, hosts and the catalog up to date with the changes in `memory`."""
    if memory.unchained_after is not None:
        log.chain_raw(database, memory)
    rows, memory.rows = memory.rows, set()
    memory.renewed += rows
    for table, row_id in rows:
        model = AuditFinding if table == AuditFinding._meta.table_name else AuditScreenshot
        for values in execute(row_sql(model), (row_id,)):
            database.execute_sql(update_sql(model, "digest"), (digest_of(values), row_id))
    audits, memory.audits = memory.audits, set()
    memory.renewed += audits
    memory.changes += len(audits)
    for audit_id in sorted(audits):  # in an order that does not change from run to run
        for *columns, old_seal, old_count, old_host in execute(_audit_sql(), (audit_id,)):
            seal, count = seal_of(audit_id, columns)
            if (seal, count) != (old_seal, old_count):
                sql = update_sql(Audit, "seal", "sealed_events")
                database.execute_sql(sql, (seal, count, audit_id))
            _derive(database, audit_id, columns, old_host, count is not None or old_count)


def _derive(
    database: StoreDatabase, audit_id: str, columns: list[Any], old_host: str | None, ended: Any
) -> None:
    """Bring up to date what is derived from an audit's row: its host and its catalog entry."""
    if (host := host_in(columns)) != old_host:
        database.execute_sql(update_sql(Audit, "host"), (host, audit_id))
    # An audit that never ended has no entry; to look for one would slow down every event.
    if ended:
        names = covered(Audit)
        entries.renew(database, audit_id, dict(zip(names, columns, strict=True)))


def accept(database: StoreDatabase, audit_ids: Iterable[str]) -> None:
    """Accept audits that were inserted with checked digests and seals, which are not renewed.

    Only what is derived from their rows, the host and the catalog entry, is brought up to date.
    """
    memory = remembered(database)
    for audit_id in audit_ids:
        for *columns, _, count, old_host in execute(_audit_sql(), (audit_id,)):
            _derive(database, audit_id, columns, old_host, count is not None)
        memory.audits.discard(audit_id)


def seal_of(
    audit_id: str, values: list[Any], events: tuple[int, bytes | None] | None = None
) -> tuple[str, int | None]:
    """An audit's seal, from its row's stored values, and how many events the seal covers.

    Until the audit ends, the seal covers its row alone, and the number is None. From its end on
    the seal also covers its findings, its screenshots and the log as it was then. `events` is the
    number of those events and the last one's digest; if it is not given, it is read.
    """
    if is_unfinished(values):
        return digest_of(values).hex(), None
    count, last = events or execute(_events_sql(), (audit_id, audit_id))[0]
    children = [
        [digest for (digest,) in execute(_digests_sql(model), (audit_id,))]
        for model in (AuditFinding, AuditScreenshot)
    ]
    return ended_seal(values, children, count, last), count


def ended_seal(
    values: list[Any], children: Iterable[list[bytes | None]], count: int, last: bytes | None
) -> str:
    """The seal of an audit that has ended.

    It covers the row's stored values, the digests of its findings and of its screenshots
    (`children`), and of the log as it was at the end the number of events and the last digest.
    """
    whole = list(values)
    for digests in children:
        whole += len(digests), *digests
    return digest_of([*whole, count, last]).hex()


def first_seal(values: dict[str, Any]) -> str:
    """The seal of a new audit, from its checked values by column."""
    names = covered(Audit)
    row = [values[name] for name in names]
    for position, convert in stored_forms(Audit, names):
        row[position] = convert(row[position])
    return digest_of(row).hex()


def is_unfinished(values: list[Any]) -> bool:
    """Whether an audit has not ended, by its row's stored values."""
    return values[covered(Audit).index("status")] in UNFINISHED


def host_in(values: list[Any]) -> str:
    """The host that an audit should have, from its row's stored values."""
    return _host(values[covered(Audit).index("url")])


def _host(url: object) -> str:
    # Another program may have stored anything.
    return host_of(url) if isinstance(url, str) else ""


def stored_audit(audit_id: str) -> list[Any] | None:
    """The values of an audit's row that its seal covers, then its seal, number of sealed events and
    host; None if there is no such audit."""
    rows = execute(_audit_sql(), (audit_id,))
    return list(rows[0]) if rows else None


@functools.cache
def _audit_sql() -> str:
    names = (*covered(Audit), "seal", "sealed_events", "host")
    fields = [Audit._meta.fields[name] for name in names]
    return text_of(Audit.select(*fields).where(Audit.id == MARK))


@functools.cache
def row_sql(model: Any) -> str:
    """SQL for the values of a finding or screenshot, by its id, that its digest covers."""
    fields = [model._meta.fields[name] for name in covered(model)]
    return text_of(model.select(*fields).where(model.id == MARK))


@functools.cache
def _digests_sql(model: Any) -> str:
    return text_of(model.select(model.digest).where(model.audit == MARK).order_by(model.id))


@functools.cache
def _events_sql() -> str:
    last = AuditEvent.select(AuditEvent.digest).where(AuditEvent.audit == MARK)
    last = last.order_by(AuditEvent.id.desc()).limit(peewee.SQL("1"))
    count = AuditEvent.select(peewee.fn.COUNT(peewee.SQL("*"))).where(AuditEvent.audit == MARK)
    return f"SELECT ({text_of(count)}), ({text_of(last)})"


def complete(database: StoreDatabase, applied: list[str]) -> None:
    """Add what a file that was just upgraded lacks: hosts, digests, seals, the catalog.

    `applied` are the names of the migrations that were applied.
    """
    if "0003_hosts" in applied:
        fill_hosts(database)
    # Only if the file had no seals before: a new seal would make an altered row look right.
    if "0002_seals" in applied:
        _seal_everything(database)
    elif "0006_slices" in applied:
        entries.fill()


def fill_hosts(database: StoreDatabase) -> int:
    """Give each audit the host of its url; returns how many audits had another host or none."""
    database.raw.create_function("veritas_host", 1, _host, deterministic=True)
    query = f"UPDATE {Audit._meta.table_name} SET host = veritas_host(url)"
    return int(database.execute_sql(f"{query} WHERE host IS NOT veritas_host(url)").rowcount)


def _seal_everything(database: StoreDatabase) -> None:
    memory = Remembered()
    for model in (AuditFinding, AuditScreenshot):
        query = model.select(model.id).where(model.digest.is_null())
        memory.rows |= {(model._meta.table_name, row) for (row,) in rows_of(query)}
    memory.audits |= {row for (row,) in rows_of(Audit.select(Audit.id))}
    renew(database, memory)
    count_changes(database, memory.changes)


def count_changes(database: StoreDatabase, number: int) -> None:
    """Add to the number of changed audits, which a head states: no log records all changes."""
    database.state.conn.execute("UPDATE store_changes SET number = number + ?", (number,))
