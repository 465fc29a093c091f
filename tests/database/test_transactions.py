"""What follows a commit or a roll-back, and what cannot be done inside a write."""

import contextlib
import functools
from functools import partial
from unittest.mock import patch

import anyio
import peewee
import pytest

from tests.support.writes import Gate, Unreliable, outcome
from veritas_peewee import Audit, AuditNotFound, AuditStore, StoreError, connect, sync
from veritas_peewee.database.current import current_database, database
from veritas_peewee.database.sqlite_errors import driver
from veritas_peewee.maintenance.prune import prune
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditEvent, AuditScreenshot
from veritas_peewee.recording import operations, recorder, removal
from veritas_peewee.testing import make_event


def files(store):
    return sorted(path.name for path in store.location.screenshots.rglob("*.png"))


@pytest.fixture
async def audit(file_store):
    made = await file_store.create("https://example.com")
    shot = make_event("screenshot", label="kept")
    await file_store.record(made.id, shot)
    return made


@pytest.mark.parametrize("reached", [current_database, lambda: database], ids=["own", "proxy"])
async def test_a_part_that_is_undone_takes_back_its_files_and_removes_none(
    file_store, audit, reached
):
    shot = make_event("screenshot", label="undone", index=1)

    def part():
        for do in (
            lambda: removal.delete(audit.id),
            lambda: recorder.record(audit.id, shot),
        ):
            try:
                with reached().atomic():
                    do()
                    raise LookupError
            except LookupError:
                pass

    await file_store.write(part)
    assert [name[:8] for name in files(file_store)] == ["000-kept"]
    assert (await file_store.get(audit.id)).screenshots_count == 1


def throw(error):
    raise error


@pytest.mark.parametrize(
    "rude",
    [
        lambda: current_database().begin(),
        lambda: current_database().session_start(),
        lambda: current_database().atomic().__enter__(),
        lambda: next(iter(Audit.select())),
        lambda: throw(SystemExit(3)),
        lambda: throw(KeyboardInterrupt()),
    ],
    ids=["begin", "session", "atomic", "cursor", "exit", "interrupt"],
)
async def test_what_a_callback_after_the_commit_leaves_behind_costs_no_later_write(
    file_store, audit, rude
):
    shot = make_event("screenshot", label="more", index=1)
    results = []

    async def record():
        results.append(await file_store.record(audit.id, shot))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(record)
        tasks.start_soon(file_store.write, lambda: current_database().after_commit(rude))
    for _ in range(3):
        results.append(await file_store.record(audit.id, {"type": "log_entry"}))
    async with AuditStore.open(file_store.location.path) as other:
        await other.create("https://example.com/other")  # a pinned snapshot would be in the way
    await file_store.create("https://example.com/last")
    stored = [event.id for event in await file_store.events(audit.id)]
    assert set(results) <= set(stored)
    assert len(files(file_store)) == 2


