"""Who is alive: a process is dead only if that is proven, and what is in the folder of sessions, or
what a file says of it, is never trusted."""

import errno
import logging
import os
import shutil
import subprocess
import threading

import pytest

from tests.support.processes import command, environment, forked, held_open
from veritas_peewee import Audit, AuditStatus, AuditStore, StoreBusy, StoreError, connect
from veritas_peewee.database.current import current_database
from veritas_peewee.files import sessions
from veritas_peewee.files.sessions import Session, State, look
from veritas_peewee.maintenance.backup import backup
from veritas_peewee.maintenance.prune import prune
from veritas_peewee.maintenance.restore import restore
from veritas_peewee.models import AuditRunner
from veritas_peewee.queries import lookups
from veritas_peewee.recording import disconnecting, operations, recorder

NOBODY = 65534
AFTER_RESULT = "the process that was running this audit ended after its result"
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "audits.db"
    with connect(path):
        operations.create("https://example.com", id="one")
    return path


@pytest.fixture
def folder(path):
    return path.with_name("audits.db-sessions")


@pytest.fixture(autouse=True)
def log_again(monkeypatch):
    monkeypatch.setattr(sessions, "_logged", set())


def run_by(path, session):
    with connect(path) as database:
        database.execute_sql("UPDATE audits SET status = 'running'")
        database.execute_sql("DELETE FROM audit_runners")
        database.execute_sql("INSERT INTO audit_runners VALUES ('one', ?)", (session,))


def opened_elsewhere(path, *options):
    """Open the store in another process; what that prints."""
    done = subprocess.run(
        command("open_as.py", path, *options),
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def status():
    return lookups.get("one").status


def run_one():
    operations.update_status("one", "running")
    return current_database().session.id


def leave_dead(folder):
    """Have a process begin a session and die."""

    def die():
        folder.mkdir(exist_ok=True)
        assert Session(folder).id  # which begins it
        os._exit(0)

    os.waitpid(forked(die), 0)


# ---- what is in the folder ----


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


@pytest.mark.parametrize(
    ("status", "event", "errors"),
    [("completed", "audit_complete", []), ("error", "audit_error", [AFTER_RESULT])],
)
def test_an_audit_with_its_result_is_closed_for_its_dead_process_and_can_be_pruned(
    path, status, event, errors
):
    with connect(path) as database:
        Audit.update(status=status).execute()
        database.execute_sql("INSERT INTO audit_runners VALUES ('one', 'dead')")
    with connect(path):
        found = lookups.get("one")
        assert (found.status, found.errors) == (status, errors)
        assert [(e.event_type, e.data["message"]) for e in lookups.events("one")] == [
            (event, AFTER_RESULT)
        ]
        assert AuditRunner.select().count() == 0
        assert prune(keep_newest=0).audits == 1


def test_a_link_in_place_of_the_folder_leads_nowhere_and_proves_nothing(path, tmp_path, caplog):
    precious = tmp_path / "documents"
    (precious / "folder").mkdir(parents=True)
    (precious / "0123456789abcdef").write_text("precious")
    (precious / "letter.txt").write_text("precious")
    (tmp_path / "audits.db-sessions").symlink_to(precious)
    run_by(path, "0123456789abcdef")
    for _ in range(2):
        with connect(path):
            assert status() == "running"
    told = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(told) == 1
    assert "audits.db-sessions: sessions cannot be looked at, so they count as alive" in told[0]
    assert sorted(entry.name for entry in precious.iterdir()) == [
        "0123456789abcdef", "folder", "letter.txt",
    ]  # fmt: skip


def test_what_is_not_ours_in_the_folder_stays(path, folder):
    (folder / "aaaaaaaaaaaaaaaa").mkdir(parents=True)
    os.mkfifo(folder / "bbbbbbbbbbbbbbbb")
    (folder / "notes.txt").write_text("mine")
    (folder / "cccccccccccccccc").write_text("of a process that died")
    (folder / ".dddddddddddddddd").write_text("of one that died before it was locked")
    with connect(path):
        assert Audit.select().count() == 1
    assert sorted(os.listdir(folder)) == ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "notes.txt"]


# ---- a session's life ----


def test_a_session_ends_with_its_connection(path, folder):
    with connect(path):
        assert run_one() in os.listdir(folder)
    assert not folder.exists()


def test_a_session_whose_audits_have_ended_leaves_nothing_beside_others_either(path, folder):
    with held_open(path, "SELECT COUNT(*) FROM audits"):
        with connect(path):
            run_one()
            operations.update_status("one", "completed")
        assert not folder.exists()


