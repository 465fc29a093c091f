"""An error that ends the transaction inside SQLite, in the middle of a batch of many writes."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import anyio

from torture.checks import check_verify, select
from torture.model import Row, Run, fault
from torture.programs.record import finding, log_entry
from veritas_peewee import AuditStore, StoreError
from veritas_peewee.database.current import current_database

CALLERS = 60
ROUNDS_A_STORE = 5
TABLES = ("audits", "audit_findings", "audit_events", "audit_screenshots", "audit_runners")
TRIGGER = (
    "CREATE TEMP TRIGGER torture BEFORE INSERT ON audit_events WHEN NEW.event_type = 'poison' "
    "BEGIN SELECT RAISE(ROLLBACK, 'poisoned'); END"
)


@fault("rollback", "RAISE(ROLLBACK) in the middle of a batch", rounds=50, quick=6)
def run(run: Run) -> Iterator[Row]:
    row = Row("rollback", run.rounds)
    chance = run.chance
    for first in range(0, run.rounds, ROUNDS_A_STORE):
        path = run.folder / f"{first}.db"
        rounds = range(first, min(first + ROUNDS_A_STORE, run.rounds))
        backend = ("asyncio", "trio")[first // ROUNDS_A_STORE % 2]
        anyio.run(_poison, row, path, rounds, chance, backend=backend)
        check_verify(row, path)
    yield row


async def _poison(row: Row, path: Path, rounds: range, chance: random.Random) -> None:
    async with AuditStore.open(path) as store:
        await store.write(lambda: current_database().execute_sql(TRIGGER))
        for number in rounds:
            await _round(row, store, path, number, chance)


async def _round(
    row: Row, store: AuditStore, path: Path, number: int, chance: random.Random
) -> None:
    audit = (await store.create(f"https://example.com/{number}")).id
    row.acknowledged += 1
    before = _rows(path)
    poisoned = chance.randrange(CALLERS)
    calls = [_call(store, audit, index, chance.randrange(6)) for index in range(CALLERS)]
    calls[poisoned] = _poisons(store, audit)[number % 3]
    outcomes = await _in_one_batch(store, calls)
    for index, outcome in enumerate(outcomes):
        if not isinstance(outcome, BaseException):
            row.missing += 1  # its caller got a result, but the batch was not saved
            row.problem(f"round {number}: caller {index} was told {outcome!r}")
        else:
            kind = "the poisoned one" if index == poisoned else "the others"
            row.count(f"{kind}: {type(outcome).__name__}")
            if index != poisoned and not isinstance(outcome, StoreError):
                row.problem(f"round {number}: caller {index} was told {outcome!r}")
    if (after := _rows(path)) != before:
        row.half_saved += 1
        row.problem(f"round {number}: rows were saved: {before} before, {after} after")
    # The next batch works, and is saved.
    calls = [_call(store, audit, CALLERS + index, index % 6) for index in range(CALLERS)]
    for index, outcome in enumerate(await _in_one_batch(store, calls)):
        if isinstance(outcome, BaseException):
            row.problem(f"round {number}: the next batch: caller {index} was told {outcome!r}")
    row.acknowledged += CALLERS
    if _rows(path) == before:
        row.missing += CALLERS


def _rows(path: Path) -> list[int]:
    return [select(path, f"SELECT COUNT(*) FROM {table}")[0][0] for table in TABLES]


Call = Callable[[], Awaitable[Any]]


def _call(store: AuditStore, audit: str, index: int, kind: int) -> Call:
    calls: tuple[Call, ...] = (
        partial(store.record, audit, log_entry(index)),
        partial(store.record, audit, log_entry(index)),
        partial(store.record, audit, finding(index)),
        partial(store.record_many, audit, [log_entry(index), finding(1000 + index)]),
        partial(store.create, "https://example.com/other"),
        partial(store.update, audit, pages_scanned=index),
    )
    return calls[kind]


def _poisons(store: AuditStore, audit: str) -> tuple[Call, ...]:
    poison = {"type": "poison"}
    sql = f"INSERT INTO audit_events (audit_id, event_type) VALUES ('{audit}', 'poison')"
    return (
        partial(store.record, audit, poison),
        partial(store.record_many, audit, [log_entry(0), finding(0), poison, log_entry(1)]),
        partial(store.write, lambda: current_database().execute_sql(sql)),
    )


async def _in_one_batch(store: AuditStore, calls: list[Call]) -> list[Any]:
    """Hold the writer until all calls wait in its queue; their results or errors."""
    held, go_on = Event(), Event()
    outcomes: list[Any] = [None] * len(calls)

    def hold() -> None:
        held.set()
        go_on.wait(60)

    async def note(index: int) -> None:
        try:
            outcomes[index] = await calls[index]()
        except Exception as error:
            outcomes[index] = error

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.write, hold)
        try:
            with anyio.fail_after(60):
                while not held.is_set():
                    await anyio.sleep(0.001)
                for index in range(len(calls)):
                    tasks.start_soon(note, index)
                while store.stats().pending < len(calls):
                    await anyio.sleep(0.001)
        finally:
            go_on.set()
    return outcomes
