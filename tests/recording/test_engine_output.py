"""What the engine and the backend print, in its three forms, as events; and what is no audit."""

from __future__ import annotations

import json
import math
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from veritas_peewee import InvalidAudit, connect
from veritas_peewee.models import Audit, AuditEvent
from veritas_peewee.queries import lookups
from veritas_peewee.recording import ingest as ingesting
from veritas_peewee.recording import operations
from veritas_peewee.recording.output import (
    PROGRESS,
    RESULT_EVENT,
    OutputParser,
    events_of,
    parse,
    progress_event,
)
from veritas_peewee.recording.result import ResultRows, read_result
from veritas_peewee.values.moments import epoch

EVENTS: list[dict[str, Any]] = [
    {"type": "phase_start", "phase": "scout", "message": "Scouting", "pct": 5},
    {
        "type": "log_entry",
        "timestamp": "10:00:00",
        "agent": "scout",
        "message": "h\u00e9 {",
        "n": 1,
    },
    {"type": "brand_new", "nested": {"list": [1, 2.5, None, True, {"deep": "\U0001f600"}]}},
    {"type": "audit_complete", "audit_id": "vrts_a", "elapsed": 9.5},
]

RESULT: dict[str, Any] = {
    "url": "https://shop.example",
    "audit_tier": "standard_audit",
    "status": "completed",
    "iteration": 1,
    "investigated_urls": ["https://shop.example", "https://shop.example/cart"],
    "start_time": 1770000000.25,
    "elapsed_seconds": 61.5,
    "errors": ["graph: no WHOIS"],
    "scout_results": [
        {
            "url": "https://shop.example",
            "screenshots": ["C:\\evidence\\a_t0.png", "/evidence/a_full.png"],
            "screenshot_labels": ["t0"],
            "screenshot_timestamps": [1770000010.5],
        },
        {"url": "https://shop.example/cart", "screenshots": ["/evidence/b_t0.png"]},
    ],
    "vision_result": {
        "findings": [
            {
                "category": "sneaking",
                "sub_type": "hidden_costs",
                "severity": "high",
                "confidence": 0.9,
                "evidence": "A fee \u2014 \u201c4,99 \u20ac\u201d \u2014 appears at the end",
                "screenshot_path": "/evidence/b_t0.png",
            },
            {"category": "nagging", "severity": "low", "confidence": 0.4, "description": "nags"},
        ]
    },
    "judge_decision": {
        "trust_score_result": {
            "final_score": 46,
            "risk_level": "suspicious",
            "sub_signals": {
                "visual": {"raw_score": 0.53, "weight": 0.2},
                "temporal": {"raw_score": 1.0},
                "graph": {"raw_score": 42.0},
            },
        },
        "narrative": "# Verdict\n\nIt hides a fee.",
        "dark_pattern_summary": {"findings": []},
    },
}

FORM_1 = "".join(json.dumps(event) + "\n" for event in EVENTS)
FORM_3 = json.dumps(RESULT, indent=2)
FORM_2 = (
    "Loading models...\n"
    '##PROGRESS:{"phase": "init", "step": "starting", "pct": 0, "detail": "Init"}\n'
    "WARNING: something {odd} [here]\n"
    "{'python': 'dict'}\n"
    '##PROGRESS:{"phase": "scout", "step": "done", "pct": 20, "detail": "Seen", "pages": 2}\n'
    "\n" + FORM_3 + "\n"
)


def check(database: Any) -> None:
    """What must hold in every store, asked while it is open."""
    assert database.pragma("integrity_check") == "ok"
    assert database.execute_sql("PRAGMA foreign_key_check").fetchall() == []
    for audit in Audit.select():
        assert audit.screenshots_count == audit.screenshots.count()


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


SHOTS_THEN_RESULT = ["screenshot"] * 3 + [RESULT_EVENT]


# ---- the three forms ----


def test_form_1_is_a_line_for_each_event() -> None:
    assert parse(FORM_1) == (EVENTS, [])


def test_form_1_may_be_one_list() -> None:
    for indent in (None, 2):
        assert parse(json.dumps(EVENTS, indent=indent)) == (EVENTS, [])


def test_form_2_is_progress_lines_among_other_text_and_then_a_result() -> None:
    events, notes = parse(FORM_2)
    assert notes == []
    assert kinds(events) == ["phase_start", "phase_complete", *SHOTS_THEN_RESULT]
    assert events[1]["summary"] == {"pages": 2}
    assert events[-1]["result"] == RESULT


