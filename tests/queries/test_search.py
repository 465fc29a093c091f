"""The search: what people type, ranked and highlighted, in step with whatever is written."""

from __future__ import annotations

import itertools
import json
import random
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.amount import amount
from tests.support.audits import VOCABULARY, ended, found
from veritas_peewee import Audit, AuditStore, InvalidAudit, connect
from veritas_peewee.catalog.full_text import MARKS
from veritas_peewee.cli.app import run
from veritas_peewee.database.statements import execute
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.queries import search as module
from veritas_peewee.queries.filters import Shape
from veritas_peewee.queries.history import history
from veritas_peewee.queries.paging import Page
from veritas_peewee.queries.search import Hit, search
from veritas_peewee.queries.snippets import WIDTH, Snippet, snippet
from veritas_peewee.recording import operations, removal

DESCRIPTION = "The cancel link is hidden below the fold"


def ago(days: int) -> datetime:
    return datetime.now(UTC) - timedelta(days=days)


def marked(hit: Hit) -> list[str]:
    return [hit.snippet.text[begin:end] for begin, end in hit.snippet.matches]


def test_words_are_found_in_url_narrative_findings_and_errors(script: Any) -> None:
    one = ended("https://shop.example/checkout", DESCRIPTION, narrative="Pressed to décide soon")
    two = ended("https://news.example/")
    operations.update(two, errors=["The scout timed out"], error_message="no answer from the site")
    assert found("checkout") == found("hidden cancel") == found("PRESSED") == [one]
    assert found("decide") == found("décidé") == [one]
    assert found("scout timed") == found("answer") == found("news.example") == [two]
    assert set(found("example")) == {one, two}
    assert found("checkout scout") == []


def test_what_people_type_into_a_search_box(script: Any) -> None:
    one = ended("https://one.example/", "The cancel link is hidden")
    two = ended("https://two.example/", "The hidden link is for newsletters")
    both = {one, two}
    assert set(found("hidden link")) == both
    assert found('"hidden link"') == found("“hidden link”") == found('"hidden link') == [two]
    assert found("hidden -newsletters") == found("hidden -news*") == [one]
    assert found('link -"hidden link"') == [one]
    assert found("newsl*") == found('"for newsl"*') == found("news* hid*") == [two]
    assert found("newsl") == []
    assert found("hidden_link") == [two]  # joined by what separates words, they are a phrase
    # What is an operator elsewhere is a word here, or nothing.
    assert found("hidden AND link") == found("link OR hidden") == found("NEAR(hidden link)") == []
    assert set(found("url: hidden^ (link)")) == set()
    assert set(found("😀 hidden ---")) == both
    for nothing in ("", "   ", "-hidden", '""', "*", "-", "()", "😀", '"', "\0", "-- -*"):
        assert search(nothing) == Page([], None)
    with pytest.raises(InvalidAudit, match=r"text: must be text, got None"):
        search(None)


def test_scripts_without_spaces_between_words(script: Any) -> None:
    one = ended(
        "https://one.example/",
        "これは隠された解約リンクです。価格はABC円",
        narrative="取消链接被隐藏了",
    )
    two = ended(
        "https://two.example/", "ลิงก์ยกเลิกถูกซ่อนอยู่", narrative="해지 링크는 숨겨져 있다 \U00020000字"
    )
    for text in (
        "解約",
        "隠された解約",
        "価格 リンク",
        "リン*",
        "链接",
        "隐藏 -公開",
        "abc",
        "価格はABC",
    ):
        assert found(text) == [one], text
    for text in ("ยกเลิก", '"ยกเลิก"', "ถูกซ่อน -解約", "링크", "해지 링크", "\U00020000"):
        assert found(text) == [two], text
    assert found("約解") == found("クリ") == found("link") == []
    (hit,) = search("解約").items
    assert (hit.snippet.text, marked(hit)) == (
        "hidden_cancel (obstruction): これは隠された解約リンクです。価格はABC円\n", ["解約"]
    )  # fmt: skip
    (hit,) = search("ยกเลิก").items
    assert "ลิงก์ยกเลิกถูกซ่อนอยู่" in hit.snippet.text
    assert verify().problems == []


