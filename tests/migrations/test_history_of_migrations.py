"""The record of migrations that another program altered: the file's parts say what was applied."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.support.database_files import by_hand, select, verified
from veritas_peewee import connect, sync
from veritas_peewee.cli.app import run
from veritas_peewee.errors import ReadOnlyStore, SchemaTooNew
from veritas_peewee.maintenance.doctor import diagnose
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.migrations import history
from veritas_peewee.migrations.fresh import fresh_parts
from veritas_peewee.migrations.history import HISTORY, KNOWN

NAMES = f"SELECT name FROM {HISTORY} ORDER BY name"
ALTERED = {
    "emptied": f"DELETE FROM {HISTORY}",
    "dropped": f"DROP TABLE {HISTORY}",
    "renamed": f"ALTER TABLE {HISTORY} RENAME TO another",
    "the first name lost": f"DELETE FROM {HISTORY} WHERE name = '0001_initial'",
    "the last name lost": f"DELETE FROM {HISTORY} WHERE name = '{KNOWN[-1]}'",
    "the name of views lost": f"DELETE FROM {HISTORY} WHERE name = '0005_views'",
    "a name altered": f"UPDATE {HISTORY} SET name = name || 's' WHERE id = 3",
    "a name that is no text": f"UPDATE {HISTORY} SET name = CAST(name AS BLOB) WHERE id = 7",
    "a name that is not UTF-8": f"UPDATE {HISTORY} SET name = CAST(x'ff' AS TEXT) WHERE id = 7",
    "a name of another program": f"INSERT INTO {HISTORY} (name, applied) VALUES ('hello', 1)",
    "its column renamed": f"ALTER TABLE {HISTORY} RENAME COLUMN name TO called",
    "its column dropped": f"ALTER TABLE {HISTORY} DROP COLUMN applied",
    "a column more": f"ALTER TABLE {HISTORY} ADD COLUMN note TEXT DEFAULT 'theirs'",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "audits.db"
    with connect(path):
        audit = sync.create("https://example.com/").id
        sync.record(audit, {"type": "audit_complete", "elapsed": 1})
    return path


@pytest.mark.parametrize("how", ALTERED)
def test_an_altered_record_is_named_and_made_again_from_the_parts(
    path: Path, how: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand(path, ALTERED[how])
    with connect(path, read_only=True):
        assert any(HISTORY in text for text in verify().problems)
    assert any(one.level == "problem" and HISTORY in one.text for one in diagnose(path))
    assert run(["history", "--database", str(path)]) == 0
    assert "example.com" in capsys.readouterr().out
    assert HISTORY in caplog.text
    assert "made again" in caplog.text
    assert select(path, NAMES) == [(name,) for name in KNOWN]
    caplog.clear()
    with connect(path), caplog.at_level(logging.WARNING):
        sync.create("https://example.com/after")
    assert "made again" not in caplog.text
    verified(path)


def test_what_others_stored_in_an_altered_record_is_kept_under_another_name(path: Path) -> None:
    by_hand(path, ALTERED["a column more"])
    with connect(path):
        pass
    assert select(path, f"SELECT DISTINCT note FROM {HISTORY}_altered_1") == [("theirs",)]


def test_a_migration_that_lost_its_name_does_not_run_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take what was altered since for what it has to complete."""
    by_hand(path, ALTERED["the last name lost"])
    monkeypatch.setattr("veritas_peewee.ledger.evidence.complete", lambda *_: pytest.fail("ran"))
    with connect(path):
        pass


def test_a_name_of_a_newer_version_is_still_refused(path: Path) -> None:
    by_hand(path, f"INSERT INTO {HISTORY} (name, applied) VALUES ('0099_later', 1)")
    with pytest.raises(SchemaTooNew, match="0099_later"), connect(path):
        pass


def test_a_view_with_the_name_of_the_record_is_refused_by_name(path: Path) -> None:
    by_hand(path, f"DROP TABLE {HISTORY}", f"CREATE VIEW {HISTORY} AS SELECT 1 AS name")
    with pytest.raises(ReadOnlyStore, match=rf"{HISTORY} is missing.*restore"), connect(path):
        pass


def test_a_table_lost_with_its_migrations_name_is_made_by_verify_fix(path: Path) -> None:
    by_hand(path, f"DELETE FROM {HISTORY} WHERE id >= 7", "DROP TABLE absent_images")
    with pytest.raises(ReadOnlyStore, match=r"absent_images.*verify --fix"), connect(path):
        pass
    assert run(["verify", "--fix", "--database", str(path)]) == 0
    verified(path)


def test_each_migration_is_known_by_parts_that_it_makes() -> None:
    parts = fresh_parts()
    assert set(history.MADE) == set(KNOWN) - {"0005_views"}  # it makes no table and no column
    for name, part in (one for made in history.MADE.values() for one in made):
        is_view = ("view", name) in parts
        text = parts["view" if is_view else "table", name].text
        is_text = is_view or text.startswith("CREATE VIRTUAL")
        assert part in text if is_text else f'"{part}"' in text
