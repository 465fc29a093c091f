"""What an engine tells in an odd form costs that value at most, and never without a note."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.recording.test_replay import state
from veritas_peewee import AuditStatus, sync
from veritas_peewee.recording import recorder
from veritas_peewee.testing import make_event, make_finding
from veritas_peewee.values.moments import engine_time

URL = "https://shop.example/"
SHOT = make_event("screenshot", url="/evidence/a.png", index=3)
RESULT = {
    "url": URL,
    "status": "completed",
    "judge_decision": {"trust_score_result": {"final_score": 46, "risk_level": "suspicious"}},
}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# ---- lenient ----

ODD: dict[str, tuple[Any, str]] = {
    "an empty image": (make_event("screenshot", data=""), "screenshot"),
    "an image that is none": (make_event("screenshot", data=b"text"), "screenshot"),
    "an image that is no text": (make_event("screenshot", data=5), "base64"),
    "a number that JSON has not": ({"type": "x", "n": math.nan}, "event.n: is nan"),
    "a nesting too deep": ({"type": "x", "n": nested(500)}, "nested more than 200 deep"),
    "both": ({"type": "x", "a": math.inf, "n": nested(500)}, "nested more than 200 deep"),
    "a type that is none": ({"type": 5}, "event.type: must be text"),
    "no object": ("text", "must be an event"),
    "nothing": (None, "must be an event"),
    "an object that JSON has not": ({"type": "x", "n": {1, 2}}, "event.n: is a set"),
}


@pytest.mark.parametrize("name", ODD)
async def test_lenient_recording_costs_that_value_only(store, name: str) -> None:
    odd, noted = ODD[name]
    audit = await store.create(URL)
    verdict = make_event("audit_result", result={"trust_score": 12.0})
    event_id = await store.record(audit.id, odd, lenient=True)
    ids = await store.record_many(audit.id, [odd, verdict, odd], lenient=True)
    assert [event.id for event in await store.events(audit.id)] == [event_id, *ids]
    found = await store.get(audit.id)
    assert found.trust_score == 12.0
    assert sum(noted in error for error in found.errors) == 3
    assert await store.verify(audit.id) == []


async def test_a_verdict_with_values_that_cannot_be_stored_is_recorded_without_them(store) -> None:
    audit = await store.create(URL)
    result = {"trust_score": 12.0, "narrative": "a\0b", "elapsed_seconds": math.nan,
              "findings": [make_finding(1), make_finding(2, confidence=math.inf), "text"],
              "security_results": {"tls": {"score": math.nan, "deep": nested(300)}}}  # fmt: skip
    await store.record(audit.id, make_event("audit_result", result=result), lenient=True)
    found = await store.get(audit.id)
    assert (found.trust_score, found.narrative, len(found.findings)) == (12.0, "a\ufffdb", 2)
    for place in ("narrative", "elapsed_seconds", "findings[1].confidence", "findings[2]", "deep"):
        assert any(place in error for error in found.errors), place


def test_notes_of_the_parser_stay_beside_those_on_values(script) -> None:
    audit = sync.create(URL)
    event = {"type": "x", "n": math.nan, "store_notes": ["line 2: lost"]}
    sync.record(audit.id, event, lenient=True)
    assert sync.get(audit.id).errors == ["line 2: lost", "event.n: is nan, which JSON cannot hold"]


# ---- aborted ----


def ways() -> dict[str, Any]:
    aborted = {**RESULT, "status": "Aborted"}
    told = make_event(
        "audit_result", result={"status": "aborted", "trust_score": 0, "risk_level": "x"}
    )
    ended = make_event("audit_complete")
    return {
        "a result": lambda key: sync.ingest(aborted, audit_id=key),
        "events": lambda key: sync.ingest([told, ended], audit_id=key),
        "recorded together": lambda key: sync.record_many(key, [told, ended]),
        "recorded one by one": lambda key: [sync.record(key, one) for one in (told, ended, ended)],
        "the end first": lambda key: [sync.record(key, one) for one in (ended, told)],
        "a result as an event": lambda key: sync.record(
            key, {"type": "engine_result", "result": aborted}
        ),
        "after a score": lambda key: [
            sync.record(key, one) for one in (make_event("audit_result"), told, ended)
        ],
    }


@pytest.mark.parametrize("way", ways())
def test_an_aborted_audit_is_an_error_without_a_score(script, way: str) -> None:
    audit = sync.create(URL)
    ways()[way](audit.id)
    found = sync.get(audit.id)
    assert (found.status, found.trust_score, found.risk_level) == (AuditStatus.ERROR, None, None)
    assert found.error_message == "the engine aborted the audit"
    assert any("its score of" in error for error in found.errors)
    again = sync.create(URL)
    recorder.replay(again.id, sync.events(audit.id))
    assert state(again.id) == state(audit.id)


def test_a_result_after_an_aborted_one_counts(script) -> None:
    audit = sync.create(URL)
    sync.record(audit.id, make_event("audit_result", result={"status": "aborted"}))
    later = {"status": "completed", "trust_score": 5}
    sync.record_many(
        audit.id, [make_event("audit_result", result=later), make_event("audit_complete")]
    )
    found = sync.get(audit.id)
    assert (found.status, found.trust_score) == ("completed", 5.0)


@pytest.mark.parametrize("odd", [{}, {"status": None}, {"status": 5}, {"status": "done"}])
def test_a_result_without_a_status_has_ended_well_if_it_has_a_score(script, odd) -> None:
    without = {key: value for key, value in RESULT.items() if key != "status"} | odd
    for result, status in ((without, "completed"), ({"url": URL} | odd, "error")):
        audit = sync.create(URL)
        sync.record(audit.id, {"type": "engine_result", "result": result})
        assert sync.get(audit.id).status == status


# ---- times ----

AT = datetime(2026, 2, 2, 2, 40, 0, 500000, UTC)


@pytest.mark.parametrize(
    "told",
    [1770000000.5, 1770000000500, "1770000000.5", "1770000000500", "2026-02-02T02:40:00.5Z",
     "2026-02-02 03:40:00.500+01:00", " 2026-02-02T02:40:00.500000+00:00"],
)  # fmt: skip
def test_a_time_is_read_in_the_forms_that_engines_use(script, told: Any) -> None:
    assert engine_time(told) == AT
    audit = sync.create(URL)
    sync.record(audit.id, {**SHOT, "taken_at": told})
    sync.record(audit.id, {"type": "engine_result", "result": {**RESULT, "start_time": told}})
    found = sync.get(audit.id)
    assert (found.screenshots[0].created_at, found.started_at, found.errors) == (AT, AT, [])


@pytest.mark.parametrize(
    "told", ["yesterday", "2026-02-02T02:40:00", True, [1], {}, math.pi * 1e300, 10**400, "9" * 99]
)
def test_a_time_that_cannot_be_read_is_noted(script, told: Any) -> None:
    assert engine_time(told) is None
    audit = sync.create(URL)
    sync.record(audit.id, {**SHOT, "taken_at": told})
    (error,) = sync.get(audit.id).errors
    assert "taken_at: must be epoch seconds or ISO 8601" in error


# ---- a finding's screenshot ----


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("form", ["audit_result", "engine_result"])
def test_a_finding_that_was_told_before_is_given_its_screenshot(script, form, together) -> None:
    first, second, third, fourth = (
        make_finding(number, description=f"fee {number}") for number in range(1, 5)
    )
    same = {key: value for key, value in first.items() if key != "id"} | {"id": "other"}
    pointed = [
        {**first, "screenshot_path": "/evidence/a.png"},
        {"id": "f2", "category": "c", "severity": "low", "screenshot_path": "/evidence/a.png"},
        {**third, "screenshot_path": "/evidence/none.png"},
        {**fourth, "screenshot_path": "/evidence/a.png"},
    ]  # fmt: skip
    result = (
        {"findings": pointed}
        if form == "audit_result"
        else {**RESULT, "vision_result": {"findings": pointed}}
    )
    told = [make_event("finding", finding=one) for one in (first, second, third, same)]
    events = [SHOT, *told, {"type": form, "result": result}, {"type": form, "result": result}]
    audit = sync.create(URL)
    if together:
        sync.record_many(audit.id, events)
    else:
        for event in events:
            sync.record(audit.id, event)
    found = sync.get(audit.id)
    assert [row.screenshot_index for row in found.findings] == [3, 3, -1, -1, 3]
    assert sync.verify(audit.id) == []
    again = sync.create(URL)
    recorder.replay(again.id, sync.events(audit.id))
    assert state(again.id) == state(audit.id)


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("odd", ["", None, 5])
def test_findings_without_an_id_are_not_taken_for_one_another(script, odd, together: bool) -> None:
    one, two = (make_finding(1, id=odd, description=text) for text in ("one", "two"))
    told = make_event("finding", finding=one)
    result = make_event("audit_result", result={"findings": [one, two]})
    audit = sync.create(URL)
    if together:
        sync.record_many(audit.id, [told, result, result])
    else:
        for event in (told, result, result):
            sync.record(audit.id, event)
    assert [row.description for row in sync.get(audit.id).findings] == ["one", "two"]


def test_a_finding_event_may_name_its_screenshot(script) -> None:
    audit = sync.create(URL)
    finding = make_finding(1, screenshot_path="/evidence/a.png")
    sync.record_many(audit.id, [SHOT, make_event("finding", finding=finding)])
    assert sync.get(audit.id).findings[0].screenshot_index == 3


@pytest.mark.parametrize("odd", [None, "3", -5, 1.5, True, 10**30])
def test_a_finding_whose_screenshot_is_no_number_of_one_points_at_none(script, odd: Any) -> None:
    audit = sync.create(URL)
    finding = make_finding(1, screenshot_index=odd)
    pointed = make_finding(1, screenshot_path="/evidence/a.png")
    sync.record(audit.id, make_event("finding", finding=finding))
    assert sync.get(audit.id).findings[0].screenshot_index == -1
    sync.record_many(audit.id, [SHOT, make_event("finding", finding=pointed)])
    found = sync.get(audit.id)
    assert [row.screenshot_index for row in found.findings] == [3]
    assert [note for note in found.errors if "screenshot_index" in note] == found.errors


# ---- a result's shape ----


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"scout_results": ["visit"]}, "scout_results[0]: must be an object"),
        ({"scout_results": [{}, {"screenshots": "a.png"}]}, "scout_results[1].screenshots: must"),
        ({"scout_results": [{"screenshots": {"0": "a"}}]}, "scout_results[0].screenshots: must"),
        ({"scout_results": [{"screenshot_labels": 5}]}, "scout_results[0].screenshot_labels: must"),
        ({"scout_results": [{"screenshots": ["a"], "screenshot_labels": [5]}]},
         "scout_results[0].screenshot_labels[0]: must be text"),
        ({"scout_results": [{"screenshot_labels": ["a"]}]}, "has 1 for 0 screenshots"),
        ({"scout_results": [{"screenshots": [5]}]}, "has neither data nor a url"),
        ({"judge_decision": {"trust_score_result": {"final_score": 1, "sub_signals": [1]}}},
         "sub_signals: must be an object"),
        ({"judge_decision": {"trust_score_result": {"final_score": 1, "sub_signals": {
            "visual": {"score": 1}}}}}, "sub_signals.visual: has no raw_score"),
    ],
)  # fmt: skip
def test_parts_of_the_wrong_shape_are_noted(script, change: dict[str, Any], place: str) -> None:
    audit = sync.ingest({**RESULT, **change})
    assert audit.status == "completed"
    assert any(place in error for error in audit.errors), audit.errors


# ---- details ----


def test_details_are_what_the_last_result_tells_beyond_the_columns(script) -> None:
    audit = sync.create(URL)
    told = {"trust_score": 5.0, "recommendations": ["wait"], "overrides": [{"a": 1}],
            "domain_info": {"age": 3}, "findings": [make_finding()], "other": 1}  # fmt: skip
    sync.record(audit.id, make_event("audit_result", result=told))
    details = {name: told[name] for name in ("recommendations", "overrides", "domain_info")}
    assert sync.details(audit.id) == {**details, "other": 1}
    trust = {"final_score": 46, "overrides_applied": ["o"], "explanation": "e"}
    result = {
        **RESULT, "iteration": 2, "graph_result": {"domain_intel": {"age": 4}, "graph_score": 0.5},
        "judge_decision": {
            "recommendations": ["go"], "narrative": "n", "trust_score_result": trust
        },
    }  # fmt: skip
    found = sync.ingest(result)
    assert found.details == {
        "iteration": 2, "graph_result": {"graph_score": 0.5}, "recommendations": ["go"],
        "overrides": ["o"], "domain_info": {"age": 4},
        "judge_decision": {"trust_score_result": {"explanation": "e"}},
    }  # fmt: skip
    assert sync.details(found.id) == sync.get(found.id).details == found.details