def test_a_match_is_highlighted_in_the_snippet(script: Any) -> None:
    ended("https://shop.example/", "first", "\ufdd0The cancel\ufdd1 link " + "and more " * 50)
    (hit,) = search("cancel link").items
    assert [text.lower() for text in marked(hit)][-2:] == ["cancel", "link"]
    assert len(hit.snippet.text) < 300
    assert "\ufdd0" not in hit.snippet.text
    (hit,) = search('"cancel link"').items or search("cancel").items
    assert hit.score > 0
    assert isinstance(hit.audit, Audit)


def test_a_long_text_full_of_matches_is_searched_as_soon_as_others(script: Any) -> None:
    """FTS5's own snippet takes hours for it: time with the square of the matches."""
    audit_id = ended("https://long.example/", narrative="the hidden cost " * 200_000 + "needle")
    for text in ("hidden", "hid*", "hidden needle", '"needle" the -other', "the " * 64, "nee* the"):
        (hit,) = search(text).items
        assert hit.audit.id == audit_id
        assert len(hit.snippet.text) < 200
        wanted = "needle" if "nee" in text else "the" if "the" in text else "hidden"
        assert wanted in marked(hit), text


@settings(max_examples=amount(25, 100), deadline=None)
@given(
    pieces=st.lists(
        st.tuples(st.text(st.sampled_from("ab é漢\n."), max_size=120), st.booleans()), max_size=30
    )
)
def test_a_snippet_is_a_piece_with_the_right_places(pieces: list[tuple[str, bool]]) -> None:
    text = "".join(f"{MARKS[0]}{piece}{MARKS[1]}" if match else piece for piece, match in pieces)
    plain = "".join(piece for piece, _ in pieces)
    told = snippet([text], lambda _: plain)
    if not any(match for _, match in pieces):
        assert told == Snippet("", ())
        return
    assert told.text.strip("…") in plain
    assert len(told.text) <= WIDTH + 2
    found = [piece for piece, match in pieces if match]
    shown = [told.text[begin:end] for begin, end in told.matches]
    assert any(found[at : at + len(shown)] == shown for at in range(len(found)))


def test_the_best_match_comes_first(script: Any) -> None:
    filler = "and other words to make it long " * 20
    weak = ended("https://a.example/", f"a countdown {filler}")
    strong = ended("https://b.example/", "countdown countdown countdown")
    named = ended("https://countdown.example/")
    for number in range(10):
        ended(f"https://c{number}.example/", filler)
    page = search("countdown")
    assert [hit.audit.id for hit in page.items] == [named, strong, weak]
    scores = [hit.score for hit in page.items]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("block", [3, 7, 1000])
