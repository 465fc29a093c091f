"""The facade: what a backend awaits."""

import re
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from tests.support.loops import anyio_backend
from veritas_peewee import (
    Audit,
    AuditFinding,
    AuditNotFound,
    AuditStatus,
    AuditStore,
    InvalidAudit,
    NoDatabase,
    StoreClosed,
    StoreError,
    sync,
)
from veritas_peewee.database.current import current_database
from veritas_peewee.testing import make_event

on_each_loop = anyio_backend()


async def test_an_audit_survives_a_restart(tmp_path, finding):
    path = tmp_path / "deep" / "folder" / "audits.db"
    async with AuditStore.open(path) as store:
        audit = await store.create("https://example.com/shop")
        await store.record(audit.id, {"type": "phase_start", "phase": "scout"})
        shot = make_event("screenshot")
        await store.record_many(audit.id, [finding(1), finding(2), shot])
        await store.record(audit.id, {"type": "audit_complete", "elapsed": 3.5})
        before = await store.get(audit.id)
    async with AuditStore.open(path) as store:
        after = await store.get(audit.id)
        assert after.__data__ == before.__data__
        assert after.status is AuditStatus.COMPLETED
        assert after.elapsed_seconds == 3.5
        assert [f.pattern_type for f in after.findings] == ["hidden_cancel"] * 2
        assert await store.screenshot(after.screenshots[0].file_path) != b""
        assert after.screenshots_count == len(after.screenshots) == 1
        assert [e.event_type for e in await store.events(audit.id)] == [
            "phase_start", "finding", "finding", "screenshot", "audit_complete",
        ]  # fmt: skip


async def test_create_returns_a_queued_audit_with_its_defaults(store):
    audit = await store.create("https://example.com", audit_tier="deep_forensic")
    assert re.fullmatch(r"vrts_[0-9a-z]{11}", audit.id)
    assert (audit.status, audit.audit_tier, audit.verdict_mode) == (
        "queued", "deep_forensic", "expert",
    )  # fmt: skip
    assert audit.signal_scores == {}
    assert audit.errors == audit.findings == audit.screenshots == []
    assert audit.created_at == audit.updated_at
    assert audit.created_at.tzinfo is UTC
    assert (await store.get(audit.id)).__data__ == audit.__data__


async def test_create_takes_an_id_once(store):
    await store.create("https://example.com", id="vrts_mine")
    with pytest.raises(InvalidAudit, match="already an audit 'vrts_mine'"):
        await store.create("https://example.com", id="vrts_mine")


async def test_what_is_returned_is_plain_data_on_the_event_loop(store, finding):
    audit = await store.create("https://example.com")
    await store.record(audit.id, finding())
    audit = await store.get(audit.id)
    assert audit.findings[0].audit is audit
    assert [f.severity for f in audit.findings] == ["high"]
    page = await store.history()
    assert page.items[0].url == "https://example.com"


async def test_a_query_on_the_event_loops_thread_is_an_error_that_says_so(store):
    audit = await store.create("https://example.com")
    with pytest.raises(NoDatabase, match="event loop's own thread"):
        list(Audit.select())
    with pytest.raises(NoDatabase, match="event loop's own thread"):
        Audit.create(url="https://example.com")
    unloaded = (await store.history()).items[0]
    with pytest.raises(NoDatabase, match=r"store\.read"):
        list(unloaded.findings)
    assert (await store.get(audit.id)).status == "queued"


async def test_update_changes_columns_and_moves_updated_at(store):
    audit = await store.create("https://example.com")
    updated = await store.update(audit.id, trust_score=44, signal_scores={"visual": 53.0})
    assert (updated.trust_score, updated.signal_scores) == (44.0, {"visual": 53.0})
    assert updated.updated_at > audit.updated_at
    assert updated.created_at == audit.created_at
    assert updated.findings == []


async def test_a_change_of_status_sets_its_times(store):
    audit = await store.create("https://example.com")
    running = await store.update_status(audit.id, AuditStatus.RUNNING)
    assert running.started_at is not None
    assert running.completed_at is None
    done = await store.update_status(audit.id, "completed")
    assert done.started_at == running.started_at
    assert done.completed_at >= done.started_at
    failed = await store.update_status(audit.id, AuditStatus.ERROR, error_message="late")
    assert (failed.status, failed.error_message) == ("error", "late")


async def test_an_absent_audit_is_not_found_by_any_method(store):
    for call in (
        store.get("vrts_none"),
        store.update("vrts_none", trust_score=1.0),
        store.update_status("vrts_none", "error"),
        store.record("vrts_none", {"type": "log_entry"}),
        store.record_many("vrts_none", [{"type": "log_entry"}]),
        store.delete("vrts_none"),
    ):
        with pytest.raises(AuditNotFound, match="'vrts_none'"):
            await call
    for odd in ("x" * 500, "", "a\0b", "../x", "\ud800", 5, None):
        with pytest.raises(AuditNotFound):
            await store.get(odd)


async def test_delete_takes_all_that_belongs_to_an_audit(store, finding):
    kept = await store.create("https://example.com/kept")
    gone = await store.create("https://example.com/gone")
    for audit in (kept, gone):
        await store.record_many(
            audit.id,
            [finding(), make_event("screenshot")],
        )
    paths = [(await store.get(a.id)).screenshots[0].file_path for a in (kept, gone)]
    await store.delete(gone.id)
    with pytest.raises(AuditNotFound):
        await store.get(gone.id)
    assert await store.events(gone.id) == []
    assert await store.read(AuditFinding.select().count) == 1
    assert await store.screenshot(paths[0])
    with pytest.raises(StoreError, match=r"cannot be read|is not in the database"):
        await store.screenshot(paths[1])


