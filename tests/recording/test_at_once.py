"""Events that many callers record at once are written together, and fail each by itself."""

from __future__ import annotations

from functools import partial

import anyio
import pytest

from tests.support.images import stored_images
from tests.support.tracing import traced
from tests.support.writes import Gate, outcome
from veritas_peewee import AuditNotFound
from veritas_peewee.database.current import current_database
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.testing import make_event

STATS = {"type": "stats_update", "stats": {"pages_scanned": 7}}
ERROR = {"type": "phase_error", "error": "no answer"}


async def at_once(store, calls):
    """Record events, as (audit id, event), in one batch; what each caller was told, in order."""
    gate, results = Gate(), {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        for number, (audit_id, event) in enumerate(calls):
            tasks.start_soon(partial(outcome, results, number, store.record, audit_id, event))
            while store.stats().pending <= number:  # images are prepared in threads
                await anyio.sleep(0.001)
        gate.release.set()
    return [results[number] for number in range(len(calls))]


async def test_an_audit_is_changed_and_sealed_once_for_all_its_events(store):
    audits = [await store.create("https://example.com") for _ in range(3)]
    await at_once(store, [(audit.id, STATS) for audit in audits])
    tracing = await store.write(lambda: traced(current_database()))
    statements = await store.write(tracing.__enter__)
    calls = [(audit.id, one) for _ in range(8) for audit in audits for one in (ERROR, STATS)]
    ids = await at_once(store, calls)
    await store.write(tracing.__exit__, None, None, None)
    assert ids == sorted(ids)
    changed = [text for text in statements if text.startswith('UPDATE "audits"')]
    texts = set if store.location.server is None else list  # SQLite's have the values in them
    assert len(texts(changed)) == len(audits)
    assert not any(text.startswith('SELECT "audits"') for text in statements)
    for audit in audits:
        found = await store.get(audit.id)
        assert (found.pages_scanned, found.errors) == (7, ["no answer"] * 8)


async def test_one_that_fails_costs_nobody_else_anything(store, finding):
    audit = await store.create("https://example.com")
    shot = make_event("screenshot", label="home", index=3)
    told = await at_once(store, [
        (audit.id, shot), (audit.id, finding(1)), ("absent", STATS), (audit.id, STATS),
        (audit.id, shot), ("absent", shot),
    ])  # fmt: skip
    assert [type(one) for one in told] == [int, int, AuditNotFound, int, int, AuditNotFound]
    found = await store.get(audit.id)
    assert (found.pages_scanned, found.screenshots_count, len(found.findings)) == (7, 2, 1)
    images = await store.read(stored_images)
    assert [name.partition("/")[0] for name in images] == [audit.id] * 2
    assert (await store.read(verify)).problems == []


@pytest.mark.parametrize("end", ["audit_complete", "audit_error", "audit_disconnected"])
async def test_an_end_among_them_ends_the_audit(store, finding, end):
    audit, other = [await store.create("https://example.com") for _ in range(2)]
    await at_once(store, [
        (audit.id, {"type": "phase_start"}), (audit.id, finding(1)), (other.id, STATS),
        (audit.id, {"type": end}), (audit.id, ERROR),
    ])  # fmt: skip
    found = await store.get(audit.id)
    assert found.status == {"audit_complete": "completed", "audit_error": "error"}.get(
        end, "disconnected"
    )
    assert [hit.audit.id for hit in (await store.search("example")).items] == [audit.id]
    assert (await store.get(other.id)).status == "queued"
