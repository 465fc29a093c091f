"""A head is stored for each thousand events, and costs no caller an event."""

from __future__ import annotations

from veritas_peewee import StoreBusy
from veritas_peewee.ledger import heads
from veritas_peewee.models import StoreHead


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
