"""The folder of sessions: what is in it, or what a file says of it, is never trusted."""

import os

import pytest

from veritas_peewee import Audit, AuditStatus, connect
from veritas_peewee.database.current import current_database
from veritas_peewee.maintenance.prune import prune
from veritas_peewee.models import AuditRunner
from veritas_peewee.queries import lookups
from veritas_peewee.recording import operations


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "audits.db"
    with connect(path):
        operations.create("https://example.com", id="one")
    return path


def run_by(path, session):
    with connect(path) as database:
        database.execute_sql("UPDATE audits SET status = 'running'")
        database.execute_sql("DELETE FROM audit_runners")
        database.execute_sql("INSERT INTO audit_runners VALUES ('one', ?)", (session,))


@pytest.mark.parametrize(
    "session",
    ["/tmp", "../audits.db", "", ".", "..", "a\0b", "x" * 40, "0123456789abcdef", "a/../b"],
)
def test_a_session_that_is_no_name_of_ours_is_dead_and_never_a_path(path, session):
    run_by(path, session)
    with connect(path):
        found = lookups.get("one")
        assert found.status is AuditStatus.DISCONNECTED
        assert "has ended" in found.errors[-1]
        assert AuditRunner.select().count() == 0
    assert path.exists()


@pytest.mark.parametrize("status", ["completed", "error"])
def test_an_audit_that_ended_otherwise_is_no_longer_said_to_be_run_and_can_be_pruned(path, status):
    with connect(path) as database:
        Audit.update(status=status).execute()
        database.execute_sql("INSERT INTO audit_runners VALUES ('one', 'dead')")
    with connect(path):
        found = lookups.get("one")
        assert (found.status, found.errors) == (status, [])
        assert AuditRunner.select().count() == 0
        assert prune(keep_newest=0).audits == 1


def test_a_link_in_place_of_the_folder_leads_nowhere(path, tmp_path):
    precious = tmp_path / "documents"
    (precious / "folder").mkdir(parents=True)
    (precious / "0123456789abcdef").write_text("precious")
    (precious / "letter.txt").write_text("precious")
    (tmp_path / "audits.db-sessions").symlink_to(precious)
    run_by(path, "0123456789abcdef")
    with connect(path):
        assert lookups.get("one").status == "disconnected"
    assert sorted(entry.name for entry in precious.iterdir()) == [
        "0123456789abcdef", "folder", "letter.txt",
    ]  # fmt: skip


def test_what_is_not_ours_in_the_folder_stays(path, tmp_path):
    folder = tmp_path / "audits.db-sessions"
    (folder / "aaaaaaaaaaaaaaaa").mkdir(parents=True)
    os.mkfifo(folder / "bbbbbbbbbbbbbbbb")
    (folder / "notes.txt").write_text("mine")
    (folder / "cccccccccccccccc").write_text("of a process that died")
    with connect(path):
        assert Audit.select().count() == 1
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "aaaaaaaaaaaaaaaa").is_dir()
    assert not (folder / "cccccccccccccccc").exists()


def test_a_session_ends_with_its_connection(path, tmp_path):
    with connect(path):
        operations.update_status("one", "running")
        assert current_database().session.id in os.listdir(tmp_path / "audits.db-sessions")
    assert not (tmp_path / "audits.db-sessions").exists()
