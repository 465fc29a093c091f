"""A table or column of ours that another program renamed or removed: errors that name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.database_files import by_hand
from veritas_peewee import Audit, AuditStore, connect, sync
from veritas_peewee.cli.app import run
from veritas_peewee.errors import DatabaseCorrupt
from veritas_peewee.maintenance.doctor import diagnose
from veritas_peewee.maintenance.verify import verify

FINDING = {
    "id": "f", "pattern_type": "nagging", "severity": "low", "confidence": 0.5, "description": "x"
}  # fmt: skip
COMMANDS = ("history", "search example", "export", "show", "stats", "prune --keep 1 --dry-run")
LOST = [
    ("audits", "url", "history", ()),
    ("audits", "narrative", "search example", ()),
    ("audits", "created_at", "prune --keep 1 --dry-run", ()),
    ("audit_findings", "plain_english", "export", ("DROP VIEW findings_with_urls",)),
    ("audit_events", "data", "export", ("DROP INDEX idx_events_finding", "DROP VIEW event_log")),
    ("audit_screenshots", "label", "show", ("DROP VIEW screenshots_with_urls",)),
    ("audit_catalog", "audit_id", "search example", ()),
    ("audit_counts", "audits", "stats", ()),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "audits.db"
    with connect(path):
        audit = sync.create("https://example.com/").id
        sync.record(audit, {"type": "finding", "finding": FINDING})
        sync.record(audit, {"type": "audit_complete", "elapsed": 1})
    return path


@pytest.mark.parametrize(("table", "column", "command", "first"), LOST)
def test_every_command_names_the_table_and_the_column(
    path: Path, table: str, column: str, command: str, first: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    with connect(path, read_only=True):
        audit = Audit.select(Audit.id).scalar()
    by_hand(path, *first, f"ALTER TABLE {table} RENAME COLUMN {column} TO another")
    named = []
    for one in COMMANDS:
        words = [*one.split(), *[audit] * (one == "show"), "--database", str(path)]
        code = run(words)
        error = capsys.readouterr().err
        assert code in (0, 1), (one, error)
        assert "error of the program" not in error, (one, error)
        if code and table in error and column in error:
            named.append(one)
    assert command in named
    with connect(path, read_only=True):
        assert f"the schema of {table} is not that of this version: it has no column {column}" in (
            verify().problems
        )
    assert any(one.level == "problem" and column in one.text for one in diagnose(path))


async def test_a_reader_of_an_open_store_names_it_too(path: Path) -> None:
    async with AuditStore.open(path) as store:
        await store.history()
        by_hand(path, "ALTER TABLE audits RENAME COLUMN narrative TO story")
        with pytest.raises(DatabaseCorrupt, match=r'audits .*narrative.*RENAME COLUMN "story" TO'):
            await store.history()
        by_hand(path, "ALTER TABLE audits RENAME COLUMN story TO narrative")
        assert len((await store.history()).items) == 1


def test_a_mistake_in_a_callers_own_sql_stays_the_callers(path: Path) -> None:
    with connect(path) as database, pytest.raises(Exception, match="no such column: url") as found:
        database.execute_sql("SELECT url FROM audit_findings")
    assert not isinstance(found.value, DatabaseCorrupt)