def test_pages_stay_right_while_audits_are_added(
    script: Any, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """Though each new audit changes the rank of every other one."""
    monkeypatch.setattr(module, "BLOCK", block)
    ids = [ended(f"https://s{n}.example/", "timer " * (n % 5 + 1), "x " * n) for n in range(17)]
    for limit in (1, 4, 17, 20):
        seen: list[str] = []
        cursor = None
        for added in itertools.count():
            page = search("timer", limit=limit, cursor=cursor)
            seen += [hit.audit.id for hit in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
            assert len(page.items) == limit
            newer = ended(f"https://new{added}.example/", "timer " * 30)
            if added == 0:
                removal.delete(newer)
        assert len(seen) == len(set(seen))
        assert set(seen) == set(ids)
        for audit in Audit.select().where(Audit.id.not_in(ids)):
            removal.delete(audit.id)


def test_a_cursor_may_be_used_with_another_search(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", 5)
    ids = [ended(f"https://s{n}.example/", "timer rare" if n in (2, 4, 9) else "timer")
           for n in range(30)]  # fmt: skip
    first = search("rare", limit=2)
    seen = [hit.audit.id for hit in first.items]
    cursor = first.next_cursor
    while cursor is not None:
        page = search("timer", limit=3, cursor=cursor)
        seen += [hit.audit.id for hit in page.items]
        cursor = page.next_cursor
    assert sorted(seen) == sorted(ids)


def test_every_filter_of_the_history_goes_with_a_search(script: Any) -> None:
    one = ended("https://one.example/", "timer", trust_score=20, risk_level="high_risk")
    two = ended("https://two.example/", "timer", trust_score=80, site_type="news")
    three = ended("https://two.example/x", trust_score=50, narrative="timer", audit_tier="quick")
    created = Audit.get_by_id(two).created_at
    for filters, wanted in [
        ({"min_score": 50}, {two, three}),
        ({"max_score": 50, "min_score": 10}, {one, three}),
        ({"risk_level": "high_risk"}, {one}),
        ({"site_type": "news"}, {two}),
        ({"audit_tier": "quick"}, {three}),
        ({"status": "completed"}, {one, two, three}),
        ({"status": "error"}, set()),
        ({"url": "https://one.example/"}, {one}),
        ({"host": "http://www.TWO.example:8080/y"}, {two, three}),
        ({"pattern_type": "hidden_cancel"}, {one, two}),
        ({"pattern_type": "hidden_cancel", "min_severity": "critical"}, set()),
        ({"min_severity": "medium", "min_score": 30}, {two}),
        ({"since": created}, {two, three}),
        ({"until": created}, {one}),
    ]:
        assert set(found("timer", **filters)) == wanted, filters
    with pytest.raises(InvalidAudit, match="min_severity: must be one of"):
        search("timer", min_severity="grave")
    with pytest.raises(TypeError, match=r"search\(\) got an unexpected keyword argument 'sort'"):
        search("timer", sort="x")


def test_a_search_within_a_site_gives_the_same_whether_its_audits_are_few(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(11)
    for _ in range(60):
        told = [f"timer {chance.choice(['runs', 'stands'])}" for _ in range(chance.randrange(3))]
        ended(f"https://{chance.choice('ab')}.example/{chance.choice('xy')}", *told,
              trust_score=chance.choice([None, 20, 70.5]), narrative=chance.choice([None, "timer"]),
              risk_level=chance.choice([None, "low"]))  # fmt: skip
    monkeypatch.setattr(module, "BLOCK", 7)
    others = [{"min_score": 21}, {"risk_level": "low"}, {"min_severity": "high"}, {"since": ago(1)},
              {"pattern_type": "hidden_cancel", "max_score": 50}, {"status": "error"}]  # fmt: skip
    for _ in range(60):
        filters = dict(
            chance.choice([{"host": "a.example"}, {"url": "https://b.example/x"}]),
            **chance.choice([{}, *others]),
        )
        text = chance.choice(["timer", "timer -stands", '"timer runs"'])
        given = []
        for few in (0, 20_000):
            monkeypatch.setattr(module, "FEW", few)
            cursor, pages = None, []
            while True:
                page = search(text, limit=5, cursor=cursor, **filters)
                pages += [(hit.audit.id, hit.score) for hit in page.items]
                if (cursor := page.next_cursor) is None:
                    break
            given.append(pages)
        assert given[0] == given[1], (text, filters)


def test_bad_cursors_and_limits_are_refused(script: Any) -> None:
    history_cursor = "WyIyMDI2IiwgImEiXQ=="
    for cursor in ("x", "", "WzFd", "W10=", history_cursor, "W3RydWUsMV0=", "WzEsLTJd", "eJw="):
        with pytest.raises(InvalidAudit, match=r"cursor: is not one that search\(\) returned"):
            search("x", cursor=cursor)
    for limit in (0, 1001, True, "5"):
        with pytest.raises(InvalidAudit, match="limit: must be a whole number"):
            search("x", limit=limit)


# ---- text of any shape ----

PIECES = st.one_of(
    st.sampled_from(['"', "'", "*", "-", "+", "^", ":", "(", ")", "{", "}", "[", "]", ",", "\0",
                     " AND ", " OR ", " NOT ", " NEAR", "/2", "\ud800", "\udfff", "\ufdd0", "😀",
                     "\u0301", "\\", ";", "--", "url:", "hidden", "\U0001d4bd", "漢字", "\x1b"]),
    st.text(st.characters(), max_size=8),
)  # fmt: skip
ANY_TEXT = st.one_of(st.lists(PIECES, max_size=30).map("".join), st.text(st.characters()))


@pytest.fixture(scope="module")
def some_audits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with connect(tmp_path_factory.mktemp("search") / "audits.db") as opened:
        for number in range(3):
            ended(f"https://s{number}.example/", DESCRIPTION)
        yield opened


@settings(max_examples=amount(25, 100), deadline=None)
@given(text=ANY_TEXT)
@example("a" * 100_000)
@example('"' * 100_000)
@example("-a " * 33_333)
@example('"a" ' * 25_000)
@example("(" * 100_000)
@example("a* " * 33_333)
@example("- " * 50_000)
@example("hidden " + "😀" * 100_000)
def test_text_of_any_shape_never_gives_a_syntax_error(some_audits: Any, text: str) -> None:
    page = search(text, limit=2)
    assert len(page.items) <= 2
    for hit in page.items:
        for begin, end in hit.snippet.matches:
            assert 0 <= begin <= end <= len(hit.snippet.text)


@settings(max_examples=amount(25, 100), deadline=None)
@given(text=ANY_TEXT)
@example("»--url:")
def test_a_text_that_was_stored_is_found_by_itself(some_audits: Any, text: str) -> None:
    kept = text.replace("\0", "").encode(errors="ignore").decode()[:900]
    audit_id = ended("https://own.example/", f"zebra {kept}")
    try:
        assert audit_id in found("zebra")
        # Without quotes, which end the phrase.
        phrase = '"zebra ' + kept.translate(module._QUOTES).replace('"', " ")
        if len(phrase) < module.LONGEST:
            assert audit_id in found(phrase)
    finally:
        removal.delete(audit_id)


TERMS = st.builds(
    lambda no, words, kind: no + {"word": words[0], "begin": f"{words[0][:3]}*",
                                  "phrase": f'"{" ".join(words)}"'}[kind],
    st.sampled_from(["", "", "", "-"]),
    st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=2),
    st.sampled_from(["word", "begin", "phrase"]),
)  # fmt: skip
SOME_FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["completed", "error"]),
        "min_score": st.sampled_from([0, 40]),
        "since": st.sampled_from(["1d", "2999"]),
        "host": st.just("odd.example"),
        "pattern_type": st.just("hidden_cancel"),
    },
)


