"""What Windows does its own way; on POSIX these tests run in the simulation of it alone."""

import logging
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.command_line import run_here, run_program
from tests.support.database_files import by_hand, select
from tests.support.processes import environment, held_open
from veritas_peewee import InvalidAudit, StoreBusy, connect
from veritas_peewee.config import database_url, locate
from veritas_peewee.database.current import current_database
from veritas_peewee.errors import StoreError
from veritas_peewee.files import durable, platform
from veritas_peewee.files.database_path import uri_of
from veritas_peewee.files.images import ScreenshotFolder, read_image
from veritas_peewee.files.platform import Folder, path_parts, words_of_command
from veritas_peewee.files.sessions import Session, State, look
from veritas_peewee.maintenance.backup import backup, restore
from veritas_peewee.maintenance.doctor import diagnose
from veritas_peewee.maintenance.swapping import swap
from veritas_peewee.recording import operations
from veritas_peewee.testing import make_png

pytestmark = pytest.mark.skipif(sys.platform != "win32", reason="it is Windows's")

NO_NAMES = (
    "NUL", "nul.png", "CON.tar.gz", "COM1.png", "lpt9", "a.png:evil", "a.png::$DATA", "a.png.",
    "a.png ", "a?.png", "a\\b.png", "a/b.png", "a\x01.png", "C:a.png",
)  # fmt: skip


# ---- names and paths ----


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_that_means_a_device_a_stream_or_another_name_is_refused(tmp_path, name):
    (tmp_path / "a.png").write_bytes(b"x")
    folder = Folder.open(tmp_path)
    calls = (
        folder.create, folder.open_to_read, folder.remove, folder.make_folder, folder.state,
        folder.folder, lambda name: folder.rename("a.png", name),
    )  # fmt: skip
    for call in calls:
        with pytest.raises(OSError, match="no file of that name"):
            call(name)
    assert os.listdir(tmp_path) == ["a.png"]


def test_an_audit_with_the_name_of_a_device_has_no_screenshots(tmp_path):
    with pytest.raises(InvalidAudit, match="cannot name a folder"):
        ScreenshotFolder(tmp_path / "shots").put("NUL", 0, "home", make_png(1))


def test_a_path_of_an_engine_may_be_one_of_windows():
    names = ["Users", "me", "shot.png"]
    for path in (r"C:\Users\me\shot.png", "C:/Users/me/shot.png", r"C:\Users\.\me\\shot.png"):
        assert path_parts(path) == ("C:\\", names)
    assert path_parts(r"shots\1.png") == (".", ["shots", "1.png"])
    assert path_parts(r"shots\1.png", r"D:\veritas") == ("D:\\", ["veritas", "shots", "1.png"])
    assert path_parts(r"\shots\1.png") == ("/", ["shots", "1.png"])


def test_a_path_on_a_share_is_read_if_the_engine_runs_there():
    base = r"\\nas\veritas\work"
    assert path_parts(r"\\NAS\veritas\1.png", base) == ("\\\\NAS\\veritas\\", ["1.png"])
    assert path_parts(r"shots\1.png", base) == ("\\\\nas\\veritas\\", ["work", "shots", "1.png"])


@pytest.mark.parametrize(
    "path",
    [r"\\evil\share\x.png", "//evil/share/x.png", r"\\?\C:\x.png", r"\\.\pipe\x", r"C:x.png"],
)
def test_a_path_on_another_machine_or_of_a_device_is_not_asked_for(path):
    with pytest.raises(OSError, match=r"another machine|begin at its root"):
        read_image(path)


def test_a_command_as_a_text_has_its_backslashes():
    found = words_of_command(r'python "C:\Program Files\veritas\engine.py" --url x\y ""')
    assert found == ["python", r"C:\Program Files\veritas\engine.py", "--url", r"x\y", ""]
    with pytest.raises(ValueError, match="quotation"):
        words_of_command('python "x')


def test_a_drive_is_no_scheme_of_a_url():
    for given in (r"C:\x\v.db", "C:/x/v.db", "sqlite:///C:/x/v.db", r"sqlite:///C:\x\v.db"):
        found = str(locate(given).path).replace("/", "\\")
        assert found.endswith(r"C:\x\v.db"), found
        assert database_url(given).startswith("sqlite:///C:")
    assert locate("sqlite:///C:/x/v.db?timeout=5").timeout == 5


def test_a_database_on_a_share_is_opened_by_its_path():
    class Shared(Path):
        _flavour = getattr(Path(), "_flavour", None)

        def as_uri(self):
            return "file://nas/veritas/a.db"

    assert uri_of(Shared("a.db")) == "file:////nas/veritas/a.db"
    assert uri_of(Path("/a/b.db")) == "file:///a/b.db"


# ---- links ----


def linked(link: Path, target: Path) -> None:
    try:
        link.symlink_to(target, target_is_directory=target.is_dir())
    except OSError:
        pytest.skip("this user may not make links")


