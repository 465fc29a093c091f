"""On a server each question is answered by an index too, with enough rows that the planner minds.

It decides by what ANALYZE has counted, so what is tested is not which index it takes, but that no
table is read as a whole, and that a page costs few rows of a long history.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.amount import one_in
from tests.support.on_server import past_triggers
from tests.support.places import Databases
from veritas_peewee import Audit, AuditScreenshot, connect, sync
from veritas_peewee.database.control import PLANNED_ANEW
from veritas_peewee.database.current import current_database
from veritas_peewee.following import feed
from veritas_peewee.ledger import log_questions
from veritas_peewee.queries import lookups, neighbours, trends
from veritas_peewee.queries.history import history
from veritas_peewee.queries.search import search
from veritas_peewee.recording.removal import is_named

AUDITS = 20_000
FEW = 3000
"""The most rows that one statement of a page may read."""
ORDERS = ("newest", "oldest", "highest", "lowest")
FILTERS: dict[str, Any] = {
    "status": "error", "risk_level": "trusted", "site_type": "shop", "audit_tier": "quick",
    "url": "https://s7.example/", "host": "s7.example", "min_score": 95, "max_score": 5,
    "since": "2026-06-01", "until": "2026-03-01", "pattern_type": "nagging",
    "min_severity": "critical",
}  # fmt: skip
NEVER_TOGETHER = [("min_score", "max_score"), ("since", "until")]
"""Of these values nothing can meet both, and the server is not asked."""

_CHANCE = (
    "CREATE FUNCTION pg_temp.chance(bigint, integer) RETURNS integer LANGUAGE sql IMMUTABLE AS "
    "'SELECT abs(hashint8($1 * 100 + $2) % 1000000)'"
)
_ROWS = (
    "INSERT INTO audits (id, url, host, status, risk_level, site_type, audit_tier, trust_score, "
    "created_at, updated_at) SELECT 'a' || lpad(n::text, 8, '0'), "
    "'https://s' || (n * 7919) % 2000 || '.example/', 's' || (n * 7919) % 2000 || '.example', "
    "(ARRAY['completed', 'completed', 'completed', 'error', 'queued'])"
    "[1 + pg_temp.chance(n, 1) % 5], "
    "(ARRAY['trusted', 'suspicious', 'likely_fraudulent', NULL])[1 + pg_temp.chance(n, 2) % 4], "
    "(ARRAY['shop', 'news', NULL])[1 + pg_temp.chance(n, 3) % 3], "
    "CASE WHEN pg_temp.chance(n, 4) % 10 = 0 THEN 'quick' ELSE 'standard_audit' END, "
    "CASE WHEN pg_temp.chance(n, 5) % 7 > 0 THEN pg_temp.chance(n, 6) % 10001 / 100.0 END, m, m "
    "FROM generate_series(1, ?) AS n, LATERAL (SELECT to_char("
    "timestamp '2026-01-01' + n * interval '20 minutes', 'YYYY-MM-DD HH24:MI:SS.US') AS m) AS o",
    "INSERT INTO audit_findings (audit_id, pattern_type, severity, confidence, description) "
    "SELECT id, CASE WHEN pg_temp.chance(n, 7) % 9 = 0 THEN 'nagging' ELSE 'hidden_cost' END, "
    "(ARRAY['low', 'high', 'critical'])[1 + pg_temp.chance(n, 8) % 3], 0.5, 'd' FROM "
    "(SELECT id, row_number() OVER () AS n FROM audits LIMIT ?) AS a",
    "INSERT INTO audit_patterns SELECT p.key, a.created_at, a.id, "
    "CASE f.severity WHEN 'low' THEN 0 WHEN 'high' THEN 2 ELSE 3 END "
    "FROM audits AS a JOIN audit_findings AS f ON f.audit_id = a.id, "
    "LATERAL (VALUES (''), (f.pattern_type)) AS p(key) WHERE a.status <> 'queued' LIMIT ? * 2",
    "INSERT INTO audit_events (id, audit_id, event_type, data) SELECT row_number() OVER (), id, "
    """'finding', '{"finding":{"id":"f"}}' FROM audits LIMIT ?""",
    "INSERT INTO audit_screenshots (audit_id, file_path, label, index_num) "
    "SELECT id, id || '/1.png', 'home', 1 FROM audits LIMIT ?",
    # Texts of fifty words: a common one, one of each thousandth audit, and others.
    "INSERT INTO audit_catalog (audit_id, created_at, status, risk_level, site_type, audit_tier, "
    "patterns, slices, errors, words) SELECT id, created_at, status, risk_level, site_type, "
    "audit_tier, '{}', '[]', told, array_to_tsvector(string_to_array(told, ' ')) FROM "
    "(SELECT *, row_number() OVER (ORDER BY id) AS n FROM audits WHERE status <> 'queued') AS a, "
    "LATERAL (SELECT CASE WHEN n % 1000 = 0 THEN 'rare ' ELSE '' END || 'common ' || "
    "string_agg('w' || (n * k * 7919) % 4999, ' ') AS told FROM generate_series(1, 50) AS k) AS t "
    "LIMIT ?",
)


@pytest.fixture(scope="module")
def many(server: Databases) -> Iterator[Any]:
    """A long history; another program has put it there, without the triggers."""
    with server.new() as url:
        past_triggers(url, _CHANCE, *(text.replace("?", str(AUDITS)) for text in _ROWS), "ANALYZE")
        with connect(url) as opened:
            yield opened


Plan = tuple[str, list[dict[str, Any]]]


@pytest.fixture
def plans(many: Any, monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """(statement, the nodes of its plan as they were run) of what is asked of the database."""
    found: list[Plan] = []
    run = many.execute_sql

    def explained(text: str, values: Any = None) -> Any:
        if text.removeprefix(PLANNED_ANEW).startswith(("SELECT", "(SELECT")):
            found.append((text, explain(run, text, values)))
        return run(text, values)

    monkeypatch.setattr(many, "execute_sql", explained)
    return found


def explain(run: Callable[..., Any], text: str, values: Any) -> list[dict[str, Any]]:
    (plan,) = run(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {text}", values).fetchone()
    return list(_nodes((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def rows_read(nodes: list[dict[str, Any]]) -> float:
    return sum(
        (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in nodes
        if "Scan" in node["Node Type"]
    )


def scanned(nodes: list[dict[str, Any]]) -> list[str]:
    """The tables that are read as a whole."""
    return [node["Relation Name"] for node in nodes if node["Node Type"] == "Seq Scan"]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_page_reads_few_rows_by_index(plans: list[Plan], order: Any, size: int) -> None:
    cursor = history(limit=5, order=order).next_cursor
    cases = list(itertools.combinations(FILTERS, size))
    for names in one_in(4, cases, ORDERS.index(order)) if size > 1 else cases:
        filters = {name: FILTERS[name] for name in names}
        for position in (None, cursor):
            plans.clear()
            history(**filters, limit=5, order=order, cursor=position)
            assert plans or names in NEVER_TOGETHER
            for text, nodes in plans:
                case = (filters, order, position, text, nodes)
                assert scanned(nodes) == [], case
                assert rows_read(nodes) < FEW, case


@pytest.mark.parametrize("order", ["newest", "oldest"])
@pytest.mark.parametrize("filters", [{"min_score": 20.5}, {"pattern_type": "nagging"}])
def test_a_page_that_several_walks_lead_to_is_one_statement(
    plans: list[Plan], filters: dict[str, Any], order: Any
) -> None:
    """One for each score would be eighty ways to the server and back."""
    first = history(**filters, limit=5, order=order)
    history(**filters, limit=5, order=order, cursor=first.next_cursor)
    assert len(plans) == 2


KEPT = "SELECT generic_plans > 0 FROM pg_prepared_statements WHERE strpos(statement, ?) > 0"


@pytest.mark.parametrize(
    ("filters", "part"),
    [
        ({}, 'FROM "audits" AS "t1" ORDER BY'), ({"risk_level": "trusted"}, '"risk_level" ='),
        ({"host": "s7.example"}, 'veritas_is("t1"."host", $1)'), ({"min_score": 20}, "AS band"),
        ({"pattern_type": "nagging"}, "audit_patterns"),
    ],
)  # fmt: skip
def test_a_page_is_planned_once_for_all_values(many: Any, filters: Any, part: str) -> None:
    """To plan it takes longer than to run it."""
    many.reconnect()
    for _ in range(12):
        history(**filters)
    assert (True,) in many.execute_sql(KEPT, (part,)).fetchall()


def test_a_page_of_a_tier_is_planned_for_that_one(many: Any) -> None:
    """Nearly all audits have one, and the others few: with no index for each pair of filters, one
    plan for all would read the whole history for these."""
    many.reconnect()
    for _ in range(12):
        history(audit_tier="quick", status="error")
    assert many.execute_sql(KEPT, ('"audit_tier" =',)).fetchall() == [(False,)]


def test_a_rare_word_is_found_by_the_index_of_words(plans: list[Plan]) -> None:
    assert len(search("rare").items) == AUDITS // 1250
    (matches, *_) = [nodes for text, nodes in plans if "ts_rank" in text]
    assert "idx_catalog_words" in {node.get("Index Name") for node in matches}
    for text, nodes in plans:
        assert scanned(nodes) == [], text
        assert rows_read(nodes) < 200, (text, nodes)


def test_of_a_common_word_no_more_is_read_than_is_ranked(plans: list[Plan]) -> None:
    assert search("common").next_cursor is not None
    for text, nodes in plans:
        assert scanned(nodes) == [], text
        assert rows_read(nodes) < FEW, (text, nodes)


def test_a_search_is_planned_for_its_own_words_however_often_it_was_run(many: Any) -> None:
    """The plan that PostgreSQL would keep reads all matches of a common word."""
    for text in ("rare", "common", "common rare", "com*", "common -rare") * 2:
        search(text)
        search(text, host="s7.example")
        search(text, status="error")
    kept = many.execute_sql("SELECT statement FROM pg_prepared_statements").fetchall()
    asked = [text for (text,) in kept if not text.startswith("EXPLAIN")]  # those of other tests
    assert asked
    assert not any("ts_rank" in text for text in asked)


def test_a_search_within_a_site_reads_that_site_alone(plans: list[Plan]) -> None:
    assert search("common", host="s7.example").items
    for text, nodes in plans:
        assert scanned(nodes) == [], text
        assert rows_read(nodes) < 100, (text, nodes)


def test_a_search_asks_the_server_as_often_for_many_hits_as_for_few(plans: list[Plan]) -> None:
    numbers = []
    for limit in (1, 100):
        plans.clear()
        assert len(search("common", limit=limit).items) == limit
        numbers.append(len(plans))
    assert numbers == [4, 4]  # the matches, where the next page goes on, the audits, their texts


def test_no_question_is_compiled_or_shared_among_processes(many: Any) -> None:
    """For a page of a few rows either takes longer than the question itself."""
    for name, value in (("jit", "off"), ("max_parallel_workers_per_gather", "0")):
        assert many.execute_sql(f"SHOW {name}").fetchone() == (value,)


LONG_URL = "https://long.example/" + "x" * 10_000


def test_a_url_of_ten_thousand_characters_is_found_by_index(plans: list[Plan]) -> None:
    same = LONG_URL[:-1] + "y"  # as far as an index holds it
    first, second = sync.create(LONG_URL), sync.create(same)
    for audit, url in ((first, LONG_URL), (second, same)):
        for order in ORDERS:
            plans.clear()
            assert [one.id for one in history(url=url, order=order).items] == [audit.id]
            for text, nodes in plans:
                assert scanned(nodes) == [], text
                assert rows_read(nodes) < 10, (text, nodes)
        plans.clear()
        assert [point.audit_id for point in trends.trend(url).points] == [audit.id]
        assert rows_read(plans[0][1]) < 10
        assert sync.count(url=url) == 1
    sync.delete(first.id)
    sync.delete(second.id)


def test_the_comparison_of_a_long_text_is_part_of_the_plan(many: Any) -> None:
    """A function that is called for each row would not be found in an index."""
    for column, index in (("url", "idx_audits_url"), ("host", "idx_audits_host")):
        text = f"SELECT id FROM audits WHERE veritas_is({column}, ?) ORDER BY created_at LIMIT 3"
        found = explain(many.execute_sql, text, ("s7.example",))
        assert any(node.get("Index Name", "").startswith(index) for node in found), found
        assert "veritas_is" not in json.dumps(found)


@pytest.mark.parametrize("site", [{"url": "https://s7.example/"}, {"host": "s7.example"}])
@pytest.mark.parametrize("bounds", [{}, {"since": "2026-02-01"}, {"until": "2026-09-01"}])
def test_a_series_is_read_by_index(plans: list[Plan], site: Any, bounds: Any) -> None:
    assert trends.trend(**site, **bounds).points
    assert len(plans) == 2
    for text, nodes in plans:
        assert scanned(nodes) == [], text
        assert rows_read(nodes) < 100, (text, nodes)


def test_a_site_s_neighbours_are_found_by_index(plans: list[Plan]) -> None:
    some = Audit.select().where(Audit.host == "s7.example").order_by(Audit.created_at)
    ids = [audit.id for audit in some if audit.status == "completed"][:4]
    plans.clear()
    before, after = neighbours.pairs_beside(ids[1], ids[2])
    assert (before, after) == ((ids[0], ids[1]), (ids[2], ids[3]))
    for text, nodes in plans:
        assert scanned(nodes) == [], text
        assert rows_read(nodes) < 100, (text, nodes)


def test_whether_a_file_is_named_is_known_by_index(plans: list[Plan]) -> None:
    shot = AuditScreenshot.select().order_by(AuditScreenshot.id.desc()).get()
    for name, is_there in ((shot.file_path, True), ("x" * 10_000, False)):
        plans.clear()
        assert is_named(name) is is_there
        assert scanned(plans[0][1]) == []
        assert rows_read(plans[0][1]) < 3


def test_no_step_of_reading_or_following_reads_a_table(many: Any) -> None:
    database = current_database()
    (audit_id,) = database.execute_sql("SELECT id FROM audits LIMIT 1 OFFSET 7").fetchone()
    newest = AUDITS - 3
    ids = json.dumps([audit_id])
    questions: list[tuple[str, tuple[Any, ...]]] = [
        *((text, (audit_id,) * text.count("?")) for text in lookups._get_sql()),
        (lookups._events_sql(0), (audit_id, 0, 100)),
        (feed._stored_sql(False), (audit_id, 5, 100)),
        (feed._stored_sql(True), (newest, 100)),
        (feed._fresh_sql(), (newest, ids, 100)),
        (feed._ended_sql(), (ids,)),
        (feed._gone_sql(), (ids,)),
        (log_questions.finding_reported_sql(), (audit_id, "f", newest)),
    ]
    for text, values in questions:
        found = explain(database.execute_sql, text, values)
        assert not set(scanned(found)) - {"audit_runners"}, (text, found)
        assert rows_read(found) < 300, (text, found)


def test_counts_of_ended_audits_are_read_from_the_counts(plans: list[Plan]) -> None:
    for filters in ({}, {"status": "error"}, {"risk_level": "trusted"}, {"site_type": "shop"}):
        plans.clear()
        sync.count(**filters)
        assert "audit_counts" in plans[0][0]


def test_a_score_band_is_a_whole_number_below(many: Any) -> None:
    """As SQLite's CAST, and not rounded as PostgreSQL's."""
    found = history(min_score=99, max_score=100, limit=1000).items
    scores = [one.trust_score for one in found]
    assert min(scores) >= 99
    assert any(99.5 <= score < 100 for score in scores)
    where = (Audit.trust_score >= 99) & (Audit.trust_score <= 100)
    assert len(found) == Audit.select().where(where).count()
