"""A process that is killed: all that was acknowledged is there, nothing is half, and it is told."""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.support.amount import amount
from tests.support.database_files import by_hand, select
from tests.support.invariants import check_closed
from tests.support.processes import KILLED, start
from veritas_peewee import (
    Audit,
    AuditNotFound,
    AuditStore,
    DatabaseCorrupt,
    InvalidAudit,
    StoreBusy,
    StoreFull,
    connect,
)
from veritas_peewee.database.statements import rows_of
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditRunner
from veritas_peewee.queries import lookups
from veritas_peewee.recording import disconnecting, operations, recorder

NOTE = "the process that was running this audit"


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


class Engine:
    """A process that runs audits in a store, as it is told to."""

    def __init__(self, path: Path) -> None:
        self.process = start("run_audits.py", path)
        assert self._answer() == ["open"]

    def _answer(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def do(self, *words: object) -> list[str]:
        assert self.process.stdin is not None
        print(*words, file=self.process.stdin, flush=True)
        done, *found = self._answer()
        assert done == "done"
        return found

    def kill(self) -> None:
        kill(self.process)


@pytest.fixture
def engine(path: Path) -> Iterator[Callable[[], Engine]]:
    engines: list[Engine] = []

    def begin() -> Engine:
        engines.append(Engine(path))
        return engines[-1]

    yield begin
    for one in engines:
        one.kill()


def sessions(path: Path) -> list[str]:
    folder = path.with_name(path.name + "-sessions")
    return os.listdir(folder) if folder.exists() else []


def assert_told_once(audit: Audit) -> None:
    assert len(audit.errors) == 1
    assert NOTE in audit.errors[0]


# ---- what was acknowledged, and what was whole ----


def record_and_kill(path: Path, backend: str, lines: int) -> list[list[str]]:
    """What a process acknowledged that is killed once it has told so many lines."""
    process = start("record_until_killed.py", path, backend)
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(lines)]
    os.kill(process.pid, 9)
    told += process.stdout.readlines()  # what was in the pipe was acknowledged too
    kill(process)
    assert process.returncode == KILLED
    return [line.split() for line in told if line.endswith("\n")]


def check_acknowledged(path: Path, told: list[list[str]]) -> None:
    kinds = Counter(words[0] for words in told)
    assert kinds["event"]
    assert kinds["many"]
    assert kinds["ingest"]
    stored = {row[0] for row in select(path, "SELECT id FROM audit_events")}
    going = {words[1] for words in told if words[0] == "deleting"}
    events = dict(select(path, "SELECT audit_id, COUNT(*) FROM audit_events GROUP BY audit_id"))
    for kind, *values in told:
        if kind == "event":
            assert int(values[0]) in stored
        elif kind == "many":
            first, last, count = map(int, values)
            assert last - first + 1 == count
            assert stored.issuperset(range(first, last + 1))
        elif kind == "ingest":
            # A deletion that was under way is done or not done, and never half.
            assert events.get(values[0], 0) == int(values[1]) or values[0] in going
            assert events.get(values[0], 0) in (0, int(values[1]))
        elif kind == "delete":
            assert values[0] not in events


def check_whole(path: Path) -> None:
    """An audit or a batch that is written at once is there with all of its rows, or not at all."""
    whole = select(
        path,
        "SELECT (SELECT COUNT(*) FROM audit_events WHERE audit_id = audits.id), "
        "(SELECT COUNT(*) FROM audit_findings WHERE audit_id = audits.id), "
        "screenshots_count, status, trust_score FROM audits WHERE url LIKE '%/whole/%'",
    )
    assert set(whole) <= {(8, 5, 1, "completed", 50.0)}
    batches = (
        "SELECT audit_id, json_extract(data, '$.number') AS number, COUNT(*), MAX(id) - MIN(id) "
        "FROM audit_events WHERE event_type = 'batch' GROUP BY audit_id, number"
    )
    for audit_id, _, markers, length in select(path, batches):
        assert (markers, length) == (2, 6), audit_id
    counts = (
        "SELECT audit_id, SUM(event_type = 'batch') / 2, SUM(event_type = 'finding'), "
        "SUM(event_type = 'screenshot') FROM audit_events WHERE audit_id IN "
        "(SELECT id FROM audits WHERE url LIKE '%/in-batches') GROUP BY audit_id"
    )
    for audit_id, batch, findings, shots in select(path, counts):
        assert (findings, shots) == (batch * 4, batch), audit_id
    # An event and its effect are one transaction.
    for kind, table in (("finding", "audit_findings"), ("screenshot", "audit_screenshots")):
        sql = (
            f"SELECT (SELECT COUNT(*) FROM {table} WHERE audit_id = audits.id) = "
            "(SELECT COUNT(*) FROM audit_events WHERE audit_id = audits.id AND event_type = ?) "
            "FROM audits"
        )
        assert set(select(path, sql, kind)) == {(1,)}


