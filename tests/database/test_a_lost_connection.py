"""A connection to a server that has gone is known to have gone, and what it left is told apart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from time import sleep

import psycopg
import pytest
from anyio import create_task_group, to_thread

from tests.support.on_server import by_hand
from tests.support.places import Databases
from veritas_peewee import Audit, AuditNotFound, AuditStore, StoreError, connect, sync
from veritas_peewee.database import postgres
from veritas_peewee.database.current import bound, current_database
from veritas_peewee.database.failures import DRIVER_ERRORS, is_lost
from veritas_peewee.database.postgres import PostgresStore
from veritas_peewee.database.postgres_driver import translated
from veritas_peewee.database.transactions import TransactionEnded
from veritas_peewee.ledger import heads, server_keeper
from veritas_peewee.ledger import log as log_of_events
from veritas_peewee.maintenance.verify import verify

_CUT = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = "
WRITER, SCRIPT, VIEWER = (
    f"{_CUT}'veritas-peewee {role}'" for role in ("writer", "script", "viewer")
)
_STORED = "SELECT id, data FROM audit_events ORDER BY id"


def stored(url: str) -> list[tuple[int, str]]:
    return [(number, json.loads(data)["message"]) for number, data in by_hand(url, _STORED)]


def log(message: str) -> dict[str, str]:
    return {"type": "log_entry", "message": message}


@pytest.fixture
def url(server: Databases) -> Iterator[str]:
    with server.new() as made:
        yield made


def test_a_connection_that_cannot_leave_its_pipeline_has_gone(url):
    def fails() -> None:
        raise psycopg.OperationalError("cannot exit pipeline mode while busy")

    with connect(url) as database:
        connection = database.raw
        connection.begin_pipeline()
        kept = connection._open.pop_all()  # its pipeline is not left
        connection._open = ExitStack()
        connection._open.callback(fails)
        with pytest.raises(DRIVER_ERRORS) as caught:
            connection.end_pipeline()
        assert connection.closed
        assert is_lost(caught.value)
        with pytest.raises(psycopg.OperationalError):
            kept.close()


def test_a_connection_that_goes_leaves_its_pipeline(url):
    with connect(url) as database:
        connection = database.raw
        connection.begin_pipeline()
        pipeline = connection.pipelined
        connection.execute("BEGIN")
        connection.settle()
        by_hand(url, SCRIPT)
        with pytest.raises(DRIVER_ERRORS):
            connection.execute("SELECT 1").fetchall()
        assert connection.closed
        # When one is collected that nobody left, the driver complains on standard error.
        assert (pipeline.level, connection.pipelined) == (0, None)


def test_only_a_session_without_a_sign_of_life_is_swept(url):
    with connect(url) as database:
        made = [
            database.raw.execute(
                "INSERT INTO store_sessions (told, heartbeat) VALUES ('far 7', "
                "clock_timestamp() - make_interval(hours => ?)) RETURNING id",
                (hours,),
            ).fetchone()[0]
            for hours in (1, 1)
        ]
        dead = database.session.leftovers()
        assert sorted(map(int, dead)) == made
        by_hand(url, f"UPDATE store_sessions SET heartbeat = now() WHERE id = {made[0]}")
        database.session.sweep(dead)
        left = database.raw.execute("SELECT id FROM store_sessions WHERE told = 'far 7'").fetchall()
        assert left == [(made[0],)]


@pytest.mark.anyio
async def test_events_are_stored_once_where_the_connection_goes_as_the_commit_begins(
    url, monkeypatch
):
    cuts = []
    sign = PostgresStore.sign

    def cut_first(self):
        if self.role == "writer" and self.last_writer != self.number and not cuts:
            cuts.append(by_hand(url, WRITER))
        sign(self)

    def another_process():
        with connect(url):
            sync.create("https://another.example/")

    async with AuditStore.open(url) as store:
        audit = await store.create("https://shop.example/")
        await to_thread.run_sync(another_process)
        monkeypatch.setattr(PostgresStore, "sign", cut_first)
        told = {}

        async def record(message: str) -> None:
            told[await store.record(audit.id, log(message))] = message

        async with create_task_group() as group:
            for number in range(3):
                group.start_soon(record, f"event {number}")
        assert cuts
        assert stored(url) == sorted(told.items())
        assert await store.verify(audit.id) == []


@pytest.mark.anyio
@pytest.mark.parametrize("failures", [0, 1])
async def test_a_lone_event_is_stored_once_where_the_answer_to_its_commit_is_lost(
    url, monkeypatch, failures
):
    send_alone, reconnect = PostgresStore.send_alone, PostgresStore.reconnect
    lost, failed = [], []

    def answer_is_lost(self, sql, values):
        answer = send_alone(self, sql, values)
        if lost:
            return answer
        lost.append(answer)
        by_hand(url, WRITER)
        raise translated(psycopg.OperationalError("the answer was lost"))

    def is_not_back(self):
        if len(failed) < failures:
            failed.append(True)
            raise StoreError("not yet") from translated(psycopg.OperationalError("it starts"))
        reconnect(self)

    async with AuditStore.open(url) as store:
        audit = await store.create("https://shop.example/")
        await store.record(audit.id, log("first"))
        monkeypatch.setattr(PostgresStore, "send_alone", answer_is_lost)
        monkeypatch.setattr(PostgresStore, "reconnect", is_not_back)
        number = await store.record(audit.id, log("second"))
        assert lost
        assert len(failed) == failures
        assert number == stored(url)[-1][0]
        assert [message for _, message in stored(url)] == ["first", "second"]
        assert await store.verify(audit.id) == []


@pytest.mark.anyio
async def test_a_writer_recovers_though_the_server_was_away_for_longer_than_it_waits(
    url, monkeypatch
):
    monkeypatch.setattr(postgres, "_COMES_BACK", 0)
    connect_again, away = PostgresStore.connect, []

    def is_away(self, reuse_if_open=False):
        if away and self.role == "writer":
            raise StoreError("away") from translated(psycopg.OperationalError("away"))
        return connect_again(self, reuse_if_open)

    async with AuditStore.open(url) as store:
        audit = await store.create("https://shop.example/")
        monkeypatch.setattr(PostgresStore, "connect", is_away)
        away.append(True)
        by_hand(url, WRITER)
        for _ in range(3):
            with pytest.raises(StoreError):
                await store.record(audit.id, log("not stored"))
        away.clear()
        for message in ("a", "b"):
            await store.record(audit.id, log(message))
        assert [message for _, message in stored(url)] == ["a", "b"]
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
        assert by_hand(url, f"{held} AND granted AND objid <> 0 AND mode = 'ShareLock'") == [(1,)]


def second_connection_goes(url, monkeypatch, failures: int) -> list[bool]:
    """From now on the connection beside a writing one has gone, and so often does not come back;
    returns a list of its tries."""
    connect_again, tries = PostgresStore.connect, []

    def is_cut(self, reuse_if_open=False):
        if self.role == "viewer" and len(tries) < failures:
            tries.append(True)
            raise StoreError("cut") from translated(psycopg.OperationalError("cut again"))
        return connect_again(self, reuse_if_open)

    monkeypatch.setattr(PostgresStore, "connect", is_cut)
    by_hand(url, VIEWER)
    return tries


@pytest.mark.anyio
@pytest.mark.parametrize(("waits", "runs"), [(5.0, 1), (0.0, 2)])
async def test_a_write_is_done_once_though_the_connection_beside_it_goes_again_and_again(
    url, monkeypatch, waits, runs
):
    monkeypatch.setattr(server_keeper, "_COMES_BACK", waits)
    ran = []

    def changes(audit_id: str) -> None:
        ran.append(audit_id)
        Audit.update(narrative="changed").where(Audit.id == audit_id).execute()

    async with AuditStore.open(url) as store, AuditStore.open(url) as other:
        audit, another = await store.create("https://a.example/"), await store.create("https://b/")
        await other.record(another.id, log("by another"))  # so nothing is known of the first one
        tries = second_connection_goes(url, monkeypatch, 3)
        await store.write(changes, audit.id)
        assert (len(ran), len(tries)) == (runs, 3)
        assert (await store.get(audit.id)).narrative == "changed"
        assert await store.verify(audit.id) == []


def test_a_script_does_not_notice_that_the_connection_beside_its_own_goes(url, monkeypatch):
    with connect(url) as database, connect(url):
        with bound(database):
            audit = sync.create("https://a.example/")
        tries = second_connection_goes(url, monkeypatch, 2)
        Audit.update(narrative="changed").where(Audit.id == audit.id).execute()
        assert len(tries) == 2
        assert verify().problems == []


def test_a_script_goes_on_after_its_connection_was_cut(url):
    with connect(url) as database:
        audit = sync.create("https://shop.example/")
        with pytest.raises((StoreError, *DRIVER_ERRORS)), database.atomic():
            sync.record(audit.id, log("lost"))
            by_hand(url, SCRIPT)
            database.raw.execute("SELECT 1")
        assert sync.get(audit.id).url == "https://shop.example/"
        sync.record(audit.id, log("afterwards"))
        assert [message for _, message in stored(url)] == ["afterwards"]
        assert not verify().problems


@pytest.mark.parametrize("sql", ["/* of a caller */ ROLLBACK", "-- so\nROLLBACK"])
def test_sql_that_ends_the_transaction_is_noticed_behind_a_comment(url, sql):
    with connect(url) as database:
        audit = sync.create("https://shop.example/")
        with pytest.raises(TransactionEnded), database.unit():
            sync.record(audit.id, log("undone"))
            database.raw.execute(sql)
        assert stored(url) == []


@pytest.mark.anyio
async def test_a_connection_of_a_callers_own_that_has_gone_does_not_run_its_write_again(url):
    runs = []

    def fails():
        runs.append(True)
        with psycopg.connect(url) as own:
            by_hand(url, f"SELECT pg_terminate_backend({own.info.backend_pid}, 5000)")
            own.execute("SELECT 1")

    async with AuditStore.open(url) as store:
        with pytest.raises(psycopg.OperationalError):
            await store.write(fails)
        assert len(runs) == 1


# ---- standing still ----


@pytest.fixture
def long_ones(server, monkeypatch) -> None:
    """Transactions that last for more than a moment are ended by the server."""
    (number,) = server.running.ask("SELECT current_setting('server_version_num')::int")
    if number < postgres.ENDS_LONG_ONES:
        pytest.skip("this server ends no transaction for how long it lasts")
    monkeypatch.setattr(postgres, "LONGEST", {"writer": 0.4, "script": 0.4})


def test_who_stands_still_in_mid_pipeline_does_not_keep_the_lock(url, long_ones):
    with connect(url) as still:
        connection = still.raw
        connection.begin_pipeline()
        connection.execute("BEGIN")
        connection.execute("SELECT pg_advisory_xact_lock(?, 0)", (still.key,))
        connection.send_all()
        # From here on nothing is heard of it, and the server waits for what is to come.
        with connect(url):
            audit = sync.create("https://shop.example/")
        with pytest.raises(DRIVER_ERRORS) as caught:
            connection.settle()
        assert is_lost(caught.value)
        assert sync.get(audit.id).url == "https://shop.example/"  # on a new connection


@pytest.mark.anyio
async def test_a_write_that_stood_still_is_run_again_and_saved_once(url, long_ones):
    runs = []

    def stands_still_once():
        runs.append(sync.create("https://shop.example/").id)
        if len(runs) == 1:
            sleep(1)  # longer than it may last
        return runs[-1]

    async with AuditStore.open(url) as store:
        assert await store.write(stands_still_once) == runs[1]
        assert [audit.id for audit in (await store.history()).items] == [runs[1]]


@pytest.mark.anyio
async def test_a_write_that_takes_too_long_by_itself_is_not_tried_for_ever(url, long_ones):
    runs = []

    def takes_long():
        runs.append(sync.create("https://shop.example/").id)
        sleep(1)  # longer than it may last
        sync.get(runs[-1])

    async with AuditStore.open(url) as store:
        with pytest.raises(StoreError, match="lasted longer than it may"):
            await store.write(takes_long)
        assert len(runs) == 2
        assert await store.count() == 0
        await store.create("https://after.example/")


def test_what_makes_the_schema_may_take_long(url, long_ones):
    with connect(url) as database, database.unit():
        database.may_take_long(once=True)
        sleep(1)  # longer than another one may last
        sync.create("https://shop.example/")
    assert by_hand(url, "SELECT count(*) FROM audits") == [(1,)]


@pytest.mark.anyio
async def test_a_lone_event_is_stored_once_where_the_connection_goes_as_its_head_is_stored(
    url, monkeypatch, caplog
):
    store_heads, cuts = heads.store_heads, []

    def cut_first(*given):
        if not cuts:
            cuts.append(by_hand(url, WRITER))
        return store_heads(*given)

    async with AuditStore.open(url) as store, AuditStore.open(url) as other:
        audit = await store.create("https://shop.example/")
        await other.create("https://another.example/")  # so the next head has to be looked for
        monkeypatch.setattr(heads, "store_heads", cut_first)
        assert await store.record(audit.id, log("first")) == 1
        assert cuts
        assert "a head was not stored" in caplog.text
        assert await store.record(audit.id, log("second")) == 2
        assert stored(url) == [(1, "first"), (2, "second")]
        assert await store.verify(audit.id) == []


@pytest.mark.anyio
@pytest.mark.parametrize("look", [1, 2, 3])
async def test_nobody_in_a_batch_hears_that_the_connection_went_beside_an_error_of_another_s(
    url, monkeypatch, look
):
    end_of, looks = log_of_events._end, []

    def cut_at_error(memory, audit_id):
        try:
            return end_of(memory, audit_id)
        except AuditNotFound:
            looks.append(audit_id)
            if len(looks) == look:
                by_hand(url, WRITER)
            raise

    told: dict[str, object] = {}
    async with AuditStore.open(url) as store:
        audits = [(await store.create("https://shop.example/")).id for _ in range(4)]
        monkeypatch.setattr(log_of_events, "_end", cut_at_error)

        async def record(audit_id: str) -> None:
            try:
                told[audit_id] = await store.record(audit_id, {"type": "audit_started"})
            except StoreError as error:
                told[audit_id] = type(error)

        async with create_task_group() as group:
            for audit_id in (*audits, "absent"):
                group.start_soon(record, audit_id)
        assert len(looks) >= look
        assert told.pop("absent") is AuditNotFound
        assert sorted(told.values()) == [1, 2, 3, 4]
        assert (await store.head()).position == 4


@pytest.mark.anyio
async def test_a_default_isolation_of_the_database_does_not_let_a_writer_see_an_older_state(url):
    name = url.partition("///")[2].partition("?")[0]
    by_hand(url, f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")
    async with AuditStore.open(url) as store, AuditStore.open(url) as other:
        audit = await store.create("https://shop.example/")
        async with create_task_group() as group:
            for number in range(40):
                one = (store, other)[number % 2]
                group.start_soon(one.record, audit.id, log(f"event {number}"))
        assert [number for number, _ in stored(url)] == list(range(1, 41))
        assert await store.verify(audit.id) == []


@pytest.mark.parametrize("read_only", [False, True])
def test_a_script_that_was_idle_does_not_notice_that_its_connection_has_gone(url, read_only):
    with connect(url):
        audit = sync.create("https://shop.example/")
    with connect(url, read_only=read_only) as database:
        for ask in (sync.get, sync.details, sync.events, lambda one: sync.history(), sync.verify):
            by_hand(url, VIEWER, SCRIPT)
            ask(audit.id)
        if not read_only:
            by_hand(url, VIEWER, SCRIPT)
            sync.update_status(audit.id, "completed")
            by_hand(url, VIEWER, SCRIPT)
            with database.atomic():
                sync.record(audit.id, log("within"))
            assert verify().problems == []


@pytest.mark.anyio
async def test_a_read_whose_connection_goes_at_its_end_waits_for_nobody_who_writes(
    url, monkeypatch
):
    # It has nothing that could have been saved, so nobody has to be asked whether it was.
    cut = []

    def count():
        found = Audit.select().count()
        if not cut:
            cut.append(found)
            by_hand(url, f"{_CUT}'veritas-peewee reader'")
        return found

    def asks(*_):
        raise AssertionError("it waits for the lock of the store")

    async with AuditStore.open(url) as store:
        audit = await store.create("https://shop.example/")
        monkeypatch.setattr(PostgresStore, "ask_again", asks)
        key = await store.read(lambda: current_database().key)
        with psycopg.connect(url) as other:  # which writes, and does not end
            other.execute("SELECT pg_advisory_xact_lock(%s, 0)", (key,))
            assert await store.read(count) == 1
        assert cut == [1]
        assert (await store.get(audit.id)).id == audit.id
