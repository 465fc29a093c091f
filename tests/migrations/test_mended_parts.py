"""What of ours another program lost or altered: made again, or refused until it is."""

from __future__ import annotations

import logging
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from tests.support.audits import found
from tests.support.database_files import by_hand, select, verified
from veritas_peewee import Audit, AuditStore, StoreError, connect
from veritas_peewee.cli.app import run
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.maintenance.doctor import diagnose
from veritas_peewee.maintenance.repair import repairing
from veritas_peewee.migrations import fresh
from veritas_peewee.migrations.fresh import fresh_parts
from veritas_peewee.models import TABLES, AuditEvent
from veritas_peewee.recording import operations, recorder, removal

LOG_ENTRY = {"type": "log_entry", "message": "scrolled"}
DERIVED = sorted(
    part for part in fresh_parts().values()
    if part.kind != "table" and not part.name.startswith("veritas_")
)  # fmt: skip
CATALOG = ("audit_catalog", "audit_patterns", "audit_counts")
OURS = [model._meta.table_name for model in TABLES if model._meta.table_name not in CATALOG]


def transform(path: Path, table: str, *, more: str = "") -> None:
    """What `sqlite-utils transform` does: a table made anew by what it knows of the columns."""
    kinds = {"VARCHAR": "TEXT", "DATETIME": "REAL", "JSON": "REAL", "FLOAT": "REAL"}
    with closing(driver.connect(path, isolation_level=None)) as plain:
        columns = plain.execute(f"PRAGMA table_info({table})").fetchall()
        parents = plain.execute(f"PRAGMA foreign_key_list({table})").fetchall()
        texts = plain.execute(
            "SELECT sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql <> ''",
            (table,),
        ).fetchall()
        keys = [column[1] for column in columns if column[5]]
        made = [
            f'"{name}" {kinds.get(kind.partition("(")[0], kind)}'
            + " PRIMARY KEY" * ([name] == keys)
            + " NOT NULL" * not_null
            + (f" DEFAULT {default}" if default else "")
            for _, name, kind, not_null, default, _ in columns
        ]
        made += [f"PRIMARY KEY ({', '.join(keys)})"] * (len(keys) > 1)
        made += [
            f'FOREIGN KEY ("{row[3]}") REFERENCES "{row[2]}" ("{row[4]}") ON DELETE {row[6]}'
            for row in parents
        ]
        names = ", ".join(column[1] for column in columns)
        for statement in (
            f'CREATE TABLE "made_anew" ({more}{", ".join(made)})',
            f"INSERT INTO made_anew ({names}) SELECT {names} FROM {table}",
            f"DROP TABLE {table}",
            "PRAGMA legacy_alter_table = ON",
            f"ALTER TABLE made_anew RENAME TO {table}",
            *(text for (text,) in texts),
        ):
            plain.execute(statement)


def rows(path: Path, table: str) -> list[tuple[object, ...]]:
    return select(path, f"SELECT * FROM {table} ORDER BY 1")


def schema(path: Path) -> set[tuple[str, str, str]]:
    return set(select(path, "SELECT type, name, sql FROM sqlite_master WHERE sql <> ''"))


@pytest.fixture
def altered_store(path: Path, ids: list[str]) -> Path:
    """A store with rows in each table, in which the newest event was removed."""
    with connect(path):
        removal.delete(operations.create("https://gone.example/").id)
        gone = operations.create("https://gone.example/").id
        recorder.record(gone, LOG_ENTRY)
        removal.delete(gone)
    return path


# ---- what is derived ----


@pytest.mark.parametrize("part", DERIVED, ids=lambda part: part.name)
def test_a_part_that_is_lost_is_named_and_made_again_at_an_opening(
    path: Path, ids: list[str], part: fresh.Part, caplog: pytest.LogCaptureFixture
) -> None:
    whole = schema(path)
    by_hand(path, f"DROP {part.kind} {part.name}")
    told = [f"the {part.kind} {part.name} is missing"]
    problems = [one for one in verified(path).problems if "no such table" not in one]
    assert problems == told
    assert [one.text for one in diagnose(path) if one.level == "problem"] == told
    with connect(path):
        assert caplog.records[-1].levelno == logging.WARNING
        assert f"the {part.kind} {part.name} was missing" in caplog.text
        assert str(path) in caplog.text
    assert schema(path) == whole
    assert verified(path).problems == []


ALTERED = {
    "trigger": "CREATE TRIGGER remember_removed_event AFTER DELETE ON audit_events "
    "BEGIN DELETE FROM removed_audits; END",
    "view": "CREATE VIEW event_log AS SELECT 'nothing' AS id",
    "index": "CREATE INDEX idx_audits_status ON audits (url)",
}