def test_form_3_is_a_result_by_itself() -> None:
    for indent in (None, 2, 4, "\t"):
        events, notes = parse(json.dumps(RESULT, indent=indent))
        assert notes == []
        assert kinds(events) == SHOTS_THEN_RESULT
        assert events[-1] == {"type": RESULT_EVENT, "result": RESULT}


def test_a_result_tells_of_its_screenshots_first() -> None:
    first, second, third = parse(FORM_3)[0][:3]
    assert (first["url"], first["label"], first["index"]) == ("C:\\evidence\\a_t0.png", "t0", 0)
    assert (first["data"], first["taken_at"]) == (None, 1770000010.5)
    assert (second["url"], second["label"], second["index"]) == (
        "/evidence/a_full.png",
        "a_full",
        1,
    )
    assert (third["label"], third["index"]) == ("b_t0", 2)
    assert "taken_at" not in second


def test_the_forms_may_follow_one_another_in_one_stream() -> None:
    events, notes = parse(FORM_1 + FORM_2 + FORM_1)
    assert notes == []
    assert len(events) == 4 + 2 + 4 + 4


def test_a_parser_that_is_fed_line_by_line_finds_what_the_whole_holds() -> None:
    for text in (FORM_1, FORM_2, FORM_3):
        for keepends in (True, False):
            parser = OutputParser()
            found = [e for line in text.splitlines(keepends) for e in parser.feed(line)]
            parser.finish()
            assert (found, parser.notes) == parse(text)


def test_an_event_is_told_as_soon_as_its_line_is_whole() -> None:
    parser = OutputParser()
    assert list(parser.feed("noise")) == []
    assert kinds(list(parser.feed(json.dumps(EVENTS[0])))) == ["phase_start"]
    assert list(parser.feed("{")) == []
    assert list(parser.feed('"type": "audit_complete"')) == []
    assert kinds(list(parser.feed("}"))) == ["audit_complete"]
    parser.finish()


def test_an_event_may_stand_on_several_lines() -> None:
    text = "".join(json.dumps(event, indent=2) + "\n" for event in EVENTS)
    assert parse("some text\n" + text) == (EVENTS, [])


def test_an_event_may_have_a_space_after_its_brace() -> None:
    text = "".join("{ " + json.dumps(event)[1:-1] + " }\n" for event in EVENTS)
    assert parse(text) == (EVENTS, [])


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"], ids=ascii)
def test_a_line_separator_inside_a_text_does_not_end_the_line(mark: str) -> None:
    events = [{"type": "log_entry", "message": f"a{mark}b"}, {"type": "audit_complete"}]
    text = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events)
    assert parse(text) == (events, [])
    assert parse(text.encode()) == (events, [])


# ---- encodings ----


@pytest.mark.parametrize("text", [FORM_1, FORM_2, FORM_3], ids=["form 1", "form 2", "form 3"])
@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_every_unicode_encoding_is_read(text: str, encoding: str, newline: str) -> None:
    raw = text.replace("\n", newline)
    assert parse(raw.encode(encoding)) == parse(text)


@pytest.mark.parametrize("text", [FORM_1, FORM_2, FORM_3], ids=["form 1", "form 2", "form 3"])
def test_text_may_begin_with_a_byte_order_mark(text: str) -> None:
    assert parse("\ufeff" + text) == parse(text)


def test_bytes_that_are_not_text_are_replaced_with_a_note() -> None:
    data = b'{"type": "log_entry", "message": "a\xff\xfeb"}\n{"type": "audit_complete"}\n'
    events, notes = parse(data)
    assert events[0]["message"] == "a\ufffd\ufffdb"
    assert len(events) == 2
    assert len(notes) == 1


def test_a_replacement_character_that_is_really_there_needs_no_note() -> None:
    data = json.dumps({"type": "log_entry", "message": "\ufffd"}, ensure_ascii=False).encode()
    assert parse(data) == ([{"type": "log_entry", "message": "\ufffd"}], [])


# ---- progress lines ----

STEPS = {
    "starting": "phase_start",
    "start": "phase_start",
    "navigating": "phase_start",
    "scanning": "phase_start",
    "analyzing": "phase_start",
    "investigating": "phase_start",
    "deliberating": "phase_start",
    "done": "phase_complete",
    "error": "phase_error",
    "sleepy": "progress",
    "": "progress",
}


