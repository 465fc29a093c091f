"""The file, or its WAL, is moved, removed or replaced under an open store: nothing is acknowledged
that is in no file, others' writes are unharmed, and nobody is accused who did nothing."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter

import anyio
import pytest
from anyio import to_thread

from tests.support.database_files import by_hand, select
from tests.support.processes import environment
from veritas_peewee import (
    Audit,
    AuditEvent,
    AuditScreenshot,
    AuditStore,
    DatabaseCorrupt,
    StoreBusy,
    StoreError,
    StoreMoved,
    connect,
    sync,
)
from veritas_peewee.config import locate
from veritas_peewee.database.backends import connection
from veritas_peewee.database.current import current_database
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.database.transactions import is_known
from veritas_peewee.files.database_files import DatabaseFile
from veritas_peewee.ledger import log
from veritas_peewee.maintenance.backup import backup
from veritas_peewee.maintenance.doctor import diagnose
from veritas_peewee.maintenance.restore import restore
from veritas_peewee.testing import make_event

try:
    import apsw
except ImportError:  # where there is no wheel of it
    apsw = None
LOG = {"type": "log_entry"}


def elsewhere(program, *arguments):
    """Run a program in another process; what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *map(str, arguments)],
        env=environment(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def create_elsewhere(path, audit_id):
    elsewhere(
        "import sys; from veritas_peewee import connect, sync\n"
        "with connect(sys.argv[1]): sync.create('https://other.example/', id=sys.argv[2])",
        path, audit_id,
    )  # fmt: skip


def ids_in(path):
    """What another process finds at the path."""
    program = (
        "import sys; from veritas_peewee import connect, Audit\n"
        "with connect(sys.argv[1], read_only=True): print(*[audit.id for audit in Audit.select()])"
    )
    return set(elsewhere(program, path).split())


def remove_folder(path):
    shutil.rmtree(path.parent)
    path.parent.mkdir()


def rename_folder(path):
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.mkdir()


def rename_file(path):
    path.rename(path.with_name("moved.db"))


def replace_file(path):
    other = path.parent.with_name("other.db")
    create_elsewhere(other, "other")
    other.rename(path)


def remove_wal(path):
    """As a second copy of SQLite in this process does when it has looked at the file."""
    for end in ("wal", "shm"):
        os.unlink(f"{path}-{end}")


def replace_wal(path):
    remove_wal(path)
    create_elsewhere(path, "other")
    Path(f"{path}-wal").write_bytes(b"")


def look_with_second_copy(path):
    if apsw is None:
        pytest.skip("apsw is not installed")
    second = apsw.Connection(str(path))
    assert list(second.execute("SELECT COUNT(*) FROM audits"))
    second.close()


def look_with_python_s_own(path):
    if driver.__name__.startswith("sqlite3"):
        pytest.skip("it is not a second copy: Peewee uses it too")
    with closing(sqlite3.connect(path)) as second:
        assert second.execute("SELECT COUNT(*) FROM audits").fetchall()


WAYS = [remove_folder, rename_folder, rename_file, replace_file]
WAYS_OF_THE_WAL = [remove_wal, replace_wal, look_with_second_copy, look_with_python_s_own]


# ---- nothing is acknowledged that is in no file ----


@pytest.mark.parametrize("together", [False, True], ids=["one by one", "a hundred at once"])
@pytest.mark.parametrize("act", WAYS + WAYS_OF_THE_WAL)
async def test_no_write_is_acknowledged_once_the_file_is_no_longer_there(path, act, together):
    async with AuditStore.open(path) as store:
        audit = await store.create("https://example.com/")
        acknowledged, failed = [], []

        async def write(number):
            calls = (
                lambda: store.record(audit.id, LOG),
                lambda: store.update(audit.id, narrative="x"),
                lambda: store.create("https://example.com/"),
            )
            try:
                acknowledged.append(await calls[number % 3]())
            except StoreMoved as error:
                failed.append(error)

        await to_thread.run_sync(act, path)
        if together:
            async with anyio.create_task_group() as tasks:
                for number in range(100):
                    tasks.start_soon(write, number)
        else:
            for number in range(6):
                await write(number)
        assert acknowledged == []
        assert str(path) in str(failed[0])


@pytest.mark.parametrize("act", [rename_file, replace_file, remove_wal, look_with_second_copy])
def test_no_unit_of_a_script_is_acknowledged_once_the_file_is_no_longer_there(path, act):
    with connect(path) as database:
        audit = sync.create("https://example.com/")
        act(path)
        for _ in range(2):
            with pytest.raises(StoreMoved):
                sync.record(audit.id, LOG)
            with pytest.raises(StoreMoved), database.atomic():
                Audit.update(narrative="x").execute()
            with pytest.raises(StoreMoved):
                Audit.update(narrative="x").execute()


def test_what_was_written_at_the_moment_of_the_move_is_not_acknowledged(path):
    """The look comes after the COMMIT, not only before the write."""
    with connect(path) as database:
        audit = sync.create("https://example.com/")
        since = pytest.raises(StoreMoved, match="what was written since is not in it")
        with since as told, database.unit():
            sync.record(audit.id, LOG)
            rename_file(path)
        assert not is_known(told.value)  # so whoever has files to take back leaves them
        with pytest.raises(StoreMoved, match="nothing was written"):
            sync.record(audit.id, LOG)
        assert AuditEvent.select().count() == 1  # there, and in a file: but not at the path


async def test_a_lone_event_at_the_moment_of_the_move_is_not_acknowledged(path, monkeypatch):
    append = log.append_events

    def moved_meanwhile(*arguments):
        result = append(*arguments)
        rename_file(path)
        return result

    async with AuditStore.open(path) as store:
        audit = await store.create("https://example.com/")
        await store.record(audit.id, LOG)  # the first one of a store is in a transaction
        monkeypatch.setattr(log, "append_events", moved_meanwhile)
        with pytest.raises(StoreMoved, match="what was written since is not in it"):
            await store.record(audit.id, LOG)


@pytest.mark.parametrize("act", [rename_file, remove_wal])
async def test_a_store_that_has_paused_notices_before_it_writes(path, monkeypatch, act):
    monkeypatch.setattr("veritas_peewee.files.database_files.FRESH", 0.0)
    async with AuditStore.open(path) as store:
        audit = await store.create("https://example.com/")
        await store.record(audit.id, LOG)
        act(path)
        for call in (
            partial(store.record, audit.id, LOG),
            partial(store.update, audit.id, narrative="x"),
        ):
            with pytest.raises(StoreMoved, match="nothing was written"):
                await call()


@pytest.mark.parametrize("act", [rename_folder, rename_file])
async def test_a_file_that_is_moved_back_is_written_again_and_has_all(path, act):
    async with AuditStore.open(path) as store:
        audit = await store.create("https://example.com/")
        act(path)
        with pytest.raises(StoreMoved):
            await store.record(audit.id, LOG)
        if act is rename_folder:
            path.parent.rmdir()
            path.parent.with_name("moved").rename(path.parent)
        else:
            path.with_name("moved.db").rename(path)
        event = await store.record(audit.id, LOG)
        # The first one was written, and could not be known to be in the file that came back.
        assert event in [one.id for one in await store.events(audit.id)]
    assert ids_in(path) == {audit.id}


async def test_a_store_without_its_wal_is_well_again_once_it_was_closed(path):
    async with AuditStore.open(path) as store:
        audit = await store.create("https://example.com/")
        remove_wal(path)
        for _ in range(2):
            with pytest.raises(StoreMoved, match="its WAL was removed"):
                await store.record(audit.id, LOG)
        # A second connection here would share one index between two WALs.
        with pytest.raises(StoreMoved, match="this process has it open"):
            await to_thread.run_sync(create_here, path, "refused")
    async with AuditStore.open(path) as store:
        await store.create("https://example.com/", id="again")
    assert "again" in ids_in(path)


def create_here(path, audit_id):
    with connect(path):
        sync.create("https://example.com/", id=audit_id)


# ---- others' writes ----


def test_a_store_that_has_lost_its_wal_leaves_alone_what_others_wrote(path):
    """SQLite's own closing would copy the nameless WAL over it."""
    with connect(path) as database:
        sync.create("https://example.com/", id="first")
        database.pragma("wal_checkpoint(TRUNCATE)")
        remove_wal(path)
        with pytest.raises(StoreMoved), database.unit():
            sync.create("https://example.com/", id="lost")
            database.file.looked = perf_counter()  # so that it does write
        for number in range(3):
            create_elsewhere(path, f"other{number}")
        assert not database.checkpoint(truncate=True, patience=0.0)
    assert ids_in(path) == {"first", "other0", "other1", "other2"}
    assert select(path, "PRAGMA integrity_check") == [("ok",)]


def test_where_nothing_can_keep_sqlite_from_it_the_connection_stays_open(path, monkeypatch):
    monkeypatch.setattr("veritas_peewee.files.database_files.share_bytes", lambda *_: None)
    with connect(path) as database:
        sync.create("https://example.com/", id="first")
        driver = database.raw
        remove_wal(path)
    driver.execute("SELECT 1")
    create_elsewhere(path, "other")
    with pytest.raises(StoreMoved, match="this process has it open"):
        create_here(path, "refused")
    driver.close()


@contextmanager
def writing_elsewhere(path):
    """Another process that creates an audit for each line it is given."""
    program = (
        "import sys; from veritas_peewee import connect, sync\n"
        "with connect(sys.argv[1]):\n"
        "    for line in iter(sys.stdin.readline, ''):\n"
        "        print(sync.create('https://other.example/', id=line.strip()).id, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        env=environment(), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip

        def create(audit_id):
            process.stdin.write(f"{audit_id}\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{audit_id}\n"

        yield create
        process.stdin.close()
    assert process.returncode == 0


@pytest.mark.parametrize("act", WAYS)
def test_a_store_whose_file_has_gone_leaves_a_new_one_at_its_path_alone(path, act):
    with connect(path):
        sync.create("https://example.com/")
        act(path)
        with pytest.raises(StoreMoved):
            sync.create("https://example.com/")
        for end in ("wal", "shm"):  # else the new file would take them for its own
            Path(f"{path}-{end}").unlink(missing_ok=True)
        with ExitStack() as stack:
            create = stack.enter_context(writing_elsewhere(path))
            create("one")
            wal = os.stat(f"{path}-wal").st_ino
            stack.callback(lambda: create("two"))
            stack.callback(lambda: check_same(path, wal))
            stack.callback(current_database().close)
    assert {"one", "two"} <= ids_in(path)
    assert select(path, "PRAGMA integrity_check") == [("ok",)]


def check_same(path, wal):
    assert os.stat(f"{path}-wal").st_ino == wal


def test_no_store_is_made_where_the_wal_of_another_lies(path):
    """SQLite would discard it, and with it what is not in the file yet."""
    with connect(path):
        sync.create("https://example.com/", id="first")
        shutil.copytree(path.parent, path.parent.with_name("killed"))
    killed = path.parent.with_name("killed") / path.name
    moved = killed.rename(killed.with_name("moved.db"))
    with pytest.raises(DatabaseCorrupt, match="of its WAL are there"), connect(killed):
        pass
    moved.rename(killed)
    assert ids_in(killed) == {"first"}


# ---- images, readers, followers ----


@pytest.mark.parametrize("when", ["before the write", "after its COMMIT"])
async def test_an_image_stays_if_its_row_may_have_been_written(path, monkeypatch, when):
    shot = make_event("screenshot")
    async with AuditStore.open(path) as store:
        audit = await store.create("https://example.com/")

        def images():
            return [one for one in (path.parent / "screenshots").rglob("*") if one.is_file()]

        if when == "before the write":
            monkeypatch.setattr("veritas_peewee.files.database_files.FRESH", 0.0)
            rename_file(path)
        else:
            commits = store_commits(monkeypatch, lambda: rename_file(path))
            assert commits == []
        with pytest.raises(StoreMoved):
            await store.record(audit.id, shot)
        assert len(images()) == (when != "before the write")


def store_commits(monkeypatch, act):
    """Call `act` once, between the next COMMIT and the look that follows it."""
    check = DatabaseFile.check_written
    done = []

    def check_later(file):
        if not done and AuditScreenshot.select().count():
            done.append(act())
        check(file)

    monkeypatch.setattr(DatabaseFile, "check_written", check_later)
    return done


@pytest.mark.parametrize("how", ["record", "ingest"])
def test_an_image_stays_in_a_script_too(path, monkeypatch, how):
    shot = make_event("screenshot")
    with connect(path):
        audit = sync.create("https://example.com/")
        store_commits(monkeypatch, lambda: rename_file(path))
        with pytest.raises(StoreMoved):
            if how == "record":
                sync.record(audit.id, shot)
            else:
                sync.ingest([shot], url="https://example.com/")
        assert [one for one in (path.parent / "screenshots").rglob("*") if one.is_file()]


async def test_what_is_no_longer_at_the_path_can_still_be_read(path):
    async with AuditStore.open(path) as store:
        audit = await store.create("https://example.com/")
        await store.get(audit.id)  # which opens a reader
        remove_folder(path)
        with pytest.raises(StoreMoved):
            await store.update(audit.id, narrative="x")
        assert (await store.get(audit.id)).url == "https://example.com/"


@pytest.mark.parametrize("act", [rename_file, replace_file, remove_wal])
async def test_followers_are_told(path, act):
    async with AuditStore.open(path) as store:
        audit = await store.create("https://example.com/")
        await store.record(audit.id, LOG)
        follower = store.follow(audit.id)
        assert (await anext(follower)).event_type == "log_entry"
        act(path)
        with anyio.fail_after(30), pytest.raises(StoreMoved):
            await anext(follower)

    def follow():
        with connect(path):
            audit = sync.create("https://example.com/")
            sync.record(audit.id, LOG)
            followed = sync.follow(audit.id)
            next(followed)
            act(path)
            with pytest.raises(StoreMoved):
                next(followed)

    if act is not replace_file:  # the other store has no place for this one's
        path = path.with_name("second.db")
        await to_thread.run_sync(follow)


# ---- and nobody is accused who did nothing ----

OPEN_AND_CLOSE = """
import sys
from veritas_peewee import AuditEvent, connect, sync
path, times = sys.argv[1], int(sys.argv[2])
for number in range(times):
    with connect(path, read_only=number % 3 == 0) as database:
        if number % 3 == 1:
            sync.create("https://other.example/")
        elif number % 3 == 2:
            database.pragma("wal_checkpoint(TRUNCATE)")
        AuditEvent.select().count()
"""


async def test_what_others_and_maintenance_do_moves_nothing(path, tmp_path):
    async with AuditStore.open(path) as store:
        audit = await store.create("https://example.com/")
        acknowledged = []

        async def write():
            while True:
                acknowledged.append(await store.record(audit.id, LOG))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            async with anyio.create_task_group() as others:
                for _ in range(2):
                    others.start_soon(
                        to_thread.run_sync, partial(elsewhere, OPEN_AND_CLOSE, path, 100)
                    )
                others.start_soon(to_thread.run_sync, partial(maintain, path, tmp_path))
            tasks.cancel_scope.cancel()
        assert acknowledged
        assert {one.id for one in await store.events(audit.id)} >= set(acknowledged)


def maintain(path, tmp_path):
    backup(tmp_path / "saved", database=path)
    for _ in range(5):
        with connect(path) as database:
            database.execute_sql("VACUUM")
            database.pragma("wal_checkpoint(TRUNCATE)")
        with pytest.raises(StoreBusy):
            restore(tmp_path / "saved", path, force=True)
        diagnose(path)


async def test_the_last_other_process_that_closes_takes_nothing_along(path):
    async with AuditStore.open(path) as store:
        for number in range(5):
            await to_thread.run_sync(create_elsewhere, path, f"other{number}")
            await store.create("https://example.com/", id=f"own{number}")
        assert len((await store.history()).items) == 10


def test_a_connection_may_leave_wal_mode_itself(path):
    with connect(path) as database:
        assert database.is_alone()
        sync.create("https://example.com/", id="one")
        assert database.journal_mode == "wal"
        database.journal_mode = "delete"
        sync.create("https://example.com/", id="two")
    assert ids_in(path) == {"one", "two"}


def test_a_file_that_comes_without_a_wal_is_watched_too(path):
    with connect(path):
        pass
    by_hand(path, "PRAGMA journal_mode = DELETE")
    with connect(path):
        remove_wal(path)
        with pytest.raises(StoreMoved):
            sync.create("https://example.com/")


@pytest.mark.parametrize("how", ["link", "linked folder", "relative", "url", "bind mount"])
def test_the_way_to_the_file_does_not_matter(path, tmp_path, monkeypatch, how):
    with connect(path):
        sync.create("https://example.com/", id="first")
    with ExitStack() as stack:
        name = path
        if how == "link":
            name = tmp_path / "link.db"
            name.symlink_to(path)
        elif how == "linked folder":
            (tmp_path / "linked").symlink_to(path.parent)
            name = tmp_path / "linked" / path.name
        elif how == "relative":
            monkeypatch.chdir(path.parent)
            name = path.name
        elif how == "url":
            name = f"sqlite:///{path}"
        else:
            name = stack.enter_context(mounted(path.parent, tmp_path / "mounted")) / path.name
        with connect(name) as database:
            monkeypatch.chdir("/")
            sync.create("https://example.com/", id="this-way")
            create_elsewhere(path, "other-way")
            sync.create("https://example.com/", id="again")
            database.check_in_place()
            with connect(path, read_only=True) as viewer:
                viewer.check_in_place()
                assert Audit.select().count() == 4
    assert len(ids_in(path)) == 4


@contextmanager
def mounted(folder, place):
    place.mkdir()
    done = subprocess.run(["mount", "--bind", folder, place], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_store_in_memory_and_one_that_nobody_can_write_have_nothing_to_lose(path):
    with connect(":memory:") as database:
        sync.create("https://example.com/")
        database.check_in_place()
    with connect(path):
        sync.create("https://example.com/")
    with connection(locate(path), "viewer", immutable=True) as viewer:
        viewer.check_in_place()


# ---- one file, one name ----


def open_as(path, role):
    database = connection(locate(path), role)
    try:
        database.connect()
        database.get_tables()
    finally:
        database.close()


@pytest.mark.parametrize("role", ["writer", "reader", "script", "viewer"])
def test_a_file_with_two_names_is_refused(path, role):
    with connect(path):
        pass
    other = path.with_name("other.db")
    os.link(path, other)
    for name in (path, other):
        with pytest.raises(StoreError, match=r"has 2 names \(hard links\).*remove the others"):
            open_as(name, role)
    assert [f.text for f in diagnose(path) if (f.level, f.name) == ("problem", "names")]
    other.unlink()
    open_as(path, role)
    assert [f for f in diagnose(path) if f.name == "names"] == []


def test_a_backup_that_is_linked_to_another_can_be_restored(path, tmp_path):
    with connect(path):
        sync.create("https://example.com/", id="first")
    backup(tmp_path / "saved", database=path)
    for file in (tmp_path / "saved").glob("*.db"):
        os.link(file, tmp_path / "linked.db")
    restore(tmp_path / "saved", path)
    assert ids_in(path) == {"first"}


@pytest.mark.parametrize("killed_at", ["the old one aside", "the new one in place"])
def test_a_killed_restore_leaves_a_store_that_opens(path, tmp_path, killed_at):
    with connect(path):
        sync.create("https://example.com/", id="first")
    backup(tmp_path / "saved", database=path)
    if killed_at == "the new one in place":
        path.unlink()
    elsewhere(KILLED_RESTORE, tmp_path / "saved", path)
    assert os.stat(path).st_nlink == 2
    assert ids_in(path) == {"first"}
    create_elsewhere(path, "later")
    restore(tmp_path / "saved", path, force=True)
    assert ids_in(path) == {"first"}


KILLED_RESTORE = """
import os, sys
from veritas_peewee.maintenance import restore
link = os.link
def linked(*args, **options):
    link(*args, **options)
    if not options:
        os._exit(0)
os.link = linked
restore.restore(sys.argv[1], sys.argv[2], force=True)
"""


@pytest.mark.parametrize("act", [remove_wal, replace_wal])
def test_doctor_tells_of_a_wal_that_somebody_writes_and_nobody_finds(path, act):
    with writing_elsewhere(path) as create:
        create("one")
        act(path)
        told = [f for f in diagnose(path) if (f.level, f.name) == ("problem", "wal")]
        assert len(told) == 1
        assert "is not at its path" in told[0].text
        Path(f"{path}-wal").unlink(missing_ok=True)
