"""A COMMIT that was refused after its last frame was written: what is told of it stays true.

SQLite then has still to sync the WAL and to enlarge the WAL's index. If one of these fails, the
transaction is undone for all who have the file open; but its frames are whole, and whoever opens
the file after all of them have died takes it for committed.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from peewee import PeeweeException

from tests.support.writes import Unreliable
from veritas_peewee import AuditNotFound, AuditStore, StoreError, StoreFull, connect, sync
from veritas_peewee.database.current import current_database
from veritas_peewee.database.sqlite import SqliteStore
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.ledger.log import append_event
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.testing import make_event
from veritas_peewee.values.moments import utc_now

LOG = make_event("log_entry", message="refused")
OWN = "INSERT INTO mine VALUES (1)"


def execute(sql: str) -> None:
    current_database().execute_sql(sql)


def after_a_kill(path: Path, folder: Path) -> Path:
    """What is there of a store whose processes have died: the index of its WAL is made anew."""
    folder.mkdir()
    # By another process: to close the file in this one would drop the locks that SQLite has on it.
    subprocess.run(["cp", path, f"{path}-wal", folder], check=True, timeout=60)
    return folder / path.name


def leave_frames(path: Path, folder: Path) -> None:
    """Leave the whole frames of a transaction behind the end of the WAL: it makes a table."""
    twin = after_a_kill(path, folder)
    with closing(driver.connect(twin)) as connection:
        connection.execute("CREATE TABLE came_back (number)")
        frames = Path(f"{twin}-wal").read_bytes()
    with open(f"{path}-wal", "r+b") as wal:
        before = wal.read()
        assert frames.startswith(before)
        wal.write(frames[len(before) :])


def comes_back(path: Path, folder: Path) -> bool:
    with closing(driver.connect(after_a_kill(path, folder))) as connection:
        query = "SELECT COUNT(*) FROM sqlite_master WHERE name = 'came_back'"
        return connection.execute(query).fetchone() == (1,)


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Path]:
    return (tmp_path / f"copy{number}" for number in range(9))


@pytest.mark.parametrize("code", [10, 7, 1034, 4874], ids=["I/O", "memory", "sync", "index"])
@pytest.mark.parametrize("fails", ["COMMIT but undone", "INSERT"])
async def test_what_was_told_as_refused_does_not_come_back_after_a_kill(
    tmp_path: Path, names: Iterator[Path], fails: str, code: int
) -> None:
    path = tmp_path / "audits.db"
    async with AuditStore.open(path) as store:
        await store.create("https://example.com", id="a")
        await store.record("a", LOG)
        unreliable = await store.write(lambda: Unreliable.put(current_database()))
        leave_frames(path, next(names))
        assert comes_back(path, next(names))

        unreliable.fails, unreliable.sound, unreliable.code = [fails], -1, code
        with pytest.raises((StoreError, PeeweeException)) as told:
            await (store.record("a", LOG) if fails == "INSERT" else store.record_many("a", [LOG]))
        assert unreliable.fails == []
        assert "is not known" not in str(told.value)
        assert len(await store.events("a")) == 1
        assert not comes_back(path, next(names))

        await store.record_many("a", [LOG, LOG])
        assert len(await store.events("a")) == 3
        assert (await store.read(verify)).problems == []


@pytest.mark.parametrize(
    "work",
    [
        lambda: sync.record("a", LOG),
        lambda: sync.delete("b"),
        lambda: execute(OWN),
    ],
    ids=["event", "delete", "own table"],
)
def test_what_a_script_was_told_as_refused_does_not_come_back_after_a_kill(
    tmp_path: Path, names: Iterator[Path], work: Callable[[], object]
) -> None:
    path = tmp_path / "audits.db"
    with connect(path) as opened:
        sync.create("https://example.com", id="a")
        execute("CREATE TABLE mine (number)")
        sync.ingest([make_event("audit_complete")], audit_id="b", url="https://example.com")
        unreliable = Unreliable.put(opened)
        leave_frames(path, next(names))
        assert comes_back(path, next(names))
        unreliable.fails = ["COMMIT but undone"]
        with pytest.raises((StoreError, PeeweeException)) as told:
            work()
        assert unreliable.fails == []
        assert "is not known" not in str(told.value)
        assert not comes_back(path, next(names))
        assert sync.get("b") is not None
        assert verify().problems == []


async def test_an_event_alone_that_finds_no_room_is_told_so(tmp_path: Path) -> None:
    long = make_event("log_entry", message="x" * 20_000)
    async with AuditStore.open(tmp_path / "audits.db") as store:
        await store.create("https://example.com", id="a")
        await store.record("a", LOG)
        pages = await store.write(lambda: current_database().pragma("page_count"))
        await store.write(lambda: current_database().pragma("max_page_count", pages))
        with pytest.raises(StoreFull):
            await store.record("a", long)
        assert len(await store.events("a")) == 1
        await store.write(lambda: current_database().pragma("max_page_count", 10**6))
        await store.record("a", long)
        assert (await store.read(verify)).problems == []


@pytest.mark.parametrize("refused", ["statement", "sync"])
def test_where_nothing_can_be_committed_over_it_the_outcome_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: str
) -> None:
    def no_sync(_: object) -> None:
        raise StoreError("it cannot be synced")

    with connect(tmp_path / "audits.db") as opened:
        sync.create("https://example.com", id="a")
        unreliable = Unreliable.put(opened)
        unreliable.fails = ["COMMIT but undone"]
        if refused == "sync":
            monkeypatch.setattr(SqliteStore, "sync_commits", no_sync)
        else:
            unreliable.fails.append("PRAGMA user_version =")
        with pytest.raises(StoreError, match="is not known"):
            sync.record("a", LOG)
        assert unreliable.fails == []
        monkeypatch.undo()
        sync.record("a", LOG)
        assert verify().problems == []


def test_what_changes_rows_alone_is_told_as_it_is_whatever_was_before(tmp_path: Path) -> None:
    """Such a write is looked for by the number of changes, which others move too."""
    path = tmp_path / "audits.db"
    more = "UPDATE store_changes SET number = number + 5"
    program = f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute({more!r}); c.commit()"
    with connect(path) as opened:
        for audit_id in ("a", "b", "c"):
            sync.create("https://example.com", id=audit_id)
        sync.delete("a")
        subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
        unreliable = Unreliable.put(opened)
        for fails, is_known in (("COMMIT but undone", True), ("COMMIT but done", False)):
            unreliable.fails = [fails]
            with pytest.raises((StoreError, PeeweeException)) as told, opened.unit():
                sync.delete("b")
                sync.delete("c")
            assert unreliable.fails == []
            assert ("is not known" not in str(told.value)) is is_known
            assert sync.count() == (2 if is_known else 0)


def test_an_event_that_could_not_be_added_is_not_what_is_looked_for(tmp_path: Path) -> None:
    with connect(tmp_path / "audits.db") as opened:
        sync.create("https://example.com", id="a")
        Unreliable.put(opened).fails = ["COMMIT but done"]
        with pytest.raises(StoreError, match="is not known"), opened.unit():
            sync.update("a", site_type="shop")
            with contextlib.suppress(AuditNotFound):
                append_event("nobody", "log_entry", "{}", utc_now())
        assert sync.get("a").site_type == "shop"
        assert verify().problems == []


@pytest.mark.parametrize("first", ["a", "nobody"])
def test_an_event_beside_one_that_was_undone_is_what_is_looked_for(
    tmp_path: Path, first: str
) -> None:
    with connect(tmp_path / "audits.db") as opened:
        sync.create("https://example.com", id="a")
        Unreliable.put(opened).fails = ["COMMIT but done"]
        with pytest.raises(StoreError, match="is not known"), opened.unit():
            for one in (first, "nobody" if first == "a" else "a"):
                with contextlib.suppress(AuditNotFound), opened.unit():
                    sync.record(one, LOG)
        assert len(sync.events("a")) == 1
        assert verify().problems == []


def test_ctrl_c_while_the_outcome_is_looked_for_takes_no_image_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    with connect(tmp_path / "audits.db") as opened:
        sync.create("https://example.com", id="a")
        monkeypatch.setattr(SqliteStore, "is_refused", interrupted)
        Unreliable.put(opened).fails = ["COMMIT but done"]
        with pytest.raises(KeyboardInterrupt):
            sync.record("a", make_event("screenshot", label="x", index=1))
        assert verify().problems == []
        assert sync.get("a").screenshots_count == 1


@pytest.mark.parametrize("work", [lambda: sync.record("a", LOG), lambda: execute(OWN)])
def test_a_refused_commit_of_several_files_may_be_one_of_ours(
    tmp_path: Path, work: Callable[[], object]
) -> None:
    """SQLite commits one attached file after the other: the last may find no room when ours is
    saved."""
    with connect(tmp_path / "audits.db") as opened:
        sync.create("https://example.com", id="a")
        execute("CREATE TABLE mine (number)")
        opened.attach(str(tmp_path / "other.db"), "other")
        unreliable = Unreliable.put(opened)
        unreliable.fails, unreliable.code = ["COMMIT but done"], 13  # SQLITE_FULL
        with pytest.raises(StoreError, match="is not known"):
            work()
        assert unreliable.fails == []
        assert verify().problems == []
