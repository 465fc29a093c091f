"""A file's way to this version's schema: fresh, opened again, opened by many, or of older code."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy
from playhouse.migrations import Runner
from sqlalchemy.orm import Session

from tests.support.amount import amount
from tests.support.database_files import dump, files_below, opened, select
from tests.support.invariants import check_closed_rows
from tests.support.older_models import (
    OlderAudit,
    OlderEvent,
    OlderFinding,
    OlderStatus,
    write_with_the_older_code,
)
from tests.support.processes import KILLED, start
from torture.legacy import DDL
from veritas_peewee import (
    Audit,
    AuditEvent,
    AuditFinding,
    AuditScreenshot,
    AuditStatus,
    AuditStore,
    DatabaseCorrupt,
    ReadOnlyStore,
    SchemaTooNew,
    StoreError,
    connect,
    init_database,
    migrations,
)
from veritas_peewee.config import locate
from veritas_peewee.database.current import bound, current_database
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.files import durable
from veritas_peewee.files.images import ScreenshotFolder
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.migrations.fresh import VIEWS
from veritas_peewee.models import TABLES
from veritas_peewee.queries import history, lookups
from veritas_peewee.queries.counting import facets
from veritas_peewee.recording import operations, recorder, removal

OLD_TABLES = ("audits", "audit_findings", "audit_screenshots", "audit_events")

# ---- what the tests look with ----


def schema(path: Path) -> set[tuple[str, str, str, str]]:
    rows = select(path, "SELECT type, name, tbl_name, sql FROM sqlite_master")
    return {(kind, name, table, " ".join((sql or "").split())) for kind, name, table, sql in rows}


def without_view_of_user(path: Path) -> set[tuple[str, str, str, str]]:
    return {entry for entry in schema(path) if entry[1] != "my_view"}


def of_kind(*kinds: str) -> Callable[[tuple[str, str, str, str]], bool]:
    return lambda entry: entry[0] in kinds and not entry[1].startswith("sqlite_")


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.backup-*"))


def check(path: Path) -> None:
    """What must hold in every store that is closed, of older code too."""
    check_closed_rows(path)
    assert not path.with_name(path.name + "-wal").exists()
    assert not path.with_name(path.name + "-sessions").exists()


def run(program: str, *arguments: object) -> tuple[int, str, str]:
    process = start(program, *arguments, stderr=subprocess.PIPE)
    out, err = process.communicate()
    return process.returncode, out, err


def open_at_once(paths: list[Path], processes: int) -> None:
    """Open each path from many processes at one instant; all of them must succeed."""
    gates = [os.pipe() for _ in paths]
    arguments = [f"{gate}={path}" for (gate, _), path in zip(gates, paths, strict=True)]
    readable = [gate for gate, _ in gates]
    started = [
        start(
            "open_at_once.py",
            *arguments,
            pass_fds=readable,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(processes)
    ]
    for gate in readable:
        os.close(gate)
    answers = []
    for _, opens in gates:
        answers += [process.stdout.readline() for process in started if process.stdout]
        os.close(opens)
        answers += [process.stdout.readline() for process in started if process.stdout]
    ends = [(*process.communicate(), process.returncode) for process in started]
    assert ends == [("", "", 0)] * processes
    assert len(answers) == 2 * processes * len(paths)


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    with connect(tmp_path / "fresh" / "audits.db") as database:
        assert database.location.path is not None
    return database.location.path


# ---- a fresh file ----


def test_a_fresh_file_has_the_tables_and_indexes_of_the_models_and_the_history(
    fresh: Path, tmp_path: Path
) -> None:
    made = SqliteStore(locate(tmp_path / "models.db"), "script")
    made.connect()
    with bound(made):
        made.create_tables(TABLES)
    made.close()
    known = set(filter(of_kind("table", "index"), schema(fresh)))
    history = {entry for entry in known if entry[2] == "veritas_migrations"}
    # Peewee has no word for the full-text index.
    known = {entry for entry in known if not entry[1].startswith("search_index")}
    assert known - history == set(filter(of_kind("table", "index"), schema(tmp_path / "models.db")))
    assert {entry[1] for entry in history} == {"veritas_migrations", "veritas_migrations_name"}
    assert not list(filter(of_kind("trigger", "view"), schema(tmp_path / "models.db")))
    check(fresh)


def test_the_triggers_come_from_the_migrations(fresh: Path) -> None:
    assert {entry[1] for entry in filter(of_kind("trigger"), schema(fresh))} == {
        "count_screenshots_insert",
        "count_screenshots_delete",
        "count_screenshots_update",
        "remember_removed_event",
        "remember_removed_audit",
        "catalog_insert",
        "catalog_delete",
        "catalog_text_update",
        "catalog_counts_update",
        "catalog_audit_delete",
        "keep_texts_audit_insert",
        "keep_texts_audit_update",
        "keep_texts_finding_insert",
        "keep_texts_finding_update",
        "keep_texts_finding_delete",
    }


def test_the_views_come_from_the_migrations(fresh: Path) -> None:
    assert {entry[1] for entry in filter(of_kind("view"), schema(fresh))} == VIEWS


def test_a_fresh_file_has_the_columns_that_other_programs_rely_on(fresh: Path) -> None:
    with opened(fresh) as connection:
        connection.executescript("ATTACH ':memory:' AS old;")
        for statement in DDL.split(";"):
            if "CREATE TABLE" in statement:
                connection.execute(statement.replace("CREATE TABLE ", "CREATE TABLE old."))
        for table in OLD_TABLES:
            new = {row[1]: row[2] for row in connection.execute(f"PRAGMA main.table_info({table})")}
            old = {row[1]: row[2] for row in connection.execute(f"PRAGMA old.table_info({table})")}
            assert new.items() >= old.items()
            assert list(new)[: len(old) - 1] == list(old)[:-1]


def test_a_fresh_file_and_what_lies_beside_it_are_for_their_owner_only(fresh: Path) -> None:
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o600
    with connect(fresh):
        operations.create("https://example.com")
        for name in ("-wal", "-shm"):
            beside = fresh.with_name(fresh.name + name)
            assert stat.S_IMODE(beside.stat().st_mode) == 0o600
    check(fresh)


async def test_init_database_makes_the_file_and_its_folder_and_may_run_again(path: Path) -> None:
    await init_database(path)
    before = files_below(path.parent)
    await init_database(path)
    assert files_below(path.parent) == before
    check(path)


def test_an_empty_file_becomes_a_store(path: Path, fresh: Path) -> None:
    path.parent.mkdir()
    path.touch()
    with connect(path):
        operations.create("https://example.com")
    assert schema(path) == schema(fresh)
    assert backups(path) == []
    check(path)


def test_a_rule_of_the_schema_holds_for_rows_from_a_sql_shell_too(fresh: Path) -> None:
    with opened(fresh) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(
            "INSERT INTO audits (id, url, created_at, updated_at) "
            "VALUES ('shell', 'https://example.com', '2026-01-02 03:04:05.000000', "
            "'2026-01-02 03:04:05.000000')"
        )
        for number in (1, 2):
            connection.execute(
                "INSERT INTO audit_screenshots (audit_id, file_path, label, index_num) "
                "VALUES ('shell', 'a.png', 'a', ?)",
                (number,),
            )
    with connect(fresh):
        found = lookups.get("shell")
        assert (found.status, found.screenshots_count, found.errors) == ("queued", 2, [])
        assert (found.signal_scores, found.security_results) == ({}, {})
        AuditScreenshot.delete().where(AuditScreenshot.index_num == 1).execute()
        assert lookups.get("shell").screenshots_count == 1
    check(fresh)


# ---- the PRAGMAs ----

SHARED = {
    "journal_mode": "wal",
    "cache_size": -64000,
    "temp_store": 2,
    "foreign_keys": 1,
    "busy_timeout": 30000,
}
MAY_WRITE = {"synchronous": 1, "wal_autocheckpoint": 1000, "query_only": 0}
MAY_READ = {"wal_autocheckpoint": 0, "query_only": 1}


def pragmas() -> dict[str, Any]:
    database = current_database()
    return {name: database.pragma(name) for name in SHARED | MAY_WRITE}


async def test_the_writer_and_the_readers_have_the_pragmas_of_the_schema(path: Path) -> None:
    async with AuditStore.open(path) as store:
        assert await store.write(pragmas) == SHARED | MAY_WRITE
        assert (await store.read(pragmas)).items() >= (SHARED | MAY_READ).items()
    check(path)


async def test_full_durability_is_synchronous_full_on_the_writer(path: Path) -> None:
    async with AuditStore.open(path, durability="full") as store:
        assert await store.write(pragmas) == SHARED | MAY_WRITE | {"synchronous": 2}
        assert (await store.read(pragmas)).items() >= (SHARED | MAY_READ).items()
    check(path)


def test_a_script_has_the_pragmas_of_the_writer_on_a_new_file_and_on_an_old_one(
    path: Path,
) -> None:
    for _ in range(2):
        with connect(path):
            assert pragmas() == SHARED | MAY_WRITE
    check(path)


def test_a_viewer_has_the_pragmas_of_a_reader(fresh: Path) -> None:
    with connect(fresh, read_only=True):
        assert pragmas().items() >= (SHARED | MAY_READ).items()


def test_the_connection_that_upgrades_an_older_file_has_the_pragmas_too(legacy: Path) -> None:
    with connect(legacy):
        assert pragmas() == SHARED | MAY_WRITE
    check(legacy)


# ---- opening again, and at once ----


def test_opening_and_closing_again_changes_no_byte(path: Path, anyio_backend_name: str) -> None:
    with connect(path):
        audit = operations.create("https://example.com")
        recorder.record(audit.id, {"type": "phase_start", "phase": "init"})
        recorder.record(audit.id, {"type": "audit_complete"})
    before = files_below(path.parent)
    with connect(path):
        assert Audit.select().count() == 1
    assert files_below(path.parent) == before

    async def look() -> AuditStatus:
        async with AuditStore.open(path) as store:
            return (await store.get(audit.id)).status

    assert anyio.run(look, backend=anyio_backend_name) == "completed"
    assert files_below(path.parent) == before
    with connect(path, read_only=True):
        assert Audit.select().count() == 1
    assert path.read_bytes() == before[path.name]


def test_eight_processes_that_open_a_new_file_at_one_instant_all_succeed(
    tmp_path: Path, fresh: Path
) -> None:
    paths = [tmp_path / f"new-{number}" / "audits.db" for number in range(10)]
    open_at_once(paths, 8)
    for path in paths:
        assert schema(path) == schema(fresh)
        applied = select(path, "SELECT name FROM veritas_migrations")
        assert applied == [(name,) for name in migrations.KNOWN]
        assert os.listdir(path.parent) == ["audits.db"]
        check(path)


# ---- files of an earlier schema of ours ----


@pytest.fixture
def without_slices(path: Path, tmp_path: Path) -> Path:
    """A store as it was before its counts were kept in slices."""
    scripts = tmp_path / "scripts"
    shutil.copytree(
        migrations.DIRECTORY, scripts, ignore=shutil.ignore_patterns("000[6-9]*", "001*", "__*")
    )
    earlier = SqliteStore(locate(path), "script")
    earlier.connect()
    try:
        Runner(earlier, str(scripts), migrations.HISTORY).up()
    finally:
        earlier.close()
    with opened(path) as connection:
        for number in range(3):
            moment = f"2026-01-0{number + 1} 10:00:00.000000"
            connection.execute(
                "INSERT INTO audits (id, url, status, risk_level, trust_score, created_at, "
                "updated_at) VALUES (?, 'https://a.example', 'completed', 'trusted', 50, ?, ?)",
                (f"a{number}", moment, moment),
            )
            connection.execute(
                "INSERT INTO audit_catalog (audit_id, created_at, status, risk_level, audit_tier, "
                "patterns, url, narrative, findings, errors) VALUES (?, ?, 'completed', 'trusted', "
                "'standard_audit', '{}', 'https://a.example', '', '', '')",
                (f"a{number}", moment),
            )
    return path


def test_a_removal_by_another_program_does_not_stop_an_upgrade(without_slices: Path) -> None:
    with opened(without_slices) as connection:
        connection.execute("DELETE FROM audits WHERE id = 'a1'")  # without foreign keys
    with connect(without_slices):
        assert facets().total == 2
        assert any("audits that is missing" in problem for problem in verify().problems)


def test_a_view_of_the_user_over_the_catalog_does_not_stop_an_upgrade(without_slices: Path) -> None:
    with opened(without_slices) as connection:
        connection.execute("CREATE VIEW my_view AS SELECT audit_id, url FROM audit_catalog")
    with connect(without_slices):
        assert facets().total == 3
    assert len(select(without_slices, "SELECT * FROM my_view")) == 3


# ---- files that are refused, and stay as they are ----


def add_future_migration(path: Path) -> None:
    with opened(path) as connection:
        connection.execute(
            "INSERT INTO veritas_migrations (name, applied) "
            "VALUES ('9999_from_the_future', '2030-01-01 00:00:00')"
        )


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_of_a_newer_version_is_refused_and_untouched(fresh: Path, read_only: bool) -> None:
    add_future_migration(fresh)
    before = files_below(fresh.parent)
    for _ in range(2):
        with (
            pytest.raises(SchemaTooNew, match=r"audits\.db.*9999_from_the_future"),
            connect(fresh, read_only=read_only),
        ):
            pass
        assert fresh.read_bytes() == before[fresh.name]
        assert read_only or files_below(fresh.parent) == before


async def test_a_store_refuses_a_file_of_a_newer_version_too(fresh: Path) -> None:
    add_future_migration(fresh)
    before = files_below(fresh.parent)
    with pytest.raises(SchemaTooNew):
        await AuditStore.open(fresh)
    assert files_below(fresh.parent) == before


def test_a_newer_file_that_also_lacks_a_migration_is_refused_all_the_same(fresh: Path) -> None:
    with opened(fresh) as connection:
        connection.execute(
            "UPDATE veritas_migrations SET name = '9999_other' WHERE name LIKE '0001%'"
        )
    before = files_below(fresh.parent)
    with pytest.raises(SchemaTooNew), connect(fresh):
        pass
    assert files_below(fresh.parent) == before


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize(
    "ddl",
    [
        "CREATE TABLE bookmarks (id INTEGER PRIMARY KEY, url TEXT)",
        "CREATE TABLE audits (id INTEGER PRIMARY KEY, note TEXT)",
    ],
    ids=["other tables", "a table of the same name"],
)
def test_the_file_of_another_program_is_refused_and_untouched(
    path: Path, ddl: str, read_only: bool
) -> None:
    path.parent.mkdir()
    with opened(path) as connection:
        connection.execute(ddl)
    before = files_below(path.parent)
    with (
        pytest.raises(StoreError, match=r"audits\.db.*another program"),
        connect(path, read_only=read_only),
    ):
        pass
    assert files_below(path.parent) == before


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.db"
    path.write_bytes(b"these are notes, not rows. " * 400)
    return path


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("size", [2, 99, 100, 600, 100_000])
def test_a_file_that_is_not_a_database_is_refused_by_name_and_untouched(
    path: Path, size: int, read_only: bool
) -> None:
    path.parent.mkdir()
    path.write_bytes((b"these are notes, not rows. " * 4000)[:size])
    before = files_below(path.parent)
    with (
        pytest.raises(DatabaseCorrupt, match=r"audits\.db"),
        connect(path, read_only=read_only),
    ):
        pass
    assert files_below(path.parent) == before


async def test_a_store_on_a_file_that_is_not_a_database_says_so_too(notes: Path) -> None:
    before = files_below(notes.parent)
    with pytest.raises(DatabaseCorrupt, match=r"notes\.db"):
        await AuditStore.open(notes)
    assert files_below(notes.parent) == before


def test_a_file_cut_off_in_the_middle_is_refused_as_damaged(fresh: Path) -> None:
    with connect(fresh):
        for number in range(50):
            operations.create(f"https://example.com/{number}")
    fresh.write_bytes(fresh.read_bytes()[:9000])
    with pytest.raises(DatabaseCorrupt, match=r"audits\.db"), connect(fresh):
        list(Audit.select().order_by(Audit.narrative))


def test_reading_only_does_not_create_a_file(path: Path) -> None:
    with pytest.raises(StoreError, match=r"audits\.db.*no such database"):
        connect(path, read_only=True).__enter__()
    assert not path.parent.exists()


# ---- a file of the older code ----

WINDOWS = "C:\\veritas\\veritas\\data\\screenshots\\"
FULL = "vrts_full0000001"
LONG = "an-id-longer-than-sixteen-characters"


def insert(connection: Any, table: str, **values: Any) -> None:
    marks = ", ".join("?" * len(values))
    connection.execute(
        f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values())
    )


def add_audit(connection: Any, id: str, status: str = "COMPLETED", **values: Any) -> None:
    insert(connection, "audits", id=id, url=f"https://{id}.example", status=status, **values)


def write_legacy(path: Path) -> Path:
    """A file as the older code left it, with everything odd that it could hold."""
    path.parent.mkdir(parents=True)
    images = path.parent / "screenshots"
    (images / FULL).mkdir(parents=True)
    for name in (f"{FULL}/t0.png", "flat.png", "t9.png"):
        (images / name).write_bytes(b"image " + name.encode())
    outside = path.parent / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(b"secret")
    (images / "link").symlink_to(outside)
    (images / "linked.png").symlink_to(outside / "secret.png")
    with opened(path) as connection:
        connection.executescript(DDL)
        fill_legacy(connection)
        connection.execute("CREATE INDEX my_own_index ON audits (narrative)")
        connection.execute("CREATE VIEW my_view AS SELECT id, url, status FROM audits")
    return path


def fill_legacy(connection: Any) -> None:
    add_audit(
        connection,
        FULL,
        audit_tier="deep_forensic",
        verdict_mode="simple",
        trust_score=46.5,
        risk_level="suspicious",
        signal_scores='{"visual": 53.0, "temporal": 100}',
        narrative="# Verdict\n\u00fcber \U0001f600 'quoted'",
        site_type="shop",
        site_type_confidence=0.75,
        security_results='{"headers": {"missing": ["csp"]}}',
        pages_scanned=3,
        screenshots_count=0,
        elapsed_seconds=12.5,
        errors='["one", "two"]',
        error_message="two",
        started_at="2025-03-01 10:00:00.000001",
        completed_at=None,
        created_at="2025-03-01 09:59:59.999999",
        updated_at="2025-03-01 10:05:00.500000",
    )
    for status in ("QUEUED", "RUNNING", "ERROR", "DISCONNECTED"):
        add_audit(connection, f"was-{status.lower()}"[:16], status)
    add_audit(connection, "was-lower", "completed", updated_at="2025-03-02 00:00:00.000000")
    add_audit(connection, "all-null")
    add_audit(connection, "odd-status", "PAUSED", errors='["before"]')
    add_audit(
        connection,
        "odd-json",
        signal_scores='{"a": NaN, "b": [Infinity, -Infinity, 1]}',
        security_results='{"broken": ',
        errors="plain words",
    )
    add_audit(connection, "json-null", signal_scores="null", security_results="null", errors="null")
    add_audit(
        connection,
        "odd-times",
        started_at="2025-03-01T10:00:00Z",
        completed_at="2025-03-01T12:00:00.5+02:00",
        created_at="2025-03-01 09:00:00",
        updated_at="yesterday",
    )
    add_audit(connection, LONG)
    fill_legacy_rows(connection)


def fill_legacy_rows(connection: Any) -> None:
    finding = {"pattern_type": "hidden_cancel", "confidence": 0.5, "description": "hidden"}
    insert(
        connection,
        "audit_findings",
        id=7,
        audit_id=FULL,
        category="nagging",
        severity="high",
        plain_english="it nags",
        screenshot_index=2,
        created_at="2025-03-01 10:01:00.000000",
        **finding,
    )
    insert(connection, "audit_findings", id=3, audit_id=FULL, severity="CRITICAL", **finding)
    insert(connection, "audit_findings", id=9, audit_id="gone-findings", severity="low", **finding)
    insert(connection, "audit_findings", id=10, audit_id=LONG, severity="low", **finding)
    for number, file_path in enumerate(LEGACY_PATHS):
        insert(
            connection,
            "audit_screenshots",
            id=100 + number,
            audit_id=FULL,
            file_path=file_path,
            label=f"label {number}",
            index_num=number,
            file_size_bytes=number * 10 or None,
            created_at="2025-03-01 10:02:00.000000",
        )
    insert(
        connection,
        "audit_screenshots",
        audit_id="gone-images",
        file_path="/x/y.png",
        label="y",
        index_num=0,
    )
    log = [
        (FULL, "phase_start", '{"type": "phase_start", "phase": "scout"}'),
        (FULL, "log_entry", None),
        (FULL, "log_entry", "null"),
        (FULL, "stats_update", '{"type": "stats_update", "stats": {"x": NaN}}'),
        (FULL, "broken", '{"type": "bro'),
        ("gone-events", "audit_error", '{"type": "audit_error"}'),
        (FULL, "audit_complete", '{"type": "audit_complete"}'),
    ]
    for number, (audit_id, event_type, data) in enumerate(log):
        insert(
            connection,
            "audit_events",
            id=40 + number,
            audit_id=audit_id,
            event_type=event_type,
            data=data,
            timestamp=f"2025-03-01 10:03:0{number}.000000" if number else None,
        )


LEGACY_PATHS = {
    WINDOWS + FULL + "\\t0.png": f"{FULL}/t0.png",
    f"/srv/veritas/data/screenshots/{FULL}/t0.png": f"{FULL}/t0.png",
    "/srv/elsewhere/flat.png": "flat.png",
    "D:/mixed\\slashes/flat.png": "flat.png",
    f"{FULL}/t0.png": f"{FULL}/t0.png",
    "C:\\up\\..\\t9.png": "t9.png",
    WINDOWS + "was\\never\\here.png": None,
    "/srv/never/here.png": None,
    "../outside/secret.png": None,
    f"/srv/{FULL}/../../outside/secret.png": None,
    "/srv/link/secret.png": None,
    "/srv/linked.png": None,
    "C:flat": None,
    "": None,
    "/": None,
}
"""What the older file says, and where the file is below the screenshot folder, if it is."""


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    return write_legacy(tmp_path / "legacy" / "audits.db")


@pytest.fixture
def upgraded(legacy: Path) -> Path:
    with connect(legacy):
        pass
    return legacy


def test_an_upgraded_file_has_the_schema_of_a_fresh_one(upgraded: Path, fresh: Path) -> None:
    assert without_view_of_user(upgraded) == schema(fresh)
    assert select(upgraded, "PRAGMA journal_mode") == [("wal",)]
    check(upgraded)


def test_an_upgrade_first_copies_the_file_aside_for_its_owner_only(legacy: Path) -> None:
    before = dump(legacy)
    with connect(legacy):
        pass
    (backup,) = backups(legacy)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert dump(backup) == before
    assert select(backup, "PRAGMA integrity_check") == [("ok",)]
    assert sorted(os.listdir(legacy.parent)) == sorted(
        ["audits.db", backup.name, "outside", "screenshots"]
    )


def test_an_upgrade_that_cannot_copy_the_file_aside_says_so_and_changes_nothing(
    legacy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dump(legacy)

    def refused(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as failing:
        failing.setattr(durable, "rename", refused)
        with (
            pytest.raises(ReadOnlyStore, match=r"\.backup-\S+: cannot be written: Permission"),
            connect(legacy),
        ):
            pass
    assert dump(legacy) == before
    assert backups(legacy) == []
    with connect(legacy):
        pass
    check(legacy)


def test_what_a_killed_upgrade_left_of_its_copy_goes_with_the_next_one(legacy: Path) -> None:
    odd = legacy.rename(legacy.with_name("a[1].db"))  # no pattern either
    copy = odd.with_name(f".{odd.name}.backup-20260101T000000.000000Z.partial")
    lefts = [copy, *(copy.with_name(copy.name + end) for end in ("-journal", "-wal", "-shm"))]
    for left in lefts:
        left.write_bytes(b"cut off")
    assert {str(left) for left in lefts} == {str(one) for one in migrations.unfinished_backups(odd)}
    with connect(odd):
        pass
    assert not any(left.exists() for left in lefts)
    check(odd)


def test_an_upgraded_file_is_not_upgraded_again(upgraded: Path) -> None:
    before = files_below(upgraded.parent)
    with connect(upgraded):
        pass
    assert files_below(upgraded.parent) == before


def test_a_backup_can_itself_be_opened_and_upgraded(upgraded: Path) -> None:
    (backup,) = backups(upgraded)
    with connect(backup, screenshots=upgraded.parent / "screenshots"):
        pass
    old, new = dump(upgraded), dump(backup)
    assert len(old) == len(new)
    check(backup)


def test_an_upgrade_loses_no_row_of_any_table(legacy: Path) -> None:
    before = {table: select(legacy, f"SELECT id FROM {table}") for table in OLD_TABLES}
    with connect(legacy):
        pass
    for table in OLD_TABLES:
        after = select(legacy, f"SELECT id FROM {table}")
        assert set(after) >= set(before[table])
        if table != "audits":
            assert set(after) == set(before[table])


def test_an_upgrade_keeps_every_value_that_was_sound(legacy: Path) -> None:
    sound = {
        "audits": "id, url, trust_score, risk_level, narrative, site_type, site_type_confidence, "
        "error_message",
        "audit_findings": "id, audit_id, pattern_type, category, confidence, description, "
        "plain_english",
        "audit_screenshots": "id, audit_id, label, index_num, file_size_bytes",
        "audit_events": "id, audit_id, event_type",
    }
    asked = {table: f"SELECT {columns} FROM {table}" for table, columns in sound.items()}
    before = {table: select(legacy, sql) for table, sql in asked.items()}
    with connect(legacy):
        pass
    for table, sql in asked.items():
        assert set(select(legacy, sql)) >= set(before[table])


def test_a_full_audit_of_an_older_file_is_read_through_the_models(upgraded: Path) -> None:
    with connect(upgraded):
        audit = lookups.get(FULL)
        assert audit.status is AuditStatus.COMPLETED
        assert (audit.audit_tier, audit.verdict_mode) == ("deep_forensic", "simple")
        assert audit.signal_scores == {"visual": 53.0, "temporal": 100}
        assert audit.security_results == {"headers": {"missing": ["csp"]}}
        assert (audit.pages_scanned, audit.elapsed_seconds) == (3, 12.5)
        assert audit.errors == ["one", "two"]
        assert audit.started_at == datetime(2025, 3, 1, 10, 0, 0, 1, UTC)
        assert audit.created_at == datetime(2025, 3, 1, 9, 59, 59, 999999, UTC)
        assert audit.updated_at == datetime(2025, 3, 1, 10, 5, 0, 500000, UTC)
        assert [finding.id for finding in audit.findings] == [3, 7]
        assert [finding.severity for finding in audit.findings] == ["critical", "high"]
        assert [finding.screenshot_index for finding in audit.findings] == [-1, 2]
        assert len(audit.screenshots) == len(LEGACY_PATHS)
        assert len(history.history(limit=1000).items) == Audit.select().count()
        assert AuditFinding.select().count() == 4


def test_statuses_are_stored_by_value(upgraded: Path) -> None:
    found = dict(select(upgraded, "SELECT id, status FROM audits"))
    assert found[FULL] == found["was-lower"] == found["all-null"] == "completed"
    for status in ("queued", "running", "error", "disconnected"):
        assert found[f"was-{status}"[:16]] == status


def test_a_status_that_does_not_exist_becomes_an_error_that_says_so(upgraded: Path) -> None:
    with connect(upgraded):
        audit = lookups.get("odd-status")
    assert audit.status is AuditStatus.ERROR
    assert audit.errors[0] == "before"
    assert "PAUSED" in audit.errors[1]


def test_nulls_are_filled_with_the_defaults(upgraded: Path) -> None:
    with connect(upgraded):
        audit = lookups.get("all-null")
        assert (audit.audit_tier, audit.verdict_mode) == ("standard_audit", "expert")
        assert (audit.signal_scores, audit.security_results, audit.errors) == ({}, {}, [])
        assert (audit.pages_scanned, audit.screenshots_count, audit.elapsed_seconds) == (0, 0, 0)
        assert audit.trust_score is audit.risk_level is audit.narrative is None
        assert audit.created_at.tzinfo is not None
        assert audit.updated_at.tzinfo is not None
        assert lookups.get("json-null").signal_scores == {}
        assert lookups.get("json-null").security_results == {}
        assert lookups.get("json-null").errors == []


def test_a_completed_audit_was_completed_when_it_was_last_updated(upgraded: Path) -> None:
    rows = select(
        upgraded,
        "SELECT id, completed_at, updated_at FROM audits WHERE status = 'completed' ORDER BY id",
    )
    found = {audit_id: (completed, updated) for audit_id, completed, updated in rows}
    assert found[FULL] == ("2025-03-01 10:05:00.500000",) * 2
    assert found["was-lower"] == ("2025-03-02 00:00:00.000000",) * 2
    assert all(completed for completed, _ in found.values())
    others = "SELECT completed_at FROM audits WHERE status != 'completed' AND id LIKE 'was-%'"
    assert set(select(upgraded, others)) == {(None,)}


def test_times_are_utc_with_six_digits_and_no_zone(upgraded: Path) -> None:
    columns = "started_at, completed_at, created_at"
    assert select(upgraded, f"SELECT {columns} FROM audits WHERE id = 'odd-times'") == [
        ("2025-03-01 10:00:00.000000", "2025-03-01 10:00:00.500000", "2025-03-01 09:00:00.000000")
    ]
    digits = "[0-9][0-9]"
    pattern = f"{digits * 2}-{digits}-{digits} {digits}:{digits}:{digits}.{digits * 3}"
    for table, column in (
        ("audits", "started_at"),
        ("audits", "completed_at"),
        ("audits", "created_at"),
        ("audits", "updated_at"),
        ("audit_findings", "created_at"),
        ("audit_screenshots", "created_at"),
        ("audit_events", "timestamp"),
    ):
        wrong = f"SELECT {column} FROM {table} WHERE {column} NOT GLOB '{pattern}'"
        assert select(upgraded, wrong) == []


def strict(text: str) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in {text}")

    return json.loads(text, parse_constant=refuse)


def test_json_on_disk_is_strict_and_what_could_not_be_read_is_kept_as_text(
    upgraded: Path,
) -> None:
    for signals, security, errors in select(
        upgraded, "SELECT signal_scores, security_results, errors FROM audits"
    ):
        assert isinstance(strict(signals), dict)
        assert isinstance(strict(security), dict)
        assert all(isinstance(text, str) for text in strict(errors))
    with connect(upgraded):
        audit = lookups.get("odd-json")
    assert audit.signal_scores == {"a": None, "b": [None, None, 1]}
    assert '{"broken": ' in json.dumps(audit.security_results).replace('\\"', '"')
    assert audit.errors == ["plain words"]


def test_events_keep_their_order_and_data(upgraded: Path) -> None:
    with connect(upgraded):
        found = lookups.events(FULL)
        data = {event.id: event.data for event in found}
    assert [event.id for event in found] == [40, 41, 42, 43, 44, 46]
    assert data[40] == {"type": "phase_start", "phase": "scout"}
    assert data[41] is data[42] is None
    assert data[43] == {"type": "stats_update", "stats": {"x": None}}
    assert '{"type": "bro' in str(data[44])
    assert found[1].timestamp == datetime(2025, 3, 1, 10, 3, 1, tzinfo=UTC)


def test_screenshots_are_counted(upgraded: Path) -> None:
    counts = dict(select(upgraded, "SELECT id, screenshots_count FROM audits"))
    assert counts[FULL] == len(LEGACY_PATHS)
    assert counts["gone-images"] == 1
    check(upgraded)


@pytest.mark.parametrize(("number", "before"), list(enumerate(LEGACY_PATHS)))
def test_a_screenshot_is_found_below_the_folder_by_the_last_parts_of_its_path(
    upgraded: Path, number: int, before: str
) -> None:
    after = LEGACY_PATHS[before] or before
    sql = "SELECT file_path FROM audit_screenshots WHERE id = ?"
    assert select(upgraded, sql, 100 + number) == [(after,)]


def test_no_upgraded_screenshot_path_leads_outside_its_folder(upgraded: Path) -> None:
    folder = ScreenshotFolder(upgraded.parent / "screenshots")
    for (file_path,) in select(upgraded, "SELECT file_path FROM audit_screenshots"):
        if file_path in LEGACY_PATHS.values():
            assert folder.read(file_path).startswith(b"image ")
        else:
            with pytest.raises(StoreError):
                folder.read(file_path)


def test_a_path_of_very_many_parts_is_looked_for_only_so_long(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "a/" * 5000 + "old/t0.png"
    image = path.parent / "screenshots" / "old" / "t0.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    with closing(driver.connect(path)) as raw:
        raw.executescript(DDL + "INSERT INTO audits (id, url, status) VALUES ('old', '', 'queued')")
        for stored in (long, "a/" * 5000 + "none.png"):
            raw.execute(
                "INSERT INTO audit_screenshots (audit_id, file_path, label, index_num) "
                "VALUES ('old', ?, '', 0)",
                (stored,),
            )
        raw.commit()
    asked = []
    isfile = os.path.isfile
    monkeypatch.setattr(os.path, "isfile", lambda at: asked.append(at) or isfile(at))
    with connect(path):
        found = [shot.file_path for shot in AuditScreenshot.select().order_by(AuditScreenshot.id)]
    assert found == ["old/t0.png", "a/" * 5000 + "none.png"]
    assert len(asked) < 1000


def test_rows_without_their_audit_get_one_that_says_so(upgraded: Path) -> None:
    with connect(upgraded):
        for audit_id in ("gone-findings", "gone-images", "gone-events"):
            audit = lookups.get(audit_id)
            assert audit.status is AuditStatus.ERROR
            assert "older file" in audit.error_message
            assert audit.errors == [audit.error_message]
        assert len(lookups.get("gone-findings").findings) == 1
        assert len(lookups.events("gone-events")) == 1


def test_an_id_longer_than_sixteen_characters_is_kept(upgraded: Path) -> None:
    assert select(upgraded, "SELECT status FROM audits WHERE id = ?", LONG) == [("completed",)]
    assert select(upgraded, "SELECT id FROM audit_findings WHERE audit_id = ?", LONG) == [(10,)]
    check(upgraded)


def test_every_audit_that_the_history_lists_can_be_shown(upgraded: Path) -> None:
    with connect(upgraded):
        for item in history.history(limit=1000).items:
            assert lookups.get(item.id).id == item.id


def test_every_audit_that_the_history_lists_can_be_deleted(upgraded: Path) -> None:
    with connect(upgraded):
        for item in history.history(limit=1000).items:
            removal.delete(item.id)
        assert Audit.select().count() == AuditFinding.select().count() == 0
    check(upgraded)


def test_a_view_of_the_user_still_works(upgraded: Path) -> None:
    assert select(upgraded, "SELECT status FROM my_view WHERE id = ?", FULL) == [("completed",)]


def test_event_ids_go_on_after_the_highest_old_one_even_if_it_is_deleted(upgraded: Path) -> None:
    with connect(upgraded):
        assert AuditEvent.delete().where(AuditEvent.id == 46).execute() == 1
        assert recorder.record(FULL, {"type": "log_entry", "message": "again"}) == 47
    with connect(upgraded):
        removal.delete(FULL)
        audit = operations.create("https://example.com")
        assert recorder.record(audit.id, {"type": "log_entry", "message": "later"}) == 48
    check(upgraded)


def test_an_older_audit_can_be_recorded_to_changed_and_deleted(upgraded: Path) -> None:
    with connect(upgraded):
        recorder.record("was-queued", {"type": "phase_start", "phase": "scout"})
        recorder.record("was-queued", {"type": "audit_complete", "elapsed": 3})
        operations.update("all-null", narrative="seen again")
        assert lookups.get("was-queued").status == "completed"
        assert lookups.get("all-null").narrative == "seen again"
        removal.delete(FULL)
        assert AuditScreenshot.select().where(AuditScreenshot.audit == FULL).count() == 0
    assert not (upgraded.parent / "screenshots" / FULL / "t0.png").exists()
    assert (upgraded.parent / "outside" / "secret.png").read_bytes() == b"secret"
    check(upgraded)


async def test_a_store_upgrades_an_older_file_when_it_is_opened(legacy: Path) -> None:
    async with AuditStore.open(legacy) as store:
        audit = await store.get(FULL)
        assert (audit.status, audit.screenshots_count) == ("completed", len(LEGACY_PATHS))
    assert len(backups(legacy)) == 1
    check(legacy)


def test_screenshot_paths_are_found_in_a_folder_that_is_given(legacy: Path) -> None:
    moved = legacy.parent / "elsewhere"
    (legacy.parent / "screenshots").rename(moved)
    with connect(legacy, screenshots=moved):
        assert AuditScreenshot.get_by_id(100).file_path == f"{FULL}/t0.png"
    check(legacy)


def test_reading_only_an_older_file_is_an_error_that_says_what_to_do(legacy: Path) -> None:
    before = files_below(legacy.parent)
    with pytest.raises(StoreError, match=r"audits\.db.*older schema"):
        connect(legacy, read_only=True).__enter__()
    assert files_below(legacy.parent) == before


def test_rows_still_in_the_wal_of_a_program_that_crashed_are_upgraded_too(
    legacy: Path, tmp_path: Path
) -> None:
    crashed = tmp_path / "crashed" / "audits.db"
    crashed.parent.mkdir()
    with closing(driver.connect(legacy)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        add_audit(connection, "in-the-wal")
        connection.commit()
        for name in ("", "-wal"):
            shutil.copy(f"{legacy}{name}", f"{crashed}{name}")
    with connect(crashed):
        assert Audit.get_by_id("in-the-wal").status == "completed"
    (backup,) = backups(crashed)
    assert select(backup, "SELECT status FROM audits WHERE id = 'in-the-wal'") == [("COMPLETED",)]
    check(crashed)


def test_a_large_older_file_is_upgraded_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "large.db"
    with opened(path) as connection:
        connection.executescript(DDL)
        for number in range(1203):
            add_audit(connection, f"audit-{number}", created_at="2025-01-01 00:00:00.000000")
            insert(
                connection,
                "audit_screenshots",
                audit_id=f"audit-{number}",
                file_path=f"C:\\x\\{number}.png",
                label="t0",
                index_num=0,
            )
    with connect(path):
        assert Audit.select().where(Audit.screenshots_count == 1).count() == 1203
    check(path)


def test_an_older_file_without_any_row_is_upgraded(tmp_path: Path, fresh: Path) -> None:
    path = tmp_path / "empty.db"
    with opened(path) as connection:
        connection.executescript(DDL)
    with connect(path):
        audit = operations.create("https://example.com")
        assert recorder.record(audit.id, {"type": "log_entry"}) == 1
    assert schema(path) == schema(fresh)
    check(path)


HOSTILE_VALUES = {
    "a number too large for JSON": ("audits", {"signal_scores": '{"a": 1e999}'}),
    "JSON with half a surrogate pair": ("audits", {"signal_scores": '{"a": "\\ud800"}'}),
    "an error with half a surrogate pair": ("audits", {"errors": '["\\udc00"]'}),
    "JSON with a NUL": ("audits", {"security_results": '{"a": "\\u0000"}'}),
    "JSON nested too deeply": ("audits", {"errors": "[" * 5000 + "]" * 5000}),
    "JSON of the wrong kind": ("audits", {"signal_scores": "[1]", "errors": '{"a": 1}'}),
    "a number with too many digits": ("audits", {"signal_scores": f'{{"a": {"9" * 5000}}}'}),
    "a time before the first year": ("audits", {"created_at": "0001-01-01T00:00:00+05:00"}),
    "a time after the last year": ("audits", {"updated_at": "9999-12-31T23:59:59-05:00"}),
    "a time that is a number": ("audits", {"started_at": 1770812081}),
    "JSON that is a BLOB": ("audits", {"signal_scores": b"\xff", "errors": b"\xff"}),
    "an event with data nested too deeply": (
        "audit_events",
        {"event_type": "x", "data": "[" * 5000 + "]" * 5000},
    ),
    "an event with half a surrogate pair": (
        "audit_events",
        {"event_type": "x", "data": '{"a": "\\ud800", "b": NaN}'},
    ),
    "an event with data that is a BLOB": ("audit_events", {"event_type": "x", "data": b"\xff"}),
    "a path with a very long part": (
        "audit_screenshots",
        {"file_path": "C:\\" + "x" * 300 + ".png", "label": "x", "index_num": 0},
    ),
    "a path with a NUL": (
        "audit_screenshots",
        {"file_path": "C:\\a\0b.png", "label": "x", "index_num": 0},
    ),
    "a path that is a BLOB": (
        "audit_screenshots",
        {"file_path": b"\xff.png", "label": "x", "index_num": 0},
    ),
    "a severity that does not exist": (
        "audit_findings",
        {"pattern_type": "x", "severity": "AWFUL", "confidence": 3, "description": ""},
    ),
}


@pytest.mark.parametrize("what", HOSTILE_VALUES)
def test_one_odd_value_does_not_stop_an_upgrade(tmp_path: Path, what: str) -> None:
    path = tmp_path / "audits.db"
    (tmp_path / "screenshots").mkdir()
    table, values = HOSTILE_VALUES[what]
    with opened(path) as connection:
        connection.executescript(DDL)
        add_audit(connection, "odd", **(values if table == "audits" else {}))
        if table != "audits":
            insert(connection, table, id=1, audit_id="odd", **values)
    with connect(path):
        audit = lookups.get("odd")
        events = lookups.events("odd")
        if table != "audits":
            assert select(path, f"SELECT COUNT(*) FROM {table}") == [(1,)]
    for value in (audit.signal_scores, audit.security_results):
        assert isinstance(value, dict)
        json.dumps(value, allow_nan=False)
    assert all(isinstance(text, str) for text in audit.errors)
    for event in events:
        json.dumps(event.data, allow_nan=False)
    for (text,) in select(path, "SELECT signal_scores FROM audits"):
        strict(text)
    check(path)


@pytest.mark.parametrize("text", ["[1]", "1", '"text"', "true"])
def test_an_upgraded_audit_with_json_of_the_wrong_kind_can_go_on(tmp_path: Path, text: str) -> None:
    path = tmp_path / "audits.db"
    with opened(path) as connection:
        connection.executescript(DDL)
        columns = dict.fromkeys(("signal_scores", "security_results", "errors"), text)
        add_audit(connection, "odd", "RUNNING", **columns)
    with connect(path):
        told = {"type": "security_result", "module": "headers", "result": {"csp": False}}
        recorder.record("odd", told)
        recorder.record("odd", {"type": "audit_error", "error": "late"})
        audit = lookups.get("odd")
    assert audit.security_results["headers"] == {"csp": False}
    assert isinstance(audit.signal_scores, dict)
    assert audit.errors[-1] == "late"
    check(path)


# ---- the older code itself ----


def test_a_file_that_sqlalchemy_wrote_is_upgraded(tmp_path: Path, fresh: Path) -> None:
    path, documented = tmp_path / "audits.db", tmp_path / "documented.db"
    write_with_the_older_code(path)
    with opened(documented) as connection:
        connection.executescript(DDL)

    def shape(file: Path) -> set[tuple[str, str, str]]:
        return {(kind, name, "".join(sql.split())) for kind, name, _, sql in schema(file)}

    assert shape(path) == shape(documented)
    with connect(path):
        for number, status in enumerate(AuditStatus):
            audit = lookups.get(f"vrts_{number:011d}")
            assert audit.status is status
            assert audit.signal_scores == {"visual": number * 10.0}
            assert audit.created_at == datetime(2025, 1, 1 + number, 12, 0, 0, 123, UTC)
            assert len(audit.findings) == len(audit.screenshots) == number
            assert audit.screenshots_count == number
            assert [event.data for event in lookups.events(audit.id)] == [{"n": 1}, None]
            completed = audit.updated_at if status is AuditStatus.COMPLETED else None
            assert audit.completed_at == completed
    assert schema(path) == schema(fresh)
    assert len(backups(path)) == 1
    check(path)


def test_the_older_code_can_still_read_an_upgraded_file_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    write_with_the_older_code(path)
    with connect(path):
        pass
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    columns = [column for column in OlderAudit.__table__.columns if column.name != "status"]
    with Session(engine) as session:
        assert len(session.execute(sqlalchemy.select(*columns)).all()) == len(OlderStatus)
        assert len(session.scalars(sqlalchemy.select(OlderFinding)).all()) == 10
        assert len(session.scalars(sqlalchemy.select(OlderEvent)).all()) == 10
    engine.dispose()
    check(path)


# ---- an upgrade that has company, or is killed ----


def test_two_processes_that_upgrade_one_file_at_once_make_one_backup_and_one_upgrade(
    tmp_path: Path, fresh: Path
) -> None:
    paths = [write_legacy(tmp_path / f"legacy-{number}" / "audits.db") for number in range(6)]
    expected = dump(paths[0])
    rows = {table: select(paths[0], f"SELECT id FROM {table}") for table in OLD_TABLES}
    open_at_once(paths, 2)
    for path in paths:
        (backup,) = backups(path)
        assert dump(backup) == expected
        assert select(path, "SELECT COUNT(*) FROM veritas_migrations") == [(len(migrations.KNOWN),)]
        assert without_view_of_user(path) == schema(fresh)
        for table, before in rows.items():
            assert set(select(path, f"SELECT id FROM {table}")) >= set(before)
        assert sorted(os.listdir(path.parent)) == sorted(
            ["audits.db", backup.name, "outside", "screenshots"]
        )
        check(path)


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How many points of each kind an upgrade has at which it can be killed."""
    found = {}
    for unit in ("statement", "step", "backup"):
        path = write_legacy(tmp_path_factory.mktemp("points") / "legacy" / "audits.db")
        code, out, err = run("open_and_die.py", path, unit, 0)
        assert (code, err) == (0, "")
        found[unit] = int(out)
    return found


