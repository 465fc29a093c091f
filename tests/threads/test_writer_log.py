"""What became of each write, as a job's state, its `repr` and the log at DEBUG say."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.writes import Gate, add, count, outcome
from veritas_peewee import AuditStore, StoreClosed, StoreError, WriteUndone
from veritas_peewee.database.current import current_database
from veritas_peewee.threads.jobs import DONE, QUEUED, RUNNING, WITHDRAWN, Job, State, move

HERE = __name__


def fail() -> None:
    raise LookupError("mine")


def fail_for_all() -> None:
    """Fail with an error with which SQLite ends the transaction, as on a full disk."""
    add()
    current_database().execute_sql("INSERT OR ROLLBACK INTO audits SELECT * FROM audits")


def commit_all() -> None:
    current_database().raw.execute("COMMIT")


def job(fn: Any = add, *args: Any, undo: Callable[[], object] | None = None) -> Job:
    return Job(fn, args, undo, None, anyio.Event())


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The lines about jobs so far, without the store's name and with N for each time."""
    caplog.set_level(logging.DEBUG, logger="veritas_peewee")

    def written() -> list[str]:
        found = [
            record.getMessage().partition(": ")[2]
            for record in caplog.records
            if record.levelno == logging.DEBUG and record.name == "veritas_peewee"
        ]
        return [re.sub(r"\d+\.\d+ (ms|s ago)", r"N \1", line) for line in found]

    return written


