"""Sync code: the same models and the same operations, no threads."""

import asyncio
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest
import trio

from tests.support.invariants import check_invariants
from veritas_peewee import (
    Audit,
    AuditFinding,
    AuditNotFound,
    AuditScreenshot,
    AuditStatus,
    InvalidAudit,
    NoDatabase,
    ReadOnlyStore,
    StoreError,
    connect,
    sync,
)
from veritas_peewee.database.current import current_database
from veritas_peewee.queries import history, lookups
from veritas_peewee.recording import ingest as ingesting
from veritas_peewee.recording import operations, recorder, removal
from veritas_peewee.testing import make_event


def test_a_script_iterates_over_audits_and_their_rows(script, finding):
    for n in range(3):
        audit = operations.create(f"https://example.com/{n}")
        recorder.record_many(audit.id, [finding(1), finding(2), {"type": "audit_complete"}])
    seen = [
        (audit.url, audit.trust_score, audit.findings.count())
        for audit in Audit.select()
        .where(Audit.status == AuditStatus.COMPLETED)
        .order_by(Audit.created_at.desc())
    ]
    assert seen == [(f"https://example.com/{n}", None, 2) for n in (2, 1, 0)]


def test_the_operations_of_the_facade_are_plain_functions(script, finding):
    audit = operations.create("https://example.com")
    assert recorder.record(audit.id, finding()) == 1
    shot = make_event("screenshot")
    assert recorder.record_many(audit.id, [shot]) == [2]
    operations.update(audit.id, trust_score=50)
    operations.update_status(audit.id, "error", error_message="late")
    found = lookups.get(audit.id)
    assert (found.trust_score, found.status, len(found.screenshots)) == (50.0, "error", 1)
    assert [item.id for item in history.history(status="error").items] == [audit.id]
    result = {"url": "https://example.com/result", "status": "completed"}
    assert lookups.get(ingesting.ingest(result).id).status == "completed"
    removal.delete(audit.id)
    with pytest.raises(AuditNotFound):
        lookups.get(audit.id)


def test_an_operation_that_fails_changes_nothing_even_inside_an_outer_transaction(script):
    audit = operations.create("https://example.com")
    with current_database().atomic():
        operations.update(audit.id, narrative="kept")
        with pytest.raises(InvalidAudit):
            recorder.record_many(audit.id, [{"type": "audit_complete"}, {"type": ""}])
        with pytest.raises(InvalidAudit):
            operations.update(audit.id, narrative="lost", trust_score=500)
    found = lookups.get(audit.id)
    assert (found.status, found.narrative) == ("queued", "kept")


def test_an_outer_transaction_that_fails_takes_all_with_it(script):
    with pytest.raises(ZeroDivisionError), current_database().atomic():
        operations.create("https://example.com")
        raise ZeroDivisionError
    assert Audit.select().count() == 0


def test_deleted_files_stay_if_the_outer_transaction_fails(tmp_path):
    shot = make_event("screenshot")
    with connect(tmp_path / "audits.db") as database:
        audit = operations.create("https://example.com")
        recorder.record(audit.id, shot)
        path = tmp_path / "screenshots" / lookups.get(audit.id).screenshots[0].file_path
        with pytest.raises(ZeroDivisionError), database.atomic():
            removal.delete(audit.id)
            raise ZeroDivisionError
        assert path.exists()
        assert lookups.get(audit.id).screenshots_count == 1
        removal.delete(audit.id)
        assert not path.exists()


def test_times_are_aware_and_in_utc(script):
    berlin = timezone(timedelta(hours=2))
    audit = operations.create("https://example.com")
    operations.update(audit.id, started_at=datetime(2026, 5, 1, 12, 30, tzinfo=berlin))
    found = Audit.get()
    assert found.started_at == datetime(2026, 5, 1, 10, 30, tzinfo=UTC)
    raw = current_database().execute_sql("SELECT started_at, created_at FROM audits").fetchone()
    assert raw[0] == "2026-05-01 10:30:00.000000"
    assert len(raw[1]) == 26
    assert Audit.select().where(Audit.started_at < datetime.now(UTC)).count() == 1


