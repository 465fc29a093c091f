"""Those who follow a store on a server wait while the server is away, and go on by themselves."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator

import anyio
import pytest
from anyio import to_thread

from tests.support.command_line import process, wait_for
from tests.support.postgres import Server, in_memory
from tests.support.postgres import server as a_server
from tests.support.web import Viewer, application
from veritas_peewee import AuditStore, Ended, StoreError, connect, sync
from veritas_peewee.database import postgres
from veritas_peewee.following import patience
from veritas_peewee.threads import reader

LOG = {"type": "log_entry"}
END = {"type": "audit_complete"}


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with a_server(within=in_memory()) as made:
        yield made


@pytest.fixture
def url(running: Server) -> Iterator[str]:
    made = running.new_database()
    with connect(made, on_event_loop=True):
        pass
    yield made
    if not running.is_running():
        running.start()
    running.drop_database(made)


@pytest.fixture
def impatient_reads(monkeypatch):
    """A read by itself waits for no server."""
    monkeypatch.setattr(reader, "COMES_BACK", 0)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
async def test_followers_get_each_event_once_around_a_restart(running, url, impatient_reads, how):
    got: dict[str, list[int]] = {}

    async def follow(name, follower) -> None:
        got[name] = []
        async for event in follower:
            got[name].append(event.id)
            if name == "all" and event.event_type == END["type"]:
                return
        assert follower.ended is Ended.COMPLETED

    async with AuditStore.open(url) as store:
        audit = await store.create("https://shop.example/")
        viewer = Viewer(application(store), f"/api/audits/{audit.id}/events")
        names = [f"one, viewer {number}" for number in range(5)]
        recorded = [await store.record(audit.id, LOG)]
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(follow, "all", await store.follow_all(after=0))
                for name in names:
                    group.start_soon(follow, name, store.follow(audit.id))
                group.start_soon(viewer.watch)
                await viewer.sees(recorded)
                await to_thread.run_sync(running.stop, how)
                # Begun while it is away, by one who is there already and one who comes now.
                group.start_soon(follow, "late", store.follow(audit.id))
                await anyio.sleep(3 * patience.TRY_AGAIN)
                await to_thread.run_sync(running.start)
                recorded += [await store.record(audit.id, event) for event in (LOG, LOG, END)]
    assert got == dict.fromkeys(["all", *names, "late"], recorded)
    assert (viewer.ids, viewer.end) == (recorded, "completed")


async def test_after_too_long_each_ends_with_an_error_of_the_store(
    running, url, impatient_reads, monkeypatch
):
    monkeypatch.setattr(patience, "COMES_BACK", 0.5)
    errors = []

    async def follow(follower) -> None:
        with pytest.raises(StoreError) as caught:
            async for _ in follower:
                pass
        errors.append(str(caught.value))
        assert follower.ended is Ended.FAILED

    async with AuditStore.open(url) as store:
        audit = await store.create("https://shop.example/")
        viewer = Viewer(application(store), f"/api/audits/{audit.id}/events")
        first = await store.record(audit.id, LOG)
        followers = [await store.follow(audit.id) for _ in range(20)]
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for follower in followers:
                    group.start_soon(follow, follower)
                group.start_soon(viewer.watch)
                await viewer.sees([first])
                await to_thread.run_sync(running.stop)
        assert len(errors) == 20
        assert all("no server answers there" in error for error in errors)
        (told,) = [data for name, data, _ in viewer.messages if name == "error"]
        assert (told["status"], told["code"], viewer.end) == (503, "unreachable", "failed")
        await to_thread.run_sync(running.start)
        # Who comes after that is given what there is.
        assert await store.record(audit.id, END)
        late = store.follow(audit.id, after=first)
        assert [event.event_type async for event in late] == [END["type"]]


async def test_a_store_that_closes_does_not_wait_for_its_server(running, url, impatient_reads):
    async with AuditStore.open(url) as store:
        audit = await store.create("https://shop.example/")
        follower = await store.follow(audit.id)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:

                async def follow() -> None:
                    with pytest.raises(StoreError):
                        await anext(follower)

                group.start_soon(follow)
                await to_thread.run_sync(running.stop)
                await anyio.sleep(2 * patience.TRY_AGAIN)
                store.stop_following()
        await to_thread.run_sync(running.start)


# ---- scripts ----


def test_watch_goes_on_after_a_restart(running, url, project):
    with connect(url):
        audit = sync.create("https://shop.example/")
        ids = [sync.record(audit.id, LOG)]
        with process("watch", audit.id, "--json", "--database", url) as watching:
            assert json.loads(watching.stdout.readline())["id"] == ids[0]
            running.stop()
            running.start()

            def recorded() -> int | None:
                try:
                    return sync.record(audit.id, END)
                except StoreError:  # its own connection has gone too
                    return None

            ids.append(wait_for(recorded))
            out, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (0, b"")
    assert [json.loads(line)["id"] for line in out.splitlines()] == ids[1:]


def test_a_script_that_follows_gives_up_in_the_end(running, url, monkeypatch):
    monkeypatch.setattr(patience, "COMES_BACK", 0.5)
    monkeypatch.setattr(postgres, "_COMES_BACK", 0)
    with connect(url, read_only=True):
        watcher = sync.follow_all(after=0)
        running.stop()
        with pytest.raises(StoreError, match="no server answers there"):
            next(watcher)
        assert watcher.ended is Ended.FAILED


def test_within_a_transaction_nobody_waits(running, url):
    with connect(url) as database:
        sync.record(sync.create("https://shop.example/").id, LOG)
        with pytest.raises(StoreError), database.atomic():
            watcher = sync.follow_all(after=0)
            assert next(watcher).event_type == LOG["type"]
            running.stop()
            next(watcher)
        assert watcher.ended is Ended.FAILED