@pytest.mark.parametrize(("step", "kind"), STEPS.items())
def test_the_step_of_a_progress_line_tells_the_type_of_event(step: str, kind: str) -> None:
    line = {"phase": "vision", "step": step, "pct": 40, "detail": "Looking"}
    ((event,), notes) = parse(PROGRESS + json.dumps(line))
    assert notes == []
    assert event["type"] == kind
    assert (event["phase"], event["message"], event["pct"]) == ("vision", "Looking", 40)
    assert "summary" not in event


def test_the_start_of_an_iteration_is_only_a_marker() -> None:
    assert progress_event({"phase": "iteration", "step": "start"})["type"] == "progress"
    assert progress_event({"phase": "iteration", "step": "done"})["type"] == "phase_complete"


def test_other_keys_of_a_progress_line_are_its_summary() -> None:
    line = {"phase": "vision", "step": "done", "pct": 1, "detail": "x", "findings": 3, "ok": True}
    assert progress_event(line)["summary"] == {"findings": 3, "ok": True}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ({"error": "timed out", "detail": "x"}, "timed out"),
        ({"detail": "no answer"}, "no answer"),
        ({}, "unknown error"),
    ],
)
def test_a_failed_step_tells_its_error(line: dict[str, Any], text: str) -> None:
    assert progress_event({"phase": "graph", "step": "error", **line})["error"] == text


@pytest.mark.parametrize("line", [{}, {"step": None}, {"step": 5}, {"step": ["done"]}])
def test_a_progress_line_without_a_usable_step_is_kept_as_a_marker(line: dict[str, Any]) -> None:
    assert progress_event(line)["type"] == "progress"


@pytest.mark.parametrize("text", ["", "{", '{"phase": ', "[1]", "5", "null", "[" * 100_000])
def test_a_damaged_progress_line_is_passed_over_with_a_note(text: str) -> None:
    events, notes = parse(f"{PROGRESS}{text}\n" + FORM_1)
    assert events == EVENTS
    assert len(notes) == 1
    assert "line 1" in notes[0]


def test_a_progress_line_ends_an_object_that_was_cut_off_with_a_note() -> None:
    events, notes = parse('start\n{"type": "log_entry",\n' + FORM_2)
    assert events == parse(FORM_2)[0]
    assert len(notes) == 1
    assert "line 2" in notes[0]


# ---- text that only looks like JSON ----


@pytest.mark.parametrize(
    "garbage",
    ["{not json}", "{'a': 1}", "{}", "{{template}}", "[INFO] ready", "[]", "{ ... }", "}", "]"],
)
def test_garbage_that_begins_like_json_is_passed_over(garbage: str) -> None:
    events, notes = parse(f"{garbage}\n{FORM_3}\n{garbage}\n")
    assert (kinds(events), notes) == (SHOTS_THEN_RESULT, [])


@pytest.mark.parametrize(
    "garbage",
    ['{"level": "info"} ready', '{"level": "info"', '{"a": 1}}', '{"a": tru}'],
)
def test_garbage_that_begins_like_an_event_does_not_take_the_result_with_it(garbage: str) -> None:
    events, _ = parse(f"{garbage}\n{FORM_3}\n")
    assert kinds(events) == SHOTS_THEN_RESULT


def test_json_that_is_no_event_is_passed_over_among_events() -> None:
    text = '{"level": "info", "n": 1}\n[{"a": 1}]\n' + FORM_1
    assert parse(text) == (EVENTS, [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \r\n\t",
        "hello",
        "{}",
        "[]",
        "[[], [{}]]",
        "5",
        "null",
        '"text"',
        "true",
        "\ufeff",
        "\0",
    ],
)
def test_what_holds_no_audit_is_refused(text: str) -> None:
    for data in (text, text.encode()):
        with pytest.raises(InvalidAudit, match="no event, progress line or result"):
            parse(data)


# ---- cut off, and damaged ----


@pytest.mark.parametrize("indent", [None, 2])
def test_a_result_cut_off_anywhere_is_refused(indent: int | None) -> None:
    data = json.dumps(RESULT, indent=indent, ensure_ascii=False).encode()
    for end in range(0, len(data), 50):
        with pytest.raises(InvalidAudit):
            parse(data[:end])


def test_output_cut_off_anywhere_is_refused_or_has_only_its_whole_events() -> None:
    data = FORM_2.encode()
    whole = parse(data)[0]
    for end in range(0, len(data), 50):
        try:
            events, _ = parse(data[:end])
        except InvalidAudit:
            continue
        assert events == whole[: len(events)]
        assert RESULT_EVENT not in kinds(events)