@pytest.mark.parametrize("seed", range(amount(4, 8)))
def test_a_process_killed_at_a_random_instant_loses_nothing_it_acknowledged(
    path: Path, seed: int
) -> None:
    # Every kind of write has been acknowledged after so many lines, and then any number more.
    lines = 300 + random.Random(seed).randrange(amount(600, 1500))
    told = record_and_kill(path, ("asyncio", "trio")[seed % 2], lines)
    with connect(path):
        for audit in Audit.select():
            assert audit.status in ("queued", "completed", "disconnected")
            assert (audit.status == "disconnected") == any(NOTE in text for text in audit.errors)
    check_acknowledged(path, told)
    check_whole(path)
    assert sessions(path) == []
    assert not path.with_name(path.name + "-sessions").exists()
    check_closed(path)


def test_a_store_that_is_killed_again_and_again_keeps_all_of_it(path: Path) -> None:
    told: list[list[str]] = []
    for seed in range(amount(2, 4)):
        told += record_and_kill(path, ("trio", "asyncio")[seed % 2], 300 + seed * 100)
    with connect(path):
        assert not Audit.select().where(Audit.status == "running").exists()
    check_acknowledged(path, told)
    check_whole(path)
    assert sessions(path) == []
    check_closed(path)


# ---- audits that were running ----


def test_audits_that_were_running_are_disconnected_with_a_note_and_an_event(
    path: Path, engine: Callable[[], Engine]
) -> None:
    died = engine()
    running = died.do("start", 3)
    (ended,) = died.do("start", 1)
    died.do("finish", ended)
    died.kill()
    with connect(path):
        for audit_id in running:
            audit = lookups.get(audit_id)
            assert audit.status == "disconnected"
            assert_told_once(audit)
            assert audit.completed_at is None
            told = [(event.event_type, event.data) for event in lookups.events(audit_id)]
            assert [kind for kind, _ in told] == ["phase_start", "audit_disconnected"]
            assert [told[-1][1]["error"]] == audit.errors
        assert lookups.get(ended).status == "completed"
        assert lookups.get(ended).errors == []
    assert sessions(path) == []
    check_closed(path)


def test_a_disconnected_audit_is_told_once_however_often_the_file_is_opened(
    path: Path, engine: Callable[[], Engine]
) -> None:
    died = engine()
    (audit_id,) = died.do("start", 1)
    died.kill()
    for _ in range(3):
        with connect(path):
            assert_told_once(lookups.get(audit_id))
            assert len(lookups.events(audit_id)) == 2
    check_closed(path)


def test_a_queued_audit_of_a_dead_process_stays_queued(path: Path) -> None:
    with connect(path):
        audit = operations.create("https://example.com")
    with connect(path):
        assert lookups.get(audit.id).status == "queued"
    check_closed(path)


def test_a_disconnected_audit_can_go_on_in_another_process(
    path: Path, engine: Callable[[], Engine]
) -> None:
    died = engine()
    (audit_id,) = died.do("start", 1)
    died.kill()
    with connect(path):
        recorder.record(audit_id, {"type": "audit_complete", "elapsed": 2})
        assert lookups.get(audit_id).status == "completed"
    check_closed(path)


def test_audits_that_a_living_process_runs_are_left_alone_until_it_is_dead_too(
    path: Path, engine: Callable[[], Engine]
) -> None:
    alive, died = engine(), engine()
    (kept,) = alive.do("start", 1)
    (lost,) = died.do("start", 1)
    with connect(path):
        assert lookups.get(kept).status == lookups.get(lost).status == "running"
    died.kill()
    for _ in range(2):
        with connect(path):
            assert (lookups.get(kept).status, lookups.get(kept).errors) == ("running", [])
            assert lookups.get(lost).status == "disconnected"
        assert len(sessions(path)) == 1
    alive.do("finish", kept)
    (kept_too,) = alive.do("start", 1)
    alive.kill()
    with connect(path):
        assert lookups.get(kept).status == "completed"
        assert lookups.get(kept_too).status == "disconnected"
    assert sessions(path) == []
    check_closed(path)


async def test_a_store_that_opens_disconnects_the_audits_of_the_dead_only(
    path: Path, engine: Callable[[], Engine]
) -> None:
    alive, died = engine(), engine()
    (kept,) = alive.do("start", 1)
    (lost,) = died.do("start", 1)
    died.kill()
    async with AuditStore.open(path) as store:
        assert (await store.get(kept)).status == "running"
        assert (await store.get(lost)).status == "disconnected"
        own = await store.create("https://example.com")
        await store.record(own.id, {"type": "phase_start", "phase": "init"})
        other = engine()  # another process opens, and must find this one alive
        assert (await store.get(own.id)).status == "running"
        other.do("close")
        await store.record(own.id, {"type": "audit_complete"})
    alive.do("finish", kept)
    alive.do("close")
    assert sessions(path) == []
    check_closed(path)


def test_a_viewer_changes_nothing_of_a_dead_processs_audits(
    path: Path, engine: Callable[[], Engine]
) -> None:
    died = engine()
    (audit_id,) = died.do("start", 1)
    died.kill()
    with connect(path, read_only=True):
        assert lookups.get(audit_id).status == "running"
    with connect(path):
        assert lookups.get(audit_id).status == "disconnected"
    check_closed(path)


