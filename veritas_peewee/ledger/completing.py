"""What the current code adds to a file that was just upgraded: hosts, digests, seals, the catalog.

An older file has no seals; those of all its audits are made some at a time, each step one statement
for many rows.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from typing import Any

from peewee import SQL

from veritas_peewee.catalog import entries, filling
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.expressions import blob_as_read
from veritas_peewee.database.failures import DRIVER_ERRORS
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.statements import (
    MARK,
    execute,
    per_backend,
    rows_of,
    text_of,
    update_sql,
)
from veritas_peewee.ledger import kept_ids, seals
from veritas_peewee.ledger.children import totals
from veritas_peewee.ledger.digests import covered, digest_of
from veritas_peewee.ledger.formulas import ended_seal, is_unfinished, running_seal
from veritas_peewee.ledger.memory import cannot_be_read
from veritas_peewee.ledger.stored import AT, audit_row
from veritas_peewee.migrations import parts
from veritas_peewee.models import Audit, AuditEvent, AuditFinding, AuditScreenshot
from veritas_peewee.values.odd_text import OddText

_AT_ONCE = 500
"""How many rows are read together."""
_IDS = f"SELECT id FROM {Audit._meta.table_name} WHERE rowid BETWEEN ? AND ?"
"""The audits that are read together: by their rows, for another program's id can be anything."""


def complete(database: SqliteStore, applied: list[str]) -> None:
    """Add what a file that was just upgraded lacks; `applied` are the names of the migrations that
    were applied."""
    # Only if the file had no seals before: a new seal would make an altered row look right.
    had_seals = "0002_seals" not in applied
    if not had_seals:
        _seal_everything(database)
    elif {"0003_hosts", "0008_words_and_hosts"}.intersection(applied):
        seals.fill_hosts(database)
    if not had_seals or "0006_slices" in applied:
        filling.fill()
    elif "0008_words_and_hosts" in applied:
        filling.fill(other_than_ascii=True)
    elif "0009_texts_once" in applied and _has_tables(database) and filling.are_lost():
        filling.fill()
    if "0007_evidence" in applied:
        if had_seals:
            _seal_unfinished(database)
        kept_ids.replace_placeholder()


def _has_tables(database: SqliteStore) -> bool:
    """Whether nothing is missing by which entries are made: they are made with it, if it is."""
    return not parts.differences(database).tables


def _seal_unfinished(database: StoreDatabase) -> None:
    """Have the seals of unfinished audits cover their findings and screenshots too.

    A seal that is not the one of an earlier version is left as it is, for `verify` to name.
    """
    unfinished = Audit.status.in_([status.value for status in entries.UNFINISHED])
    for (audit_id,) in rows_of(Audit.select(Audit.id).where(unfinished)):
        try:
            found = audit_row(database, audit_id)
        except DRIVER_ERRORS as error:
            if not cannot_be_read(error):
                raise
            continue
        if found is not None and found[-2] is None:
            *values, seal, _, _ = found
            seals.seal_running_of_before(database, audit_id, values, seal)


# ---- the first seals ----


def _seal_everything(database: StoreDatabase) -> None:
    for model in (AuditFinding, AuditScreenshot):
        _digest_all(database, model)
    last, number = -(2**63), 0
    while rows := execute(_audits_sql(), (last,)):
        last = rows[-1][0]
        number += len(rows)
        _seal(database, rows)
    seals.count_changes(database, number)


def _digest_all(database: StoreDatabase, model: Any) -> None:
    """Give each finding, or each screenshot, its digest."""
    fields = [model.id, *(model._meta.fields[name] for name in covered(model))]
    query = model.select(*fields).where(model.id > MARK, model.digest.is_null())
    text, last = text_of(query.order_by(model.id).limit(SQL(str(_AT_ONCE)))), -(2**63)
    while rows := execute(text, (last,)):
        last = rows[-1][0]
        database.state.conn.executemany(
            update_sql(model, "digest"), [(digest_of(values), row) for row, *values in rows]
        )


def _seal(database: StoreDatabase, rows: list[tuple[Any, ...]]) -> None:
    """Give audits their seals and hosts; `rows` have the rowid, then the columns of `AT`."""
    ids = [row[1 + AT["id"]] for row in rows]
    between = [rows[0][0], rows[-1][0]]
    findings, screenshots = (_digests(model, between) for model in (AuditFinding, AuditScreenshot))
    ends = {
        audit_id: (count, last)
        for audit_id, count, last in execute(_ends_sql(), between)
        if not isinstance(audit_id, OddText)
    }
    sealed = []
    for audit_id, (rowid, *columns) in zip(ids, rows, strict=True):
        values = columns[: len(covered(Audit))]
        digests = findings[audit_id], screenshots[audit_id]
        count, last = ends.get(audit_id, (0, None))
        if is_unfinished(values):
            seal, count = running_seal(values, totals(None, digests)), None
        else:
            seal = ended_seal(values, digests, count, last)
        sealed.append((seal, count, seals.host_in(values), rowid))
    table = Audit._meta.table_name
    database.state.conn.executemany(
        f"UPDATE {table} SET seal = ?, sealed_events = ?, host = ? WHERE rowid = ?", sealed
    )


def _digests(model: Any, between: list[int]) -> defaultdict[str, list[bytes | None]]:
    found: defaultdict[str, list[bytes | None]] = defaultdict(list)
    for audit_id, digest in execute(_digests_sql(model), between):
        if not isinstance(audit_id, OddText):
            found[audit_id].append(digest)
    return found


@functools.cache
def _audits_sql() -> str:
    table, columns = Audit._meta.table_name, ", ".join(f'"{name}"' for name in AT)
    return f"SELECT rowid, {columns} FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT {_AT_ONCE}"


@per_backend
def _digests_sql(model: Any) -> str:
    query = model.select(model.audit, blob_as_read(model.digest))
    return text_of(query.where(model.audit.in_(SQL(f"({_IDS})"))).order_by(model.audit, model.id))


@per_backend
def _ends_sql() -> str:
    """SQL for how many events each of some audits has, and the digest of the last."""
    ends = "SELECT audit_id, COUNT(*) AS events, MAX(id) AS last "
    ends += f"FROM {AuditEvent._meta.table_name} WHERE audit_id IN ({_IDS}) GROUP BY 1"
    digest = text_of(AuditEvent.select(blob_as_read(AuditEvent.digest)).where(SQL("id = m.last")))
    return f"SELECT m.audit_id, m.events, ({digest}) FROM ({ends}) AS m"
