"""A word is found in any script, with or without its marks, whatever nobody sees is inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unicodedata import category, combining, normalize

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.support.audits import ended, found
from tests.support.database_files import opened, with_texts_twice
from veritas_peewee import connect
from veritas_peewee.catalog.folding import folded, places
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.queries.comparison import compare
from veritas_peewee.queries.search import search

WORDS = {
    "Latin": "désabonnement",
    "Vietnamese": "đăng ký",
    "Polish": "Łódź",
    "Turkish": "\u0131\u015f\u0131k",
    "Cyrillic": "подтверждённый",
    "Greek": "κόστος",
    "Armenian": "վճար",
    "Georgian": "გადასახადი",
    "Arabic": "رُسُومٌ",
    "Hebrew": "עֲמָלָה",
    "Syriac": "ܫܠܳܡܳܐ",
    "Thaana": "ދިވެހި",
    "Devanagari": "ज़रूरी",
    "Bengali": "সাবস্ক্রিপশন",
    "Gurmukhi": "ਗ਼ਲਤ",
    "Gujarati": "છૂપું",
    "Tamil": "கட்டணம்",
    "Telugu": "రుసుము",
    "Kannada": "ಶುಲ್ಕ",
    "Malayalam": "ഫീസ്",
    "Sinhala": "ගාස්තු",
    "Thai": "ค่าธรรมเนียม",
    "Lao": "ຄ່າທຳນຽມ",
    "Burmese": "ကြေး",
    "Khmer": "ថ្លៃសេវា",
    "Tibetan": "བརྡ་",
    "Amharic": "ክፍያ",
    "Hangul": "구독료",
    "Japanese": "ボタンを押す",
    "Han": "取消链接",
}
INVISIBLE = (
    "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u061c\u180e\u200e\u200f\u202a\u202e\u2066\u2069"
    "\ufe0f\u3164\uffa0\U000e0041\U000e0100"
)
DISGUISED = [
    "".join(chr(ord(letter) - ord("a") + first) for letter in "hidden")
    for first in (0xFF41, 0x24D0, 0x1D586)  # full width, in circles, bold Fraktur
]


def without_marks(word: str) -> str:
    return "".join(sign for sign in normalize("NFD", word) if category(sign)[0] != "M")


def without_accents(word: str) -> str:
    return "".join(sign for sign in normalize("NFD", word) if not combining(sign))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An audit for each script in each normal form, and one with invisible signs in the word."""
    with connect(tmp_path_factory.mktemp("scripts") / "audits.db"):
        ids: dict[str, set[str]] = {}
        for script, word in WORDS.items():
            sign = INVISIBLE[len(ids) % len(INVISIBLE)]
            hidden = sign.join(word) + sign
            texts = (normalize("NFC", word), normalize("NFD", word), hidden, without_marks(word))
            ids[script] = {
                ended(f"https://s{len(ids)}.example/", f"before {text} after") for text in texts
            }
        yield ids
        assert verify().problems == []


@pytest.mark.parametrize("script", WORDS)
def test_a_word_is_found_in_every_form_by_every_form(told: Any, script: str) -> None:
    word = WORDS[script]
    for asked in (
        word, normalize("NFD", word), normalize("NFKC", word), word.upper(), without_marks(word),
        without_accents(word), "\u200b".join(word), f'"{word}"', f"before {word}", f"{word[:-1]}*",
    ):  # fmt: skip
        assert set(found(asked)) == told[script], ascii(asked)
    assert found(f"{word} -before") == []


@pytest.mark.parametrize("sign", INVISIBLE, ids=ascii)
def test_an_invisible_sign_hides_no_word(script: Any, sign: str) -> None:
    one = ended("https://one.example/", f"a sub{sign}scrip{sign}tion{sign} trap")
    assert found("subscription") == found("subscr*") == found(f"sub{sign}scription") == [one]
    (hit,) = search("subscription").items
    ((begin, end),) = hit.snippet.matches
    # The text is shown as it was written, and the whole word in it is marked.
    assert hit.snippet.text[begin:end].rstrip(sign) == f"sub{sign}scrip{sign}tion"


