"""A line that is taken at a glance is the audit that the thorough way makes of it."""

from __future__ import annotations

import io
import json
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.support.audits import fill
from tests.support.forging import forged
from tests.transfer.test_usual_values import TEXTS
from veritas_peewee import connect
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.importing import _checked
from veritas_peewee.transfer.reading import usual_audits
from veritas_peewee.values.plain import decode_json

VALUES: list[Any] = [
    None, "", "x", "a\0b", "\ud800", "é", 0, 1, -1, 1.0, 85, 85.0, 0.5, -0.0, 1e308, 2**53 + 1,
    2**63, True, [], {}, [[]], {"$text": "{}"}, {"$text": '{"a": 1}'}, {"$blob": "AP8="},
    {"$real": "inf"}, {"$x": 1}, {"a": 1.0, "b": [2**60]}, {"b": 1, "a": {"b": 1, "a": 2}},
    {"a": "\0"}, {"a": "\\u0000"}, {"a": "\ud800"}, "2026-01-31 18:00:00.000000", "0" * 64,
    "00 " * 32, "A" * 64, "a/b.png", "completed", "low", [5], ["x"], {"visual": 50.0},
    {"visual": 101},
]  # fmt: skip
DEEP = "[" * 300 + "]" * 300


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with connect(tmp_path_factory.mktemp("source") / "audits.db"):
        ids = fill(1)
        target = io.BytesIO()
        assert export_jsonl(target, ids=ids[:1]).ok
    found: dict[str, Any] = json.loads(target.getvalue())
    assert usual_audits([target.getvalue()]) != [None]
    return found


def is_taken(line: bytes) -> bool:
    (usual,) = usual_audits([line])
    if usual is None:
        return False
    one = _checked(1, line)  # raises for what is refused
    assert usual == (one.stored, one.images)
    assert [type(value) for value in usual[0].audit] == [type(value) for value in one.stored.audit]
    return True


def places(line: dict[str, Any]) -> list[tuple[str, int, str]]:
    found = [("audit", 0, name) for name in line["audit"]]
    for part in ("findings", "screenshots", "events"):
        found += [(part, number, name) for number in (0, -1) for name in line[part][number]]
    return found


def put(found: dict[str, Any], place: tuple[str, int, str], value: Any) -> None:
    part, number, name = place
    (found["audit"] if part == "audit" else found[part][number])[name] = value


def test_whatever_a_column_holds_is_taken_only_if_the_thorough_way_takes_it(line):
    taken = 0
    for place in places(line):
        for value in VALUES:
            try:
                changed = forged(line, partial(put, place=place, value=value))
            except (TypeError, ValueError, AttributeError, InvalidAudit, OverflowError):
                continue
            taken += is_taken(changed)
    assert taken > 30


@settings(max_examples=amount(50, 200), deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_line_that_was_altered_is_taken_only_if_the_thorough_way_takes_it(line, data):
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.binary(max_size=2) | st.sampled_from([b'"', b"{", b" ", b"\\", b"0"]))
    is_taken(text[:at] + other + text[at + data.draw(st.integers(0, 2)) :])


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_json_in_any_spelling_is_taken_only_if_the_thorough_way_takes_it(line, text):
    """The digests are those of the text that a column would have."""
    try:
        value = decode_json(text)
    except (InvalidAudit, ValueError):
        value = {}
    changed = forged(line, lambda found: found["events"][0].update(data=value))
    plain = json.dumps(value).encode()
    is_taken(changed)
    if plain in changed:
        is_taken(changed.replace(plain, text.encode(errors="surrogatepass"), 1))


def test_forms_of_a_line(line):
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
    assert is_taken(text.encode())
    assert is_taken(text.encode() + b"\n")
    assert is_taken(json.dumps(line).encode() + b"\n")
    for other in (
        b"", b"\n", b"null", b"[]", b"5", b"{}", b"\xef\xbb\xbf" + text.encode(),
        f" {text}".encode(), f"{text} \n".encode(), f"{text}x".encode(), f"{text}{text}".encode(),
        text.encode("utf-16"), text.encode()[:-1], b"\xff" + text.encode(), DEEP.encode(),
        text.replace('"version":1', '"version":2').encode(),
        text.replace('"version":1', '"version":true').encode(),
        text.replace('"events":[', '"events":{').encode(),
    ):  # fmt: skip
        is_taken(other)
    assert usual_audits([None]) == [None]


def test_an_image_that_is_another_one_is_not_taken(line):
    other = json.loads(json.dumps(line))
    other["screenshots"][0]["image"] = "AAAA"
    assert not is_taken(json.dumps(other).encode())
    other["screenshots"][0]["image"] = "no base64"
    assert not is_taken(json.dumps(other).encode())
    del other["screenshots"][0]["image"]
    is_taken(json.dumps(other).encode())