def test_a_cut_off_object_is_named_by_its_line() -> None:
    cut = FORM_2[: FORM_2.index('"judge_decision"')]
    line = cut[: cut.index("\n{\n") + 1].count("\n") + 1
    with pytest.raises(InvalidAudit, match=f"line {line}:"):
        parse(cut)


def test_a_stream_cut_off_in_an_event_is_told_at_its_end() -> None:
    parser = OutputParser()
    assert list(parser.feed(json.dumps(EVENTS[0]))) == EVENTS[:1]
    assert list(parser.feed('{"type": "finding", "find')) == []
    with pytest.raises(InvalidAudit, match="line 2"):
        parser.finish()


def assert_readable(read: ResultRows) -> None:
    """What a result gives: values for columns that there are, findings with their place, notes."""
    for name, value, where in read.columns:
        assert name in operations.COLUMNS
        assert value is not None
        assert where
    assert all(where.startswith("vision_result.findings[") for _, where in read.findings)
    assert all(isinstance(note, str) and note for note in read.notes)


@pytest.mark.parametrize("position", range(0, len(FORM_3), 97))
def test_a_damaged_byte_is_refused_or_read_and_never_anything_else(position: int) -> None:
    data = bytearray(FORM_3.encode())
    for value in (0x00, 0x22, 0x7B, 0x7D, 0xFF):
        data[position] = value
        try:
            events, _ = parse(bytes(data))
        except InvalidAudit:
            continue
        assert events
        for event in events:
            assert isinstance(event["type"], str)
            if event["type"] == RESULT_EVENT:
                assert_readable(read_result(event["result"]))


# ---- values that JSON should not hold ----


def test_nan_in_json_is_read_and_left_to_the_recorder() -> None:
    (event,), notes = parse('{"type": "x", "a": NaN, "b": [Infinity, -Infinity]}')
    assert math.isnan(event["a"])
    assert event["b"] == [math.inf, -math.inf]
    assert notes == []