async def batch(store: AuditStore, *calls: Callable[[], object], cancel: int = 0) -> dict[Any, Any]:
    """Have calls run in one batch, in order, after `cancel` that are cancelled before it."""
    gate, results = Gate(), {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as doomed:
                for number in range(cancel):
                    doomed.start_soon(outcome, results, f"gone {number}", store.write, add)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        for number, call in enumerate(calls):
            tasks.start_soon(outcome, results, number, store.write, call)
            await anyio.wait_all_tasks_blocked()
        gate.release.set()
    return results


async def test_a_batch_with_a_write_that_failed(
    store: AuditStore, lines: Callable[[], list[str]]
) -> None:
    results = await batch(store, add, fail, add)
    assert isinstance(results[1], LookupError)
    gate, *rest = lines()
    assert gate == "batch of 1, committed, N ms: 1 done, 0 failed, 0 withdrawn"
    assert rest == [
        "batch of 3, committed, N ms: 2 done, 1 failed, 0 withdrawn",
        f"failed: <Job {HERE}.fail(): done, submitted N s ago>: LookupError: mine",
    ]


async def test_a_write_that_failed_alone(store: AuditStore, lines: Callable[[], list[str]]) -> None:
    with pytest.raises(LookupError):
        await store.write(fail)
    assert lines() == [
        "batch of 1, not committed, N ms: 0 done, 1 failed, 0 withdrawn",
        f"failed: <Job {HERE}.fail(): done, submitted N s ago>: LookupError: mine",
    ]


async def test_a_batch_with_writes_that_were_withdrawn(
    store: AuditStore, lines: Callable[[], list[str]]
) -> None:
    await batch(store, add, add, cancel=2)
    gone = (
        "its caller was cancelled before it began: "
        "<Job tests.support.writes.add(): withdrawn, submitted N s ago>"
    )
    assert lines()[1:] == [
        "batch of 4, committed, N ms: 2 done, 0 failed, 2 withdrawn",
        gone,
        gone,
    ]
    assert await store.read(count) == 2


async def test_a_batch_whose_transaction_was_lost(
    store: AuditStore, lines: Callable[[], list[str]]
) -> None:
    results = await batch(store, add, fail_for_all, add, cancel=1)
    assert isinstance(results[0], WriteUndone)
    first, *rest = lines()[1:]
    assert first == "batch of 4, not committed, N ms: 0 done, 3 failed, 1 withdrawn"
    undone = f"<Job tests.support.writes.add(): done, submitted N s ago>: WriteUndone: {results[0]}"
    assert rest == [
        f"failed: {undone}",
        f"failed: <Job {HERE}.fail_for_all(): done, submitted N s ago>: IntegrityError: "
        "UNIQUE constraint failed: audits.id",
        f"failed: {undone}",
        "its caller was cancelled before it began: "
        "<Job tests.support.writes.add(): withdrawn, submitted N s ago>",
    ]
    assert "UNIQUE constraint failed" in str(results[0])


async def test_a_batch_of_which_nobody_knows_whether_it_was_committed(
    store: AuditStore, lines: Callable[[], list[str]]
) -> None:
    results = await batch(store, add, commit_all)
    assert isinstance(results[0], StoreError)
    first, *rest = lines()[1:]
    assert first == "batch of 2, not known whether committed, N ms: 0 done, 2 failed, 0 withdrawn"
    assert [line.startswith("failed: <Job tests.") for line in rest] == [True, True]


async def test_writes_that_a_closing_store_did_not_begin(
    tmp_path: Path, lines: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veritas_peewee.threads.writer.CLOSE_TIMEOUT", 0.2)
    store = await AuditStore.open(tmp_path / "audits.db")
    gate, results = Gate(), {}
    undone: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        for name in ("queued", "queued too"):
            tasks.start_soon(outcome, results, name, store.write, add)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as doomed:
                undo = partial(undone.append, "withdrawn")
                doomed.start_soon(partial(store._opened().submit, add, undo=undo))
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        with pytest.raises(StoreError, match="has not ended"):
            await store.close()
        seen = lines()
        gate.release.set()
    assert isinstance(results["queued"], StoreClosed)
    assert undone == ["withdrawn"]
    failed = (
        "failed: <Job tests.support.writes.add(): done, submitted N s ago>: "
        f"StoreClosed: {results['queued']}"
    )
    assert seen == [
        "left when the writer stopped: 0 done, 2 failed, 1 withdrawn",
        failed,
        failed,
        "its caller was cancelled before it began: "
        "<Job tests.support.writes.add(): withdrawn, submitted N s ago>",
    ]


async def test_the_log_says_nothing_and_asks_nothing_unless_at_debug(
    store: AuditStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="veritas_peewee")
    monkeypatch.setattr(Job, "__repr__", fail)
    await batch(store, add, fail, cancel=1)
    assert caplog.records == []


@pytest.mark.parametrize("breaks", ["filter", "repr", "message"])
async def test_a_log_that_fails_leaves_no_caller_without_an_answer(
    store: AuditStore,
    lines: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    breaks: str,
) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    class Rude:
        """A callable whose every attribute raises."""

        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __call__(self) -> None:
            raise Mute if breaks == "message" else LookupError

    logger = logging.getLogger("veritas_peewee")

    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError

    if breaks == "filter":
        logger.addFilter(refuse)
    try:
        results = await batch(store, add, Rude())
    finally:
        logger.removeFilter(refuse)
    assert isinstance(results[0], str)
    assert isinstance(results[1], Exception)
    if breaks == "message":
        assert lines()[-1].endswith(": Mute: Mute")


def test_only_one_can_move_a_job_on() -> None:
    one, two = job(), job()
    assert one.state is QUEUED
    assert move([one, two], QUEUED, RUNNING) == [one, two]
    assert move([one], QUEUED, WITHDRAWN) == []
    assert move([one], RUNNING, DONE) == [one]
    assert move([one, two], RUNNING, DONE) == [two]
    assert (one.state, two.state) == (DONE, DONE)


class Machine:
    def __call__(self) -> None: ...

    def method(self, name: str) -> None: ...


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: job(add), "tests.support.writes.add()"),
        (lambda: job(partial(partial(add, 1), 2), "id"), "tests.support.writes.add('id')"),
        (
            lambda: job(fail, partial(add, 1), "id", 5),
            "tests.threads.test_writer_log.fail(tests.support.writes.add, 'id', …)",
        ),
        (lambda: job(Machine()), "Machine()"),
        (
            lambda: job(Machine().method, "x" * 99),
            f"{HERE}.Machine.method('{'x' * 59}…')",
        ),
    ],
    ids=["function", "partial", "arguments", "callable", "method"],
)
def test_the_repr_of_a_job_says_what_it_calls(made: Callable[[], Job], text: str) -> None:
    assert re.fullmatch(
        rf"<Job {re.escape(text)}: queued, submitted 0\.\d\d\d s ago>", repr(made())
    )


@pytest.mark.parametrize("state", State)
def test_the_repr_of_a_job_says_its_state(state: State) -> None:
    made = job()
    made.state = state
    assert f": {state.value}, " in repr(made)


def test_what_was_done_for_a_job_is_undone_once() -> None:
    undone: list[int] = []
    made = job(undo=lambda: undone.append(1))
    made.take_back()
    made.take_back()
    assert undone == [1]


async def test_each_job_of_a_lost_batch_is_undone_once(store: AuditStore) -> None:
    undone: list[str] = []

    async def submit(name: str, fn: Callable[[], object]) -> None:
        undo = partial(undone.append, name)
        await outcome(results, name, store._opened().submit, fn, undo=undo)

    gate, results = Gate(), {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(outcome, results, "gate", store.write, gate)
        await gate.wait()
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as doomed:
                doomed.start_soon(submit, "withdrawn", add)
                await anyio.wait_all_tasks_blocked()
                scope.cancel()
        for name, fn in (("fails", fail), ("ends it", fail_for_all), ("after", add)):
            tasks.start_soon(submit, name, fn)
            await anyio.wait_all_tasks_blocked()
        gate.release.set()
    assert sorted(undone) == ["after", "ends it", "fails", "withdrawn"]
    assert isinstance(results["after"], WriteUndone)
    assert str(results["fails"]) == "mine"
    assert "withdrawn" not in results