def matching(terms: list[str], words: list[str]) -> bool:
    """By hand, of terms as `TERMS` makes them."""

    def there(term: str) -> bool:
        if term.endswith("*"):
            return any(word.startswith(term[:-1]) for word in words)
        wanted = term.strip('"').split()
        return any(words[at : at + len(wanted)] == wanted for at in range(len(words)))

    unwanted = [term[1:] for term in terms if term.startswith("-")]
    wanted = [term for term in terms if not term.startswith("-")]
    return bool(wanted) and all(map(there, wanted)) and not any(map(there, unwanted))


@pytest.fixture(scope="module")
def told_audits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    chance = random.Random(3)
    with connect(tmp_path_factory.mktemp("search") / "audits.db"):
        told = {}
        for number in range(24):
            words = chance.choices(VOCABULARY, k=chance.randrange(1, 9))
            host = ("odd", "even")[number % 2]
            audit_id = ended(f"https://{host}.example/", *["cost"] * (number % 3 == 0),
                             narrative=" ".join(words), trust_score=number * 4.0)  # fmt: skip
            if number % 5 == 0:
                operations.update(audit_id, status="error")
            # What else is in it is told apart from its narrative.
            told[audit_id] = (words, ["cost"] if number % 3 == 0 else [])
        yield told


@settings(max_examples=amount(25, 100), deadline=None)
@given(
    asked=st.one_of(st.lists(TERMS, min_size=1, max_size=3), ANY_TEXT),
    filters=SOME_FILTERS,
    limit=st.integers(1, 30),
    block=st.integers(1, 30),
)
def test_each_audit_that_matches_is_given_once(
    told_audits: Any, asked: Any, filters: Any, limit: int, block: int
) -> None:
    """Whatever the text, the filters and the size of the pages."""
    text = asked if isinstance(asked, str) else " ".join(asked)
    with mock.patch.object(module, "BLOCK", block):
        seen: list[str] = []
        cursor = None
        while True:
            page = search(text, limit=limit, cursor=cursor, **filters)
            seen += [hit.audit.id for hit in page.items]
            if (cursor := page.next_cursor) is None:
                break
            assert len(page.items) == limit
    assert len(seen) == len(set(seen))
    assert set(seen) == set(found(text, **filters, limit=1000))
    left = {audit.id for audit in history(**filters, limit=1000).items}
    assert set(seen) == left & set(found(text, limit=1000))
    if not isinstance(asked, str):
        # A phrase does not reach from one column into another.
        for audit_id, (words, others) in told_audits.items():
            everything = [*words, "|", *others, "|", "hidden", "cancel"][: None if others else -3]
            assert (audit_id in seen) == (audit_id in left and matching(asked, everything))