@pytest.mark.parametrize("depth", [10, 100, 900, 950, 980, 1000, 5000, 100_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_nested_deeply_is_read_or_refused(depth: int, opening: str) -> None:
    closing = "]" if opening == "[" else "}"
    nested = opening * depth + '{"type": "x"}' + closing * depth
    for text in (nested, f"text\n{nested}\n", f"text\n[\n{nested}\n]\n", f'{{"type": {nested}}}'):
        try:
            events, _ = parse(text)
        except InvalidAudit:
            continue
        assert kinds(events) == ["x"]


def test_numbers_of_any_size_are_read_or_refused() -> None:
    for number in ("1e999", "-1e999", "9" * 400, "-" + "9" * 4000):
        events, _ = parse(FORM_3.replace("61.5", number).replace("1770000000.25", number))
        read = read_result(events[-1]["result"])
        assert "started_at" not in [name for name, _, _ in read.columns]
        assert any("start_time" in note for note in read.notes)
    events, notes = parse(FORM_3.replace("61.5", "9" * 5000))
    assert events[-1]["result"]["elapsed_seconds"] == "9" * 5000
    assert notes == ["line 11: a number of 5000 digits is kept as text"]


def test_a_result_with_values_json_cannot_hold_costs_those_values_only(tmp_path: Any) -> None:
    text = FORM_3.replace('"raw_score": 0.53', '"raw_score": NaN').replace("61.5", "1e999")
    text = text.replace("It hides a fee.", "\\ud800 \\u0000")
    (tmp_path / "result.json").write_text(text)
    with connect(tmp_path / "audits.db") as database:
        audit = lookups.get(ingesting.ingest(tmp_path / "result.json").id)
        assert audit.signal_scores == {"temporal": 100.0, "graph": 42.0}
        assert audit.elapsed_seconds == 0
        assert audit.narrative == "# Verdict\n\n\ufffd \ufffd"
        assert (audit.trust_score, len(audit.findings)) == (46.0, 2)
        for place in ("raw_score", "elapsed_seconds", "narrative"):
            assert any(place in text for text in audit.errors), place
        check(database)


# ---- how long it takes ----


def test_the_time_to_read_a_result_grows_with_its_length_and_not_with_its_square() -> None:
    def seconds(count: int) -> float:
        visits = [{"url": "https://shop.example", "page": {"links": [1]}}] * count
        text = "some text\n" + json.dumps(RESULT | {"scout_results": visits}, indent=2)
        begun = time.thread_time()
        parse(text)
        return time.thread_time() - begun

    short, long = (min(seconds(count) for _ in range(3)) for count in (250, 1000))
    assert long < 10 * short  # 4 times the length; its square would be 16


# ---- any text at all ----

ANY = settings(deadline=None, database=None)  # a slow machine is no failure

JSON_PIECES = st.sampled_from(
    [
        *('{"type": "x"}', '{"type":', "{", "}", "[", "]", "[{", '{"', '"', "\\", ",", ":", "\n"),
        *("\r\n", "\u2028", "\ufeff", PROGRESS, "NaN", "1e999", '"url"', '"status"', "null", "\0"),
        *('"judge_decision": 5', '"scout_results": [{"screenshots": [1]}]', "\ud800"),
    ]
)


@ANY
@given(st.text())
@example("\ud800")
@example("{\n}")
def test_any_text_is_events_or_an_invalid_audit(text: str) -> None:
    try:
        events, _ = parse(text)
    except InvalidAudit:
        return
    assert events


@ANY
@given(st.binary())
@example(b"\xff\xfe")
@example(b"\x00{")
@example(b"\xef\xbb\xbf")
def test_any_bytes_are_events_or_an_invalid_audit(data: bytes) -> None:
    try:
        events, _ = parse(data)
    except InvalidAudit:
        return
    assert events


@ANY
@given(st.lists(st.one_of(JSON_PIECES, st.text(max_size=5)), max_size=40).map("".join))
def test_any_pieces_of_json_are_events_or_an_invalid_audit(text: str) -> None:
    try:
        events, _ = parse(text)
    except InvalidAudit:
        return
    assert all(isinstance(event["type"], str) for event in events)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)
RESULT_KEYS = st.sampled_from(
    [*RESULT, "verdict_mode", "security_results", "site_type", "site_type_confidence"]
)


@ANY
@given(ANYTHING)
def test_any_json_value_is_events_or_nothing(value: Any) -> None:
    assert all(isinstance(event["type"], str) for event in events_of(value))


@ANY
@given(st.dictionaries(RESULT_KEYS, ANYTHING))
def test_a_result_of_any_values_is_read_without_an_error(changes: dict[str, Any]) -> None:
    result = RESULT | changes
    assert_readable(read_result(result))
    assert list(events_of(result))


@ANY
@given(st.sampled_from(["trust_score_result", "narrative"]), ANYTHING)
def test_a_decision_of_any_values_is_read_without_an_error(key: str, value: Any) -> None:
    for decision in (value, {key: value}, {"trust_score_result": {"sub_signals": value}}):
        read = read_result(RESULT | {"judge_decision": decision})
        assert_readable(read)
        noted = [note for note in read.notes if note.startswith("judge_decision")]
        parts = [decision]
        for name in ("trust_score_result", "sub_signals"):
            if isinstance(parts[-1], dict):
                parts.append(parts[-1].get(name))
        signals = parts[2].values() if len(parts) == 3 and isinstance(parts[2], dict) else ()
        assert bool(noted) == (
            not isinstance(parts[-1], dict | None)
            or any(isinstance(one, dict) and one and "raw_score" not in one for one in signals)
        )


# ---- where the parts of a result go ----


def columns(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value, _ in read_result(result).columns}


def test_the_parts_of_a_result_go_into_the_columns() -> None:
    assert columns(RESULT) == {
        "url": "https://shop.example",
        "status": "completed",
        "audit_tier": "standard_audit",
        "elapsed_seconds": 61.5,
        "errors": ["graph: no WHOIS"],
        "trust_score": 46,
        "risk_level": "suspicious",
        "narrative": "# Verdict\n\nIt hides a fee.",
        "signal_scores": {"visual": 53.0, "temporal": 100.0, "graph": 42.0},
        "pages_scanned": 2,
        "started_at": datetime(2026, 2, 2, 2, 40, 0, 250000, UTC),
        "completed_at": datetime(2026, 2, 2, 2, 41, 1, 750000, UTC),
    }
    assert read_result(RESULT).notes == []


def test_every_column_says_where_in_the_result_it_stood() -> None:
    places = {name: where for name, _, where in read_result(RESULT).columns}
    assert places["url"] == "url"
    assert places["trust_score"] == "judge_decision.trust_score_result.final_score"
    assert places["signal_scores"] == "judge_decision.trust_score_result.sub_signals"
    assert places["pages_scanned"] == "investigated_urls"


def test_signal_scores_come_before_sub_signals() -> None:
    trust = RESULT["judge_decision"]["trust_score_result"] | {"signal_scores": {"visual": 12}}
    result = RESULT | {"judge_decision": {"trust_score_result": trust}}
    assert columns(result)["signal_scores"] == {"visual": 12}


def test_findings_are_told_with_their_place() -> None:
    findings = read_result(RESULT).findings
    assert [where for _, where in findings] == [
        "vision_result.findings[0]",
        "vision_result.findings[1]",
    ]
    assert findings[0][0]["sub_type"] == "hidden_costs"


def test_an_older_result_without_the_optional_parts_is_read() -> None:
    result = {"url": "https://old.example", "status": "completed"}
    assert columns(result) == result
    assert read_result(result).notes == []
    assert kinds(list(events_of(result))) == [RESULT_EVENT]


@pytest.mark.parametrize("summary", [[], [{"a": 1}], {"findings": [{"a": 1}]}, None, "text"])
def test_the_dark_pattern_summary_may_have_any_shape(summary: Any) -> None:
    decision = RESULT["judge_decision"] | {"dark_pattern_summary": summary}
    assert columns(RESULT | {"judge_decision": decision}) == columns(RESULT)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"judge_decision": "none"}, "judge_decision"),
        ({"judge_decision": {"trust_score_result": [1]}}, "judge_decision.trust_score_result"),
        ({"vision_result": 5}, "vision_result"),
        ({"vision_result": {"findings": {"a": 1}}}, "vision_result.findings"),
        ({"start_time": "yesterday"}, "start_time"),
        ({"start_time": True}, "start_time"),
        ({"investigated_urls": 5}, "investigated_urls"),
        ({"scout_results": "none"}, "scout_results"),
    ],
)
def test_a_part_of_the_wrong_type_costs_that_part_and_is_noted_by_its_place(
    tmp_path: Any, change: dict[str, Any], place: str
) -> None:
    with connect(tmp_path / "audits.db") as database:
        audit = lookups.get(ingesting.ingest(RESULT | change).id)
        assert audit.url == RESULT["url"]
        assert any(place in text for text in audit.errors)
        check(database)


