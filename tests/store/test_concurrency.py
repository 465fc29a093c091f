"""Hundreds of audits recorded at once: every row is there, the counts agree, nothing is locked."""

import anyio
import pytest

from tests.support.amount import amount
from tests.support.loops import anyio_backend
from veritas_peewee import Audit, AuditEvent, AuditFinding, AuditScreenshot, AuditStore
from veritas_peewee.testing import make_event

EVENTS, FINDINGS, SHOTS = 12, 4, 2


on_each_loop = anyio_backend()


@pytest.mark.parametrize("audits", [10, amount(300, 1000)])
async def test_audits_recorded_at_once(store, finding, audits):
    shots = 1 if audits > 100 else SHOTS  # each one is fsynced
    reads = []

    async def record(number):
        audit = await store.create(f"https://example.com/{number}")
        await store.record(audit.id, {"type": "phase_start", "phase": "scout"})
        for n in range(EVENTS):
            await store.record(audit.id, {"type": "log_entry", "agent": "scout", "message": n})
        await store.record_many(audit.id, [finding(n) for n in range(FINDINGS)])
        for n in range(shots):
            await store.record(audit.id, make_event("screenshot", label=f"t{n}", index=n))
        await store.record(audit.id, {"type": "audit_complete", "elapsed": number})

    async def look(stop):
        while not stop.is_set():
            reads.append((await store.history(limit=5)).items)
            await anyio.lowlevel.checkpoint()

    stop = anyio.Event()
    async with anyio.create_task_group() as readers:
        readers.start_soon(look, stop)
        async with anyio.create_task_group() as tasks:
            for number in range(audits):
                tasks.start_soon(record, number)
        stop.set()

    def counts():
        return [
            Audit.select().where(Audit.status == "completed").count(),
            AuditFinding.select().count(),
            AuditScreenshot.select().count(),
            AuditEvent.select().count(),
            Audit.select().where(Audit.screenshots_count == shots).count(),
        ]

    told = EVENTS + FINDINGS + shots + 2
    assert await store.read(counts) == [
        audits, audits * FINDINGS, audits * shots, audits * told, audits,
    ]  # fmt: skip
    assert reads
    assert store.stats().failed == 0
    if audits >= 100:
        assert store.stats().commits < store.stats().writes


async def test_two_stores_on_one_file_record_at_once(tmp_path):
    path = tmp_path / "audits.db"
    async with AuditStore.open(path) as one, AuditStore.open(path) as two:

        async def fill(store, number):
            audit = await store.create(f"https://example.com/{number}")
            for _ in range(10):
                await store.record(audit.id, {"type": "log_entry"})

        async with anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(fill, (one, two)[number % 2], number)
        assert await one.read(AuditEvent.select().count) == 600
        assert await two.read(Audit.select().count) == 60
        assert one.stats().failed == two.stats().failed == 0


async def test_an_events_id_is_given_in_the_order_of_the_log(store):
    audit = await store.create("https://example.com")
    ids = []

    async def one():
        ids.append(await store.record(audit.id, {"type": "log_entry"}))

    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(one)
    assert sorted(ids) == list(range(1, 201))
    assert [event.id for event in await store.events(audit.id, after=190)] == list(range(191, 201))
    await store.delete(audit.id)
    again = await store.create("https://example.com")
    assert await store.record(again.id, {"type": "log_entry"}) == 201
