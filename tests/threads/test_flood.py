"""A flood of writes: callers wait without blocking, cost little, and none is dropped."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from tests.support.amount import amount
from tests.support.processes import command, environment
from tests.support.writes import Gate, add, count, outcome
from veritas_peewee import AuditStore, InvalidAudit, StoreClosed

CALLS = amount(10_000, 20_000)
EACH = 500
"""Bytes that a call may cost that waits: 50 MB for a hundred thousand."""


def flood(path: Path, backend: str, mode: str) -> list[int]:
    done = subprocess.run(
        command("flood.py", path, backend, CALLS, mode),
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_flood_costs_little_more_than_its_tasks_and_loses_nothing(
    tmp_path: Path, backend: str
) -> None:
    tasks_alone, *_ = flood(tmp_path / "alone.db", backend, "wait")
    grown, stored, ids, failed = flood(tmp_path / "audits.db", backend, "record")
    assert (stored, ids, failed) == (CALLS, CALLS, 0)
    assert grown < tasks_alone + CALLS * EACH


async def test_slots_are_given_in_the_order_of_coming(database: str) -> None:
    async with AuditStore.open(database, max_pending=1) as store:
        audit = await store.create("https://example.com")
        gate, results = Gate(), {}
        order = []

        async def one(number: int) -> None:
            order.append((number, await store.record(audit.id, {"type": "log_entry"})))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome, results, "gate", store.write, gate)
            await gate.wait()
            for number in range(200):
                tasks.start_soon(one, number)
                await anyio.wait_all_tasks_blocked()
            assert store.stats().waiting == 200
            gate.release.set()
        assert [number for number, _ in sorted(order, key=lambda pair: pair[1])] == list(range(200))
        assert store.stats().waiting == 0


async def test_callers_that_give_up_waiting_leave_no_trace(database: str) -> None:
    """A thousand come and go while the writer stands still; the slots stay what they were."""
    async with AuditStore.open(database, max_pending=2) as store:
        audit = await store.create("https://example.com")
        gate, results = Gate(), {}
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outcome, results, "gate", store.write, gate)
            await gate.wait()
            tasks.start_soon(outcome, results, "kept", store.write, add)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(outcome, results, "patient", store.record, audit.id, {"type": "late"})
            await anyio.wait_all_tasks_blocked()
            for _ in range(5):
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as doomed:
                        for number in range(200):
                            call = (store.record, audit.id, {"type": "log_entry"})
                            doomed.start_soon(outcome, {}, number, *call)
                        await anyio.wait_all_tasks_blocked()
                        assert store.stats().waiting == 201
                        scope.cancel()
                assert store.stats().waiting == 1
            gate.release.set()
        assert isinstance(results["patient"], int)
        assert await store.read(count) == 2
        assert [event.event_type for event in await store.events(audit.id)] == ["late"]
        await all_slots_are_there(store, 2)


async def all_slots_are_there(store: AuditStore, number: int) -> None:
    gate, results = Gate(), {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        for n in range(number):
            tasks.start_soon(outcome, results, n, store.write, add)
        await anyio.wait_all_tasks_blocked()
        assert (store.stats().pending, store.stats().waiting) == (number - 1, 1)
        gate.release.set()


async def test_a_slot_is_given_back_by_a_call_that_is_cancelled_as_it_gets_it(
    database: str,
) -> None:
    async with AuditStore.open(database, max_pending=3) as store:
        for round_ in range(30):
            gate, results = Gate(), {}
            scopes = [anyio.CancelScope() for _ in range(20)]

            async def one(scope: anyio.CancelScope, results: dict, number: int) -> None:
                with scope:
                    await outcome(results, number, store.write, add)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(outcome, results, "gate", store.write, gate)
                await gate.wait()
                for number, scope in enumerate(scopes):
                    tasks.start_soon(one, scope, results, number)
                await anyio.wait_all_tasks_blocked()
                gate.release.set()
                # The answer comes while these are cancelled, before or after their turn.
                await to_thread.run_sync(sum, range(round_ * 2000))
                for scope in scopes[::2]:
                    scope.cancel()
            assert len(results) >= 11
        await all_slots_are_there(store, 3)


@pytest.mark.parametrize("undo", [False, True], ids=["a write", "a write with a file"])
def test_a_slot_is_given_back_if_asyncio_cancels_the_caller_in_the_turn_in_which_it_gets_it(
    database: str, undo: bool
) -> None:
    async def main() -> None:
        async with AuditStore.open(database, max_pending=1) as store:
            gate, undone = Gate(), []
            writer = store._opened()
            first = asyncio.create_task(store.write(gate))
            await gate.wait()
            late = asyncio.create_task(
                writer.submit(add, undo=(lambda: undone.append(1)) if undo else None)
            )
            while not store.stats().waiting:
                await asyncio.sleep(0)
            give = writer.slots.give

            def give_and_cancel() -> None:
                writer.slots.give = give
                give()
                late.cancel()

            writer.slots.give = give_and_cancel
            gate.release.set()
            await first
            await asyncio.gather(late, return_exceptions=True)
            assert late.cancelled()
            assert undone == [1] * undo
            with anyio.fail_after(30):
                await all_slots_are_there(store, 1)

    asyncio.run(main())


async def test_an_event_that_cannot_be_stored_costs_no_slot(database: str) -> None:
    async with AuditStore.open(database, max_pending=2) as store:
        audit = await store.create("https://example.com")
        for _ in range(5):
            with pytest.raises(InvalidAudit):
                await store.record(audit.id, {"type": ""})
            with pytest.raises(InvalidAudit):
                await store.record(audit.id, {"type": "screenshot", "data": "no image"})
        await all_slots_are_there(store, 2)


async def test_records_that_wait_are_told_when_the_store_closes(database: str) -> None:
    store = await AuditStore.open(database, max_pending=1)
    audit = await store.create("https://example.com")
    gate, results = Gate(), {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        for number in range(50):
            call = (store.record, audit.id, {"type": "log_entry"})
            tasks.start_soon(outcome, results, number, *call)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(store.close)
        await anyio.wait_all_tasks_blocked()
        gate.release.set()
    assert all(isinstance(results[number], StoreClosed) for number in range(50))