def test_many_processes_that_open_after_a_death_tell_it_once(
    path: Path, engine: Callable[[], Engine]
) -> None:
    died = engine()
    lost = died.do("start", 5)
    died.kill()
    for one in [engine() for _ in range(4)]:
        one.do("close")
    with connect(path):
        for audit_id in lost:
            assert_told_once(lookups.get(audit_id))
            assert len(lookups.events(audit_id)) == 2
    assert sessions(path) == []
    check_closed(path)


# ---- the sessions folder ----


def test_a_process_that_closes_its_store_leaves_no_session(
    path: Path, engine: Callable[[], Engine]
) -> None:
    one = engine()
    running = one.do("start", 2)
    assert len(sessions(path)) == 1
    one.do("finish", *running)
    one.do("close")
    assert not path.with_name(path.name + "-sessions").exists()
    check_closed(path)


def test_a_process_killed_with_no_audit_running_leaves_no_session_behind(
    path: Path, engine: Callable[[], Engine]
) -> None:
    one = engine()
    one.do("finish", *one.do("start", 1))
    one.kill()
    with connect(path):
        pass
    assert sessions(path) == []
    check_closed(path)


def test_a_process_killed_before_its_first_audit_was_saved_leaves_no_session_behind(
    path: Path, engine: Callable[[], Engine]
) -> None:
    one = engine()
    one.do("session")
    one.kill()
    with connect(path):
        pass
    assert sessions(path) == []
    check_closed(path)


def test_a_process_killed_while_it_began_its_session_leaves_nothing_behind(path: Path) -> None:
    with connect(path):
        pass
    folder = path.with_name(path.name + "-sessions")
    folder.mkdir(mode=0o700)
    (folder / ".0123456789abcdef").touch(mode=0o600)  # as it is until it has been locked and named
    with connect(path):
        pass
    assert sessions(path) == []
    check_closed(path)


ODD_VALUES = ("5", "x'00'", "'odd'", "CAST(x'ff' AS TEXT)", "NULL", "9e999", "'[[[['")


def test_an_odd_audit_of_a_dead_process_stops_neither_the_opening_nor_the_others(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with connect(path):
        names = [*Audit._meta.columns, "runner's audit", "runner's session"]
        odd = {f"o{place}.{number}": (name, value)
               for place, name in enumerate(names)
               for number, value in enumerate(ODD_VALUES)}  # fmt: skip
        for audit_id in ("a", *odd, "z"):
            operations.create("https://example.com", id=audit_id)
            recorder.record(audit_id, {"type": "phase_start", "phase": "init"})
    changes = ["UPDATE audit_runners SET session = 'imported'"]
    for audit_id, (name, value) in odd.items():
        table, key = ("audit_runners", "audit_id") if "'" in name else ("audits", "id")
        column = {"runner's audit": "audit_id", "runner's session": "session"}.get(name, name)
        changes.append(
            f"UPDATE OR IGNORE {table} SET {column} = {value} WHERE {key} = '{audit_id}'"
        )
    by_hand(path, *changes)
    with connect(path):
        assert {one.id: one.status for one in Audit.select(Audit.id, Audit.status).where(
            Audit.id.in_(["a", "z"]))} == {"a": "disconnected", "z": "disconnected"}  # fmt: skip
        left = [audit_id for (audit_id,) in rows_of(AuditRunner.select(AuditRunner.audit))]
        problems = verify().problems
    told = [record.getMessage() for record in caplog.records]
    assert left
    for audit_id in ("a", "z", *odd):
        assert sum(f"audit {audit_id} " in text for text in told) <= (audit_id in odd), audit_id
    unsaid = [one for one in left if not any(f"audit {one} has" in text for text in told)]
    unnamed = [one for one in left if not any(f" {one}" in text for text in problems)]
    # Those whose audit was given another id are named by their table.
    assert (unsaid, [one for one in unnamed if not one.startswith("o0.")]) == ([], [])
    assert any("audit_runners" in text and "is missing" in text for text in problems)
    with connect(path):  # as often as it is opened
        assert [one for (one,) in rows_of(AuditRunner.select(AuditRunner.audit))] == left


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (InvalidAudit("odd"), True),
        (AuditNotFound("odd"), True),
        (DatabaseCorrupt("odd"), True),
        (TypeError("odd"), True),
        (StoreFull("the disk"), False),
        (StoreBusy("a lock"), False),
        (OSError(5, "the disk"), False),
        (MemoryError(), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_only_what_an_audit_itself_has_lets_the_opening_go_on(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, passes: bool
) -> None:
    with connect(path):
        operations.create("https://example.com", id="a")
        recorder.record("a", {"type": "phase_start", "phase": "init"})
    by_hand(path, "UPDATE audit_runners SET session = 'imported'")

    def fail(*_: object) -> bool:
        raise error

    monkeypatch.setattr(disconnecting, "_disconnect", fail)
    with nullcontext() if passes else pytest.raises(type(error)), connect(path):
        assert passes