def test_models_keep_the_rules_of_the_schema(script):
    audit = Audit.create(url="https://example.com")
    Audit.update(status="completed").where(Audit.id == audit.id).execute()
    done = Audit.get_by_id(audit.id)
    assert done.completed_at is not None
    assert done.updated_at > audit.updated_at
    done.narrative = "text"
    done.save()
    assert Audit.get_by_id(audit.id).updated_at > done.created_at
    for n in range(3):
        AuditScreenshot.create(audit=audit, file_path=f"x/{n}.png", label="t", index_num=n)
    assert Audit.get_by_id(audit.id).screenshots_count == 3
    AuditScreenshot.delete().where(AuditScreenshot.index_num > 0).execute()
    assert Audit.get_by_id(audit.id).screenshots_count == 1
    AuditFinding.create(
        audit=audit, pattern_type="p", severity="low", confidence=0.1, description="d"
    )
    audit.delete_instance()
    assert AuditFinding.select().count() == AuditScreenshot.select().count() == 0


def test_models_refuse_what_cannot_be_stored(script):
    for wrong in (
        {"status": "bogus"},
        {"trust_score": float("nan")},
        {"trust_score": "46"},
        {"created_at": datetime(2026, 1, 1)},
        {"narrative": "lone \ud800 surrogate"},
        {"narrative": "NUL \0"},
        {"signal_scores": {"visual": float("inf")}},
        {"errors": ["\ud800"]},
        {"security_results": {"x": object()}},
        {"id": "x" * 17},
        {"pages_scanned": 2**63},
        {"audit_tier": "x" * 51},
    ):
        with pytest.raises(InvalidAudit, match=next(iter(wrong))):
            Audit.create(**({"url": "https://example.com"} | wrong))
    assert Audit.select().count() == 0


def test_a_read_only_connection_cannot_write(tmp_path):
    path = tmp_path / "audits.db"
    with connect(path):
        operations.create("https://example.com")
    with connect(path, read_only=True):
        assert Audit.select().count() == 1
        with pytest.raises(ReadOnlyStore):
            operations.create("https://example.com")
    with (
        pytest.raises(StoreError, match="no such database"),
        connect(tmp_path / "none.db", read_only=True),
    ):
        pass
    assert not (tmp_path / "none.db").exists()


def test_without_a_database_a_query_is_a_clear_error():
    with pytest.raises(NoDatabase, match=r"with connect\(path\)"):
        list(Audit.select())


def test_queries_are_refused_on_asyncio_s_loop_also_where_trio_is_not_imported(tmp_path):
    program = """
import asyncio, sys
from veritas_peewee import Audit, NoDatabase, connect, sync

async def inside():
    for call in (Audit.select().count, lambda: sync.create("https://example.com")):
        try:
            call()
        except NoDatabase as error:
            assert "event loop" in str(error)
        else:
            raise AssertionError("a query ran on the loop")

with connect(sys.argv[1]):
    assert "trio" not in sys.modules
    asyncio.run(inside())
    sync.create("https://example.com")
    assert Audit.select().count() == 1
"""
    subprocess.run([sys.executable, "-c", program, tmp_path / "audits.db"], check=True)


def test_a_connection_belongs_to_its_thread(script):
    errors = []

    def elsewhere():
        try:
            Audit.select().count()
        except NoDatabase as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(errors) == 1


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_connect_and_queries_are_refused_on_an_event_loop(tmp_path, backend):
    run = trio.run if backend == "trio" else lambda fn: asyncio.run(fn())

    async def inside():
        with pytest.raises(NoDatabase, match="event loop"), connect(tmp_path / "audits.db"):
            pass
        with pytest.raises(NoDatabase, match="event loop"):
            Audit.select().count()

    run(inside)
    with connect(tmp_path / "audits.db"):
        run(inside)
        assert Audit.select().count() == 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_notebook_s_cell_can_say_that_it_may_stall_its_loop(tmp_path, backend):
    run = trio.run if backend == "trio" else lambda fn: asyncio.run(fn())
    path = tmp_path / "audits.db"

    async def cell():
        with connect(path, on_event_loop=True):
            audit = sync.create("https://example.com/")
            with connect(path, read_only=True, on_event_loop=True):
                assert Audit.get_by_id(audit.id).url == "https://example.com/"
            Audit.update(risk_level="trusted").execute()
            check_invariants()
        with pytest.raises(NoDatabase, match="event loop"):
            Audit.select().count()

    for _ in range(2):
        run(cell)


def test_connections_nest(tmp_path):
    with connect(tmp_path / "one.db"):
        operations.create("https://example.com/one")
        with connect(tmp_path / "two.db"):
            assert Audit.select().count() == 0
        assert Audit.select().count() == 1
