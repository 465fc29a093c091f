"""Events recorded together change the same rows as the same events recorded one by one."""

from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.support.events import IMAGE, event, result
from tests.support.invariants import check_invariants
from veritas_peewee import InvalidAudit, connect
from veritas_peewee.database.current import bound
from veritas_peewee.ledger import contents
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditFinding, AuditRunner
from veritas_peewee.queries import lookups
from veritas_peewee.queries.images import current_images
from veritas_peewee.recording import ingest, operations, recorder, removal, whole
from veritas_peewee.recording.preparing import prepare_all
from veritas_peewee.testing import make_event, make_finding
from veritas_peewee.values.ids import new_audit_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """A store in which all is recorded at the same moment."""
    with opened(tmp_path_factory.mktemp("together") / "audits.db") as database:
        yield database


@pytest.fixture(scope="module")
def together_there(server, tmp_path_factory):
    """The same on a server, with a folder for the images: the audits share them here."""
    folder = tmp_path_factory.mktemp("together_there")
    with server.new() as url, opened(url, screenshots=folder) as database:
        yield database


@contextmanager
def opened(path, **options):
    with pytest.MonkeyPatch.context() as patch, connect(path, **options) as database:
        patch.setattr(recorder, "utc_now", lambda: NOW)
        patch.setattr(operations, "utc_now", lambda: NOW)
        patch.setattr(whole, "utc_now", lambda: NOW)
        yield database
        assert verify().problems == []


def rows(audit_id):
    """All rows of an audit, but for ids, and for digests and seals, which depend on them."""
    audit = lookups.get(audit_id)
    own = {"id", "audit", "seal", "sealed_events", "digest"}
    events = lookups.events(audit_id)
    found = [
        {name: value for name, value in one.__data__.items() if name not in own}
        for one in (audit, *audit.findings, *audit.screenshots, *events)
    ]
    runs = AuditRunner.select().where(AuditRunner.audit == audit_id).count()
    return found, runs


def record(events, cuts):
    """Record prepared events in a new audit, in calls that begin at the `cuts`."""
    audit_id = operations.create("https://example.com").id
    for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
        if end > start:
            recorder.apply_all(audit_id, events[start:end])
    return audit_id


update = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["queued", "running", "completed", "disconnected"]),
        "errors": st.lists(st.sampled_from(["one", "two"]), max_size=2),
        "security_results": st.dictionaries(st.sampled_from("mn"), st.integers(), max_size=2),
        "started_at": st.sampled_from([None, "2026-01-01 00:00:00+00:00"]),
        "completed_at": st.sampled_from([None, "2026-01-02 00:00:00+00:00"]),
    },
)
change = st.builds(lambda changes: {"type": "audit_update", "changes": changes}, update)


def some(examples):
    health = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, deadline=None, suppress_health_check=health)


def one_by_one(prepared):
    """The audit that the events of an output make, each recorded by itself."""
    audit_id = operations.create("https://example.com").id
    recorder.apply_all(audit_id, prepared, whole=True)
    recorder.end_of_output(audit_id, whole.NO_END)
    return audit_id


outputs = st.lists(
    event | change | st.builds(lambda one: {"type": "engine_result", "result": one}, result),
    min_size=1,
    max_size=12,
)


@some(amount(26, 80))
@given(outputs)
def test_a_new_audit_that_is_ingested_whole_is_what_its_events_make(together, events):
    ingest_whole(events)


@some(amount(6, 80))
@given(outputs)
def test_on_a_server_a_new_audit_that_is_ingested_whole_is_too(together_there, events):
    with bound(together_there):
        ingest_whole(events)


def ingest_whole(events):
    first = operations.create("https://example.com").id
    prepared = prepare_all(first, events, current_images(), lenient=True)
    for one in prepared:
        one.images = None  # the audits share the images
    expected = one_by_one(prepared)
    made = ingest.PreparedAudit(new_audit_id(), "https://example.com", False, prepared, [])
    answer = ingest.write_audit(made)
    assert rows(answer.id) == rows(expected)
    read = lookups.get(answer.id)
    assert answer.named() == read.named()
    assert [one.__data__ for one in (answer, *answer.findings, *answer.screenshots)] == [
        one.__data__ for one in (read, *read.findings, *read.screenshots)
    ]
    assert all(one.audit is answer for one in (*answer.findings, *answer.screenshots))
    assert read.sealed_events == lookups.get(expected).sealed_events == len(lookups.events(read.id))
    for audit_id in (first, expected, answer.id):
        removal.delete(audit_id)


@some(amount(26, 80))
@given(st.lists(event | change, max_size=12), st.data())
def test_it_makes_no_difference_in_which_calls_events_are_recorded(together, events, data):
    record_in_other_calls(together, events, data)


@some(amount(8, 80))
@given(st.lists(event | change, max_size=12), st.data())
def test_it_makes_no_difference_on_a_server_either(together_there, events, data):
    with bound(together_there):
        record_in_other_calls(together_there, events, data)


def record_in_other_calls(together, events, data):
    first = operations.create("https://example.com").id
    # The audits share the images.
    prepared = prepare_all(first, events, current_images(), lenient=True)
    for one in prepared:
        recorder.apply(first, one)
    expected = rows(first)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=4)))
    for audit_id in (record(prepared, []), record(prepared, cuts)):
        assert rows(audit_id) == expected
    pair = [operations.create("https://example.com").id for _ in range(2)]
    with together.unit():  # as the writer records what many callers give it at once
        recorder.apply_together([(audit_id, one) for one in prepared for audit_id in pair])
    assert [rows(audit_id) for audit_id in pair] == [expected, expected]
    again = operations.create("https://example.com").id
    recorder.replay(again, lookups.events(first))
    assert rows(again) == expected


