"""Every type of event and what it does to the rows."""

import base64
import hashlib
import json

import pytest

from tests.support.events import IMAGE
from tests.support.images import stored_images
from veritas_peewee import AuditStatus, InvalidAudit, connect
from veritas_peewee.queries import lookups
from veritas_peewee.queries.images import current_images
from veritas_peewee.recording import ingest, operations, recorder
from veritas_peewee.testing import make_png


@pytest.fixture
def audit(script):
    return operations.create("https://example.com")


def rows(audit):
    return lookups.get(audit.id)


def logged(audit):
    return [(event.event_type, event.data) for event in lookups.events(audit.id)]


def test_phase_start_begins_a_queued_audit(audit):
    event = {"type": "phase_start", "phase": "scout", "message": "…", "pct": 0}
    first = recorder.record(audit.id, event)
    assert recorder.record(audit.id, event) == first + 1
    found = rows(audit)
    begun = lookups.events(audit.id)[0].timestamp
    assert (found.status, found.started_at, found.updated_at) == ("running", begun, begun)
    recorder.record(audit.id, {"type": "audit_complete"})
    recorder.record(audit.id, event)
    assert rows(audit).status == "completed"


def test_phase_error_and_audit_error_are_kept_in_errors(audit):
    recorder.record(audit.id, {"type": "phase_error", "phase": "vision", "error": "no model"})
    recorder.record(audit.id, {"type": "phase_error", "phase": "graph", "message": "timed out"})
    assert rows(audit).status == "queued"
    recorder.record(audit.id, {"type": "audit_error", "error": "engine crashed"})
    found = rows(audit)
    assert found.errors == ["no model", "timed out", "engine crashed"]
    assert (found.status, found.error_message) == (AuditStatus.ERROR, "engine crashed")
    assert found.completed_at is None


def test_site_type_security_results_and_stats(audit):
    recorder.record_many(
        audit.id,
        [
            {"type": "site_type", "site_type": "shop", "confidence": 0.9},
            {"type": "security_result", "module": "tls", "result": {"grade": "A"}},
            {"type": "security_result", "module": "headers", "result": {"csp": False}},
            {"type": "security_result", "module": "tls", "result": {"grade": "B"}},
            {
                "type": "stats_update",
                "stats": {"pages_scanned": 4, "findings": 9, "elapsed_seconds": 7.5},
            },
        ],
    )
    found = rows(audit)
    assert (found.site_type, found.site_type_confidence) == ("shop", 0.9)
    assert found.security_results == {"tls": {"grade": "B"}, "headers": {"csp": False}}
    assert (found.pages_scanned, found.elapsed_seconds) == (4, 7.5)


def test_a_screenshot_is_stored_as_a_file_and_its_event_refers_to_it(audit, script):
    image = make_png()
    event = {
        "type": "screenshot",
        "url": "C:\\evidence\\t0.png",
        "label": "Pay now / step 1",
        "index": 2,
        "data": "data:image/png;base64," + base64.b64encode(image).decode(),
    }
    recorder.record(audit.id, event)
    found = rows(audit)
    (shot,) = found.screenshots
    assert found.screenshots_count == 1
    assert (shot.label, shot.index_num, shot.file_size_bytes) == (event["label"], 2, len(image))
    assert (shot.media_type, shot.sha256) == ("image/png", hashlib.sha256(image).hexdigest())
    assert shot.file_path.startswith(f"{audit.id}/002-pay-now-step-1-")
    assert current_images().read(shot.file_path) == image
    ((kind, data),) = logged(audit)
    assert kind == "screenshot"
    assert data.pop("data") == {
        "file": shot.file_path, "size": len(image), "media_type": "image/png",
        "sha256": shot.sha256,
    }  # fmt: skip
    assert data == {key: value for key, value in event.items() if key != "data"}


def test_a_screenshot_without_data_is_read_from_its_path_or_noted(audit, tmp_path):
    path = tmp_path / "t0.png"
    path.write_bytes(make_png())
    (tmp_path / "secret.png").write_text("root:x:0:0")
    (tmp_path / "link.png").symlink_to(path)
    for number, url in enumerate([path, tmp_path / "none.png", tmp_path / "secret.png",
                                  tmp_path / "link.png", tmp_path, "/dev/zero", None]):  # fmt: skip
        event = {"type": "screenshot", "url": url and str(url), "label": f"t{number}",
                 "index": number, "data": None}  # fmt: skip
        recorder.record(audit.id, event)
    found = rows(audit)
    assert [shot.label for shot in found.screenshots] == ["t0"]
    assert len(found.errors) == 6
    assert "none.png cannot be read: No such file" in found.errors[0]
    assert "not a PNG, JPEG or WebP" in found.errors[1]
    assert "has neither data nor a url" in found.errors[5]
    assert "root:x" not in json.dumps(logged(audit)[2])