def test_no_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.png").write_bytes(make_png(1))
    linked(tmp_path / "folder", tmp_path / "real")
    linked(tmp_path / "x.png", tmp_path / "real" / "x.png")
    with pytest.raises(NotADirectoryError):
        Folder.open(tmp_path / "folder")
    folder = Folder.open(tmp_path)
    with pytest.raises(NotADirectoryError):
        folder.folder("folder")
    with pytest.raises(OSError):  # noqa: PT011
        folder.open_to_read("x.png")
    assert not folder.is_file("x.png")
    for path in ("folder/x.png", "x.png"):
        with pytest.raises((OSError, InvalidAudit)):
            read_image(str(tmp_path / path))
    assert read_image(str(tmp_path / "real" / "x.png")) == make_png(1)


def test_a_junction_is_a_link(tmp_path, monkeypatch):
    """It is a folder with a tag; so is a folder in a cloud, which is none."""
    from veritas_peewee.files import windows

    class Found:
        st_mode = os.stat(tmp_path).st_mode

    for tag, is_link in ((0xA0000003, True), (0xA000000C, True), (0x9000001A, False), (0, False)):
        Found.st_reparse_tag = tag
        assert windows._is_link(Found()) is is_link


def test_a_file_that_is_replaced_just_when_it_is_opened_is_refused(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    folder, real = Folder.open(tmp_path), os.open

    def opens_another(path, *given):
        return real(tmp_path / "b", *given)

    from veritas_peewee.files import windows

    monkeypatch.setattr(windows.os, "open", opens_another)
    with pytest.raises(OSError):  # noqa: PT011
        folder.open_to_read("a")


# ---- locks, and files that are open ----


def test_a_lock_is_felt_by_another_process_and_ends_with_the_one_that_holds_it(tmp_path):
    code = (
        "import sys, os; from veritas_peewee.files.platform import create_private, lock\n"
        "lock(create_private(sys.argv[1])); print('locked', flush=True); sys.stdin.readline()"
    )
    path = tmp_path / ".b.01234567.veritas.partial"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(),
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "locked\n"
        assert platform.try_lock_file(path) is None
        with durable.appearing_stream(tmp_path / "a"):
            assert path.exists()
        process.kill()
    with durable.appearing_stream(tmp_path / "a2"):
        assert not path.exists()


def test_a_lock_is_of_a_handle_and_its_text_can_be_read(tmp_path):
    path = tmp_path / "a"
    first = platform.create_private(path)
    os.write(first, b"text")
    platform.lock(first)
    assert path.read_bytes() == b"text"
    with open(path, "r+b") as second, pytest.raises(BlockingIOError):
        platform.try_lock(second.fileno())
    assert os.lseek(first, 0, os.SEEK_CUR) == 4
    os.close(first)
    third = platform.try_lock_file(path)
    assert third is not None
    os.close(third)


def test_a_session_is_looked_at_by_many_at_once(tmp_path):
    folder = tmp_path / "sessions"
    session = Session(folder)
    name = session.id
    assert look(folder, name) is State.ALIVE
    session.close()
    assert look(folder, name) is State.MISSING
    (tmp_path / "dead").mkdir()
    (tmp_path / "dead" / name).write_bytes(b"x" * 4096)
    with open(tmp_path / "dead" / name, "rb") as other:
        platform.try_lock_shared(other.fileno())
        assert look(tmp_path / "dead", name) is State.DEAD


def test_a_folder_in_the_making_is_locked_by_a_file_beside_it(tmp_path):
    with durable.partial_folder(tmp_path / "a") as made:
        assert sorted(os.listdir(tmp_path)) == sorted([made.name, f"{made.name}.lock"])
        assert durable.leftovers(tmp_path) == []
    assert os.listdir(tmp_path) == []
    with durable.appearing_folder(tmp_path / "b"):
        pass
    assert os.listdir(tmp_path) == ["b"]


def test_a_folder_that_a_dead_process_was_making_is_removed_with_its_lock(tmp_path):
    held = durable.locked_folder(tmp_path / "a")[1]
    os.close(held.handle)  # as the system does when the process dies
    assert len(durable.leftovers(tmp_path)) == 1
    assert len(os.listdir(tmp_path)) == 2  # a look changes nothing
    with durable.partial_folder(tmp_path / "b"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_lock_whose_folder_is_gone_is_removed_by_the_next(tmp_path):
    (tmp_path / ".a.0123456789abcdef.partial.lock").touch()
    (tmp_path / ".notes.lock").touch()
    with durable.partial_folder(tmp_path / "b"):
        assert not (tmp_path / ".a.0123456789abcdef.partial.lock").exists()
    assert os.listdir(tmp_path) == [".notes.lock"]


def test_an_image_that_somebody_has_open_is_left_and_the_log_says_so(tmp_path, caplog, monkeypatch):
    from veritas_peewee.files import windows

    monkeypatch.setattr(windows, "_PATIENCE", 0.02)
    folder = ScreenshotFolder(tmp_path / "shots")
    stored = folder.put("one", 0, "home", make_png(1))
    with open(tmp_path / "shots" / stored.file, "rb"), caplog.at_level(logging.WARNING):
        assert folder.remove([stored.file]) == []
    assert "`verify --fix` removes it later" in caplog.text
    assert folder.remove([stored.file]) == [stored.file]
    assert os.listdir(tmp_path / "shots") == []


def test_a_file_that_is_open_for_a_moment_is_waited_for(tmp_path):
    import threading

    (tmp_path / "a").write_bytes(b"new")
    (tmp_path / "b").write_bytes(b"old")
    looked_at = open(tmp_path / "b", "rb")  # noqa: SIM115
    closer = threading.Timer(0.1, looked_at.close)
    closer.start()
    platform.rename(tmp_path / "a", tmp_path / "b")
    closer.join()
    assert (tmp_path / "b").read_bytes() == b"new"


# ---- the disk ----


def test_the_wal_is_brought_to_disk_through_a_handle_that_can_write(tmp_path, monkeypatch):
    from veritas_peewee.files import windows

    synced, real = [], os.fsync

    def fsync(handle):
        real(handle)
        synced.append(os.fstat(handle).st_ino)

    with connect(tmp_path / "a.db"):
        operations.create("https://example.com", id="one")
        monkeypatch.setattr(windows.os, "fsync", fsync)
        current_database().sync_commits()
        assert synced == [os.stat(tmp_path / "a.db-wal").st_ino]
        monkeypatch.setattr(windows.os, "fsync", lambda handle: os.close(-1))
        with pytest.raises(StoreError, match="brought to disk"):
            current_database().sync_commits()


# ---- whole ways ----


@pytest.fixture
def saved(path, ids, tmp_path):
    backup(tmp_path / "saved", database=path)
    return tmp_path / "saved"


def test_a_store_is_replaced_by_its_backup(path, ids, saved):
    with connect(path):
        operations.create("https://example.com", id="later")
    report = restore(saved, path, force=True)
    assert report.audits == len(ids)
    assert sorted(os.listdir(path.parent)) == [
        "audits.db", os.path.basename(report.replaced), "screenshots",
    ]  # fmt: skip
    with connect(report.replaced / "veritas_audits.db", read_only=True):
        assert operations.runner_of("later") is None


def test_a_store_that_somebody_has_open_is_not_replaced(path, saved):
    before = os.stat(path).st_ino
    with held_open(path, "SELECT COUNT(*) FROM audits"), pytest.raises(StoreBusy):
        restore(saved, path, force=True)
    assert os.stat(path).st_ino == before
    assert sorted(os.listdir(path.parent)) == ["audits.db", "screenshots"]


def test_who_opens_the_old_file_when_our_hold_has_ended_keeps_it(path, saved, monkeypatch):
    from veritas_peewee.files import windows
    from veritas_peewee.maintenance import restore as module

    monkeypatch.setattr(windows, "_PATIENCE", 0.02)
    opened = []

    def late(new, at, aside, old):
        close = old.close

        def closes():
            close()
            if not opened:
                opened.append(open(at, "rb"))  # noqa: SIM115

        old.close = closes
        swap(new, at, aside, old)

    monkeypatch.setattr(module, "swap", late)
    before = os.stat(path).st_ino
    with pytest.raises(StoreBusy, match="just opened it"):
        restore(saved, path, force=True)
    opened[0].close()
    assert os.stat(path).st_ino == before
    assert sorted(os.listdir(path.parent)) == ["audits.db", "screenshots"]


def test_who_has_written_when_our_hold_has_ended_keeps_the_old_file(path, saved, monkeypatch):
    from veritas_peewee.maintenance import restore as module

    def late(new, at, aside, old):
        close = old.close

        def closes():
            close()
            if not written:
                written.append(True)
                by_hand(at, "CREATE TABLE other (a)")

        written = []
        old.close = closes
        swap(new, at, aside, old)

    monkeypatch.setattr(module, "swap", late)
    with pytest.raises(StoreBusy, match="just written to it"):
        restore(saved, path, force=True)
    assert select(path, "SELECT name FROM sqlite_master WHERE name = 'other'")


def test_doctor_does_not_say_that_nobody_can_read_what_it_cannot_tell(path, ids):
    with closing(open(path, "rb")):
        found = [one for one in diagnose(path) if one.name == "permissions"]
    assert [(one.level, "access list" in one.text) for one in found] == [("note", True)]


def test_the_programs_commands_run(path, ids, tmp_path, capsys):
    result = run_here(capsys, "verify", "--database", path)
    assert result.code == 0, result.err
    done = run_program("history", "--database", path)
    assert (done.returncode, done.stderr) == (0, "")