async def test_an_audit_that_is_created_again_under_its_id_has_a_log_of_its_own(store):
    def again():
        sync.delete("mine")
        sync.create("https://example.com", id="mine")
        sync.record("mine", {"type": "phase_start"})

    for change in (None, again):
        await store.create("https://example.com", id="mine")
        await store.record_many("mine", [{"type": "phase_start"}, {"type": "log_entry"}])
        if change:
            await store.write(change)
        await store.delete("mine")
    await store.create("https://example.com", id="mine")
    await store.record("mine", {"type": "phase_start"})
    assert len(await store.events("mine")) == 1  # the fixture verifies its digest


async def test_history_pages_through_all_audits_newest_first(store):
    made = [await store.create(f"https://example.com/{n}") for n in range(7)]
    seen, cursor = [], None
    while True:
        page = await store.history(limit=3, cursor=cursor)
        seen += [audit.id for audit in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        await store.create("https://example.com/newer")  # must not shift the pages that follow
    assert seen == [audit.id for audit in reversed(made)]


async def test_history_filters(store):
    moment = datetime.now(UTC)
    a = await store.create("https://a.example")
    b = await store.create("https://b.example")
    await store.update(a.id, trust_score=95, risk_level="trusted", site_type="shop")
    await store.update(b.id, trust_score=12.5, status="completed", risk_level="high_risk")

    async def ids(**filters):
        return {audit.id for audit in (await store.history(**filters)).items}

    assert await ids(status="completed") == await ids(status=AuditStatus.COMPLETED) == {b.id}
    assert await ids(risk_level="trusted") == await ids(site_type="shop") == {a.id}
    assert await ids(url="https://b.example", min_score=10, max_score=20) == {b.id}
    assert await ids(min_score=95) == {a.id}
    assert await ids(since=moment) == {a.id, b.id}
    assert await ids(until=moment) == await ids(since=moment + timedelta(days=1)) == set()
    assert await ids(status="completed", risk_level="trusted") == set()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"status": "bogus"}, "status: must be one of queued"),
        ({"limit": 0}, "limit: must be a whole number from 1 to 1000"),
        ({"limit": True}, "limit"),
        ({"cursor": "nonsense"}, "cursor: is not one that history"),
        ({"cursor": "e30="}, "cursor"),
        ({"since": datetime(2026, 1, 1)}, "since: must have a time zone"),
        ({"min_score": "high"}, "min_score: must be a number"),
        ({"risk_level": 5}, "risk_level: must be text"),
    ],
)
async def test_history_refuses_a_wrong_filter_by_name(store, wrong, message):
    with pytest.raises(InvalidAudit, match=message):
        await store.history(**wrong)


async def test_any_peewee_code_runs_through_write_and_read(store):
    audit = await store.create("https://example.com")
    await store.update(audit.id, trust_score=95)
    changed = await store.write(
        lambda: Audit.update(risk_level="trusted").where(Audit.trust_score >= 90).execute()
    )
    assert changed == 1
    rows = await store.read(lambda: list(Audit.select().where(Audit.url.contains("example"))))
    assert [(row.risk_level, row.id) for row in rows] == [("trusted", audit.id)]
    assert rows[0].updated_at > audit.updated_at


async def test_several_stores_are_open_at_once(tmp_path):
    async with (
        AuditStore.open(tmp_path / "one.db") as one,
        AuditStore.open(f"sqlite:///{tmp_path}/two.db") as two,
        AuditStore.open(":memory:") as three,
        AuditStore.open("sqlite:///:memory:") as four,
    ):
        stores = (one, two, three, four)

        async def fill(store, number):
            for _ in range(number):
                await store.create(f"https://example.com/{number}")

        async with anyio.create_task_group() as tasks:
            for number, store in enumerate(stores, 1):
                tasks.start_soon(fill, store, number)
        for number, store in enumerate(stores, 1):
            page = await store.history()
            assert [audit.url for audit in page.items] == [f"https://example.com/{number}"] * number


async def test_opening_and_closing_may_be_repeated(database):
    store = AuditStore.open(database)
    async with store as first:
        assert first is store
        assert await store is store
        audit = await store.create("https://example.com")
    await store.close()
    await store.close()
    for call in (store.get(audit.id), store.create("https://example.com"), store.history()):
        with pytest.raises(StoreClosed):
            await call
    with pytest.raises(StoreClosed):
        store.stats()
    with pytest.raises(StoreClosed):
        await store


async def test_a_store_that_was_never_opened_says_so(database):
    store = AuditStore.open(database)
    with pytest.raises(StoreClosed, match="async with"):
        await store.create("https://example.com")
    await store.close()


async def test_close_leaves_one_file_and_no_wal(tmp_path):
    async with AuditStore.open(tmp_path / "audits.db") as store:
        audit = await store.create("https://example.com")
        await store.record(audit.id, {"type": "phase_start"})
        await store.record(audit.id, {"type": "audit_complete"})
        await store.get(audit.id)
        assert (tmp_path / "audits.db-wal").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == ["audits.db"]
    assert (tmp_path / "audits.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "wrong",
    [
        {"readers": 0}, {"readers": True}, {"max_pending": "many"}, {"durability": "none"},
        {"database": ""}, {"database": "mysql://x/y"}, {"database": "a\0b"},
    ],
)  # fmt: skip
async def test_wrong_settings_are_refused_by_name(wrong):
    with pytest.raises(StoreError, match=next(iter(wrong))):
        AuditStore.open(**wrong)


async def test_full_durability_is_synchronous_full(tmp_path):
    for durability, level in (("normal", 1), ("full", 2)):
        async with AuditStore.open(tmp_path / "audits.db", durability=durability) as store:
            assert await store.write(lambda: current_database().pragma("synchronous")) == level
