"""The log is the truth: replaying it into an empty audit gives the same rows."""

import base64
from datetime import UTC, datetime

import pytest
from conftest import make_png
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from veritas_peewee import InvalidAudit, connect, ingest, operations, queries, recorder
from veritas_peewee.effects import EFFECTS

IMAGE = base64.b64encode(make_png()).decode()

text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
scalar = st.none() | st.booleans() | st.integers(-5, 2**70) | text
scalar |= st.floats(-1, 200, allow_nan=False)
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3)
)
severity = st.sampled_from(["low", "MEDIUM", "high", "critical", "odd", 5, None])
finding = st.fixed_dictionaries(
    {"category": st.sampled_from(["c", "d"]), "severity": severity},
    optional={
        "id": st.sampled_from(["f1", "f2", "f3", 7, ""]),
        "pattern_type": st.sampled_from(["p", "q", 5, None]),
        "confidence": st.sampled_from([0.5, 1, 7, "x"]),
        "description": st.sampled_from(["one", "two", 5]),
        "screenshot_index": st.sampled_from([-1, 0, "x"]),
    },
)
result = st.fixed_dictionaries(
    {},
    optional={
        "url": st.sampled_from(["https://example.com/b", "ftp://x", 5]),
        "status": st.sampled_from(["completed", "ERROR", "odd", None]),
        "trust_score": st.sampled_from([46, 99.5, -1, "46", None]),
        "signal_scores": st.dictionaries(st.sampled_from("ab"), scalar, max_size=2) | scalar,
        "security_results": st.dictionaries(st.sampled_from("mn"), value, max_size=2),
        "errors": st.lists(scalar, max_size=3) | scalar,
        "findings": st.lists(finding, max_size=3),
        "pages_scanned": scalar,
        "narrative": text,
        "start_time": st.sampled_from([1770812070.5, "soon", 1e300]),
        "elapsed_seconds": st.sampled_from([5, 2.5, "x", -1]),
        "vision_result": st.fixed_dictionaries({"findings": st.lists(finding, max_size=2)}),
    },
)
KEYS = ["phase", "message", "error", "site_type", "confidence", "module", "result", "stats"]
KEYS += ["elapsed", "finding", "changes", "index", "label", "url"]
event = st.one_of(
    st.fixed_dictionaries({"type": st.sampled_from(["phase_start", "audit_complete", "other"])}),
    st.fixed_dictionaries({"type": st.just("finding"), "finding": finding}),
    st.fixed_dictionaries({"type": st.sampled_from(["audit_result", "engine_result"]),
                           "result": result}),
    st.fixed_dictionaries({"type": st.just("site_type"), "site_type": scalar,
                           "confidence": scalar}),
    st.fixed_dictionaries({"type": st.just("security_result"), "module": st.sampled_from("mno"),
                           "result": value}),
    st.fixed_dictionaries({"type": st.just("screenshot"), "index": st.integers(0, 3) | scalar,
                           "label": text, "data": st.just(IMAGE) | st.none()}),
    st.fixed_dictionaries({"type": st.sampled_from(sorted(EFFECTS))},
                          optional=dict.fromkeys(KEYS, value)),
)  # fmt: skip


def state(audit_id):
    """All rows of an audit, but for what names one audit or the moment it was created."""
    audit = queries.get(audit_id)
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
    before = queries.events(audit_id)
    copy = operations.create(queries.get(audit_id).url)
    if not before:
        return
    first_url = operations.create("https://example.com")
    recorder.replay(first_url.id, before)
    assert state(first_url.id) == state(audit_id)
    again = queries.events(first_url.id)
    assert [(e.event_type, e.data, e.timestamp) for e in again] == [
        (e.event_type, e.data, e.timestamp) for e in before
    ]
    operations.delete(copy.id)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(event, max_size=12))
def test_replaying_any_log_gives_the_same_rows(replay_store, events):
    audit = operations.create("https://example.com")
    for one in events:
        recorder.record(audit.id, one, lenient=True)
    check_replay(audit.id)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(result)
def test_replaying_an_ingested_result_gives_the_same_rows(replay_store, told):
    told = {**told, "url": "https://example.com", "judge_decision": {}}
    check_replay(ingest.ingest(told))


def test_updates_and_disconnections_are_in_the_log_too(replay_store):
    audit = operations.create("https://example.com")
    operations.update(audit.id, trust_score=5, started_at=datetime(2026, 1, 1, tzinfo=UTC))
    operations.update_status(audit.id, "running")
    recorder.end_of_output(audit.id, "gone")
    operations.update(audit.id, errors=["replaced"], narrative=None)
    check_replay(audit.id)


def test_a_log_is_not_replayed_over_another(replay_store):
    audit = operations.create("https://example.com")
    recorder.record(audit.id, {"type": "phase_start"})
    with pytest.raises(InvalidAudit, match="already has events"):
        recorder.replay(audit.id, queries.events(audit.id))