def test_a_session_that_leaves_audits_running_beside_others_leaves_the_proof_of_its_end(
    path, folder
):
    """To the next opening a missing file would prove nothing."""
    with held_open(path, "SELECT COUNT(*) FROM audits"):
        with connect(path):
            session = run_one()
        assert look(folder, session) is State.DEAD
        assert opened_elsewhere(path) == ["opened", "disconnected"]
        assert not folder.exists()


def test_a_session_is_visible_only_when_it_is_locked(folder, monkeypatch):
    posix = pytest.importorskip("veritas_peewee.files.posix", reason="Windows cannot rename it")
    folder.mkdir(parents=True, exist_ok=True)
    seen = []
    lock = posix.lock

    def slow_lock(handle):
        seen.append([name for name in os.listdir(folder) if not name.startswith(".")])
        lock(handle)

    monkeypatch.setattr(posix, "lock", slow_lock)
    session = Session(folder)
    assert look(folder, session.id) is State.ALIVE
    session.close()
    assert seen == [[]]


def test_two_processes_that_look_at_once_do_not_take_each_other_for_the_owner(folder):
    folder.mkdir(parents=True)
    (folder / "0123456789abcdef").write_text("of a process that died")
    handle = os.open(folder / "0123456789abcdef", os.O_RDONLY)
    sessions.try_lock_shared(handle)
    assert look(folder, "0123456789abcdef") is State.DEAD
    os.close(handle)


@pytest.mark.parametrize("how", ["removed", "removed with the folder", "replaced by a copy"])
def test_a_session_s_file_that_is_gone_is_made_again_under_the_same_id(path, folder, how):
    with connect(path) as database:
        session = run_one()
        if how == "replaced by a copy":  # a folder that was put back, for example
            shutil.copytree(folder, f"{folder}.copy")
            shutil.rmtree(folder)
            shutil.move(f"{folder}.copy", folder)
        elif how == "removed":
            (folder / session).unlink()
        else:
            shutil.rmtree(folder)
        assert look(folder, session) is not State.ALIVE
        operations.create("https://example.com", id="two")
        operations.update_status("two", "running")
        assert database.session.id == session
        assert look(folder, session) is State.ALIVE
        assert opened_elsewhere(path) == ["opened", "running"]


@pytest.mark.parametrize("how", ["script", "lone events", "whole writes"])
async def test_whoever_writes_notices_that_its_session_s_file_is_gone(
    path, folder, monkeypatch, how
):
    monkeypatch.setattr("veritas_peewee.database.connection.KEEP_EVERY", 0.0)
    monkeypatch.setattr("veritas_peewee.threads.wal.LOOK_EVERY", 0.0)

    def vanish(session):
        shutil.rmtree(folder)
        return session

    if how == "script":

        def script():
            with connect(path):
                session = vanish(run_one())
                recorder.record("one", {"type": "log_entry"})
                assert look(folder, session) is State.ALIVE

        thread = threading.Thread(target=script)
        thread.start()
        thread.join()
        assert not thread.is_alive()
        return
    async with AuditStore.open(path) as store:
        session = await store.write(run_one)
        vanish(session)
        for _ in range(2):  # a look follows the answer
            if how == "lone events":
                await store.record("one", {"type": "log_entry"})
            else:
                await store.update("one", narrative="x")
        assert look(folder, session) is State.ALIVE


def test_a_session_that_cannot_be_made_is_an_error_of_the_write(path, folder):
    folder.write_text("a file")
    with connect(path), pytest.raises(StoreError, match="cannot be given a session"):
        run_one()


# ---- what cannot be looked at ----


def test_the_audits_of_a_living_process_survive_the_removal_of_the_folder(path, folder):
    with connect(path):
        session = run_one()
        shutil.rmtree(folder)
        assert opened_elsewhere(path) == ["opened", "running"]
        folder.mkdir()  # as a third process does that runs audits too
        assert opened_elsewhere(path) == ["opened", "running"]
        assert look(folder, session) is State.MISSING
    assert opened_elsewhere(path) == ["opened", "disconnected"]


def test_a_store_that_was_copied_without_its_sessions_says_that_its_audits_ended(path, folder):
    with connect(path) as database:
        run_one()
        database.pragma("wal_checkpoint(TRUNCATE)")
        shutil.copy(path, path.with_name("copy.db"))
        with connect(path.with_name("copy.db")) as copy:
            assert status() == "disconnected"
            assert copy.journal_mode == "wal"
            # Others can open and write it, and so can we.
            assert opened_elsewhere(path.with_name("copy.db")) == ["opened", "disconnected"]
            operations.create("https://example.com")