def test_the_same_finding_told_twice_is_one_row(audit, finding):
    recorder.record_many(audit.id, [finding(1), finding(1), finding(2), finding(1)])
    assert [f.description for f in rows(audit).findings] == ["The cancel link is hidden"] * 2
    nameless = finding(3, description="Other")
    del nameless["finding"]["id"]
    recorder.record_many(audit.id, [nameless, nameless])
    assert len(rows(audit).findings) == 3
    assert len(logged(audit)) == 6


def test_audit_result_sets_every_column_and_adds_findings_that_no_event_told(audit, finding):
    told = finding(1)
    again = told["finding"] | {"id": "other-id"}
    recorder.record_many(
        audit.id,
        [
            told,
            {"type": "phase_error", "error": "early"},
            {"type": "security_result", "module": "tls", "result": {"grade": "A"}},
            {
                "type": "audit_result",
                "result": {
                    "url": "https://example.com/final",
                    "status": "completed",
                    "audit_tier": "deep_forensic",
                    "verdict_mode": "simple",
                    "trust_score": 46,
                    "risk_level": "suspicious",
                    "signal_scores": {"visual": 53},
                    "narrative": "**Careful**",
                    "findings": [told["finding"], again, finding(2, description="New")["finding"]],
                    "security_results": {"headers": {"csp": True}},
                    "site_type": "shop",
                    "site_type_confidence": 1,
                    "pages_scanned": 3,
                    "screenshots_count": 99,
                    "elapsed_seconds": 12,
                    "errors": ["early", "late"],
                    "overrides": [],
                },
            },
        ],
    )
    found = rows(audit)
    assert [f.description for f in found.findings] == ["The cancel link is hidden", "New"]
    assert (found.url, found.status) == ("https://example.com/final", "completed")
    assert (found.trust_score, found.risk_level) == (46.0, "suspicious")
    assert (found.audit_tier, found.verdict_mode) == ("deep_forensic", "simple")
    assert found.signal_scores == {"visual": 53.0}
    assert found.security_results == {"tls": {"grade": "A"}, "headers": {"csp": True}}
    assert (found.screenshots_count, found.pages_scanned) == (0, 3)
    assert found.errors == ["early", "late"]
    assert found.completed_at is not None


def test_the_last_error_of_a_result_that_failed_is_the_audits_error_message(script):
    for told, before, expected in [
        (["a", "b"], [], "b"),
        (["a"], ["a"], "a"),
        ([], ["earlier"], "earlier"),
        ([], [], None),
        (None, ["earlier"], None),
        ("no list", ["earlier"], None),
    ]:
        audit = operations.create("https://example.com")
        operations.update(audit.id, errors=before)
        result = {"status": "error", "errors": told}
        recorder.record(audit.id, {"type": "engine_result", "result": result})
        assert (rows(audit).status, rows(audit).error_message) == ("error", expected), told
    recorder.record(audit.id, {"type": "engine_result", "result": result | {"status": "completed"}})
    assert rows(audit).error_message is None


def test_an_unknown_event_type_is_kept_without_effect(audit):
    before = rows(audit).__data__
    event = {"type": "hologram", "depth": [1, {"x": None}], "text": "änd ünïcode 🕵"}
    recorder.record(audit.id, event)
    assert rows(audit).__data__ == before
    assert logged(audit) == [("hologram", event)]


WRONG = [
    ({"type": "site_type", "site_type": 5, "confidence": "high"}, ["site_type.site_type"]),
    ({"type": "site_type", "site_type": "shop", "confidence": 7}, ["site_type.confidence"]),
    ({"type": "security_result", "module": 5, "result": {}}, ["security_result.module"]),
    ({"type": "security_result", "module": "tls", "result": "bad"}, ["security_result.result"]),
    ({"type": "stats_update", "stats": "many"}, ["stats_update.stats"]),
    ({"type": "stats_update", "stats": {"pages_scanned": "4"}}, ["stats_update.stats"]),
    ({"type": "finding", "finding": "text"}, ["finding.finding"]),
    ({"type": "finding", "finding": {}}, ["severity: is missing", "confidence: is missing"]),
    ({"type": "finding", "finding": {"severity": 9, "confidence": 5}}, ["severity", "confidence"]),
    ({"type": "phase_error", "error": 5}, ["phase_error.error: must be text"]),
    ({"type": "audit_error", "error": ["x"]}, ["audit_error.error: must be text"]),
    ({"type": "audit_complete", "elapsed": "long"}, ["audit_complete.elapsed"]),
    ({"type": "audit_result", "result": []}, ["audit_result.result"]),
    ({"type": "audit_result", "result": {"trust_score": "46"}}, ["audit_result.trust_score"]),
    ({"type": "audit_result", "result": {"findings": {"a": 1}}}, ["audit_result.findings"]),
    ({"type": "audit_result", "result": {"findings": [5]}}, ["audit_result.findings[0]"]),
    ({"type": "audit_result", "result": {"status": "odd"}}, ["audit_result.status"]),
    (
        {"type": "audit_result", "result": {"signal_scores": {"a": "x", "b": 5}}},
        ["audit_result.signal_scores.a"],
    ),
    ({"type": "screenshot", "index": "1", "label": 5, "data": None}, ["neither data nor a url"]),
    ({"type": "engine_result", "result": 5}, ["engine_result.result"]),
    ({"type": "audit_update", "changes": {"bogus": 1}}, ["bogus: there is no such column"]),
]


