"""A line that another tool has read and written again is the same audit; a changed value is not."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.support.database_files import select
from veritas_peewee import connect, sync
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.testing import make_event, make_finding
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import import_jsonl
from veritas_peewee.transfer.spelling import Spelling, form_of
from veritas_peewee.values.plain import decode_json, encode_json

TABLES = ("audits", "audit_findings", "audit_events")


def as_javascript(value: Any) -> Any:
    """As JSON.parse and JSON.stringify give it: keys that are numbers first, no trailing `.0`."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (0, int(key)) if key.isdigit() else (1, 0))
        return {key: as_javascript(value[key]) for key in keys}
    if isinstance(value, list):
        return [as_javascript(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    if type(value) is int and abs(value) > 2**53:
        return int(float(value))
    return value


def javascript(line: str) -> str:
    return json.dumps(as_javascript(json.loads(line)), separators=(",", ":"), ensure_ascii=False)


def sorted_keys(line: str) -> str:
    return json.dumps(json.loads(line), sort_keys=True)


def shuffled(line: str) -> str:
    def shuffle(value: Any) -> Any:
        if isinstance(value, list):
            return [shuffle(item) for item in value]
        if isinstance(value, dict):
            return {
                key: shuffle(value[key]) for key in random.Random(1).sample([*value], len(value))
            }
        return value

    return json.dumps(shuffle(json.loads(line)), indent=None)


def floats_only(line: str) -> str:
    """Whole numbers with an exponent, as a tool that has floats alone may write them."""
    marked = json.dumps(json.loads(line, parse_int=lambda digits: f"#{digits}e0#"))
    return marked.replace('"#', "").replace('#"', "")


def jq(*options: str) -> Callable[[str], str]:
    return lambda line: subprocess.run(
        ["jq", "-c", *options, "."], input=line, capture_output=True, text=True, check=True
    ).stdout.strip()


def node(line: str) -> str:
    code = "process.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0,'utf8'))))"
    return subprocess.run(
        ["node", "-e", code], input=line, capture_output=True, text=True, check=True
    ).stdout


TOOLS: dict[str, Callable[[str], str]] = {
    "javascript": javascript, "sorted_keys": sorted_keys, "shuffled": shuffled,
    "floats_only": floats_only,
}  # fmt: skip
if shutil.which("jq"):
    TOOLS |= {"jq": jq(), "jq -S": jq("-S"), "jq -a": jq("-a")}
if shutil.which("node"):
    TOOLS["node"] = node


def add_audits() -> None:
    for number in range(3):
        audit = sync.create(f"https://shop{number}.example/")
        finding = make_finding(confidence=1.0, description="0.5 or 85.0, [85.0]")
        sync.record(audit.id, make_event("finding", finding=finding))
        numbers = [1, 1.0, 0.1, 1e16, 1e-7, 5e300, True, None]
        odd = {"type": "log_entry", "z": 85.0, "a": numbers,
               "10": {"y": 0.0, "x": 0}, "9": {"v": 2.0, "u": 2},
               "text": "é\u2028 :85.0,"}  # fmt: skip
        sync.record(audit.id, odd)
        sync.record(audit.id, {"type": "log_entry", "large": 2**60, "minus": -0.0, "one": 1.0})
        sync.update(audit.id, trust_score=85.0, signal_scores={"b": 50.0, "a": 1.5, "c": 7})
        sync.record(audit.id, {"type": "audit_complete", "elapsed": 3.0})


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    with connect(tmp_path / "audits.db"):
        add_audits()
        export_jsonl(tmp_path / "audits.jsonl")
    return tmp_path / "audits.jsonl"


@pytest.mark.parametrize("tool", TOOLS)
def test_a_line_that_a_tool_wrote_again_is_the_same_audit(
    tmp_path: Path, exported: Path, tool: str
) -> None:
    lines = exported.read_text().strip().split("\n")
    rewritten = [TOOLS[tool](line) for line in lines]
    assert rewritten != lines
    other = tmp_path / "other.jsonl"
    other.write_text("\n".join(rewritten))
    with connect(tmp_path / "other.db"):
        done = import_jsonl(other)
        assert (done.audits, list(done.problems)) == (3, [])
        assert verify().problems == []
    for table in TABLES:
        text = f"SELECT * FROM {table} ORDER BY 1"
        mine, theirs = (select(tmp_path / name, text) for name in ("audits.db", "other.db"))
        # A row of a finding has an id of its own in each store.
        assert sorted(repr(row[1:]) for row in mine) == sorted(repr(row[1:]) for row in theirs)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "a score": lambda line: line["audit"].update(trust_score=86),
    "a score, a little": lambda line: line["audit"].update(trust_score=85.0000001),
    "a number in an event": lambda line: line["events"][1]["data"].update(z=84),
    "the type of a value": lambda line: line["events"][1]["data"].update(z=True),
    "a number as text": lambda line: line["events"][1]["data"].update(z="85.0"),
    "a key": lambda line: line["events"][1]["data"].update(new=1),
    "an order of a list": lambda line: line["events"][1]["data"]["a"].reverse(),
    "a confidence": lambda line: line["findings"][0].update(confidence=0.99),
    "which numbers are floats": lambda line: line["spelling"]["floats"].clear(),
    "the order of keys": lambda line: line["spelling"]["keys"].clear(),
    "the spelling's form": lambda line: line.update(spelling=[1]),
    "the spelling's parts": lambda line: line.update(spelling={"keys": [[1], 2], "floats": 3}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_value_is_refused_whoever_wrote_the_line(
    tmp_path: Path, exported: Path, change: str
) -> None:
    lines = [json.loads(line) for line in exported.read_text().strip().split("\n")]
    CHANGES[change](lines[1])
    other = tmp_path / "other.jsonl"
    other.write_text("".join(sorted_keys(javascript(json.dumps(line))) + "\n" for line in lines))
    with connect(tmp_path / "other.db"):
        done = import_jsonl(other)
        assert (done.audits, done.refused) == (2, 1)
        (problem,) = done.problems
        assert problem.startswith("line 2: ")


def test_without_its_spelling_an_untouched_line_is_imported(tmp_path: Path, exported: Path) -> None:
    """As earlier versions wrote it."""
    lines = [json.loads(line) for line in exported.read_text().strip().split("\n")]
    for line in lines:
        del line["spelling"]
    exported.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with connect(tmp_path / "other.db"):
        assert import_jsonl(exported).audits == 3


NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False),
                    st.integers(-9, 9).map(float))  # fmt: skip
VALUES = st.recursive(
    st.one_of(NUMBERS, st.none(), st.booleans(), st.text("ab1é", max_size=3)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab12", max_size=2), inner),
    max_leaves=12,
)


@settings(max_examples=amount(25, 100), deadline=None)
@given(values=st.lists(VALUES, max_size=4))
@example([{"b": 1.0, "a": 1}, {"a": 1, "b": 1.0}])
def test_any_value_has_its_spelling_back_or_is_known_to_have_none(values: list[Any]) -> None:
    texts = [encode_json(value, "it") for value in values]
    spelling = Spelling()
    noted = [text for text in texts if spelling.note(form_of(decode_json(text)))]
    again = Spelling.read(json.loads(json.dumps(spelling.written(), sort_keys=True)))
    for text in noted:
        found = json.loads(sorted_keys(javascript(text)))
        assert encode_json(again.spelled(found), "it") == text
    for text in set(texts) - set(noted):  # only what no double holds, and keys in two orders
        assert re.search(r"\d{16}|-0\.0", text) or "{" in text