@pytest.mark.parametrize("more", range(1, 9))
async def test_whoever_has_no_descriptor_left_declares_nobody_dead(path, more):
    async with AuditStore.open(path) as store:
        await store.write(run_one)
        found = opened_elsewhere(path, "--files", more)
        assert found[0] == "refused" or found == ["opened", "running"]
        assert (await store.get("one")).status == "running"


@pytest.mark.parametrize("closed", ["the folder", "the file"])
def test_what_another_user_may_not_look_at_is_not_dead(path, folder, tmp_path, closed):
    """Nobody may look there: root's child becomes another user, a user's own child is refused."""
    as_another = ("--user", NOBODY) if os.geteuid() == 0 else ()
    with connect(path):
        session = run_one()
        for place in (tmp_path, *tmp_path.parents[:-1]):
            reachable(place)
        for file in tmp_path.iterdir():
            file.chmod(0o666 if file.is_file() else 0o755)
        tmp_path.chmod(0o777)
        place = folder if closed == "the folder" else folder / session
        place.chmod(0)
        try:
            assert opened_elsewhere(path, *as_another) == ["opened", "running"]
        finally:
            place.chmod(0o700)
        assert os.listdir(folder) == [session]


def reachable(place):
    if place.stat().st_uid == os.geteuid() and str(place) != "/tmp":
        place.chmod(place.stat().st_mode | 0o711)


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EACCES, errno.EOPNOTSUPP])
def test_a_session_whose_lock_cannot_be_asked_for_is_not_dead(path, folder, monkeypatch, error):
    def refused(handle):
        raise OSError(error, os.strerror(error))

    with connect(path):
        session = run_one()
        monkeypatch.setattr(sessions, "try_lock_shared", refused)
        assert look(folder, session) is State.UNKNOWN
        assert sessions.leftovers(folder) == []


@pytest.mark.parametrize("at", ["the folder", "the file"])
@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_a_session_that_cannot_be_opened_is_not_dead(path, folder, monkeypatch, at, error):
    """As whoever runs the tests: root is refused nothing."""
    opened = sessions.Folder.open if at == "the folder" else sessions.Folder.open_to_read

    def refused(*args, **named):
        if at == "the file" or args[0] == folder:
            raise OSError(error, os.strerror(error))
        return opened(*args, **named)

    with connect(path):
        session = run_one()
        with monkeypatch.context() as patched:
            patched.setattr(sessions.Folder, opened.__name__, refused)
            assert look(folder, session) is State.UNKNOWN
            assert sessions.leftovers(folder) == []
        assert look(folder, session) is State.ALIVE


def test_a_dead_process_s_session_is_removed_and_another_s_is_not(path, folder):
    with connect(path):
        session = run_one()
        leave_dead(folder)
        assert len(os.listdir(folder)) == 2
        assert opened_elsewhere(path) == ["opened", "running"]
        assert os.listdir(folder) == [session]


def test_what_ends_the_audits_of_the_dead_in_a_transaction_sweeps_after_it(path, folder):
    with connect(path) as database:
        leave_dead(folder)
        with database.unit():
            disconnecting.disconnect_dead()
            assert len(os.listdir(folder)) == 1
        assert not folder.exists()


# ---- and where it matters that nobody is there ----


def test_a_restore_does_not_take_a_folder_that_it_cannot_list_for_an_empty_one(path, tmp_path):
    backup(tmp_path / "saved", database=path)
    folder = tmp_path / "audits.db-sessions"
    folder.write_text("a file")
    with pytest.raises(StoreBusy, match="cannot be looked at"):
        restore(tmp_path / "saved", path)
    folder.unlink()
    (folder / "0123456789abcdef").mkdir(parents=True)
    with pytest.raises(StoreBusy, match="cannot be looked at"):
        restore(tmp_path / "saved", path)
    shutil.rmtree(folder)
    restore(tmp_path / "saved", path)


def test_a_file_that_another_program_has_open_keeps_missing_sessions_alive(path):
    """It may be the one that runs the audits: nothing proves that it is not."""
    run_by(path, "0123456789abcdef")
    with held_open(path, "SELECT COUNT(*) FROM audits"):
        assert opened_elsewhere(path) == ["opened", "running"]
    assert opened_elsewhere(path) == ["opened", "disconnected"]
