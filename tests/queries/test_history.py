"""The history: any filters together, every page, and each by an index."""

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from veritas_peewee import Audit, connect
from veritas_peewee.database.current import current_database
from veritas_peewee.ledger import log_questions
from veritas_peewee.queries import history, lookups

NOW = datetime(2026, 11, 1, tzinfo=UTC)
STATUSES = ["queued", "running", "completed", "error", "disconnected"]
RISKS = ["trusted", "suspicious", "likely_fraudulent", None]
SITES = ["shop", "news", None]
URLS = [f"https://{name}.example/" for name in "abc"]


@pytest.fixture(scope="module")
def audits(tmp_path_factory):
    chance = random.Random(7)
    rows = [
        {
            "id": f"a{number:05d}",
            "url": chance.choice(URLS),
            "status": chance.choice(STATUSES),
            "risk_level": chance.choice(RISKS),
            "site_type": chance.choice(SITES),
            "trust_score": chance.choice([None, 0, 100, 46, 46.5, 99.5, chance.uniform(0, 100)]),
            # Many share their moment: the id decides between them.
            "created_at": NOW + timedelta(seconds=chance.randrange(60)),
        }
        for number in range(600)
    ]
    with connect(tmp_path_factory.mktemp("history") / "audits.db"):
        Audit.insert_many(rows).execute()
        yield rows


def expected(rows, filters):
    def matches(row):
        score = row["trust_score"]
        tests = {
            "status": lambda value: row["status"] == value,
            "risk_level": lambda value: row["risk_level"] == value,
            "site_type": lambda value: row["site_type"] == value,
            "url": lambda value: row["url"] == value,
            "min_score": lambda value: score is not None and score >= value,
            "max_score": lambda value: score is not None and score <= value,
            "since": lambda value: row["created_at"] >= value,
            "until": lambda value: row["created_at"] < value,
        }
        return all(tests[name](value) for name, value in filters.items())

    found = [row for row in rows if matches(row)]
    return [row["id"] for row in sorted(found, key=lambda r: (r["created_at"], r["id"]))][::-1]


CHOICES = {
    "status": ["completed", "error"],
    "risk_level": ["trusted", "likely_fraudulent", "no_such"],
    "url": URLS[:2],
    "site_type": ["shop"],
    "min_score": [0, 46, 46.2, 99.5, 100, 120, -5],
    "max_score": [0, 46, 46.2, 99.5, 100, 120, -5],
    "since": [NOW + timedelta(seconds=10), NOW + timedelta(days=1)],
    "until": [NOW + timedelta(seconds=50), NOW],
}


def some_filters():
    chance = random.Random(11)
    for size in range(len(CHOICES) + 1):
        for names in itertools.combinations(CHOICES, size):
            yield {name: chance.choice(CHOICES[name]) for name in names}


def test_every_combination_of_filters_pages_through_what_matches(audits):
    for filters in some_filters():
        seen, cursor = [], None
        while True:
            page = history.history(**filters, limit=37, cursor=cursor)
            seen += [audit.id for audit in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        assert seen == expected(audits, filters), filters


def test_a_cursor_may_be_used_with_other_filters(audits):
    page = history.history(limit=100)
    last = page.items[-1].id
    for filters in ({"status": "completed"}, {"until": NOW + timedelta(seconds=5)},
                    {"until": NOW + timedelta(days=5), "min_score": 40}):  # fmt: skip
        everything = expected(audits, {})
        rest = set(everything[everything.index(last) + 1 :])
        found = history.history(**filters, limit=1000, cursor=page.next_cursor)
        assert [audit.id for audit in found.items] == [
            audit_id for audit_id in expected(audits, filters) if audit_id in rest
        ]


def test_every_filter_is_a_search_by_index_without_a_sort(audits, monkeypatch):
    """Also with a cursor, and without statistics: nothing depends on ANALYZE having been run."""
    plans = []
    asked = lookups.execute
    database = current_database()
    execute_sql = database.execute_sql

    def explained(text, values=None):
        if text.startswith("SELECT"):
            plan = execute_sql(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
            plans.append("; ".join(row[3] for row in plan))
        return execute_sql(text, values)

    monkeypatch.setattr(database, "execute_sql", explained)
    assert asked is lookups.execute
    cursor = history.history(limit=5).next_cursor
    assert plans == ["SCAN t1 USING INDEX idx_audits_created_at"]
    for filters in some_filters():
        for position in (None, cursor):
            plans.clear()
            history.history(**filters, limit=5, cursor=position)
            for plan in plans:
                assert "TEMP B-TREE" not in plan, (filters, plan)
                if filters or position:
                    assert plan.startswith("SEARCH"), (filters, plan)
                    assert "INDEX" in plan, (filters, plan)


def test_other_reads_are_searches_by_index_too(audits):
    database = current_database()
    for text in (*lookups._get_sql(), lookups._events_sql(0), lookups._events_sql(2)):
        values = ["x"] * text.count("?")
        plan = database.execute_sql(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
        assert plan[0][3].startswith("SEARCH t1 USING"), (text, plan)
    told = f"EXPLAIN QUERY PLAN {log_questions.finding_reported_sql()}"
    plan = database.execute_sql(told, ("x", "f", 5)).fetchone()[3]
    assert plan == "SEARCH t1 USING INDEX idx_events_finding (audit_id=? AND <expr>=? AND rowid<?)"