def test_a_call_that_fails_changes_nothing_and_is_not_remembered(script, finding):
    nameless = finding(1)
    del nameless["finding"]["id"]
    audit = operations.create("https://example.com")
    for _ in range(3):
        recorder.record(audit.id, nameless)
    before = rows(audit.id)
    other = {"type": "finding", "finding": nameless["finding"] | {"description": "other"}}
    changes = {"type": "phase_error", "error": "x"}
    with pytest.raises(InvalidAudit):
        recorder.record_many(audit.id, [other, changes, {"type": 5}])
    with pytest.raises(KeyError), script.atomic():
        recorder.record_many(audit.id, [other, changes])
        raise KeyError
    assert rows(audit.id) == before
    recorder.record(audit.id, other)
    assert [one.description for one in lookups.get(audit.id).findings] == [
        nameless["finding"]["description"], "other",
    ]  # fmt: skip


def test_a_result_finds_only_the_images_that_were_reported_before_it(script):
    def image(index):
        return {"type": "screenshot", "url": "a.png", "index": index, "data": IMAGE}

    told = {"severity": "low", "confidence": 1, "screenshot_path": "a.png"}
    result = {"type": "engine_result", "result": {"vision_result": {"findings": [told]}}}
    audit = operations.create("https://example.com")
    recorder.record_many(audit.id, [image(3), result, image(4)])
    assert [one.screenshot_index for one in lookups.get(audit.id).findings] == [3]


def test_an_error_that_was_taken_away_is_reported_again(script):
    audit = operations.create("https://example.com")
    result = {"type": "audit_result", "result": {"errors": ["a", "b"]}}
    none = {"type": "audit_update", "changes": {"errors": ["b"]}}
    recorder.record_many(audit.id, [result, result, none, result, result])
    assert lookups.get(audit.id).errors == ["b", "a"]


# ---- what an audit's findings are known by ----


@pytest.fixture
def nameless():
    """Makes events that report a finding without an id."""

    def make(text):
        found = make_finding(description=text)
        del found["id"]
        return make_event("finding", finding=found)

    return make


def test_a_finding_without_an_id_is_recognised_whoever_added_it(script, nameless):
    audit = operations.create("https://example.com")
    for text in ("one", "two", "one", "three"):  # from the second on from memory
        recorder.record(audit.id, nameless(text))
    recorder.record(audit.id, make_event("finding", finding=make_finding(9, description="four")))
    recorder.record(audit.id, nameless("one"))
    values = {**nameless("five")["finding"], "description": "five"}
    AuditFinding.create(audit=audit, **{name: values[name] for name in COLUMNS})
    for text in ("five", "one"):
        recorder.record(audit.id, nameless(text))
    assert texts(audit) == ["one", "two", "three", "four", "five"]


def test_a_finding_that_was_removed_or_changed_is_a_new_one_when_reported_again(script, nameless):
    audit, other = (operations.create("https://example.com") for _ in range(2))
    for one in (audit, other):
        for text in ("one", "two", "three"):
            recorder.record(one.id, nameless(text))
    AuditFinding.delete().where(AuditFinding.description == "one").execute()
    AuditFinding.update(description="2").where(AuditFinding.description == "two").execute()
    moved = AuditFinding.description == "three", AuditFinding.audit == audit
    AuditFinding.update(audit=other).where(*moved).execute()
    for text in ("one", "two", "three"):
        recorder.record(audit.id, nameless(text))
    assert texts(audit) == ["2", "one", "two", "three"]
    removal.delete(audit.id)
    again = operations.create("https://example.com", id=audit.id)
    recorder.record(again.id, nameless("one"))
    recorder.record(again.id, nameless("two"))
    assert texts(again) == ["one", "two"]


def test_a_finding_that_another_connection_added_is_recognised(tmp_path, nameless):
    path = tmp_path / "audits.db"
    with connect(path):
        audit = operations.create("https://example.com")
        for text in ("one", "two", "three"):
            recorder.record(audit.id, nameless(text))
        with connect(path):
            recorder.record(audit.id, nameless("four"))
        for text in ("four", "one"):
            recorder.record(audit.id, nameless(text))
        assert texts(audit) == ["one", "two", "three", "four"]
        check_invariants()


def test_findings_are_recognised_when_there_are_too_many_to_remember(script, nameless, monkeypatch):
    monkeypatch.setattr(contents, "MOST_CONTENTS", 4)
    large, small = (operations.create("https://example.com") for _ in range(2))
    for number in range(9):
        for audit in (large, small):
            recorder.record(audit.id, nameless(str(number if audit is large else number % 2)))
            recorder.record(audit.id, nameless("0"))
        assert script.keeper.cached_contents <= 4
    recorder.record_many(large.id, [nameless(str(number)) for number in range(10)])
    assert texts(large) == [str(number) for number in range(10)]
    assert texts(small) == ["0", "1"]


def test_a_confidence_of_minus_zero_is_one_of_zero(script, nameless):
    audit = operations.create("https://example.com")
    told = nameless("one")
    for number in (0.0, -0.0, 0):
        told["finding"]["confidence"] = number
        recorder.record_many(audit.id, [told, told])
    assert texts(audit) == ["one"]


def test_within_a_result_findings_with_the_same_content_can_be_two(script, nameless):
    audit = operations.create("https://example.com")
    told = nameless("one")["finding"]
    found = [told, {**told, "screenshot_index": 2}, {**told, "id": ["odd"]}, told]
    result = {"type": "audit_result", "result": {"findings": found}}
    recorder.record_many(audit.id, [result, result, nameless("one")])
    assert texts(audit) == ["one"] * 3


COLUMNS = ("category", "pattern_type", "severity", "confidence", "description")


def texts(audit):
    return [one.description for one in lookups.get(audit.id).findings]
