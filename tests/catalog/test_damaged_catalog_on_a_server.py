"""A damaged catalog on a server stops no audit from ending; it is named, and mended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from tests.support.on_server import by_hand, verified
from tests.support.places import Databases
from tests.support.postgres import in_memory
from tests.support.postgres import server as a_server
from veritas_peewee import AuditStore, connect, sync
from veritas_peewee.maintenance.repair import repairing

ENDED = {"type": "audit_complete", "elapsed": 1}
FOUND = {"type": "finding", "finding": {"pattern_type": "fake_timer", "description": "It lies."}}
CATALOG = "ALTER TABLE audit_catalog"
DAMAGED = {
    "no words": (f"{CATALOG} RENAME words TO other", f"{CATALOG} RENAME other TO words"),
    "no counts": ("ALTER TABLE audit_counts RENAME TO other",
                  "ALTER TABLE other RENAME TO audit_counts"),
    "no entry is taken": (f"{CATALOG} ADD CONSTRAINT none CHECK (id < 0) NOT VALID",
                          f"{CATALOG} DROP CONSTRAINT none"),
    "words are refused": (f"{CATALOG} ADD CONSTRAINT none CHECK (words IS NULL) NOT VALID",
                          f"{CATALOG} DROP CONSTRAINT none"),
}  # fmt: skip
"""What another program does beside an open store, and what takes it back."""


@pytest.fixture
def url(server: Databases) -> Iterator[str]:
    with server.new() as made:
        yield made


@pytest.mark.parametrize("how", DAMAGED)
async def test_audits_end_beside_a_damaged_catalog(url, caplog, how):
    damage, way_back = DAMAGED[how]
    async with AuditStore.open(url) as store:
        ended = await store.create("https://shop.example/ended")
        await store.record_many(ended.id, [FOUND, ENDED])
        running = [(await store.create("https://shop.example/")).id for _ in range(5)]
        by_hand(url, damage)

        async def end(audit_id: str) -> None:
            await store.record(audit_id, FOUND)
            await store.record(audit_id, ENDED)

        async with anyio.create_task_group() as group:
            for audit_id in running:
                group.start_soon(end, audit_id)
        await store.update(ended.id, narrative="told later")
        for audit_id in (ended.id, *running):
            audit = await store.get(audit_id)
            assert (audit.status, len(audit.findings)) == ("completed", 1)
            problems = await store.verify(audit_id)  # none of its log, its rows and its seal
            assert all("its entry in the catalog is not" in one for one in problems)
    assert caplog.text.count("the search or the counts are damaged") == 1
    by_hand(url, way_back)
    await to_thread.run_sync(is_named_and_mended, url)


def is_named_and_mended(url: str) -> None:
    assert any("catalog" in problem for problem in verified(url).problems)
    with repairing(url):
        assert len(sync.search("shop").items) == 6
    assert verified(url).problems == []


async def test_what_failed_before_the_catalog_is_not_taken_for_its_damage(url, caplog):
    async with AuditStore.open(url) as store:
        audit = await store.create("https://shop.example/")
        by_hand(url, "ALTER TABLE audits ADD CONSTRAINT none CHECK (seal IS NULL) NOT VALID")
        with pytest.raises(Exception, match="none"):
            await store.record(audit.id, ENDED)
        by_hand(url, "ALTER TABLE audits DROP CONSTRAINT none")
        await store.record(audit.id, ENDED)
    assert "are damaged" not in caplog.text
    assert (await to_thread.run_sync(verified, url)).problems == []


def test_audits_end_beside_pages_that_cannot_be_read(caplog):
    with a_server("fsync=off", within=in_memory()) as running:
        url = running.new_database()
        with connect(url):
            sync.record(sync.create("https://shop.example/0").id, ENDED)
        ((place,),) = by_hand(url, "SELECT pg_relation_filepath('audit_counts')")
        running.stop()
        file = Path(running.folder, "data", place)
        file.write_bytes(b"x" * file.stat().st_size)
        running.start()
        with connect(url):
            for number in (1, 2):
                audit = sync.create(f"https://shop.example/{number}").id
                sync.record(audit, ENDED)
                assert sync.get(audit).status == "completed"
                assert all("its entry in the catalog is not" in one for one in sync.verify(audit))
        assert caplog.text.count("the search or the counts are damaged") == 1
        report = verified(url)
        assert not report.ok
