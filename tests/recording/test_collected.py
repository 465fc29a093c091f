"""What events add to a list or an object is put after what is stored, and gives the same rows."""

from __future__ import annotations

import json
import random
from contextlib import suppress

import pytest

from tests.support.database_files import by_hand
from tests.support.invariants import check_invariants
from veritas_peewee import Audit, InvalidAudit, connect
from veritas_peewee.database.statements import execute
from veritas_peewee.queries import lookups
from veritas_peewee.recording import collected, operations, recorder
from veritas_peewee.values.json_field import JSONField

TEXTS = ["plain", 'with "quotes" and \\', "é ü 漢 🜚", "line\nbreak", "", "]", "}", "[1]"]


@pytest.fixture(autouse=True)
def _remembers_short_ones(monkeypatch):
    monkeypatch.setattr(collected, "LONG", 0)


@pytest.fixture
def database(tmp_path):
    with connect(tmp_path / "audits.db") as opened:
        yield opened
        check_invariants()


def columns(audit_id):
    ((errors, results),) = execute(
        "SELECT errors, security_results FROM audits WHERE id = ?", (audit_id,)
    )
    return errors, results


def error(text):
    return {"type": "phase_error", "error": text}


def result(module, value):
    return {"type": "security_result", "module": module, "result": {"value": value}}


def any_event(dice):
    text, number = dice.choice(TEXTS), dice.randrange(6)
    if number < 2:
        return error(text or "x")
    if number < 4:
        return result(dice.choice("abcdefgh") + text, [number, 1.5, {"a": None}])
    if number == 4:
        found = {"errors": [text, "plain"], "security_results": {dice.choice("abc"): {"b": text}}}
        return {"type": "audit_result", "result": found}
    changes = dice.choice([{"errors": ["set"]}, {"security_results": {"a": {}}}, {"errors": []}])
    return {"type": "audit_update", "changes": changes}


@pytest.mark.parametrize("seed", range(8))
def test_one_by_one_or_together_or_replayed_the_texts_are_the_same(database, seed):
    dice = random.Random(seed)
    one, other, again = (operations.create("https://example.com").id for _ in range(3))
    events: list[dict] = []
    while len(events) < 40:
        part = [any_event(dice) for _ in range(dice.choice([1, 1, 1, 3]))]
        recorder.record_many(one, part)
        events += part
        errors, results = columns(one)
        dump = {"ensure_ascii": False, "separators": (",", ":")}
        assert errors == json.dumps(json.loads(errors), **dump)
        assert results == json.dumps(json.loads(results), **dump)
        if dice.random() < 0.2:
            with suppress(KeyError), database.atomic():
                recorder.record_many(one, part)
                raise KeyError
    recorder.record_many(other, events)
    recorder.replay(again, lookups.events(one))
    assert columns(one) == columns(other) == columns(again)


@pytest.mark.parametrize("make", [error, lambda text: result(text, 1)], ids=["errors", "results"])
def test_what_is_stored_is_neither_read_nor_encoded_again(database, monkeypatch, make):
    audit = operations.create("https://example.com")
    recorder.record_many(audit.id, [make(f"number {number}") for number in range(100)])
    given: list[int] = []
    encode, decode = collected.encode_json, JSONField.python_value

    def encoded(value, *args):
        given.append(len(str(value)))
        return encode(value, *args)

    def decoded(self, value):
        given.append(len(value))
        return decode(self, value)

    monkeypatch.setattr(collected, "encode_json", encoded)
    monkeypatch.setattr(JSONField, "python_value", decoded)
    for number in range(100, 110):
        recorder.record(audit.id, make(f"number {number}"))
    assert len(given) == 10
    assert max(given) < 60
    monkeypatch.undo()
    found = lookups.get(audit.id)
    assert len(found.errors) + len(found.security_results) == 110


def test_what_others_have_stored_is_added_to(database, tmp_path):
    audit = operations.create("https://example.com")
    for number in range(3):
        recorder.record_many(audit.id, [error(f"own {number}"), result(f"own{number}", 1)])
    Audit.update(errors=["theirs"], security_results={"theirs": {}}).execute()
    recorder.record_many(audit.id, [error("then"), result("then", 1), result("theirs", 2)])
    assert columns(audit.id) == (
        '["theirs","then"]', '{"theirs":{"value":2},"then":{"value":1}}'
    )  # fmt: skip


@pytest.mark.parametrize("odd", ["", "[", "null", "5", '"a"', b"", b"[]", "[[]]", " [ ] ", " { } "])
def test_to_what_is_no_json_of_ours_is_added_as_if_it_were_read(path, odd):
    with connect(path):
        audit = operations.create("https://example.com")
        text = f"x'{odd.hex()}'" if isinstance(odd, bytes) else f"'{odd}'"
        by_hand(path, f"UPDATE audits SET errors = {text}, security_results = {text}")
        recorder.record_many(audit.id, [error("one"), result("one", 1)])
        recorder.record_many(audit.id, [error("two"), result("two", 2)])
        before = [[]] if odd == "[[]]" else []
        found = lookups.get(audit.id)
    assert found.errors == [*before, "one", "two"]
    assert found.security_results == {"one": {"value": 1}, "two": {"value": 2}}


def test_a_text_that_would_be_too_long_is_refused(database, monkeypatch):
    audit = operations.create("https://example.com")
    recorder.record(audit.id, error("a" * 50))
    monkeypatch.setattr(collected, "MAX_TEXT", 80)
    with pytest.raises(InvalidAudit, match="errors: has 107 characters, the limit is 80"):
        recorder.record(audit.id, error("b" * 50))
    recorder.record(audit.id, error("c"))
    assert [len(text) for text in lookups.get(audit.id).errors] == [50, 1]


def test_only_so_many_texts_are_remembered(database, monkeypatch):
    monkeypatch.setattr(collected, "MOST_REMEMBERED", 100)
    ids = [operations.create("https://example.com").id for _ in range(5)]
    for _ in range(2):
        for audit_id in ids:
            recorder.record(audit_id, error("a" * 30))
            texts = database.keeper.texts
            assert sum(len(text) for text, _ in texts.values()) <= 100
    assert {len(lookups.get(audit_id).errors) for audit_id in ids} == {2}