@pytest.mark.parametrize(("event", "places"), WRONG, ids=lambda value: str(value)[:40])
def test_a_value_of_the_wrong_type_costs_that_value_and_is_noted(audit, event, places):
    recorder.record(audit.id, event)
    text = "\n".join(rows(audit).errors)
    assert [place for place in places if place not in text] == []
    assert logged(audit) == [(event["type"], logged(audit)[0][1])]


def test_what_is_sound_beside_a_wrong_value_is_kept(audit):
    result = {
        "trust_score": "46",
        "risk_level": "suspicious",
        "signal_scores": {"a": 5, "b": None, "c": 700},
        "findings": [5, {"pattern_type": "p", "severity": "HIGH", "confidence": 1}],
    }
    recorder.record(audit.id, {"type": "audit_result", "result": result})
    found = rows(audit)
    assert (found.trust_score, found.risk_level) == (None, "suspicious")
    assert found.signal_scores == {"a": 5.0}
    assert [(f.pattern_type, f.severity) for f in found.findings] == [("p", "high")]
    assert len(found.errors) == 3


def test_lenient_recording_keeps_what_strict_json_can_hold(audit):
    event = {
        "type": "log_entry",
        "message": "bad \ud800 text\0",
        "score": float("nan"),
        "list": [float("inf"), 1, {"deep": "\udfff"}],
    }
    recorder.record(audit.id, event, lenient=True)
    ((_, data),) = logged(audit)
    assert data["message"] == "bad \ufffd text\ufffd"
    assert (data["score"], data["list"]) == (None, [None, 1, {"deep": "\ufffd"}])
    assert len(rows(audit).errors) == len(data["store_notes"]) == 4
    assert any(note.startswith("event.list[2].deep: ") for note in rows(audit).errors)


RESULT = {
    "url": "https://shop.example",
    "audit_tier": "quick_scan",
    "status": "completed",
    "scout_results": [
        {
            "screenshots": ["C:\\e\\a.png", "b.png", 5],
            "screenshot_labels": ["t0"],
            "screenshot_timestamps": [1770812081.5, "later"],
        },
        "not a visit",
    ],
    "vision_result": {
        "findings": [
            {
                "category": "sneaking",
                "sub_type": "no_prices",
                "severity": "medium",
                "confidence": 1.0,
                "evidence": "no price",
                "screenshot_path": "b.png",
            },
            {
                "category": "sneaking",
                "pattern_type": "drip_pricing",
                "sub_type": "ignored",
                "severity": "critical",
                "confidence": 0.25,
                "description": "fees",
                "evidence": "ignored",
                "plain_english": "It costs more",
                "screenshot_path": "C:\\e\\a.png",
            },
        ]
    },
    "judge_decision": {
        "narrative": "text",
        "trust_score_result": {
            "final_score": 46,
            "risk_level": "suspicious",
            "sub_signals": {"visual": {"raw_score": 0.53}, "meta": {"raw_score": 85}, "bad": {}},
        },
    },
    "investigated_urls": ["https://shop.example", "https://shop.example/cart"],
    "start_time": 1770812070.5,
    "elapsed_seconds": 197.25,
    "errors": ["slow"],
}


