"""What a store has beside its audits: removals, heads, how many changes there were, who runs what.

A copy takes it over last and at once: from then on the copy's head is that of the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peewee import SQL

from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import current_database
from veritas_peewee.database.statements import (
    MARK,
    execute,
    insert_rows,
    per_backend,
    rows_of,
    text_of,
)
from veritas_peewee.ledger import counter
from veritas_peewee.ledger.memory import remembered
from veritas_peewee.models import (
    AuditRunner,
    ImportHead,
    RemovedAudit,
    RemovedEvent,
    StoreChanges,
    StoreHead,
)
from veritas_peewee.transfer.importing import IMPORTED
from veritas_peewee.transfer.whole import at

_TABLES: tuple[Any, ...] = (RemovedEvent, RemovedAudit, StoreChanges, StoreHead, ImportHead)
_PAGE = 5000


def replace_with(source: StoreDatabase) -> None:
    """In a transaction of the current database: replace what it has beside its audits with what
    `source` has. Whoever ran an audit there is not alive here."""
    database = current_database()
    for model in _TABLES:
        model.delete().execute()
        names = tuple(field.name for field in model._meta.sorted_fields)
        for rows in _pages(source, model):
            insert_rows(model, names, rows)
        if model._meta.primary_key.name == "id":
            database.give_ids_after(model._meta.table_name)
    with at(source):
        running = rows_of(AuditRunner.select(AuditRunner.audit))
        given = counter.newest_given()
    AuditRunner.delete().execute()
    insert_rows(AuditRunner, ("audit", "session"), [(one, IMPORTED) for (one,) in running])
    counter.count_from(given)
    remembered(database).forget_log()


def _pages(source: StoreDatabase, model: Any) -> Iterator[list[tuple[Any, ...]]]:
    at_key = [field.name for field in model._meta.sorted_fields].index(model._meta.primary_key.name)
    last = -1
    while True:
        with at(source):
            rows = execute(_page_sql(model), (last,))
        if not rows:
            return
        yield rows
        last = rows[-1][at_key]


@per_backend
def _page_sql(model: Any) -> str:
    key = model._meta.primary_key
    query = model.select(*model._meta.sorted_fields).where(key > MARK).order_by(key)
    return text_of(query.limit(SQL(str(_PAGE))))
