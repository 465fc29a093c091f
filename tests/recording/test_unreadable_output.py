"""Output that is damaged: whatever can be read is, and the rest is a note that names its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from veritas_peewee.recording.output import OutputParser, parse, unread
from veritas_peewee.recording.parser import MOST_NOTES

BEGIN = {"type": "phase_start", "phase": "scout"}
FINDING = {"type": "finding", "finding": {"id": "f", "severity": "high", "description": "d"}}
END = {"type": "audit_complete", "elapsed": 9.5}
RESULT: dict[str, Any] = {
    "url": "https://shop.example/",
    "status": "completed",
    "judge_decision": {"trust_score_result": {"final_score": 46, "risk_level": "suspicious"}},
    "vision_result": {"findings": [{"sub_type": "nagging", "severity": "low"}, {"sub_type": "x"}]},
    "investigated_urls": ["https://shop.example/"],
    "start_time": 1770000000.25,
}
PRETTY = json.dumps(RESULT, indent=2).split("\n")
PROGRESS = '##PROGRESS:{"phase": "judge", "step": "done", "pct": 98}'


def line_of(event: object) -> str:
    return json.dumps(event)


def stream(*lines: object) -> str:
    return "".join((one if isinstance(one, str) else line_of(one)) + "\n" for one in lines)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


# ---- one event among others ----

GOOD = line_of(FINDING)
DAMAGED = {
    "a comma too many": GOOD.replace('"d"}', '"d",}'),
    "an escape that JSON has not": GOOD.replace('"d"', r'"\x41"'),
    "no quote at the end": GOOD.replace('"d"', '"d'),
    "no bracket at the end": GOOD[:-1],
    "a bracket too many": GOOD + "}",
    "a bracket too early": GOOD.replace('"f",', '"f"},'),
    "no bracket at the beginning": GOOD[1:],
    "another bracket at the beginning": "(" + GOOD[1:],
    "a key that lost its quote": GOOD.replace('"type"', 'type"'),
    "cut off": GOOD[:40],
    "a Python dict": str(FINDING),
    "a log's line": f"2026-01-01 INFO {GOOD} sent",
    "a type that is null": line_of(FINDING | {"type": None}),
    "a type in capitals": GOOD.replace('"type"', '"Type"'),
    "a type that is misspelled": GOOD.replace('"type"', '"tipe"'),
    "JSON nested too deeply": '{"type": "x", "deep": ' + "[" * 5000 + "]" * 5000 + "}",
    "a progress line without its name": PROGRESS.removeprefix("##PROGRESS:"),
    "a progress line with half its name": PROGRESS.replace("##PROGRESS", "ROGRESS"),
    "a progress line that is cut off": PROGRESS[:-4],
    "a progress line with a bracket too early": PROGRESS.replace('"judge",', '"judge"},'),
}


@pytest.mark.parametrize("damaged", DAMAGED.values(), ids=DAMAGED)
def test_an_event_that_cannot_be_read_costs_itself_and_is_noted_by_its_line(damaged: str) -> None:
    events, notes = parse(stream(BEGIN, damaged, END))
    assert [event for event in events if event["type"] != "unknown"] == [BEGIN, END]
    (note,) = unread(events, notes)
    assert "line 2: " in note
    assert len(note) < 300


@pytest.mark.parametrize("sign", ["\t", "\x0b", "\x1f", "\n", "\r", "\r\n", "\u2028"], ids=ascii)
def test_a_control_character_inside_a_text_is_read(sign: str) -> None:
    for description in (f"a{sign}b", f"}}{sign}b", f"a{sign}}}]", f"{sign}", f"{{{sign}\\"):
        told = {"type": "finding", "finding": {"description": description}, "n": [1]}
        escaped = json.dumps(sign)[1:-1]
        text = json.dumps(told).replace(escaped, sign)
        assert parse(stream(BEGIN, text, END)) == ([BEGIN, told, END], [])
        parser = OutputParser()
        lines = stream(BEGIN, text, END).split("\n")
        assert [event for line in lines for event in parser.feed(line)] == [BEGIN, told, END]
        assert parser.finish() == parser.notes == []


def test_what_is_no_json_of_ours_is_no_note() -> None:
    text = stream(
        BEGIN, "[INFO] ready", "{robots.txt} asks to wait", '{"level": "info", "n": 1}', "{'a': 1}",
        'pw:protocol {"id": 1, "type": "request"}', "[1/5] 'scanning'", '{"level": "info"} ready',
        "{", "  foo: 'bar',", "  baz: [Array]", "}", "[warn", "]", END,
    )  # fmt: skip
    assert parse(text) == ([BEGIN, END], [])


def test_two_values_on_one_line_are_both_read() -> None:
    for text in (GOOD + line_of(END), f"{GOOD} {line_of(END)}", f"{GOOD}\t{line_of(END)}"):
        assert parse(stream(BEGIN, text)) == ([BEGIN, FINDING, END], [])
    events, notes = parse(stream(BEGIN, f"12 %{PROGRESS}{line_of(END)}"))
    assert (kinds(events), notes) == (["phase_start", "phase_complete", "audit_complete"], [])
    events, notes = parse(stream(BEGIN, f"{GOOD} WARNING: slow", END))
    assert events == [BEGIN, FINDING, END]
    (note,) = notes
    assert note.startswith(f"line 2: column {len(GOOD) + 2}: what follows the JSON was passed over")


@pytest.mark.parametrize("other", [line_of(BEGIN), PROGRESS])
def test_a_line_that_another_one_cuts_in_two_is_read_whole(other: str) -> None:
    for at in range(1, len(GOOD)):
        events, notes = parse(stream(GOOD[:at] + other, GOOD[at:], END))
        if notes:  # the other one could be a value of this one
            assert GOOD[:at].rstrip()[-1] in ":,{"
            assert all(event in (BEGIN, END) or event["type"] == "phase_complete"
                       for event in events)  # fmt: skip
        else:
            found = [event for event in events if event["type"] not in ("phase_complete",)]
            assert [event for event in found if event != BEGIN] == [FINDING, END]
            assert len(events) == 3


def test_a_number_of_too_many_digits_is_kept_as_text() -> None:
    digits = "9" * 5000
    events, notes = parse(stream(BEGIN, f'{{"type": "x", "n": {digits}, "pct": 37}}', END))
    assert events == [BEGIN, {"type": "x", "n": digits, "pct": 37}, END]
    assert notes[0].startswith("line 2: a number of 5000 digits is kept as text")


# ---- a list of events ----


def test_elements_of_a_list_that_are_no_events_are_kept_and_noted() -> None:
    odd: list[Any] = [{**FINDING, "type": None}, {"Type": "finding"}, "text", 5, None, {}]
    for text in (line_of([BEGIN, *odd, END]), json.dumps([BEGIN, *odd, END], indent=2)):
        events, notes = parse(text)
        assert (events[0], events[-1], notes) == (BEGIN, END, [])
        assert kinds(events[1:-1]) == ["unknown"] * 6
        assert [one.get("value", one.get("finding")) for one in events[1:-1]] == [
            FINDING["finding"], None, "text", 5, None, None,
        ]  # fmt: skip
        found = unread(events, notes)
        assert [note[:3] for note in found] == [f"[{number}]" for number in range(1, 7)]


@pytest.mark.parametrize("indent", [None, 1, 2, "\t"])
@pytest.mark.parametrize(
    "damage", ['"severity": "high",,', '"severity": high,', '"severity" "high",']
)
def test_a_damaged_element_of_a_list_costs_itself(indent: Any, damage: str) -> None:
    text = json.dumps([BEGIN, FINDING, END], indent=indent).replace('"severity": "high",', damage)
    events, notes = parse(text)
    assert [event for event in events if event["type"] != "finding"] == [BEGIN, END]
    assert notes
    assert all(note.startswith("line ") for note in notes)


# ---- a result ----

STRAY = [
    "DeprecationWarning: old", "[INFO] ready", "[", "{", '"text"', '"key": 5', "}}", "}", "]", "5",
    '{"level": "info"}', "{'a': 1", '  File "x.py", line 3', "        deep", "\x1b[31mred\x1b[0m",
    'a "quote', "null,",
]  # fmt: skip


def nulled(at: int) -> object:
    """The result with `null,` before this line, if that is JSON."""
    try:
        return json.loads(stream(*PRETTY[:at], "null,", *PRETTY[at:]))
    except ValueError:
        return None


@pytest.mark.parametrize("stray", STRAY)
def test_a_stray_line_inside_a_result_does_not_cost_the_verdict(stray: str) -> None:
    for at in range(2, len(PRETTY)):
        events, notes = parse(stream(PROGRESS, *PRETTY[:at], stray, *PRETTY[at:]))
        assert kinds(events) == ["phase_complete", "engine_result"], at
        found = events[-1]["result"]
        if (stray, at) != ("}", len(PRETTY) - 1) and found != nulled(at):
            assert any(f"line {at + 2}: " in note for note in notes), (at, notes)
        assert found["judge_decision"]["trust_score_result"]["final_score"] == 46
        assert found["status"] == "completed"


@pytest.mark.parametrize("other", [PROGRESS, line_of(BEGIN)])
def test_other_events_inside_a_result_are_read_beside_it(other: str) -> None:
    for at in range(2, len(PRETTY)):
        events, notes = parse(stream(BEGIN, *PRETTY[:at], other, *PRETTY[at:]))
        assert (kinds(events)[2:], notes) == (["engine_result"], [])
        assert events[-1]["result"] == RESULT
        cut = len(PRETTY[at]) // 2
        halves = (PRETTY[at][:cut] + other, PRETTY[at][cut:])
        events, notes = parse(stream(BEGIN, *PRETTY[:at], *halves, *PRETTY[at + 1 :]))
        if not notes:
            assert events[-1]["result"] == RESULT


def test_a_damaged_line_of_a_result_costs_that_line() -> None:
    for at in range(1, len(PRETTY) - 1):
        text = stream(*PRETTY[:at], PRETTY[at].replace('"', "", 1) + " ?", *PRETTY[at + 1 :])
        events, notes = parse(text)
        assert kinds(events) == ["engine_result"], (at, notes)
        assert any(note.startswith(f"line {at + 1}: ") for note in notes), (at, notes)
        found = events[-1]["result"]
        if at in (1, 2):
            name = "url" if at == 1 else "status"
            assert found == {key: value for key, value in RESULT.items() if key != name}


def test_a_comma_that_is_missing_costs_nothing_and_is_noted() -> None:
    commas = [at for at, line in enumerate(PRETTY) if line.endswith(",")]
    for at in commas:
        events, notes = parse(stream(*PRETTY[:at], PRETTY[at][:-1], *PRETTY[at + 1 :]))
        assert events[-1]["result"] == RESULT
        assert notes


def test_a_result_on_one_line_is_read_around_its_damage() -> None:
    text = line_of(RESULT)
    events, (note, *_) = parse(stream(BEGIN, text.replace('"severity": "low"', '"severity": low')))
    found = events[-1]["result"]
    assert found == {key: value for key, value in RESULT.items() if key != "vision_result"}
    assert note.startswith("line 2: column ")


@pytest.mark.parametrize("indent", [None, 2])
def test_a_key_that_cannot_be_read_costs_its_member(indent: Any) -> None:
    text = json.dumps(RESULT, indent=indent).replace('"vision_result"', r'"vision\x_result"')
    events, notes = parse(stream(BEGIN, text))
    assert events[-1]["result"] == {k: v for k, v in RESULT.items() if k != "vision_result"}
    assert notes


def test_a_value_is_never_taken_from_another_place() -> None:
    """A damaged `judge_decision` must not be made of what lies deeper, or beside it."""
    visit = {"url": "https://x.example/", "status": "SUCCESS", "final_score": 99}
    result = {**RESULT, "scout_results": [visit], "graph_result": {"trust_score_result": visit}}
    for indent in (None, 2):
        text = json.dumps(result, indent=indent)
        for damage in ('"judge_decision": ?', '"judge_decision"', '"judge_decision": "', "{"):
            damaged = text.replace('"judge_decision":', damage)
            events, notes = parse(stream(BEGIN, damaged), may_be_cut=True)
            assert notes
            for event in events:
                told = event.get("result", {})
                score = told.get("judge_decision", {}).get("trust_score_result", {})
                assert score.get("final_score", 46) == 46
                assert told.get("url", RESULT["url"]) == RESULT["url"]
                assert told.get("status", "completed") == "completed"


def test_an_engine_that_began_anew_costs_what_was_cut_off() -> None:
    for at in range(2, len(PRETTY) - 1):
        events, notes = parse(stream(BEGIN, *PRETTY[:at], *PRETTY))
        assert (kinds(events), events[-1]["result"]) == (["phase_start", "engine_result"], RESULT)
        assert notes == ["line 2: JSON that never ends was passed over"]


def test_a_result_that_is_cut_off_is_told_and_what_came_before_is_kept() -> None:
    text = stream(BEGIN, FINDING, *PRETTY[:-4])
    events, notes = parse(text, may_be_cut=True)
    assert events == [BEGIN, FINDING]
    assert notes == ["line 3: the JSON object that begins here is cut off or damaged"]


# ---- its limits ----


@pytest.mark.ends_within(20)
@pytest.mark.parametrize(
    "line",
    ['{"type": "x"}' * 15_000, '{"a": "' + "\n}" * 15_000, "{\n" + " x\n}\n" * 15_000,
     "[x\n" * 15_000, '{"type": "x", ' * 15_000, '{"type' * 15_000, "{" * 30_000,
     "{\n" + ' "a": {\n' * 15_000, '[{"type": "x"},' * 6_000, '##PROGRESS:{"a":' * 15_000,
     '{"judge_decision":' * 15_000, '{"judge_decision": 5, ' + '"a" "b",' * 30_000 + "}",
     "{\n" + "".join(" " * n + '"a": {\n' for n in range(1000)) + "}"],
    ids=range(13),
)  # fmt: skip
def test_the_time_for_damaged_text_does_not_grow_with_its_square(line: str) -> None:
    events, notes = parse(stream(BEGIN, line, END), may_be_cut=True)
    assert events[0] == BEGIN
    assert len(notes) <= MOST_NOTES + 1


def test_notes_are_counted_from_some_number_on() -> None:
    events, notes = parse(stream(BEGIN, *['{"type": }'] * (MOST_NOTES + 5), END))
    assert events == [BEGIN, END]
    assert len(notes) == MOST_NOTES + 1
    assert "5 more parts could not be read" in notes[-1]