@pytest.mark.parametrize(
    ("written", "asked", "shown"),
    [
        ("Ещё одна Ёлка!", "елка", "Ёлка"),
        ("con\ufb01rm it", "confirm", "con\ufb01rm"),
        *((f"{word} here", "hidden", word) for word in DISGUISED),
        ("ｶｰﾄﾞ決済", "カード", "ｶｰﾄﾞ"),
        ("Økland Æsop Straße", "oekland okland", ""),
        ("Økland Æsop Straße", "strasse", "Straße"),
        ("Acme™ ships", "acme", "Acme"),
        ("cafe\u0301 latte", "cafe", "cafe\u0301"),
        ("a 구독 b", normalize("NFD", "구독"), "구독"),
        (normalize("NFD", "a 구독 b"), "구독", normalize("NFD", "구독")),
        ("㌔で", "キロ", "㌔"),
        ("مـــجـــانـــي", "مجاني", "مـــجـــانـــي"),
    ],
)
def test_the_match_is_marked_in_the_text_as_it_was_written(
    script: Any, written: str, asked: str, shown: str
) -> None:
    ended("https://one.example/", narrative=f"Seen: {written}")
    hits = search(asked).items
    texts = [hit.snippet.text[begin:end] for hit in hits for begin, end in hit.snippet.matches]
    assert "".join(texts) == shown
    assert all(hit.snippet.text == f"Seen: {written}" for hit in hits)


def test_a_long_text_is_marked_as_it_was_written(script: Any) -> None:
    ended("https://one.example/", narrative="Ё́лка и ё\u200bж " * 3000 + "потерянная игла́")
    (hit,) = search("игла елка").items
    texts = [hit.snippet.text[begin:end] for begin, end in hit.snippet.matches]
    assert texts[-1] == "игла́"
    assert set(texts) == {"Ё́лка", "игла́"}


@settings(max_examples=amount(25, 100), deadline=None)
@given(
    text=st.text(st.one_of(st.characters(), st.sampled_from("aé각\u1100\u1161\u11a8\u0301\ufb01ｶﾞ")))
)
@example("\u1100\u1161\u11a8\u1100\u1161가\u11a8")
def test_each_place_of_a_folded_text_has_its_place_in_the_original(text: str) -> None:
    text = text.encode(errors="ignore").decode()
    whole, starts = folded(text), places(text)
    assert len(starts) == len(whole) + 1
    assert starts == sorted(starts)
    assert folded(whole) == whole
    assert folded(normalize("NFD", text)).casefold() == folded(text).casefold()
    # A text that is cut at such a place is folded to the same two parts.
    for at in range(0, len(whole), 7):
        if starts[at - 1 if at else 0] != starts[at] or not at:
            assert folded(text[: starts[at]]) == whole[:at] or "\u1160" < whole[at] < "\u1200"


def test_a_finding_with_an_invisible_sign_in_it_is_the_same_finding(script: Any) -> None:
    one = ended("https://one.example/", "subscription fée", "sub scription fée")
    two = ended("https://one.example/", "sub\u200bscription fe\u0301e")
    (step,) = compare([one, two]).steps
    assert [finding.description for finding in step.findings.gone] == ["sub scription fée"]


def test_a_file_of_before_gets_the_folded_words(tmp_path: Path) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        one = ended("https://one.example/", "sub\u200bscription", narrative="Ещё одна Ёлка 取消")
        ended("https://two.example/", "plain", narrative="nothing else")
    with_texts_twice(path)
    with opened(path) as file:  # as the version before had it
        file.execute("DROP VIEW latest_audit_of_each_site")
        file.execute("DELETE FROM veritas_migrations WHERE name >= '0008'")
        file.execute(
            "UPDATE audit_catalog SET narrative = 'Ещё одна Ёлка 取\u200b消', "
            "findings = 'hidden_cancel (obstruction): sub\u200bscription\n' WHERE audit_id = ?",
            (one,),
        )
        file.commit()
    with connect(path):
        assert found("елка 取消") == found("subscription") == [one]
        (hit,) = search("елка").items
        assert hit.snippet.text == "Ещё одна Ёлка 取消"
        assert verify().problems == []
