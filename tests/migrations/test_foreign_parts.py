"""What another program leaves in the file: refused where it would act on what is written."""

from __future__ import annotations

import subprocess
import sys
from itertools import cycle
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.audits import fill
from tests.support.database_files import by_hand, select, verified
from veritas_peewee import (
    Audit,
    AuditFinding,
    AuditStore,
    StoreError,
    connect,
)
from veritas_peewee.cli.app import run
from veritas_peewee.database.current import current_database
from veritas_peewee.ledger.heads import newest_head
from veritas_peewee.maintenance.backup import backup, restore
from veritas_peewee.maintenance.doctor import diagnose
from veritas_peewee.maintenance.repair import repairing
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.migrations import fresh, parts
from veritas_peewee.models import TABLES
from veritas_peewee.recording import operations, recorder, removal

PROGRESS = {"type": "log_entry", "message": "scrolled"}
LOWERED = (
    "CREATE TRIGGER helper AFTER INSERT ON audit_findings BEGIN "
    "UPDATE audit_findings SET severity = 'low' WHERE id = NEW.id; END"
)
ON_EVENTS = (
    "CREATE TRIGGER helper AFTER INSERT ON audit_events BEGIN "
    "UPDATE audit_events SET data = '{}' WHERE id = NEW.id; END"
)
ON_OURS = [model._meta.table_name for model in TABLES]
ACTING = {
    **{
        f"a trigger on {table}": f"CREATE TRIGGER helper BEFORE {change} ON {table} "
        "BEGIN SELECT RAISE(IGNORE); END"
        for table, change in zip(ON_OURS, cycle(["INSERT", "UPDATE", "DELETE"]), strict=False)
    },
    "a trigger on the history": "CREATE TRIGGER helper AFTER INSERT ON veritas_migrations "
    "BEGIN SELECT 1; END",
    "a trigger on a view of ours": "CREATE TRIGGER helper INSTEAD OF INSERT ON event_log "
    "BEGIN SELECT 1; END",
    "a trigger named as a table": "CREATE TRIGGER audits AFTER INSERT ON audits "
    "BEGIN SELECT 1; END",
    "an index": "CREATE INDEX helper ON audit_events (timestamp)",
    "a unique index": "CREATE UNIQUE INDEX helper ON audit_events (id, audit_id)",
    "an index over an expression": "CREATE INDEX helper ON audits (json_extract(narrative, '$.a'))",
    "a name with quotes": 'CREATE TRIGGER "a""b c" AFTER INSERT ON audits BEGIN SELECT 1; END',
}  # fmt: skip


def doctors(path: Path) -> dict[str, str]:
    return {one.text: one.level for one in diagnose(path) if one.name == "schema"}


def dropped(text: str) -> str:
    """The statement in an error that removes what it names."""
    return text[text.index("DROP ") :]


# ---- at an opening ----


@pytest.mark.parametrize("what", ACTING)
def test_what_acts_on_our_writes_is_refused_named_and_not_written_through(
    path: Path, ids: list[str], what: str
) -> None:
    by_hand(path, ACTING[what])
    before = path.read_bytes()
    with (
        pytest.raises(StoreError, match=r"audits\.db: not of this library") as refused,
        connect(path),
    ):
        pass
    assert path.read_bytes() == before
    name = 'a"b c' if "quotes" in what else "audits" if "named" in what else "helper"
    assert f" {name} on " in str(refused.value)
    (problem,) = verified(path).problems
    assert f" {name} on " in problem
    assert doctors(path)[problem] == "problem"
    by_hand(path, dropped(str(refused.value)))  # as the message says
    with connect(path):
        recorder.record(ids[-1], PROGRESS)
    assert verified(path).problems == []


