"""Output that tells of two audits is taken for one, and says so."""

from __future__ import annotations

import json

import pytest

from tests.support.command_line import Result
from veritas_peewee import connect, sync
from veritas_peewee.cli.app import run
from veritas_peewee.recording.one_audit import notes_on_others

ONE, TWO = "https://one.example/a", "https://two.example/"


def result(url: str, score: int, **more: object) -> dict[str, object]:
    trust = {"final_score": score, "risk_level": "suspicious"}
    decision = {"judge_decision": {"trust_score_result": trust}}
    return {"url": url, "status": "completed", **decision, **more}


def told(url: str, audit_id: str) -> list[dict[str, object]]:
    return [
        {"type": "phase_start", "phase": "scout"},
        {"type": "audit_result", "result": {"url": url, "status": "completed", "trust_score": 5}},
        {"type": "audit_complete", "audit_id": audit_id},
    ]


OTHERS = {
    "two results": [result(ONE, 20), result(TWO, 90)],
    "two transcripts": told(ONE, "aaa") + told(TWO, "bbb"),
    "two pages of a site": [result(ONE, 20), result("https://one.example/b", 90)],
    "a page at two times": [
        result(ONE, 20, start_time=1768465800),
        result(ONE, 90, start_time=1776241800),
    ],
    "the ends of two": [*told(ONE, "aaa"), {"type": "audit_complete", "audit_id": "bbb"}],
}
SAME = {
    "both forms": [*told(ONE, "aaa"), result("https://www.one.example/a/", 5)],
    "the end twice": [*told(ONE, "aaa"), {"type": "audit_complete", "audit_id": "aaa"}],
    "a result twice": [result(ONE, 20, start_time=1768465800)] * 2,
    "an odd url": [result(ONE, 20), result(ONE, 20) | {"url": None}],
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("way", ["file", "pipe", "live", "several files"])
def test_an_output_of_two_audits_is_named_on_standard_error_and_in_the_errors(
    tmp_path, monkeypatch, capsys, name, way
):
    lines = "".join(json.dumps(one) + "\n" for one in OTHERS[name])
    path, output = str(tmp_path / "audits.db"), tmp_path / "output.jsonl"
    output.write_text(lines)
    files = {"file": [str(output)], "several files": [str(output), str(output) + "2"]}
    (tmp_path / "output.jsonl2").write_text(json.dumps(result("https://three.example/", 5)))
    with output.open() as pipe:
        monkeypatch.setattr("sys.stdin", pipe)
        live = ["--url", ONE] if way == "live" else []
        code = run(["ingest", *files.get(way, ["-"]), *live, "--database", path])
    done = Result(code, *capsys.readouterr())
    assert done.code == 1
    assert "taken for one" in done.err
    with connect(path):
        (audit,) = [one for one in sync.history().items if "three" not in one.url]
    noted = [error for error in audit.errors if "taken for one" in error]
    assert done.err.count("\n") == len(noted) > 0


@pytest.mark.parametrize("name", SAME)
def test_what_tells_the_same_audit_again_needs_no_word(tmp_path, name):
    with connect(tmp_path / "audits.db"):
        assert sync.ingest([dict(one) for one in SAME[name]]).errors == []


def test_a_list_of_events_is_noted_too(tmp_path):
    with connect(tmp_path / "audits.db"):
        (note,) = sync.ingest(OTHERS["two results"]).errors
    assert note.startswith(f"engine_result: a further result, of '{TWO}'")


def test_odd_values_are_of_no_other_audit():
    results = [{"url": url} for url in (ONE, 5, "http://[", "http://[", None)]
    events = [{"type": "audit_result", "result": one} for one in (*results, None, [])]
    events += [{"type": "audit_complete", "audit_id": one} for one in ("a", 5, None, "")]
    assert len(notes_on_others(events)) == 1  # the address that is none


@pytest.mark.parametrize("way", ["file", "pipe"])
def test_an_address_that_is_not_the_stored_audit_s_is_refused(tmp_path, monkeypatch, capsys, way):
    path, output = str(tmp_path / "audits.db"), tmp_path / "output.jsonl"
    output.write_text('{"type": "phase_start", "phase": "scout"}\n')
    with connect(path):
        sync.create(ONE, id="one")
    for url, code in ((TWO, 1), (f"{ONE}/", 0)):
        with output.open() as pipe:
            monkeypatch.setattr("sys.stdin", pipe)
            source = str(output) if way == "file" else "-"
            done = run(["ingest", source, "--id", "one", "--url", url, "--database", path])
        told = capsys.readouterr().err
        assert (done, f"audit 'one' is of '{ONE}', got '{TWO}'" in told) == (code, code == 1), told
    with connect(path):
        assert sync.events("one")[0].event_type == "phase_start"
