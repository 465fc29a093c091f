"""A store on a server answers each question as one in memory does that holds the same audits."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.queries.test_filters import LEVELS, ORDERS, PATTERNS, some_audits, write
from tests.support.amount import amount, one_in
from tests.support.audits import VOCABULARY, ended
from tests.support.places import Databases
from veritas_peewee import as_dict, connect, sync
from veritas_peewee.database.connection import StoreDatabase
from veritas_peewee.database.current import bound
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.recording import operations, recorder
from veritas_peewee.testing import make_event

ODD = [
    "décidé Ё́лка 取消链接", "ボタンを押す 価格はABC円", "x" * 5000, "it's \"quoted\" \\ 'twice'",
    "a:b&c|d!e <-> (f)", "\u200bsub\u200bscription %s $1 ? {}", "\U0001f600 ﬁne ᴀ", "NULL",
]  # fmt: skip
CHOICES: dict[str, list[Any]] = {
    "status": ["completed", "queued"], "risk_level": ["trusted", ""], "site_type": ["shop"],
    "audit_tier": ["deep"], "host": ["b.example", "none.example"],
    "url": ["https://www.a.example/x"], "min_score": [46, 99.7], "max_score": [46.2, 0],
    "since": ["2026-11-01T00:00:30Z"], "until": ["2026-11-01T00:00:40Z", "2026"],
    "pattern_type": PATTERNS[:2], "min_severity": LEVELS[1:],
}  # fmt: skip
TEXTS = st.one_of(
    st.lists(
        st.sampled_from([*VOCABULARY, *ODD, "hid*", '"hidden cost"', "-timer", "x", "a", "cos*"]),
        max_size=4,
    ).map(" ".join),
    st.text(max_size=30),
)


class Both(NamedTuple):
    here: StoreDatabase
    there: StoreDatabase

    def ask(self, question: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """The answer of both, which is the same, as plain data."""
        with bound(self.here):
            wanted = question(*args, **options)
        with bound(self.there):
            found = question(*args, **options)
        assert as_dict(found) == as_dict(wanted), (args, options)
        return found


@pytest.fixture(scope="module")
def both(server: Databases) -> Iterator[Both]:
    chance = random.Random(5)
    lines = io.BytesIO()
    with connect(":memory:"):
        write(list(some_audits(150)))
        for number, odd in enumerate(ODD * 2):
            told = chance.choices([*VOCABULARY, odd, "hidden cost"], k=3)
            ended(f"https://odd{number}.example/{number}", *told, narrative=odd, trust_score=number)
        for _ in range(5):
            audit = operations.create("https://a.example/x")
            recorder.record_many(audit.id, [
                {"type": "phase_start", "phase": "scout"}, make_event("screenshot"),
                {"type": "log_entry", "message": "\U0001f600 é"},
                {"type": "phase_error", "error": "x"},
                {"type": "audit_complete", "elapsed": 3.25},
            ])  # fmt: skip
        sync.export(lines)
    with connect(":memory:") as here, server.new() as url, connect(url) as there:
        for store in (here, there):
            with bound(store):
                report = sync.import_(io.BytesIO(lines.getvalue()))
                assert (report.ok, report.new_ids) == (True, 0)
        yield Both(here, there)
        assert verify().problems == []


def shapes(most: int) -> Iterator[dict[str, Any]]:
    chance = random.Random(3)
    for size in range(most + 1):
        for names in itertools.combinations(CHOICES, size):
            yield {name: chance.choice(CHOICES[name]) for name in names}


def test_what_was_taken_there_is_the_same_to_the_last_byte(both: Both) -> None:
    def exported() -> bytes:
        lines = io.BytesIO()
        sync.export(lines)
        return lines.getvalue()

    both.ask(exported)
    both.ask(sync.head)


@pytest.mark.parametrize("order", ORDERS)
def test_pages_of_the_history(both: Both, order: Any) -> None:
    for filters in one_in(4, list(shapes(2)), ORDERS.index(order)):
        cursor = None
        for _ in range(4):
            page = both.ask(sync.history, limit=23, cursor=cursor, order=order, **filters)
            if (cursor := page.next_cursor) is None:
                break


def test_counts_and_facets(both: Both) -> None:
    for filters in one_in(3, list(shapes(3)), 1):
        both.ask(sync.count, **filters)
        both.ask(sync.facets, **filters)


def test_each_audit_its_events_and_its_report(both: Both) -> None:
    with bound(both.here):
        ids = [audit.id for audit in sync.history(limit=1000).items]
    for audit_id in ids:
        both.ask(sync.get, audit_id)
        both.ask(sync.events, audit_id)
        both.ask(sync.details, audit_id)
    assert both.ask(sync.report, ids[3])


def test_series_and_comparisons(both: Both) -> None:
    for site in ({"host": "a.example"}, {"url": "https://www.b.example/y"}, {"host": "none"}):
        points = both.ask(sync.trend, **site).points
        if len(points) > 2:
            both.ask(sync.compare, [point.audit_id for point in points[:4]])
    both.ask(sync.trend, host="a.example", since="2026-11-01T00:00:20Z", limit=5)


@settings(max_examples=amount(60, 400), deadline=None)
@given(text=TEXTS, filters=st.sampled_from(list(shapes(1))))
@example("hidden " * 60, {})
@example("x" * 5000, {})
@example("-hidden cost", {})
@example('"timer OR hidden" cost', {})
@example('hidden "cost OR', {})
@example('"hidden) NOT (cost"', {})
@example('hidden -"a) NOT (b OR c"', {})
@example("\U0001e900 -cost", {})  # a letter that the index takes for none
@example("\U0001e900 cost", {})
@example("cost -\U0001e900", {})
def test_a_search_finds_the_same_audits_and_marks_the_same(
    both: Both, text: str, filters: dict[str, Any]
) -> None:
    """Not in the same order: each ranks a match in its own way."""

    def hits() -> Any:
        page = sync.search(text, limit=1000, **filters)
        assert page.next_cursor is None
        return {hit.audit.id: (as_dict(hit.audit), as_dict(hit.snippet)) for hit in page.items}

    both.ask(hits)