@pytest.mark.parametrize("kind", ALTERED)
def test_a_part_that_is_altered_is_named_and_made_again_at_an_opening(
    path: Path, ids: list[str], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = schema(path)
    name = ALTERED[kind].split()[2]
    by_hand(path, f"DROP {kind} {name}", ALTERED[kind])
    assert verified(path).problems == [f"the schema of {name} is not that of this version"]
    with connect(path):
        assert f"the {kind} {name} was altered" in caplog.text
        removal.delete(ids[0])
        assert select(path, "SELECT COUNT(*) FROM removed_audits") == [(1,)]
    assert schema(path) == whole
    assert verified(path).problems == []


async def test_a_trigger_that_is_lost_beside_an_open_store_is_there_for_its_next_write(
    path: Path, ids: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with AuditStore.open(path) as store:
        await store.record(ids[-1], LOG_ENTRY)
        by_hand(path, "DROP TRIGGER remember_removed_event")
        await store.delete(ids[0])
        assert "remember_removed_event was missing" in caplog.text
        assert select(path, "SELECT COUNT(*) FROM removed_events") == [(8,)]


async def test_what_was_made_again_in_a_write_that_failed_is_made_again_in_the_next(
    path: Path, ids: list[str]
) -> None:
    def fail() -> None:
        raise ValueError("no")

    async with AuditStore.open(path) as store:
        await store.record(ids[-1], LOG_ENTRY)
        by_hand(path, "DROP TRIGGER remember_removed_event")
        with pytest.raises(ValueError, match="no"):
            await store.write(fail)
        await store.delete(ids[0])
        assert select(path, "SELECT COUNT(*) FROM removed_events") == [(8,)]


def test_a_view_with_a_trigger_in_place_of_writes_is_refused(path: Path, ids: list[str]) -> None:
    by_hand(
        path,
        "ALTER TABLE audit_events RENAME TO apart",
        "CREATE VIEW audit_events AS SELECT * FROM apart",
        "CREATE TRIGGER helper INSTEAD OF INSERT ON audit_events BEGIN SELECT 1; END",
    )
    with pytest.raises(StoreError, match="helper"), connect(path):
        pass
    by_hand(path, "DROP TRIGGER helper")
    with pytest.raises(StoreError, match="the table audit_events"), connect(path):
        pass
    with pytest.raises(StoreError, match="audit_events"), repairing(path):
        pass
    assert "the table audit_events is missing" in verified(path).problems


# ---- tables ----


@pytest.mark.parametrize("table", OURS)
def test_a_table_that_was_transformed_is_refused_and_made_again_by_fix(
    altered_store: Path, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = altered_store
    whole, before, counter = schema(path), rows(path, table), rows(path, "sqlite_sequence")
    transform(path, table)
    told = f"the schema of {table} is not that of this version"
    assert told in verified(path).problems
    assert told in [one.text for one in diagnose(path) if one.level == "problem"]
    with pytest.raises(StoreError, match=f"the table {table}\\b.*verify --fix"), connect(path):
        pass

    async def opens() -> None:
        with pytest.raises(StoreError, match=table):
            await AuditStore.open(path)

    anyio.run(opens)
    assert run(["verify", "--fix", "--database", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"fixed: made the table {table} again, with its {len(before)} rows" in " ".join(
        out.split()
    )
    assert (schema(path), rows(path, table), rows(path, "sqlite_sequence")) == (
        whole, before, counter,
    )  # fmt: skip
    with connect(path):
        audit_id = operations.create("https://next.example/").id
        recorder.record(audit_id, LOG_ENTRY)
        newest = AuditEvent.select().order_by(AuditEvent.id.desc()).get().id
        assert newest > select(path, "SELECT MAX(event_id) FROM removed_events")[0][0]
    assert verified(path).problems == []


@pytest.mark.parametrize("table", CATALOG)
def test_a_table_of_the_catalog_that_was_transformed_is_made_again_at_an_opening(
    path: Path, ids: list[str], table: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole = schema(path)
    transform(path, table)
    assert f"the schema of {table} is not that of this version" in verified(path).problems
    with connect(path):
        assert "made the catalog" in caplog.text
        assert len(found("finding")) == 4
    assert schema(path) == whole
    assert verified(path).problems == []


@pytest.mark.parametrize("table", CATALOG)
def test_a_table_of_the_catalog_that_was_renamed_is_made_again_at_an_opening(
    path: Path, ids: list[str], table: str
) -> None:
    """SQLite leaves a renamed table its indexes and triggers, under the names that are ours."""
    by_hand(path, f"ALTER TABLE {table} RENAME TO renamed")
    with connect(path):
        assert len(found("finding")) == 4
    assert verified(path).problems == []
    by_hand(path, "DROP TABLE renamed")
    assert verified(path).problems == []


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE audits ADD COLUMN mine TEXT",
        "ALTER TABLE audit_events RENAME COLUMN data TO told",
        "DROP TABLE audit_runners",
        "DROP TABLE removed_events",
    ],
)
async def test_a_table_that_is_altered_beside_an_open_store_stops_the_next_write(
    path: Path, ids: list[str], statement: str
) -> None:
    table = statement.split()[2]
    async with AuditStore.open(path) as store:
        await store.record(ids[-1], LOG_ENTRY)
        before = select(path, "SELECT COUNT(*) FROM audit_events")
        by_hand(path, statement)
        for _ in range(2):
            with pytest.raises(StoreError, match=f"the table {table}\\b.*verify --fix"):
                await store.record(ids[-1], LOG_ENTRY)
        assert select(path, "SELECT COUNT(*) FROM audit_events") == before


def test_a_column_of_another_program_goes_if_it_is_empty(path: Path, ids: list[str]) -> None:
    whole = schema(path)
    by_hand(path, "ALTER TABLE audits ADD COLUMN mine TEXT")
    with repairing(path):
        pass
    assert schema(path) == whole
    assert verified(path).problems == []


@pytest.mark.parametrize("table", ["audits", "audit_events", "audit_catalog"])
def test_a_column_of_another_program_with_values_is_not_dropped(
    path: Path, ids: list[str], table: str
) -> None:
    by_hand(path, f"ALTER TABLE {table} ADD COLUMN mine TEXT", f"UPDATE {table} SET mine = 'dear'")
    before = rows(path, table)
    with pytest.raises(StoreError, match="copy them") as refused, repairing(path):
        pass
    assert rows(path, table) == before
    by_hand(path, str(refused.value).rpartition("then ")[2])
    with repairing(path):
        pass
    assert verified(path).problems == []


def test_rows_that_do_not_fit_are_named_and_stay(path: Path, ids: list[str]) -> None:
    transform(path, "audit_findings")
    by_hand(
        path,
        "CREATE TABLE loose AS SELECT * FROM audit_findings",
        "INSERT INTO loose SELECT 99, audit_id, NULL, NULL, 'low', 1, '', NULL, 0, NULL, NULL "
        "FROM loose LIMIT 1",
        "DROP TABLE audit_findings",
        "PRAGMA legacy_alter_table = ON",
        "ALTER TABLE loose RENAME TO audit_findings",
    )
    before = rows(path, "audit_findings")
    with pytest.raises(StoreError, match="audit_findings cannot be made again"), repairing(path):
        pass
    assert rows(path, "audit_findings") == before
    assert "loose" not in str(schema(path))


def test_a_table_that_is_lost_is_made_empty_by_fix_and_its_loss_is_named(
    altered_store: Path,
) -> None:
    whole = schema(altered_store)
    by_hand(altered_store, "DROP TABLE removed_events")
    with repairing(altered_store) as done:
        assert "made the table removed_events, which was missing, without any row" in done
    assert schema(altered_store) == whole
    assert verified(altered_store).problems != []


def test_a_log_that_is_lost_goes_on_after_what_remains_of_removed_events(
    altered_store: Path,
) -> None:
    by_hand(altered_store, "DROP TABLE audit_events", "DELETE FROM sqlite_sequence")
    with repairing(altered_store) as done:
        assert "made the table audit_events, which was missing, without any row" in done
    newest = select(altered_store, "SELECT MAX(event_id) FROM removed_events")[0][0]
    assert ("audit_events", newest) in rows(altered_store, "sqlite_sequence")
    with connect(altered_store):
        recorder.record(operations.create("https://next.example/").id, LOG_ENTRY)
        assert [event.id for event in AuditEvent.select()] == [newest + 1]


def test_the_log_and_what_remains_of_removed_events_can_be_lost_together(
    altered_store: Path,
) -> None:
    whole = schema(altered_store)
    by_hand(altered_store, "DROP TABLE audit_events", "DROP TABLE removed_events")
    with repairing(altered_store) as done:
        for table in ("audit_events", "removed_events"):
            assert f"made the table {table}, which was missing, without any row" in done
    assert schema(altered_store) == whole


def test_a_repair_that_fails_changes_nothing(path: Path, ids: list[str]) -> None:
    """Two tables are to be made again, and the second cannot be."""
    transform(path, "audit_findings")
    by_hand(path, "ALTER TABLE audits ADD COLUMN mine TEXT", "UPDATE audits SET mine = 'dear'")
    before = schema(path)
    with pytest.raises(StoreError, match="mine"), repairing(path):
        pass
    assert schema(path) == before


def test_fixing_leaves_what_is_altered_in_the_rows_to_be_named(path: Path, ids: list[str]) -> None:
    transform(path, "audits")
    by_hand(path, "UPDATE audits SET narrative = 'nothing to see' WHERE status = 'completed'")
    with repairing(path):
        assert Audit.select().where(Audit.narrative == "nothing to see").count() == 3
    assert len(verified(path).problems) == 3


@pytest.mark.parametrize("table", [*OURS, *CATALOG])
def test_a_table_with_none_of_our_columns_is_made_again_unless_it_holds_anything(
    path: Path, ids: list[str], table: str
) -> None:
    whole = schema(path)
    by_hand(path, f"DROP TABLE {table}", f"CREATE TABLE {table} (x)")
    with repairing(path):
        pass
    assert schema(path) == whole
    by_hand(path, f"DROP TABLE {table}", f"CREATE TABLE {table} (x)",
            f"INSERT INTO {table} VALUES ('dear')")  # fmt: skip
    with pytest.raises(StoreError, match=table), repairing(path):
        pass
    assert rows(path, table) == [("dear",)]
