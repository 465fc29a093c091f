"""A head is stored for each thousand events, and costs no caller an event."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import peewee
import pytest
from anyio import create_task_group

from veritas_peewee import StoreBusy
from veritas_peewee.database.current import current_database
from veritas_peewee.ledger import heads
from veritas_peewee.models import AuditEvent, StoreHead


async def test_a_lone_event_that_is_stored_is_not_said_to_have_failed_with_its_head(
    file_store, monkeypatch, caplog
):
    def fails(*_: object) -> None:
        raise StoreBusy

    audit = await file_store.create("https://shop.example/")
    await file_store.record_many(audit.id, [{"type": "log_entry"}] * 998)
    await file_store.record(audit.id, {"type": "log_entry"})
    with monkeypatch.context() as patch:
        patch.setattr(heads, "store_heads", fails)
        assert await file_store.record(audit.id, {"type": "log_entry"}) == 1000
    assert "a head was not stored" in caplog.text
    assert await file_store.record(audit.id, {"type": "log_entry"}) == 1001
    found = await file_store.read(lambda: [one.event_id for one in StoreHead.select()])
    assert found[-1] == 1000


@pytest.mark.parametrize("refuses", ["a trigger", "a hook"])
async def test_an_event_whose_caller_is_told_that_it_failed_is_not_stored(file_store, refuses):
    log = {"type": "log_entry"}

    def raises(event: peewee.QueryEvent) -> None:
        if "INSERT" in event.sql and "audit_events" in event.sql:
            raise LookupError

    def refuse() -> None:
        database = current_database()
        if refuses == "a hook":
            database.query_hooks.append(raises)
        else:
            no_head = "BEFORE INSERT ON main.store_heads BEGIN SELECT RAISE(ABORT, 'no'); END"
            database.execute_sql(f"CREATE TEMP TRIGGER mine {no_head}")

    def allow() -> None:
        database = current_database()
        database.query_hooks.clear()
        database.execute_sql("DROP TRIGGER IF EXISTS temp.mine")

    audit = await file_store.create("https://shop.example/")
    await file_store.record_many(audit.id, [log] * 999)
    await file_store.write(refuse)
    outcomes = []

    async def run(call: Callable[[], Awaitable[object]]) -> None:
        try:
            outcomes.append(await call())
        except (peewee.IntegrityError, LookupError) as error:
            outcomes.append(error)

    for calls in (1, 4):  # alone, and among writes of callers
        async with create_task_group() as group:
            for _ in range(calls):
                group.start_soon(run, partial(file_store.record, audit.id, log))
                group.start_soon(run, partial(file_store.write, AuditEvent.select().count))
    await file_store.write(allow)
    told = [one for one in outcomes if isinstance(one, Exception)]
    assert len(told) == 5
    assert await file_store.read(AuditEvent.select().count) == 999
    assert await file_store.verify(audit.id) == []