@pytest.mark.parametrize("audit_id", [5, ["a"], "", None, "0b5c3c1e-7d1f-4f6e-9f57-2a8f0f6a0f11"])
def test_an_id_in_the_events_that_cannot_be_used_costs_the_id_only(
    tmp_path: Any, audit_id: Any
) -> None:
    events = [*parse(FORM_3)[0], {"type": "audit_complete", "audit_id": audit_id, "elapsed": 1}]
    with connect(tmp_path / "audits.db") as database:
        audit = lookups.get(ingesting.ingest(events).id)
        assert audit.status == "completed"
        assert AuditEvent.select().count() == len(events)
        check(database)


@pytest.mark.parametrize(("audit_id", "noted"), [(5, "5"), ("a/b", "a/b"), ("", ""), (None, "")])
def test_an_id_in_the_events_that_cannot_be_used_is_noted(
    tmp_path: Any, audit_id: Any, noted: str
) -> None:
    events = [*parse(FORM_1)[0], {"type": "audit_complete", "audit_id": audit_id}]
    events = [event for event in events if "audit_id" not in event or event is events[-1]]
    with connect(tmp_path / "audits.db"):
        errors = ingesting.ingest(events, url="https://example.com/").errors
    told = [text for text in errors if "was given another one" in text]
    assert len(told) == bool(noted)
    assert all(text.startswith("audit_complete.audit_id") and noted in text for text in told)


@pytest.mark.parametrize("audit_id", ["..", "a/b", "\u00fc"])
def test_an_id_in_the_events_never_leads_outside(tmp_path: Any, audit_id: str) -> None:
    events = [*parse(FORM_3)[0], {"type": "audit_complete", "audit_id": audit_id, "elapsed": 1}]
    with connect(tmp_path / "audits.db") as database:
        try:
            found = ingesting.ingest(events).id
        except InvalidAudit:
            assert Audit.select().count() == 0
        else:
            assert found != audit_id
        check(database)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (1770000000.5, datetime(2026, 2, 2, 2, 40, 0, 500000, UTC)),
        *((bad, None) for bad in (True, "5", None, math.nan, math.inf, 10**400, -(10**20), [1])),
    ],
)
def test_epoch_seconds_are_a_time_in_utc_or_nothing(value: Any, found: datetime | None) -> None:
    assert epoch(value) == found
