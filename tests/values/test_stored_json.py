"""JSON text of a file is read as what it is, or given as the text that it is; never an error."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veritas_peewee import InvalidAudit
from veritas_peewee.models import Audit, AuditEvent
from veritas_peewee.values.odd_text import OddText, after, before, decoded
from veritas_peewee.values.plain import decode_json, encode_json

DATA = AuditEvent._meta.fields["data"]

ODD = ["", " ", "x", "{", "[1,]", '{"a":NaN}', '{"a":Infinity}', "{} {}", "{}x", " {} x",
       "\n[", "nul",
       "1" * 5000, "[" * 100_000, "[" * 500 + "]" * 500, '{"a":"\\ud800"}', '{"a":"\\u0000"}',
       "\ufeff{}"]  # fmt: skip


@pytest.mark.parametrize("text", ODD, ids=[f"{text:.12}" for text in ODD])
def test_what_is_not_strict_json_is_given_as_text(text: str) -> None:
    assert DATA.python_value(text) is text
    with pytest.raises(InvalidAudit):
        decode_json(text)
    with pytest.raises(InvalidAudit):
        DATA.check_stored(text)


@pytest.mark.parametrize("value", [5, 1.5, b"{}", b"\xff", float("inf"), None])
def test_what_is_not_text_is_given_as_it_is(value: object) -> None:
    assert DATA.python_value(value) is value


def test_spaces_around_it_and_pairs_of_surrogates_are_json() -> None:
    for text, value in ((" {} ", {}), ("\n\t[1]\r", [1]), ('{"a":"\\ud83d\\ude00"}', {"a": "😀"})):
        assert decode_json(text) == value
        assert decode_json(text, finite=True) == value


def test_a_number_beyond_all_floats_is_not_one_that_is_stored() -> None:
    with pytest.raises(InvalidAudit, match="beyond all floats"):
        DATA.check_stored('{"a":1e999}')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab$é\\"), inner),
)  # fmt: skip


@given(json_values)
def test_whatever_is_encoded_is_decoded(value: object) -> None:
    text = encode_json(value, "it")
    assert decode_json(text) == value
    assert decode_json(text, finite=True) == value
    assert decode_json(json.dumps(value, indent=1)) == value


@given(st.text(max_size=30))
def test_any_text_is_read_as_the_standard_library_reads_it_or_not_at_all(text: str) -> None:
    try:
        found = decode_json(text)
    except InvalidAudit:
        return
    assert found == json.loads(text)


@given(st.binary(max_size=12), st.booleans())
def test_text_that_is_not_utf_8_is_shown_and_is_never_equal_to_a_stored_one(
    raw: bytes, long: bool
) -> None:
    text = decoded(raw)
    assert isinstance(text, OddText) == (raw.decode(errors="replace").encode() != raw)
    if isinstance(text, OddText):
        assert (
            text.isprintable() or any(one < 32 or one == 127 for one in raw) or not text.isascii()
        )
        text.encode()
        with pytest.raises(InvalidAudit):
            Audit._meta.fields["narrative"].check_stored(text)
    most = 3 if long else 100
    assert before(text, most).encode() <= raw
    following = after(text, most)
    assert isinstance(following, bytes) or following.encode() >= raw
