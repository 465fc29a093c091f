"""Writes that share a transaction are sealed each by itself, and counted once."""

from __future__ import annotations

import anyio
import pytest

from tests.support.writes import Gate, outcome
from veritas_peewee import Audit
from veritas_peewee.ledger import seals
from veritas_peewee.ledger.heads import newest_head
from veritas_peewee.maintenance.verify import verify


async def test_a_write_whose_sealing_fails_fails_alone(store, monkeypatch):
    bad = await store.create("https://bad.example")
    good = [await store.create(f"https://good{number}.example") for number in range(3)]
    renew = seals._renew_audit

    def fail(database, memory, audit_id, ended):
        if audit_id == bad.id:
            raise LookupError("cannot be sealed")
        renew(database, memory, audit_id, ended)

    monkeypatch.setattr(seals, "_renew_audit", fail)

    def change(audit_id):
        Audit.update(narrative="changed").where(Audit.id == audit_id).execute()

    before = (await store.read(newest_head)).changes
    gate, results = Gate(), {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        for audit in (good[0], good[1], bad, good[2]):
            tasks.start_soon(outcome, results, audit.id, store.write, lambda a=audit.id: change(a))
        await anyio.wait_all_tasks_blocked()
        gate.release.set()
    assert isinstance(results[bad.id], LookupError)
    assert [results[audit.id] for audit in good] == [None] * 3
    assert [(await store.get(audit.id)).narrative for audit in good] == ["changed"] * 3
    assert (await store.get(bad.id)).narrative is None
    assert (await store.read(newest_head)).changes == before + 3
    monkeypatch.undo()
    assert (await store.read(verify)).problems == []
    await store.write(change, bad.id)
    assert (await store.read(verify)).problems == []


@pytest.mark.parametrize("how", ["commits", "fails"])
async def test_a_head_counts_the_changes_that_were_committed(store, how):
    audit = await store.create("https://one.example")
    before = (await store.read(newest_head)).changes

    def change():
        for number in range(3):
            Audit.update(narrative=str(number)).where(Audit.id == audit.id).execute()
        if how == "fails":
            raise LookupError

    if how == "fails":
        with pytest.raises(LookupError):
            await store.write(change)
    else:
        await store.write(change)
    await store.record(audit.id, {"type": "log_entry"})
    assert (await store.read(newest_head)).changes == before + (how == "commits")
