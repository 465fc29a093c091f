"""The log is the truth: replaying it into an empty audit gives the same rows."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.support.events import event, result
from veritas_peewee import InvalidAudit, connect
from veritas_peewee.queries import lookups
from veritas_peewee.recording import ingest, operations, recorder, removal
from veritas_peewee.testing import make_event, make_finding


def state(audit_id):
    """All rows of an audit, but for what names one audit or the moment it was created."""
    audit = lookups.get(audit_id)
    own = {"id", "audit", "created_at", "seal", "sealed_events", "digest"}
    row = {key: item for key, item in audit.__data__.items() if key not in own}
    # A change made at creation counts as of then; all others carry their event's time.
    if audit.updated_at == audit.created_at:
        row["updated_at"] = None
    children = [
        {key: item for key, item in child.__data__.items() if key not in ("id", "audit", "digest")}
        for child in (*audit.findings, *audit.screenshots)
    ]
    return row, children


@pytest.fixture(scope="module")
def replay_store(tmp_path_factory):
    with connect(tmp_path_factory.mktemp("replay") / "audits.db") as database:
        yield database
        assert database.pragma("integrity_check") == "ok"


def check_replay(audit_id):
    before = lookups.events(audit_id)
    copy = operations.create(lookups.get(audit_id).url)
    if not before:
        return
    first_url = operations.create("https://example.com")
    recorder.replay(first_url.id, before)
    assert state(first_url.id) == state(audit_id)
    again = lookups.events(first_url.id)
    assert [(e.event_type, e.data, e.timestamp) for e in again] == [
        (e.event_type, e.data, e.timestamp) for e in before
    ]
    removal.delete(copy.id)


@settings(
    max_examples=amount(20, 60),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(event, max_size=12))
def test_replaying_any_log_gives_the_same_rows(replay_store, events):
    audit = operations.create("https://example.com")
    for one in events:
        recorder.record(audit.id, one, lenient=True)
    check_replay(audit.id)


@settings(max_examples=amount(20, 60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(result)
def test_replaying_an_ingested_result_gives_the_same_rows(replay_store, told):
    told = {**told, "url": "https://example.com", "judge_decision": {}}
    check_replay(ingest.ingest(told).id)


def test_updates_and_disconnections_are_in_the_log_too(replay_store):
    audit = operations.create("https://example.com")
    operations.update(audit.id, trust_score=5, started_at=datetime(2026, 1, 1, tzinfo=UTC))
    operations.update_status(audit.id, "running")
    recorder.end_of_output(audit.id, "gone")
    operations.update(audit.id, errors=["replaced"], narrative=None)
    check_replay(audit.id)


def test_what_an_effect_asks_of_the_log_before_it_is_the_same_in_a_replay(replay_store):
    def shot(number):
        return make_event("screenshot", index=number, url=f"/p/{number}.png")

    def found(number, **more):
        told = make_finding(number, description=f"of {number}") | more
        return {"type": "finding", "finding": told}

    aborted = make_event("audit_result", result={"status": "aborted"})
    logs = [
        [one for n in range(2) for one in (shot(n), found(n, screenshot_path=f"/p/{n}.png"))],
        [make_event("audit_error"), make_event("audit_complete"), aborted,
         make_event("audit_complete")],
        [*(found(n) for n in range(12)), shot(5),
         *(found(n, description="other", screenshot_index=5) for n in range(12)),
         found(20), found(20, description="other", screenshot_index=5)],
    ]  # fmt: skip
    for log in logs:
        audit = operations.create("https://example.com")
        for one in log:
            recorder.record(audit.id, one)
        check_replay(audit.id)


def test_a_log_is_not_replayed_over_another(replay_store):
    audit = operations.create("https://example.com")
    recorder.record(audit.id, {"type": "phase_start"})
    with pytest.raises(InvalidAudit, match="already has events"):
        recorder.replay(audit.id, lookups.events(audit.id))