KILLS = [
    *(("statement", part / 12) for part in range(0, 13, amount(3, 1))),
    *(("step", part / 4) for part in range(5)),
    *(("backup", part / 3) for part in range(4)),
]


@pytest.mark.parametrize(("unit", "part"), KILLS, ids=[f"{u} {p:.2f}" for u, p in KILLS])
def test_an_upgrade_that_is_killed_leaves_the_old_schema_or_the_new_one(
    legacy: Path, fresh: Path, points: dict[str, int], unit: str, part: float
) -> None:
    before = dump(legacy)
    old_schema, rows = schema(legacy), {}
    for table in OLD_TABLES:
        rows[table] = select(legacy, f"SELECT id FROM {table}")
    number = 1 + round(part * (points[unit] - 1))
    code, out, _ = run("open_and_die.py", legacy, unit, number)
    assert (code, out) == (KILLED, "")

    after = schema(legacy)
    if after == old_schema:
        assert dump(legacy) == before
    else:
        assert without_view_of_user(legacy) == schema(fresh)
    with connect(legacy):
        assert lookups.get(FULL).screenshots_count == len(LEGACY_PATHS)
    assert without_view_of_user(legacy) == schema(fresh)
    for table, kept in rows.items():
        assert set(select(legacy, f"SELECT id FROM {table}")) >= set(kept)
    assert backups(legacy)
    for backup in backups(legacy):
        assert dump(backup) == before
    check(legacy)


@pytest.mark.parametrize("part", [0, 0.25, 0.5, 0.75, 1])
def test_a_creation_that_is_killed_is_completed_by_the_next_open(
    path: Path, fresh: Path, part: float
) -> None:
    code, out, _ = run("open_and_die.py", path.parent / "counted" / "audits.db", "statement", 0)
    assert code == 0
    number = 1 + round(part * (int(out) - 1))
    code, _, _ = run("open_and_die.py", path, "statement", number)
    assert code == KILLED
    with connect(path):
        operations.create("https://example.com")
    assert schema(path) == schema(fresh)
    assert backups(path) == []
    check(path)