# ---- in step ----


# ---- through the facade and on the command line ----


@pytest.mark.anyio
async def test_the_facade_searches(store: AuditStore, finding: Any) -> None:
    audit = await store.create("https://shop.example/")
    await store.record_many(audit.id, [finding(1), {"type": "audit_complete"}])
    other = await store.create("https://shop.example/")
    await store.update_status(other.id, "error", error_message="the link was cut")
    page = await store.search("cancel link")
    assert [(hit.audit.id, hit.audit.status) for hit in page.items] == [(audit.id, "completed")]
    assert [text.lower() for text in marked(page.items[0])][-2:] == ["cancel", "link"]
    first = await store.search("link", limit=1)
    second = await store.search("link", limit=1, cursor=first.next_cursor)
    assert {hit.audit.id for hit in (*first.items, *second.items)} == {audit.id, other.id}
    assert second.next_cursor is None
    assert [hit.audit.id for hit in (await store.search("link", status="error")).items] == [
        other.id
    ]
    await store.delete(audit.id)
    assert (await store.search("cancel")).items == []


def test_the_command_line_searches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "audits.db")
    with connect(path):
        one = ended("https://shop.example/a", "The \x1b[31mcancel link\n is hidden", trust_score=30)
        two = ended("https://shop.example/b", "A cancel button", trust_score=80)
    assert run(["search", "cancel", "li*", "--database", path]) == 0
    out = capsys.readouterr().out
    assert one in out
    assert two not in out
    assert "The cancel link  is hidden" in out
    assert "\x1b" not in out
    assert run(["search", "cancel", "--limit", "1", "--json", "--database", path]) == 0
    told = json.loads(capsys.readouterr().out)
    (item,) = told["items"]
    begin, end = item["snippet"]["matches"][-1]
    assert item["snippet"]["text"][begin:end].lower() == "cancel"
    more = ["search", "cancel", "--json", "--cursor", told["next_cursor"], "--database", path]
    assert run(more) == 0
    (other,) = json.loads(capsys.readouterr().out)["items"]
    assert {item["audit"]["id"], other["audit"]["id"]} == {one, two}
    assert run(["search", "cancel", "--min-score", "50", "--json", "--database", path]) == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert item["audit"]["id"] == two
    assert run(["search", "nothing", "--database", path]) == 0
    assert capsys.readouterr().out == "no audits match\n"
    assert run(["search", "cancel", "--cursor", "x", "--database", path]) == 2
    assert "cursor: is not one" in capsys.readouterr().err
    assert run(["search", "--database", path, "--", "-cancel"]) == 0


@pytest.mark.parametrize(
    ("columns", "asks_audits"),
    [
        ((("site_type", "eq"),), False),
        ((("status", "eq"), ("risk_level", "eq"), ("audit_tier", "eq")), False),
        ((("created_at", "ge"), ("created_at", "lt")), False),
        ((("status", "eq"), ("trust_score", "ge")), True),
    ],
)
def test_a_filter_on_what_an_entry_says_reads_no_audit(path, columns, asks_audits):
    with connect(path):
        text = module._block_sql(Shape(columns), few=False)
        values = ("word", 0, 9, *["x"] * len(columns), 9)
        plan = [row[-1] for row in execute(f"EXPLAIN QUERY PLAN {text}", values)]
    assert any("audits" in step for step in plan) == asks_audits, plan


async def test_filters_on_what_an_entry_says_find_what_those_on_its_audit_do(store):
    for number in range(12):
        values = {"site_type": ("shop", "news", None)[number % 3], "narrative": "a word"}
        await store.write(partial(ended, f"https://site{number}.example/", **values))
    everything = (await store.search("word", limit=100)).items
    assert len(everything) == 12
    since = sorted(hit.audit.created_at for hit in everything)[4]
    for filters, wanted in (
        ({"site_type": "shop"}, lambda one: one.site_type == "shop"),
        ({"site_type": "shop", "since": since}, lambda one: one.site_type == "shop"
         and one.created_at >= since),
        ({"status": "completed", "until": since}, lambda one: one.created_at < since),
        ({"risk_level": "nowhere"}, lambda one: False),
    ):  # fmt: skip
        page = await store.search("word", limit=100, **filters)
        assert {hit.audit.id for hit in page.items} == {
            hit.audit.id for hit in everything if wanted(hit.audit)
        }
