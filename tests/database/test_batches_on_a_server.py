"""A batch on a server: how often it waits, what becomes of a failure in it, and what it takes for
known while other processes write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from threading import Event

import pytest
from anyio import create_task_group, sleep
from peewee import IntegrityError, PeeweeException

from tests.support.on_server import by_hand
from tests.support.places import Databases
from veritas_peewee import Audit, AuditNotFound, AuditStore, InvalidAudit, WriteUndone
from veritas_peewee.database.current import current_database
from veritas_peewee.database.postgres_driver import Connection
from veritas_peewee.testing import make_event, make_finding
from veritas_peewee.threads import group_commit, writer

URL = "https://shop.example/"
STATS = {"type": "stats_update", "stats": {"pages_scanned": 7}}
RESULT = {"status": "completed", "trust_score": 61, "findings": [make_finding(1), make_finding(2)]}
WHOLE = (
    {"type": "phase_start", "phase": "scout"},
    {"type": "log_entry", "message": "so far so good"},
    make_event("screenshot", label="home", index=1),
    make_event("finding", finding=make_finding(1)),
    STATS,
    {"type": "audit_result", "result": RESULT},
    {"type": "audit_complete", "elapsed": 3.5},
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(server: Databases) -> Iterator[str]:
    with server.new() as made:
        yield made


async def together(store, jobs):
    """The outcomes of writes that wait together, in order: results or errors."""
    outcomes = [None] * len(jobs)
    has_begun, all_wait = Event(), Event()

    def hold():
        has_begun.set()
        assert all_wait.wait(60)

    async def run(number, call):
        try:
            outcomes[number] = await call()
        except Exception as error:
            outcomes[number] = error

    async with create_task_group() as group:
        group.start_soon(store.write, hold)
        while not has_begun.is_set():
            await sleep(0.001)
        for number, call in enumerate(jobs):
            group.start_soon(run, number, call)
            while store.stats().pending <= number:  # trio starts tasks in any order
                await sleep(0.001)
        all_wait.set()
    return outcomes


def recording(store, audit_id, event):
    return lambda: store.record(audit_id, event)


async def test_a_batch_waits_for_its_beginning_and_for_its_end(url, monkeypatch):
    waits, of_batches = [], []
    wait = Connection.wait

    def counted(self, steps, *args, **options):
        if steps.__name__ in ("_fetch_gen", "_sync_gen", "_exit_gen"):
            waits.append(steps.__name__)
        return wait(self, steps, *args, **options)

    def commit(database, batch):
        waits.clear()
        found = group_commit.commit(database, batch)
        if len(batch) > 1:
            of_batches.append(len(waits))
        return found

    monkeypatch.setattr(Connection, "wait", counted)
    monkeypatch.setattr(writer, "commit", commit)
    async with AuditStore.open(url) as store, AuditStore.open(url) as other:
        audits = [(await store.create(URL)).id for _ in range(4)]
        theirs = (await other.create(URL)).id
        for event in WHOLE:
            await other.record(theirs, STATS)  # so that the next batch finds that others wrote
            found = await together(store, [recording(store, one, event) for one in audits])
            assert all(type(one) is int for one in found)
        # The first one looks where the heads are; an audit that ends is put into the catalog, for
        # which its findings are read.
        assert of_batches == [4, 2, 2, 2, 2, 5, 2]
        for one in audits:
            assert await store.verify(one) == []


async def test_a_lone_event_is_one_statement_also_of_an_audit_that_has_ended(url, monkeypatch):
    sent = []
    async with AuditStore.open(url) as store:
        audit = await store.create(URL)
        for event in WHOLE:
            await store.record(audit.id, event)
        connection = await store.write(lambda: current_database().raw)
        watch = connection.watch
        monkeypatch.setattr(connection, "watch", lambda sql: (sent.append(sql), watch(sql)))
        for _ in range(3):
            await store.record(audit.id, {"type": "log_entry"})
        asked = [sql for sql in sent if not sql.startswith(("NOTIFY", "UPDATE store_sessions"))]
        assert [sql[:28] for sql in asked] == ["SELECT * FROM veritas_append"] * 3
        assert await store.verify(audit.id) == []


async def test_one_that_fails_does_so_alone_and_leaves_no_gap(url):
    async with AuditStore.open(url) as store:
        audit = await store.create(URL, id="there")
        good = {"type": "log_entry", "message": "good"}
        found = await together(
            store,
            [
                recording(store, audit.id, good),
                recording(store, "not-there", good),
                lambda: store.create(URL, id="there"),
                lambda: store.create(URL, id="new"),
                recording(store, audit.id, STATS),
            ],
        )
        first, absent, twice, new, last = found
        assert isinstance(absent, AuditNotFound)
        assert isinstance(twice, InvalidAudit)
        assert new.id == "new"
        assert (first, last) == (1, 2)
        assert by_hand(url, "SELECT id FROM audit_events ORDER BY id") == [(1,), (2,)]
        assert (await store.get(audit.id)).pages_scanned == 7
        assert await store.verify(audit.id) == []


async def test_two_stores_in_turns_record_the_same_audits(url):
    async with AuditStore.open(url) as one, AuditStore.open(url) as other:
        ids = [(await one.create(URL)).id, (await other.create(URL)).id]
        for number, event in enumerate(WHOLE):
            first, second = (one, other) if number % 2 else (other, one)
            for audit_id in ids:
                await first.record(audit_id, {"type": "phase_error", "error": f"of {number}"})
                await second.record(audit_id, event)
        for audit_id in ids:
            audit = await one.get(audit_id)
            assert audit.errors == [f"of {number}" for number in range(len(WHOLE))]
            assert (audit.status, audit.screenshots_count) == ("completed", 1)
            assert await one.verify(audit_id) == []
        assert [hit.audit.id for hit in (await one.search("shop")).items]


async def test_what_another_program_changes_in_between_is_not_taken_for_known(url):
    async with AuditStore.open(url) as store, AuditStore.open(url) as other:
        altered, extended = (await store.create(URL)).id, (await store.create(URL)).id
        theirs = (await other.create(URL)).id
        for audit_id in (altered, extended):
            await store.record(audit_id, {"type": "phase_error", "error": "ours"})
        by_hand(url, f"UPDATE audits SET errors = '[\"forged\"]' WHERE id = '{altered}'")
        await other.record(extended, {"type": "phase_error", "error": "theirs"})
        await other.record(theirs, STATS)
        for audit_id in (altered, extended):
            await store.record(audit_id, {"type": "phase_error", "error": "last"})
        assert (await store.get(altered)).errors == ["forged", "last"]
        assert (await store.get(extended)).errors == ["ours", "theirs", "last"]
        assert await store.verify(extended) == []
        assert await store.verify(altered)


async def test_what_follows_a_statement_that_failed_is_told_as_undone_and_how_to_go_on(url):
    """Also of a write whose neighbour's statement has failed, as on a full disk."""

    def passes_over_a_failure():
        with suppress(PeeweeException):
            current_database().execute_sql("SELECT 1 / 0").fetchall()
        return Audit.select().count()

    async with AuditStore.open(url) as store:
        with pytest.raises(
            WriteUndone, match=r"a statement before it .* `with database.atomic\(\)`"
        ):
            await store.write(passes_over_a_failure)
        assert (await store.create(URL)).url == URL


FAILS = "INSERT INTO store_images (file_path, data) VALUES ('a', '\\x01'), ('a', '\\x02')"


@pytest.mark.parametrize("scope", ["unit", "atomic"])
async def test_a_part_that_comes_after_a_statement_that_failed_does_not_begin(url, scope, caplog):
    # Its savepoint would not be made, and what went back would go back to that of the whole write,
    # and take the others along.
    def parted():
        database = current_database()
        database.raw.execute(FAILS)  # sent, and not waited for
        with getattr(database, scope)():
            return Audit.select().count()

    async with AuditStore.open(url) as store:
        audit = await store.create(URL)
        stats = recording(store, audit.id, STATS)
        found = await together(store, [stats, lambda: store.write(parted), stats, stats])
        assert isinstance(found[1], IntegrityError)
        assert [type(one) for one in found if one is not found[1]] == [int, int, int]
        assert await store.verify(audit.id) == []
    assert "roll-back failed" not in caplog.text