def test_a_result_becomes_an_audit_with_its_screenshots_where_they_can_be_read(
    script, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.png").write_bytes(make_png())
    found = lookups.get(ingest.ingest(RESULT).id)
    assert (found.url, found.status, found.audit_tier) == (
        "https://shop.example", "completed", "quick_scan",
    )  # fmt: skip
    assert (found.trust_score, found.risk_level, found.narrative) == (46.0, "suspicious", "text")
    assert found.signal_scores == {"visual": 53.0, "meta": 85.0}
    assert (found.pages_scanned, found.elapsed_seconds) == (2, 197.25)
    assert found.started_at.timestamp() == 1770812070.5
    assert (found.completed_at - found.started_at).total_seconds() == 197.25
    assert [(s.label, s.index_num) for s in found.screenshots] == [("b", 1)]
    assert [(f.pattern_type, f.description, f.screenshot_index) for f in found.findings] == [
        ("no_prices", "no price", 1),
        ("drip_pricing", "fees", -1),
    ]
    text = "\n".join(found.errors)
    assert "slow" in text
    assert "a.png cannot be read" in text
    assert "sub_signals.bad" not in text
    assert [event.event_type for event in lookups.events(found.id)] == [
        "screenshot", "screenshot", "screenshot", "engine_result",
    ]  # fmt: skip
    assert lookups.events(found.id)[-1].data["result"] == RESULT


def test_a_dark_pattern_summary_of_either_shape_is_kept(script):
    for summary in ([{"pattern": "p"}], {"findings": [{"pattern": "p"}]}):
        result = {**RESULT, "judge_decision": {"dark_pattern_summary": summary}}
        found = lookups.get(ingest.ingest(result).id)
        event = lookups.events(found.id)[-1]
        assert event.data["result"]["judge_decision"]["dark_pattern_summary"] == summary


@pytest.mark.parametrize(
    "path",
    ["judge_decision", "vision_result", "scout_results", "start_time", "elapsed_seconds",
     "errors", "audit_tier", "status", "investigated_urls"],
)  # fmt: skip
@pytest.mark.parametrize("wrong", [5, "text", [], {}, None, True, [None], {"a": [1]}])
def test_a_result_with_any_part_of_the_wrong_type_is_still_an_audit(script, path, wrong):
    found = lookups.get(ingest.ingest({**RESULT, path: wrong}).id)
    assert found.url == "https://shop.example"
    assert found.status in ("completed", "error")


def test_an_engine_that_went_away_leaves_a_disconnected_audit(script):
    events = [
        {"type": "phase_start", "phase": "scout"},
        {"type": "log_entry", "message": "…"},
    ]
    found = lookups.get(ingest.ingest(events, url="https://example.com").id)
    assert (found.status, found.started_at is None) == ("disconnected", False)
    assert "ended before the audit did" in found.errors[-1]


def test_events_that_close_an_audit_need_not_name_it(script):
    begun, ended = {"type": "phase_start"}, {"type": "audit_complete"}
    for events in ([begun, ended], [begun, {"type": "audit_error", "audit_id": None}]):
        found = ingest.ingest(events, url="https://example.com")
        assert found.id.startswith("vrts_")
        assert lookups.get(found.id).status in ("completed", "error")


def test_only_events_that_close_an_audit_name_it(script):
    other = {"type": "log_entry", "audit_id": "another"}
    assert ingest.ingest([other], url="https://example.com").id.startswith("vrts_")
    ended = {"type": "audit_complete", "audit_id": "own"}
    assert ingest.ingest([other, ended], url="https://example.com").id == "own"


def test_an_audit_that_is_refused_leaves_no_images(script):
    image = {"type": "screenshot", "data": IMAGE}
    events = [image, {"type": "audit_complete", "audit_id": "own"}]
    ingest.ingest(events, url="https://example.com")
    files = stored_images()
    assert len(files) == 1
    for audit_id in (None, "own"):
        with pytest.raises(InvalidAudit):
            ingest.ingest(events, audit_id=audit_id, url="https://example.com")
        assert stored_images() == files


def test_output_can_go_into_an_audit_that_was_created_before(script):
    audit = operations.create("https://shop.example")
    assert ingest.ingest(RESULT, audit_id=audit.id).id == audit.id
    assert rows(audit).status == "completed"


def test_every_form_of_the_engines_output_is_ingested_from_a_file(tmp_path):
    events = [{"type": "phase_start"}, {"type": "audit_result", "result": RESULT}]
    events.append({"type": "audit_complete", "audit_id": "vrts_file", "elapsed": 5})
    (tmp_path / "1.jsonl").write_text("\n".join(json.dumps(event) for event in events))
    progress = '##PROGRESS:{"phase": "scout", "step": "navigating", "pct": 5, "detail": "x"}'
    lines = ["Loading model…", progress, "WARNING: slow", json.dumps(RESULT, indent=2)]
    (tmp_path / "2.txt").write_text("\r\n".join(lines))
    (tmp_path / "3.json").write_text(json.dumps(RESULT))
    with connect(tmp_path / "audits.db"):
        for name in ("1.jsonl", "2.txt", "3.json"):
            found = lookups.get(ingest.ingest(tmp_path / name).id)
            assert (found.status, found.url) == ("completed", "https://shop.example"), name
        assert lookups.get("vrts_file").elapsed_seconds == 5