@pytest.mark.parametrize("end", ["commit", "roll-back"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_callback_that_is_asked_to_end_the_program_ends_it_when_all_were_called(
    tmp_path, caplog, error, end
):
    called = []
    with connect(tmp_path / "audits.db") as opened:
        follow = opened.after_commit if end == "commit" else opened.after_rollback
        with pytest.raises(error), opened.unit():
            operations.create("https://example.com", id="a")
            follow(lambda: called.append("one"))
            follow(lambda: throw(error(3)))
            follow(lambda: called.append("another"))
            if end == "roll-back":
                raise LookupError
        assert sorted(called) == ["another", "one"]
        assert caplog.records == []
        assert not opened.transaction_is_open
        assert Audit.select().count() == (end == "commit")
        operations.create("https://example.com", id="b")
        assert verify().problems == []


@pytest.mark.parametrize("sql", ["COMMIT", " end transaction", "ROLLBACK", "begin immediate"])
async def test_sql_that_would_end_the_transaction_is_refused(file_store, audit, sql):
    with pytest.raises(StoreError, match="inside a write would end what it shares"):
        await file_store.write(lambda: current_database().execute_sql(sql))
    await file_store.write(lambda: current_database().execute_sql("SELECT 1").fetchone())
    await file_store.create("https://example.com")


async def test_a_trigger_that_refuses_an_event_is_not_taken_for_a_missing_audit(file_store, audit):
    await file_store.write(
        lambda: current_database().execute_sql(
            "CREATE TEMP TRIGGER no BEFORE INSERT ON audit_events WHEN NEW.event_type = 'no' "
            "BEGIN SELECT RAISE(ABORT, 'not this'); END"
        )
    )
    for events in ([{"type": "no"}], [{"type": "log_entry"}, {"type": "no"}]):
        with pytest.raises(peewee.IntegrityError, match="not this"):
            await file_store.record_many(audit.id, events)
    with pytest.raises(peewee.IntegrityError, match="not this"):
        await file_store.record(audit.id, {"type": "no"})
    with pytest.raises(AuditNotFound):
        await file_store.record_many("none", [{"type": "log_entry"}])
    assert len(await file_store.events(audit.id)) == 1


async def test_an_error_that_cannot_be_made_from_a_text_leaves_nobody_waiting(file_store):
    class Mine(StoreError):
        def __init__(self, one, two):
            super().__init__(f"{one} {two}")

    def rude():
        current_database().raw.execute("ROLLBACK")
        raise Mine(1, 2)

    with pytest.raises(Mine, match="1 2"):
        await file_store.write(rude)
    await file_store.create("https://example.com")


async def test_a_lone_write_pays_for_no_savepoint_but_its_words(file_store, audit):
    said = []

    async def statements(write):
        said.clear()
        await write
        return [text for text in said if not text.startswith("--")]

    raw = await file_store.write(lambda: current_database().raw)
    raw.set_trace_callback(said.append)
    for write in (
        file_store.create("https://example.org"),
        file_store.update(audit.id, trust_score=40.0),
        file_store.update_status(audit.id, "error", error_message="gone"),
        file_store.record(audit.id, {"type": "phase_start", "phase": "scout"}),
        file_store.delete(audit.id),
    ):
        made = await statements(write)
        assert made[0].startswith("BEGIN")
        assert made[-1] == "COMMIT"
        points = {text.partition(" ")[2] for text in made if text.startswith("SAVEPOINT")}
        assert points <= {"catalog", "words"}


@pytest.mark.parametrize("writes", [1, 3])
async def test_a_callers_wrapper_around_a_function_of_ours_is_run(file_store, audit, writes):
    ran = []

    @functools.wraps(sync.update)
    def wrapper(*args, **changes):
        ran.append(args)
        return sync.update(*args, **changes)

    async with anyio.create_task_group() as tasks:
        for _ in range(writes):
            tasks.start_soon(partial(file_store.write, wrapper, audit.id, trust_score=3))
    assert ran == [(audit.id,)] * writes


@pytest.mark.parametrize("how", ["unit", "atomic"])
def test_what_was_to_follow_a_transaction_that_sqlite_ended_does_not(tmp_path, how):
    with connect(tmp_path / "audits.db") as opened:
        audit = operations.create("https://example.com")
        followed = []
        with pytest.raises((StoreError, peewee.PeeweeException)), getattr(opened, how)():
            operations.update(audit.id, risk_level="trusted")
            opened.after_commit(lambda: followed.append("commit"))
            opened.raw.execute("ROLLBACK")
        assert followed == []
        assert opened.state.transactions == []
        operations.update(audit.id, trust_score=50.0)
        assert Audit.get_by_id(audit.id).risk_level is None
        assert verify().problems == []


@pytest.mark.parametrize("how", ["unit", "atomic"])
@pytest.mark.parametrize("sql", ["COMMIT", "ROLLBACK"])
def test_a_block_that_fails_after_its_transaction_has_ended_removes_no_file(tmp_path, how, sql):
    shot = make_event("screenshot")
    with connect(tmp_path / "audits.db") as opened:
        operations.create("https://example.com/", id="a")
        with pytest.raises(LookupError), getattr(opened, how)():
            recorder.record("a", shot)
            opened.raw.execute(sql)
            raise LookupError
        assert Audit.get_by_id("a").screenshots_count == (sql == "COMMIT")
        assert len(list(tmp_path.rglob("*.png"))) == 1
        with pytest.raises(LookupError), getattr(opened, how)():
            recorder.record("a", shot)
            raise LookupError
        assert len(list(tmp_path.rglob("*.png"))) == 1


@pytest.mark.parametrize("how", ["unit", "atomic", "transaction"])
def test_a_block_whose_transaction_sqlite_has_ended_writes_nothing_more(tmp_path, how):
    guard = (
        "CREATE TEMP TRIGGER guard BEFORE INSERT ON audits WHEN NEW.audit_tier = 'none' "
        "BEGIN SELECT RAISE(ROLLBACK, 'there must be a tier'); END"
    )
    with connect(tmp_path / "audits.db") as opened:
        opened.execute_sql(guard)
        ended = pytest.raises(StoreError, match="has ended before the block")
        with ended, getattr(opened, how)():
            operations.create("https://one.example/")
            with contextlib.suppress(Exception):
                Audit.create(url="https://two.example/", audit_tier="none")
            operations.create("https://three.example/")
        assert Audit.select().count() == 0
        operations.create("https://four.example/")
        assert [audit.url for audit in Audit.select()] == ["https://four.example/"]
        assert verify().problems == []


async def test_a_write_whose_transaction_sqlite_has_ended_writes_nothing_more(file_store):
    guard = (
        "CREATE TEMP TRIGGER guard BEFORE INSERT ON audits WHEN NEW.audit_tier = 'none' "
        "BEGIN SELECT RAISE(ROLLBACK, 'there must be a tier'); END"
    )

    def write():
        operations.create("https://one.example/")
        with contextlib.suppress(Exception):
            Audit.create(url="https://two.example/", audit_tier="none")
        Audit.create(url="https://three.example/")

    await file_store.write(lambda: current_database().execute_sql(guard))
    with pytest.raises(StoreError, match="has ended before the block"):
        await file_store.write(write)
    assert await file_store.count() == 0
    await file_store.create("https://four.example/")
    assert await file_store.count() == 1


async def test_the_cursors_of_a_part_that_failed_are_closed_and_older_ones_are_not(file_store):
    def part():
        database = current_database()
        older = database.execute_sql("SELECT 1 UNION SELECT 2")
        with contextlib.suppress(LookupError), database.unit():
            cursor = database.execute_sql("SELECT 1 UNION SELECT 2")
            raise LookupError
        with pytest.raises(driver.ProgrammingError, match="closed"):
            cursor.fetchone()
        return older.fetchall()

    assert await file_store.write(part) == [(1,), (2,)]


async def test_a_statement_that_fails_halfway_leaves_no_cursor_open(file_store):
    def part():
        database = current_database()
        with pytest.raises(peewee.PeeweeException, match="overflow"):
            database.execute_sql("SELECT abs(-9223372036854775807 - 1)")
        with pytest.raises(driver.ProgrammingError, match="closed"):
            database.last_cursor.fetchone()

    await file_store.write(part)


async def test_the_error_of_a_statement_is_not_hidden_by_that_of_closing_its_cursor(file_store):
    class Broken:
        def execute(self, *_):
            throw(driver.OperationalError("the first"))

        def close(self):
            throw(driver.ProgrammingError("the second"))

    def part():
        database = current_database()
        database.last_cursor = Broken()
        with patch.object(database, "cursor", lambda *_: database.last_cursor):
            database.execute_sql("SELECT 1")

    with pytest.raises(peewee.OperationalError, match="the first"):
        await file_store.write(part)


async def test_the_error_of_a_write_that_ended_its_transaction_is_one_line(file_store):
    with pytest.raises(StoreError, match=r"whether they were saved is not known\.$"):
        await file_store.write(lambda: current_database().raw.execute("COMMIT"))


async def test_a_read_that_ends_its_transaction_leaves_a_store_in_memory_writable():
    async with AuditStore.open(":memory:") as store:
        with pytest.raises(StoreError):
            await store.read(lambda: current_database().raw.execute("ROLLBACK"))
        await store.create("https://example.com")
        assert await store.count() == 1


def test_a_commit_that_was_refused_can_be_tried_again(tmp_path):
    with connect(tmp_path / "a.db") as opened, opened.manual_commit():
        operations.create("https://example.com", id="a")
        opened.begin()
        opened.pragma("defer_foreign_keys", 1)
        AuditEvent.create(audit="nobody", event_type="x", data={})
        with pytest.raises(peewee.IntegrityError, match="FOREIGN KEY"):
            opened.commit()
        AuditEvent.delete().execute()
        Audit.update(risk_level="high").execute()
        opened.commit()
        assert not opened.transaction_is_open
        assert Audit.get().risk_level == "high"


UNSURE = ["but done", "but done, without a code"]
"""How a statement fails that was executed: nobody can tell from the error whether it was."""


def record_shot():
    recorder.record("running", make_event("screenshot", label="new", index=1))


def record_in_a_block():
    with current_database().atomic():
        record_shot()


@pytest.mark.parametrize("how", UNSURE)
@pytest.mark.parametrize(
    "work",
    [
        record_shot,
        record_in_a_block,
        lambda: removal.delete("ended"),
        lambda: prune(keep_newest=0),
        lambda: sync.import_("other.jsonl"),
    ],
    ids=["image", "block", "delete", "prune", "import"],
)
def test_a_script_whose_commit_may_have_been_made_is_told_so_and_no_file_goes(
    tmp_path, monkeypatch, work, how
):
    monkeypatch.chdir(tmp_path)
    shot = make_event("screenshot")
    with connect("other/audits.db"):
        operations.create("https://example.com", id="other")
        recorder.record_many("other", [shot, {"type": "audit_complete"}])
        sync.export("other.jsonl")
    with connect("audits.db") as opened:
        operations.create("https://example.com", id="running")
        operations.create("https://example.com", id="ended")
        recorder.record_many("ended", [shot, {"type": "audit_complete"}])
        before = {path.name for path in opened.location.screenshots.rglob("*.png")}
        rows = AuditScreenshot.select().count()
        unreliable = Unreliable.put(opened)
        unreliable.fails = [f"COMMIT {how}"]
        with pytest.raises(StoreError, match="is not known"):
            work()
        assert unreliable.fails == []
        assert AuditScreenshot.select().count() != rows
        assert before <= {path.name for path in opened.location.screenshots.rglob("*.png")}
        recorder.record("running", shot)
    with connect("audits.db", read_only=True):
        assert verify().problems == []


@pytest.mark.parametrize("how", UNSURE)
async def test_a_lone_event_that_may_have_been_saved_is_not_said_to_have_failed(
    file_store, audit, how
):
    entry = make_event("log_entry", message="x")
    await file_store.record(audit.id, entry)
    unreliable = await file_store.write(lambda: Unreliable.put(current_database()))
    unreliable.sound, unreliable.fails = -1, [f"INSERT {how}"]
    with pytest.raises(StoreError, match="is not known"):
        await file_store.record(audit.id, entry)
    assert unreliable.fails == []
    await file_store.record(audit.id, entry)
    assert len(await file_store.events(audit.id)) == 4
    assert (await file_store.read(verify)).problems == []


async def test_an_ingest_that_is_refused_in_its_batch_leaves_no_image(file_store, audit):
    await file_store.record(audit.id, {"type": "audit_complete"})
    output = [make_event("screenshot", label="refused", index=1), {"type": "audit_complete"}]
    gate, told = Gate(), {}
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(file_store.write, gate)
        await gate.wait()
        tasks.start_soon(file_store.create, "https://example.com/other")
        tasks.start_soon(partial(outcome, told, "ingest", file_store.ingest, output,
                                 audit_id=audit.id))  # fmt: skip
        with anyio.fail_after(30):
            while file_store.stats().pending < 2:
                await anyio.sleep(0.001)
        gate.release.set()
    assert "has already ended" in str(told["ingest"])
    assert [name[:8] for name in files(file_store)] == ["000-kept"]


@pytest.mark.parametrize("scopes", ["atomic", "atomic atomic", "unit", "unit unit", "atomic unit"])
def test_what_takes_files_back_finds_the_rows_gone(scopes):
    """It looks whether a row names them: one that is about to go must not keep its file."""
    *outer, last = scopes.split()
    with connect(":memory:") as database, contextlib.ExitStack() as stack:
        for scope in outer:
            stack.enter_context(getattr(database, scope)())
        seen = []
        with pytest.raises(LookupError), getattr(database, last)():
            operations.create("https://example.com")
            database.after_rollback(lambda: seen.append(Audit.select().count()))
            raise LookupError
        assert seen == [0]


@pytest.mark.parametrize("inner", ["unit", "atomic"])
def test_a_part_that_is_undone_in_one_that_is_undone_takes_nothing_of_it_along(inner):
    with connect(":memory:") as opened:
        with opened.unit():
            kept = operations.create("https://kept.example").id
            with contextlib.suppress(KeyError), opened.unit():
                operations.create("https://outer.example")
                with contextlib.suppress(ValueError), getattr(opened, inner)():
                    operations.create("https://inner.example")
                    raise ValueError
                raise KeyError
        assert [audit.id for audit in Audit.select()] == [kept]
        assert verify().problems == []


def test_a_commit_outside_a_transaction_fails_as_peewee_s_does():
    none = pytest.raises(peewee.OperationalError, match="no transaction is active")
    with connect(":memory:") as database, none:
        database.commit()


def test_closing_tells_whether_it_has_closed_anything_as_peewee_s_does(tmp_path):
    with connect(tmp_path / "audits.db") as database:
        assert database.close() is True
        assert database.close() is False