@pytest.mark.parametrize("how", ["store", "fix", "command"])
def test_every_way_to_open_for_writing_refuses(
    path: Path, ids: list[str], how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand(path, LOWERED)
    if how == "command":
        assert run(["delete", ids[0], "--yes", "--database", str(path)]) == 1
        assert 'DROP TRIGGER "helper"' in capsys.readouterr().err
    elif how == "fix":
        with pytest.raises(StoreError, match='DROP TRIGGER "helper"'), repairing(path):
            pass
    else:

        async def opens() -> None:
            with pytest.raises(StoreError, match='DROP TRIGGER "helper"'):
                await AuditStore.open(path)

        anyio.run(opens)
    assert len(select(path, "SELECT 1 FROM audits")) == 4


@pytest.mark.parametrize("statement", [LOWERED, "ALTER TABLE audits ADD COLUMN mine TEXT"])
def test_reading_continues(
    path: Path, ids: list[str], statement: str, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand(path, statement)
    with connect(path, read_only=True):
        assert Audit.select().count() == 4
        assert str(newest_head())
    for command in (["history"], ["show", ids[0]], ["stats"], ["search", "finding"], ["head"]):
        assert run([*command, "--database", str(path)]) == 0
    assert run(["export", "--database", str(path), "--output", str(path.with_name("all"))]) == 0


def test_backup_and_restore_do_not_hand_it_on(path: Path, ids: list[str], tmp_path: Path) -> None:
    saved = backup(tmp_path / "sound", database=path)
    by_hand(path, LOWERED)
    with pytest.raises(StoreError, match="helper"):
        backup(tmp_path / "copy", database=path)
    report = backup(tmp_path / "copy", database=path, damaged=True)
    assert ["helper" in problem for problem in report.problems] == [True]
    with pytest.raises(StoreError, match="helper"):
        restore(tmp_path / "copy", tmp_path / "elsewhere" / "audits.db")
    by_hand(saved.database, LOWERED)
    with pytest.raises(StoreError, match="helper"):
        restore(saved.path, path, force=True)


@pytest.mark.parametrize("migration", ["0002_seals", "0004_search", fresh.migrations.KNOWN[-1]])
def test_an_upgrade_is_not_written_through_it_either(
    path: Path, ids: list[str], migration: str
) -> None:
    by_hand(
        path,
        LOWERED,
        f"DELETE FROM veritas_migrations WHERE name >= '{migration}'",
    )
    with pytest.raises(StoreError, match="helper"), connect(path):
        pass
    assert migration not in {row[0] for row in select(path, "SELECT name FROM veritas_migrations")}


# ---- what acts on nothing of ours ----

HARMLESS = {
    "CREATE TABLE mine (id)": "the table mine is not of this library",
    "CREATE VIEW mine AS SELECT url FROM audits": "the view mine is not of this library",
    "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)": "Litestream's",
    "CREATE TABLE _litestream_lock (id INTEGER)": "Litestream's",
    "CREATE TABLE mine (audit TEXT REFERENCES audits (id))": "keep those of audits from being",
    "CREATE TABLE mine (audit TEXT REFERENCES audits (id) ON DELETE CASCADE)": "a removal from",
    "CREATE VIRTUAL TABLE mine USING fts5(words)": "the table mine is not",
}


@pytest.mark.parametrize("statement", HARMLESS)
def test_what_acts_on_nothing_of_ours_is_noted_and_writing_continues(
    path: Path, ids: list[str], statement: str
) -> None:
    by_hand(path, statement)
    with connect(path):
        recorder.record(ids[-1], PROGRESS)
    report = verified(path)
    assert report.problems == []
    assert any(HARMLESS[statement] in note for note in report.notes)
    assert [level for text, level in doctors(path).items() if HARMLESS[statement] in text] == [
        "note"
    ]


def test_a_trigger_on_a_table_that_follows_ours_is_refused(path: Path, ids: list[str]) -> None:
    """A removal of ours reaches it by the foreign key."""
    by_hand(
        path,
        "CREATE TABLE mine (audit TEXT REFERENCES audits (id) ON DELETE CASCADE)",
        "CREATE TRIGGER helper AFTER DELETE ON mine BEGIN DELETE FROM removed_audits; END",
        "CREATE TABLE apart (id)",
        "CREATE TRIGGER other AFTER DELETE ON apart BEGIN DELETE FROM mine; END",
    )
    with pytest.raises(StoreError, match="helper") as refused, connect(path):
        pass
    assert "other" not in str(refused.value)


# ---- beside an open store ----


@pytest.mark.parametrize("statement", [LOWERED, ON_EVENTS, ACTING["a unique index"]])
@pytest.mark.parametrize("how", ["lone", "batch", "block", "write"])
async def test_what_is_added_beside_an_open_store_stops_the_next_write(
    path: Path, ids: list[str], statement: str, how: str
) -> None:
    async with AuditStore.open(path) as store:
        await store.record(ids[-1], PROGRESS)
        await store.record(ids[-1], PROGRESS)  # by a statement that is compiled
        before = select(path, "SELECT COUNT(*) FROM audit_events")
        by_hand(path, statement)
        told = []

        async def write() -> None:
            with pytest.raises(StoreError, match="helper"):
                if how == "block":
                    await store.record_many(ids[-1], [PROGRESS] * 3)
                elif how == "write":
                    await store.write(operations.create, "https://next.example/")
                else:
                    await store.record(ids[-1], PROGRESS)
            told.append(how)

        for _ in range(2):
            async with anyio.create_task_group() as tasks:
                for _ in range(20 if how == "batch" else 1):
                    tasks.start_soon(write)
        assert len(told) in (2, 40)
        assert select(path, "SELECT COUNT(*) FROM audit_events") == before
        kind = "INDEX" if "INDEX" in statement else "TRIGGER"
        by_hand(path, f"DROP {kind} helper")
        for _ in range(2):
            await store.record(ids[-1], PROGRESS)
        assert (await store.read(verify)).problems == []


def test_what_is_added_beside_a_script_stops_the_next_write(path: Path, ids: list[str]) -> None:
    with connect(path):
        recorder.record(ids[-1], PROGRESS)
        by_hand(path, ON_EVENTS)
        for change in (
            lambda: recorder.record(ids[-1], PROGRESS),
            lambda: operations.create("https://next.example/"),
            lambda: Audit.update(narrative="x").execute(),
            lambda: removal.delete(ids[0]),
        ):
            with pytest.raises(StoreError, match="helper"):
                change()
        by_hand(path, "DROP TRIGGER helper")
        recorder.record(ids[-1], PROGRESS)
    assert verified(path).problems == []


def test_what_a_script_itself_adds_stops_its_next_write(path: Path, ids: list[str]) -> None:
    with connect(path) as database:
        recorder.record(ids[-1], PROGRESS)
        database.execute_sql(ON_EVENTS)
        with pytest.raises(StoreError, match="helper"):
            recorder.record(ids[-1], PROGRESS)


async def test_what_the_writer_itself_adds_stops_the_next_lone_event(
    path: Path, ids: list[str]
) -> None:
    async with AuditStore.open(path) as store:
        await store.record(ids[-1], PROGRESS)
        await store.write(lambda: current_database().execute_sql(ON_EVENTS) and None)
        with pytest.raises(StoreError, match="helper"):
            await store.record(ids[-1], PROGRESS)


async def test_another_process_adds_it(path: Path, ids: list[str]) -> None:
    program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute(sys.argv[2])"
    async with AuditStore.open(path) as store:
        await store.record(ids[-1], PROGRESS)
        subprocess.run([sys.executable, "-c", program, str(path), ON_EVENTS], check=True)
        with pytest.raises(StoreError, match="helper"):
            await store.record(ids[-1], PROGRESS)


async def test_a_harmless_change_of_the_schema_stops_nothing(path: Path, ids: list[str]) -> None:
    async with AuditStore.open(path) as store:
        for number in range(3):
            await store.record(ids[-1], PROGRESS)
            by_hand(path, f"CREATE TABLE mine{number} (id)", "ANALYZE")
            await store.record(ids[-1], PROGRESS)
        assert (await store.read(verify)).problems == []


async def test_a_lone_event_needs_a_transaction_only_after_a_change_of_the_schema(
    path: Path, ids: list[str]
) -> None:
    async with AuditStore.open(path) as store:
        begun: list[str] = []
        await store.write(
            lambda: current_database().raw.set_trace_callback(
                lambda sql: begun.append(sql) if "BEGIN" in sql else None
            )
        )
        counts = []
        for number in range(6):
            begun.clear()
            if number == 3:
                by_hand(path, "CREATE TABLE mine (id)")
            await store.record(ids[-1], PROGRESS)
            counts.append(len(begun))
        assert counts == [1, 0, 0, 1, 0, 0]


# ---- our own SQL functions ----


def test_a_planted_trigger_cannot_have_us_seal_what_others_changed(
    path: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where it is not refused, and whatever names it tries."""
    by_hand(path, "UPDATE audit_findings SET severity = 'low'")
    told = verified(path).problems
    with connect(path) as database:
        ours = {
            row[0]
            for row in database.execute_sql("SELECT name FROM pragma_function_list")
            if row[0].startswith("veritas_")
        }
    assert len(ours) == 9
    monkeypatch.setattr(parts, "_acts", lambda *_: False)
    for name in (*ours, "veritas_touch", "veritas_gone"):
        by_hand(
            path,
            "CREATE TRIGGER helper AFTER INSERT ON audits BEGIN "
            f"SELECT {name}(id) FROM audits; END",
        )
        with connect(path), pytest.raises(Exception, match=r"no such function|wrong number"):
            operations.create("https://next.example/")
        by_hand(path, "DROP TRIGGER helper")
    assert verified(path).problems == told


def test_a_connection_that_is_closed_and_opened_again_seals_what_it_changes(
    path: Path, ids: list[str]
) -> None:
    with connect(path) as database:
        database.close()
        database.connect()
        AuditFinding.update(severity="low").where(AuditFinding.audit == ids[0]).execute()
        recorder.record(ids[-1], PROGRESS)
    assert verified(path).problems == []


def test_a_database_in_memory_that_was_closed_is_not_opened_again_as_an_empty_one() -> None:
    with connect(":memory:") as database:
        fill(1)
        database.close()
        with pytest.raises(StoreError, match="ends when it is closed"):
            database.connect()


# ---- what the schema is compared with ----


def test_the_digest_in_the_code_is_that_of_a_new_file(path: Path, ids: list[str]) -> None:
    assert set(fresh.fresh_parts()) == fresh.our_names()
    assert fresh.digest_of(fresh.fresh_parts().values()) == fresh.DIGEST
    with connect(path) as database:
        assert parts.differences(database) == parts.Differences()


def test_an_opening_makes_no_schema_to_compare_with(
    path: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand(path, "CREATE TABLE mine (id)")

    def never() -> Any:
        raise AssertionError("made a whole schema")

    monkeypatch.setattr(parts, "fresh_parts", never)
    with connect(path):
        assert verify().problems == []
