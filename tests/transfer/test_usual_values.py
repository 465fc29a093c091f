"""What is recognised at a glance is what the thorough checks accept, written as they write it."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.support.audits import fill
from tests.support.database_files import by_hand
from veritas_peewee import connect
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger.stored import AUDIT, EVENT, StoredAudit, read_each, read_stored
from veritas_peewee.models import Audit, AuditEvent
from veritas_peewee.recording import operations, recorder
from veritas_peewee.transfer.accepting import check_values
from veritas_peewee.transfer.exporting import export_jsonl
from veritas_peewee.transfer.lines import from_line, to_line
from veritas_peewee.transfer.usual import are_usual
from veritas_peewee.transfer.writing import prepare, usual_form
from veritas_peewee.values import plain
from veritas_peewee.values.odd_text import OddText
from veritas_peewee.values.plain import encode_json

DEEP = '{"a":' * 201 + "1" + "}" * 201
TEXTS = [
    "{}", "[]", "null", "5", '"x"', "", " {}", "{} ", '{"a": 1}', '{"a":1,"a":1}', '{"a":1,"b":2}',
    '{"b":1,"a":{"b":1,"a":2}}', '[{"a":1,"b":2},{"b":1,"a":2}]', '{"a":NaN}', '{"a":Infinity}',
    '{"a":-Infinity}', '{"a":1e400}', '{"a":1E5}', '{"a":1e5}', '{"a":100000.0}', '{"a":-0.0}',
    '{"a":-0}', '{"a":0.10}', '{"a":9007199254740992}', '{"a":9007199254740993}',
    '{"a":-9007199254740993}', f'{{"a":{"1" * 5000}}}', '{"a":"\\u0000"}', '{"a":"\\\\u0000"}',
    '{"a":"\\ud800"}', '{"a":"\ud800"}', '{"a":"\\u00e9"}', '{"a":"é\\n\\"\\\\"}', '{"a":"\\/"}',
    '{"a":"\n"}', '{"$a":1}', '{"a":{"$text":1}}', '{"$text":"{}"}', '{"a":"$"}', DEEP,
    DEEP.replace('{"a":', "[").replace("}", "]"), '{"a":1.0}', "[1.0,2]", '{"visual":101}',
    '{"visual":53.0,"b":1e+16}', "[5]", '["x"]', "[" * 100_000, '{"a":1}x', "{'a':1}", "[1,]",
    '{"":{"":[]}}', '{"a":true,"b":false,"c":null}',
]  # fmt: skip
VALUES: list[Any] = [
    None, "", "x", "x" * 101, "a\0b", "\ud800", "é", "hello", 0, 1, -1, -2, 2**53, 2**53 + 1, 2**63,
    -(2**63), 0.0, -0.0, 0.5, 1.5, 1e308, float("inf"), float("-inf"), True, False, b"", b"x" * 32,
    OddText(b"a\xff"), "completed", "running", "odd", "low", "evil", "image/png", "image/gif",
    "2026-01-31 18:00:00.000000", "2026-13-31 18:00:00.000000", "2026-01-31", "a/b.png", "../b.png",
    "https://x.example/", "http://", "javascript:x", "https://a b", "HTTPS://X.example", "x" * 17,
    "0" * 64, "g" * 64, *TEXTS,
]  # fmt: skip


@pytest.fixture(scope="module")
def audits() -> Iterator[list[StoredAudit]]:
    with connect(":memory:"):
        ids = fill(2)
        yield [stored for some in read_each(ids) for stored in some]


def line_of(stored: StoredAudit) -> bytes | None:
    """The line that is put together, if the audit is plainly usual."""
    if not are_usual([stored]):
        return None
    (found,) = prepare([stored])
    return found and found.line([None] * len(stored.screenshots))


def is_accepted(stored: StoredAudit) -> bool:
    try:
        check_values(stored, [None] * len(stored.screenshots))
    except InvalidAudit:
        return False
    return True


def check_alike(stored: StoredAudit) -> None:
    line = line_of(stored)
    if line is None:
        return
    assert is_accepted(stored)
    images: list[bytes | None] = [None] * len(stored.screenshots)
    assert from_line(line) == (stored, images)
    again, thorough = json.loads(line), json.loads(to_line(stored, images))
    for one in (again, thorough):
        one["spelling"]["keys"].sort()
    assert again == thorough
    assert list(again) == list(thorough)


def changed(stored: StoredAudit, part: int, row: int, column: int, value: Any) -> StoredAudit:
    parts: list[Any] = list(stored)
    rows = [parts[part]] if part == 0 else list(parts[part])
    if not rows:
        return stored
    one = list(rows[row % len(rows)])
    one[column % len(one)] = value
    rows[row % len(rows)] = tuple(one)
    parts[part] = rows[0] if part == 0 else rows
    return StoredAudit(*parts)


def test_the_store_s_own_audits_are_usual(audits: list[StoredAudit]) -> None:
    assert are_usual(audits)
    lines = [line_of(one) for one in audits]
    assert None not in lines
    assert lines == [
        found and found.line([None] * len(one.screenshots))
        for one, found in zip(audits, prepare(audits), strict=True)
    ]
    for one in audits:
        check_alike(one)


@pytest.mark.parametrize("part", range(4))
def test_no_value_is_usual_that_the_thorough_checks_refuse(
    audits: list[StoredAudit], part: int
) -> None:
    taken = 0
    for stored in audits:
        rows = [stored.audit] if part == 0 else stored[part]
        for number, row in enumerate(rows[:2]):
            # A finding's or screenshot's audit is the one that it was read for; see `ledger`.
            for column in range(1 if part in (1, 2) else 0, len(row)):
                for value in VALUES:
                    if part == 0 and AUDIT[column] == "id":
                        continue  # the rows that belong to it have it too
                    if value is not None and column == len(row) - 1 and part:
                        continue  # a digest
                    one = changed(stored, part, number, column, value)
                    check_alike(one)
                    taken += line_of(one) is not None
    assert taken > 10


@settings(max_examples=amount(75, 300), deadline=None)
@given(
    st.integers(0, 3), st.integers(0, 50), st.integers(0, 30),
    st.sampled_from(VALUES) | st.text(max_size=5) | st.floats() | st.integers(),
)  # fmt: skip
@example(3, 0, 0, 0)
def test_any_change_is_seen_by_both(
    audits: list[StoredAudit], part: int, row: int, column: int, value: Any
) -> None:
    # But for the id of the audit, which its rows have too, and a digest, the last of a row.
    first, width = (0, len(EVENT) - 1) if part == 3 else (1, len(audits[0][part][0]) - 2)
    if part == 0:
        width = len(AUDIT) - 1
    column = first + column % width
    check_alike(changed(audits[0], part, row, column, value))


# ---- JSON columns ----

json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text("ab$é\0\ud800", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)
writers: list[Callable[[Any], str]] = [
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")),
    json.dumps,
    lambda value: json.dumps(value, separators=(",", ":")),
    lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace(".0", ".00"),
]
JSON_FIELDS = [
    Audit._meta.fields[name] for name in ("signal_scores", "security_results", "errors")
] + [AuditEvent._meta.fields["data"]]


def check_form(field: Any, text: str) -> None:
    if usual_form(field.name, text) is None:
        return
    value = field.check_stored(text)
    assert encode_json(value, "") == text


@pytest.mark.parametrize("field", JSON_FIELDS, ids=lambda field: field.name)
def test_of_odd_json_none_is_usual(field: Any) -> None:
    for text in TEXTS:
        check_form(field, text)


@settings(max_examples=amount(100, 400), deadline=None)
@given(st.sampled_from(JSON_FIELDS), json_value, st.sampled_from(writers))
def test_json_is_usual_only_if_the_column_takes_it_and_would_write_it_so(
    field: Any, value: Any, write: Callable[[Any], str]
) -> None:
    check_form(field, write(value))


@settings(max_examples=amount(75, 300), deadline=None)
@given(json_value)
def test_the_quick_encoder_is_python_s(value: Any) -> None:
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    try:
        wanted: Any = encoder.encode(value)
    except ValueError as error:
        wanted = str(error)
    try:
        found: Any = plain.compact_json(value)
    except ValueError as error:
        found = str(error)
    assert found == wanted


def test_a_value_that_contains_itself_has_the_encoder_s_own_error() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="Circular reference"):
        plain.compact_json(endless)


def test_audits_are_read_at_once_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(":memory:"):
        ids = [*fill(3), "absent"]
        wanted = [read_stored(one) for one in ids[:-1]]
        (together,) = read_each(ids)
        assert together == wanted
        monkeypatch.setattr("veritas_peewee.ledger.stored._MOST_BYTES", 1000)
        assert [stored for some in read_each(ids) for stored in some] == wanted


def test_large_audits_are_not_held_all_at_once(
    script: StoreDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("veritas_peewee.ledger.stored._MOST_BYTES", 1_000_000)
    ids = [operations.create("https://example.com").id for _ in range(20)]
    for audit_id in ids:
        recorder.record(audit_id, {"type": "log_entry", "text": "x" * 500_000})
    tracemalloc.start()
    try:
        count = sum(len(some) for some in read_each(ids))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == len(ids)
    assert peak < 4_000_000


@pytest.mark.parametrize("odd", ["x'626c6f62'", "'a' || char(0) || 'b'"], ids=["blob", "NUL"])
def test_an_audit_whose_id_another_program_has_made_odd_is_exported(path: Path, odd: str) -> None:
    with connect(path):
        ids = fill(3)
    by_hand(
        path,
        f"UPDATE audits SET id = {odd} WHERE id = '{ids[1]}'",
        f"UPDATE audit_events SET audit_id = {odd} WHERE audit_id = '{ids[1]}'",
    )
    target = io.BytesIO()
    with connect(path, read_only=True):
        report = export_jsonl(target)
    lines = [json.loads(line) for line in target.getvalue().splitlines()]
    assert report.audits == len(lines) == len(ids)
    assert all(line["events"] for line in lines)
    assert len(report.problems) == 1
