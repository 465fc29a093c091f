"""The filters and orders of the history, counts and facets: right, in order, and by index."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from veritas_peewee import Audit, AuditStore, InvalidAudit, connect
from veritas_peewee.cli.app import run
from veritas_peewee.database.current import current_database
from veritas_peewee.database.sqlite_driver import driver
from veritas_peewee.maintenance.repair import repair
from veritas_peewee.maintenance.verify import verify
from veritas_peewee.models import AuditFinding
from veritas_peewee.queries import walks
from veritas_peewee.queries.counting import count, facets
from veritas_peewee.queries.filters import FILTERS, Filter, Filters, conditions_of
from veritas_peewee.queries.history import history
from veritas_peewee.queries.paging import write_cursor
from veritas_peewee.queries.search import search
from veritas_peewee.recording import operations, recorder, removal

NOW = datetime(2026, 11, 1, tzinfo=UTC)
YEAR_END = datetime(2025, 12, 24, tzinfo=UTC)
STATUSES = ["queued", "running", "completed", "completed", "error", "disconnected"]
LEVELS = ["low", "medium", "high", "critical"]
PATTERNS = ["hidden_cancel", "countdown", "nagging", 'odd "name" ☂']
HOSTS = ["a.example", "b.example"]
Row = dict[str, Any]


@pytest.fixture(scope="module", params=["memory", "file"])
def audits(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("filters") / "audits.db"
    with connect(":memory:" if request.param == "memory" else path):
        rows = list(some_audits(400))
        write(rows)
        yield rows
        assert verify().problems == []


def some_audits(number: int, seed: int = 7) -> Iterator[Row]:
    chance = random.Random(seed)
    for index in range(number):
        host = chance.choice(HOSTS)
        yield {
            "id": f"s{seed}n{index:05d}",
            "url": f"https://{chance.choice(['', 'www.'])}{host}/{chance.choice('xy')}",
            "host": host,
            "status": chance.choice(STATUSES),
            "risk_level": chance.choice(["trusted", "suspicious", "", None]),
            "site_type": chance.choice(["shop", None]),
            "audit_tier": chance.choice(["quick", "deep"]),
            "trust_score": chance.choice([None, 0, 100, 46, 46.5, chance.uniform(0, 100)]),
            # Many share their moment: the id decides between them.
            "created_at": NOW + timedelta(seconds=chance.randrange(60)),
            "findings": [
                (chance.choice(PATTERNS), chance.choice(LEVELS))
                for _ in range(chance.choice([0, 0, 1, 3, 6]))
            ],
        }


def write(rows: list[Row]) -> None:
    with current_database().atomic():
        left_out = ("findings", "host")
        Audit.insert_many(
            [{k: v for k, v in row.items() if k not in left_out} for row in rows]
        ).execute()
        AuditFinding.insert_many(
            [
                {"audit": row["id"], "pattern_type": pattern, "severity": severity,
                 "confidence": 0.5, "description": "x"}
                for row in rows
                for pattern, severity in row["findings"]
            ]
        ).execute()  # fmt: skip


def matches(row: Row, filters: Row) -> bool:
    score = row["trust_score"]
    pattern, severity = filters.get("pattern_type"), filters.get("min_severity")
    tests = {
        "min_score": lambda value: score is not None and score >= value,
        "max_score": lambda value: score is not None and score <= value,
        "since": lambda value: row["created_at"] >= value,
        "until": lambda value: row["created_at"] < value,
    }
    for name, value in filters.items():
        if name in ("pattern_type", "min_severity"):
            least = LEVELS.index(severity) if severity else 0
            if not any(
                (pattern is None or kind == pattern) and LEVELS.index(level) >= least
                for kind, level in row["findings"]
            ):
                return False
        elif not (tests[name](value) if name in tests else row[name] == value):
            return False
    return True


def expected(rows: list[Row], filters: Row, order: str = "newest") -> list[str]:
    found = [row for row in rows if matches(row, filters)]
    found.sort(key=lambda row: (row["created_at"], row["id"]), reverse=order in DOWN)
    if order in ("highest", "lowest"):
        sign = -1 if order == "highest" else 1
        found.sort(key=lambda row: (row["trust_score"] is None, sign * (row["trust_score"] or 0)))
    return [row["id"] for row in found]


DOWN = ("newest", "highest")
ORDERS = ("newest", "oldest", "highest", "lowest")
CHOICES: dict[str, list[Any]] = {
    "status": ["completed", "running", "error"],
    "risk_level": ["trusted", ""],
    "site_type": ["shop"],
    "audit_tier": ["quick"],
    "host": ["a.example"],
    "url": ["https://a.example/x"],
    "min_score": [0, 46, 46.2, 100],
    "max_score": [46.2, 100, 0],
    "since": [NOW + timedelta(seconds=10)],
    "until": [NOW + timedelta(seconds=50)],
    "pattern_type": PATTERNS,
    "min_severity": LEVELS,
}
NEW = {"audit_tier", "host", "pattern_type", "min_severity"}


def some_filters(largest: int = 3) -> Iterator[Row]:
    """Every new filter alone and with others, some combinations of many."""
    chance = random.Random(11)
    for size in range(largest + 1):
        for names in itertools.combinations(CHOICES, size):
            yield {name: chance.choice(CHOICES[name]) for name in names}
    for size in range(largest + 1, len(CHOICES) + 1):
        names = tuple(chance.sample(list(CHOICES), size))
        yield {name: chance.choice(CHOICES[name]) for name in names}


def paged(filters: Row, order: Any, limit: int) -> list[str]:
    seen: list[str] = []
    cursor = None
    while True:
        page = history(**filters, order=order, limit=limit, cursor=cursor)
        seen += [audit.id for audit in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return seen


def test_every_combination_of_filters_in_every_order_pages_through_what_matches(
    audits: list[Row],
) -> None:
    for number, filters in enumerate(some_filters()):
        for order in (ORDERS[number % 4], ORDERS[(number // 4) % 4]):
            assert paged(filters, order, 37) == expected(audits, filters, order), (filters, order)


def test_every_order_pages_through_everything(audits: list[Row]) -> None:
    for order in ORDERS:
        for limit in (1, 50, 1000):
            assert paged({}, order, limit) == expected(audits, {}, order)


def test_every_combination_of_filters_is_counted(audits: list[Row]) -> None:
    for filters in some_filters():
        wanted = [row for row in audits if matches(row, filters)]
        assert count(**filters) == len(wanted), filters
        found = facets(**filters)
        assert found.total == len(wanted), filters
        for name in ("status", "risk_level", "site_type", "audit_tier"):
            told = getattr(found, name)
            assert told == Counter(row[name] for row in wanted), (filters, name)
            assert list(told.values()) == sorted(told.values(), reverse=True)
        patterns = Counter(kind for row in wanted for kind in {one for one, _ in row["findings"]})
        assert found.pattern_type == patterns, filters


@pytest.fixture
def spread() -> Iterator[list[Row]]:
    """Audits of three weeks, over the end of a year."""
    chance = random.Random(3)
    rows = list(some_audits(300))
    for row in rows:
        row["created_at"] = YEAR_END + timedelta(hours=chance.randrange(20 * 24))
        if chance.random() < 0.3:
            row["created_at"] = row["created_at"].replace(hour=0)
    with connect(":memory:"):
        write(rows)
        yield rows
        assert verify().problems == []


def test_ranges_of_days_and_scores_are_counted_wherever_they_begin_and_end(
    spread: list[Row],
) -> None:
    chance = random.Random(4)
    days = [YEAR_END + timedelta(days=day) for day in range(-1, 22)]
    moments = [None, *days, *(day + timedelta(hours=chance.randrange(1, 24)) for day in days)]
    scores = [None, 0, 46, 46.2, 46.5, 46.7, 47, 99.9, 100, *(chance.uniform(0, 100),) * 3]
    for _ in range(400):
        filters = {
            "since": chance.choice(moments), "until": chance.choice(moments),
            "status": chance.choice([None, "completed", "running"]),
        }  # fmt: skip
        if chance.random() < 0.5:
            least, most = chance.choice(scores), chance.choice(scores)
            site = chance.choice([None, "shop"])
            filters = {"min_score": least, "max_score": most, "site_type": site}
        filters = {name: value for name, value in filters.items() if value is not None}
        wanted = [row for row in spread if matches(row, filters)]
        found = facets(**filters)
        assert found.total == count(**filters) == len(wanted), filters
        assert found.status == Counter(row["status"] for row in wanted), filters
        patterns = Counter(kind for row in wanted for kind in {one for one, _ in row["findings"]})
        assert found.pattern_type == patterns, filters


def test_pages_stay_right_while_audits_are_added(tmp_path: Any) -> None:
    with connect(tmp_path / "audits.db"):
        rows = list(some_audits(60, seed=1))
        write(rows)
        for order in ORDERS:
            for filters in ({}, {"pattern_type": "countdown"}, {"audit_tier": "quick"}):
                seen: list[str] = []
                cursor = None
                while True:
                    page = history(**filters, order=order, limit=7, cursor=cursor)
                    seen += [audit.id for audit in page.items]
                    cursor = page.next_cursor
                    if cursor is None:
                        break
                    more = list(some_audits(3, seed=100 + len(rows)))
                    write(more)
                    rows += more
                assert len(seen) == len(set(seen))
                wanted = expected(rows, filters, order)
                # Those that came in before the place it had reached are no part of it.
                assert [audit_id for audit_id in wanted if audit_id in set(seen)] == seen
                assert {i for i in wanted if i.startswith("s1n")} <= set(seen)


def test_a_cursor_belongs_to_its_order(audits: list[Row]) -> None:
    by_time, by_score = history(limit=5), history(limit=5, order="lowest")
    for order, cursor in (("highest", by_time.next_cursor), ("newest", by_score.next_cursor)):
        with pytest.raises(InvalidAudit, match=r"cursor: is not one that history\(\) returned"):
            history(order=order, cursor=cursor)


def test_what_another_program_has_for_times_and_scores_is_paged_through(tmp_path: Any) -> None:
    with connect(tmp_path / "audits.db"):
        rows = list(some_audits(40, seed=3))
        write(rows)
        with closing(driver.connect(tmp_path / "audits.db")) as other, other:
            for number, row in enumerate(rows[:20]):
                column = ("trust_score", "created_at")[number % 2]
                value = ("much", 5, 5.5, "2026")[number // 2 % 4]
                other.execute(f"UPDATE audits SET {column} = ? WHERE id = ?", (value, row["id"]))
        for order in ORDERS:
            for filters in ({}, {"max_score": 100}, {"pattern_type": "countdown"},
                            {"since": "2020", "min_score": 0}):  # fmt: skip
                whole = [audit.id for audit in history(order=order, limit=1000, **filters).items]
                assert paged(filters, order, 3) == whole


@pytest.mark.parametrize(
    ("column", "value"),
    [("trust_score", -0.5), ("trust_score", -7), ("trust_score", 5000), ("created_at", 2460000.5),
     ("created_at", 99999999), ("created_at", ""), ("created_at", "2026-01"), ("created_at", "z")],
)  # fmt: skip
def test_what_another_program_has_for_times_and_scores_is_counted_where_it_is_found(
    tmp_path: Any, column: str, value: Any
) -> None:
    path = tmp_path / "audits.db"
    with connect(path):
        Audit.insert(id="odd", url="https://a.example", status="completed").execute()
        with closing(driver.connect(path)) as other, other:
            other.execute(f"UPDATE audits SET {column} = ?", (value,))
        repair()
        for filters in ({"min_score": 0}, {"max_score": 0}, {"max_score": 50.5}, {"min_score": 0.5},
                        {"since": "2025"}, {"until": "2025"}, {"until": "2026-02"}):  # fmt: skip
            # Of one address audits are looked at one by one.
            wanted = count(url="https://a.example", **filters)
            assert (count(**filters), facets(**filters).total) == (wanted, wanted), filters


def test_cursors_made_by_hand_are_refused(audits: list[Row]) -> None:
    for score in (2**63, -(2**70), float("nan"), True, [], {}, {"$blob": 5}, {"$blob": "x"}):
        cursor = write_cursor([score, "2026-01-01 00:00:00.000000", "a"])
        for order in ("highest", "lowest"):
            with pytest.raises(InvalidAudit, match=r"cursor: is not one that history\(\) returned"):
                history(order=order, cursor=cursor)


def test_bad_values_are_refused_by_name(audits: list[Row]) -> None:
    for filters, told in [
        ({"min_severity": "grave"}, "min_severity: must be one of low, medium, high, critical"),
        ({"min_severity": 3}, "min_severity: must be one of"),
        ({"pattern_type": ""}, "pattern_type: cannot be empty"),
        ({"pattern_type": "a\0b"}, "pattern_type: holds a NUL"),
        ({"host": "http://"}, "host: must be a host's name or an address of it"),
        ({"host": 5}, "host: must be text"),
        ({"since": datetime(2026, 1, 1)}, "since: "),
        ({"min_score": float("nan")}, "min_score: "),
        ({"order": "best"}, "order: must be one of newest, oldest, highest, lowest"),
        ({"order": ["newest"]}, "order: must be one of"),
    ]:
        for ask in (history, count, facets)[: 1 if "order" in filters else 3]:
            with pytest.raises(InvalidAudit, match=told):
                ask(**filters)
    for ask in (history, count, facets):
        with pytest.raises(TypeError, match=f"{ask.__name__}.. got an unexpected keyword"):
            ask(stat="x")


def test_a_new_filter_is_one_entry_and_its_key(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FILTERS, "verdict_mode", Filter("verdict_mode"))
    monkeypatch.setitem(FILTERS, "min_pages", Filter("pages_scanned", "ge"))
    for name in ("verdict_mode", "min_pages"):
        monkeypatch.setitem(Filters.__annotations__, name, object)
    with connect(tmp_path / "audits.db"):
        rows = list(some_audits(80))
        for number, row in enumerate(rows):
            row |= {"verdict_mode": ("expert", "simple")[number % 2], "pages_scanned": number % 5}
        write(rows)
        for others in ({}, {"pattern_type": "nagging"}, {"min_score": 40}, {"status": "error"}):
            for order in ORDERS:
                filters: Row = {"verdict_mode": "simple", "min_pages": 2, **others}
                wanted = [row for row in rows if row["pages_scanned"] >= 2]
                found = expected(wanted, {"verdict_mode": "simple", **others}, order)
                assert paged(filters, order, 7) == found
            assert count(**filters) == facets(**filters).total == len(found) > 0
            page = search("example", limit=1000, **filters)
            ended = {row["id"] for row in rows if row["status"] not in ("queued", "running")}
            assert {hit.audit.id for hit in page.items} == set(found) & ended
        with pytest.raises(InvalidAudit, match="min_pages: must be a whole number"):
            count(min_pages="many")


def test_a_column_that_a_filter_marks_as_common_is_not_looked_up_beside_another(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walks, "COMMON", walks.COMMON | {"verdict_mode"})
    monkeypatch.setitem(FILTERS, "verdict_mode", Filter("verdict_mode", common=True))
    filters: Row = {"verdict_mode": "expert", "audit_tier": "quick", "url": "https://a.example"}
    with connect(tmp_path / "audits.db") as database:
        database.execute_sql("CREATE INDEX by_mode ON audits (verdict_mode, created_at, id)")

        def index_for(*names: str) -> str:
            conditions = conditions_of({name: filters[name] for name in names})
            text = walks._time_sql.__wrapped__(conditions.shape, True, False)
            (row,) = database.execute_sql(f"EXPLAIN QUERY PLAN {text}", [*conditions.values, 20])
            return str(row[3])

        assert " by_mode " in index_for("verdict_mode")
        assert " idx_audits_url " in index_for("verdict_mode", "audit_tier", "url")


@pytest.mark.parametrize("score", [2**70, -(2**70), 1e300, -1e300])
def test_a_bound_on_scores_may_be_any_finite_number(tmp_path: Any, score: float) -> None:
    with connect(tmp_path / "audits.db"):
        write(list(some_audits(20)))
        scored = count(min_score=0)
        for filters, high in (({"min_score": score}, score < 0), ({"max_score": score}, score > 0)):
            number = scored if high else 0
            assert count(**filters) == facets(**filters).total == number


def test_every_filter_is_a_key_and_every_key_a_filter() -> None:
    assert set(FILTERS) | {"pattern_type", "min_severity"} == set(Filters.__annotations__)


# ---- plans ----


@pytest.fixture
def plans(audits: list[Row], monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(statement, plan) of what is asked of the database."""
    found: list[tuple[str, str]] = []
    database = current_database()
    execute_sql = database.execute_sql

    def explained(text: str, values: Any = None) -> Any:
        if text.startswith("SELECT"):
            plan = execute_sql(f"EXPLAIN QUERY PLAN {text}", values).fetchall()
            found.append((text, "; ".join(row[3] for row in plan)))
        return execute_sql(text, values)

    monkeypatch.setattr(database, "execute_sql", explained)
    return found


def test_every_page_is_read_in_order_by_index(plans: list[tuple[str, str]]) -> None:
    """Also with a cursor, and without statistics: nothing depends on ANALYZE having been run."""
    cursors = {order: history(limit=5, order=order).next_cursor for order in ORDERS}
    for filters in some_filters(2):
        for order, position in itertools.product(ORDERS, (False, True)):
            plans.clear()
            cursor = cursors[order] if position else None
            history(**filters, limit=5, order=order, cursor=cursor)
            for text, plan in plans:
                case = (filters, order, text, plan)
                if order in ("highest", "lowest"):
                    # A site's audits are few: they are found by it, and then sorted.
                    if {"url", "host"} & set(filters):
                        assert "SEARCH t1 USING INDEX idx_audits_" in plan, case
                        continue
                    if 't1"."id" IN' not in text:
                        assert "idx_audits_trust_score" in plan, case
                assert "TEMP B-TREE" not in plan, case
                if filters or position:
                    assert plan.startswith("SEARCH"), case
                    assert "INDEX" in plan or "PRIMARY KEY" in plan, case
                assert "SCAN t2" not in plan, case


def test_the_right_index_is_chosen(plans: list[tuple[str, str]]) -> None:
    for filters, wanted in [
        ({"audit_tier": "quick"}, "idx_audits_tier_history (audit_tier=?)"),
        ({"audit_tier": "quick", "status": "error"}, "idx_audits_status (status=?)"),
        ({"host": "a.example"}, "idx_audits_host_history (host=?)"),
        ({"host": "a.example", "audit_tier": "quick"}, "idx_audits_host_history (host=?)"),
        ({"host": "a.example", "min_score": 40}, "idx_audits_host_history (host=?)"),
        ({"pattern_type": "nagging"}, "SEARCH t1 USING PRIMARY KEY (pattern_type=?)"),
        ({"min_severity": "high"}, "SEARCH t1 USING PRIMARY KEY (pattern_type=?)"),
        ({"pattern_type": "nagging", "since": NOW}, "(pattern_type=? AND created_at>?)"),
    ]:
        plans.clear()
        history(**filters, limit=5)
        assert wanted in plans[0][1], (filters, plans[0])


def test_counts_read_no_more_than_they_must(plans: list[tuple[str, str]]) -> None:
    for filters in ({}, {"status": "completed", "audit_tier": "deep"}, {"pattern_type": "x"}):
        plans.clear()
        count(**filters)
        ended, alive = (plan for _, plan in plans)
        assert "audit_counts" in plans[0][0]
        assert ended.startswith(("SCAN t1", "SEARCH t1 USING PRIMARY KEY"))
        assert alive.startswith("SEARCH t1 USING"), alive
        assert "(status=?" in alive


@pytest.mark.parametrize(
    ("filters", "found_by"),
    [
        ({"status": "completed"}, None),
        ({"min_severity": "high", "site_type": "shop"}, None),
        ({"since": NOW - timedelta(days=3), "status": "completed"}, "created_at>?"),
        ({"until": NOW, "risk_level": "trusted"}, "created_at>?"),
        ({"min_score": 39.5, "status": "completed"}, "trust_score>?"),
        ({"max_score": 60, "audit_tier": "deep"}, "trust_score>?"),
    ],
)
def test_facets_are_kept_but_for_a_part_of_a_slice(
    plans: list[tuple[str, str]], filters: Row, found_by: str | None
) -> None:
    plans.clear()
    facets(**filters)
    kept = [plan for text, plan in plans if "audit_counts" in text]
    assert len(kept) == 2
    assert all(
        plan.startswith("SEARCH t1 USING PRIMARY KEY (slice>? AND slice<?)") for plan in kept
    )
    others = [plan for text, plan in plans if "audit_counts" not in text]
    alive = [plan for plan in others if "(status=?" in plan]
    parts = [plan for plan in others if plan not in alive]
    assert len(alive) == 2
    assert len(parts) == (1 if found_by else 0)
    for plan in parts:
        first, second = plan.split("; ")[:2]
        assert first.startswith("SEARCH t2 USING COVERING INDEX")
        assert str(found_by) in first
        assert second == "SEARCH t1 USING INDEX audit_catalog_audit_id (audit_id=?)"


@pytest.mark.parametrize("others", [{}, {"status": "error"}])
def test_facets_by_a_pattern_type_look_at_no_ended_audit(
    plans: list[tuple[str, str]], others: Row
) -> None:
    plans.clear()
    facets(pattern_type="p1", **others)
    alive = [plan for text, plan in plans if "audit_counts" not in text]
    assert len(alive) == 2
    assert all("(status=?" in plan for plan in alive)


# ---- in step ----


def test_counts_follow_every_change(script: Any) -> None:
    def told() -> tuple[Any, ...]:
        assert verify().problems == []
        found = facets()
        return found.total, found.status, found.pattern_type, count(min_severity="high")

    def finding(number: int, severity: str) -> Row:
        return {"type": "finding", "finding": {
            "id": f"f{number}", "category": "c", "pattern_type": f"p{number % 2}",
            "severity": severity, "confidence": 1, "description": "d"}}  # fmt: skip

    assert told() == (0, {}, {}, 0)
    audit_id = operations.create("https://a.example/").id
    recorder.record_many(audit_id, [finding(0, "low"), finding(1, "high"), finding(2, "medium")])
    assert told() == (1, {"queued": 1}, {"p0": 1, "p1": 1}, 1)
    recorder.record(audit_id, {"type": "audit_complete"})
    assert told() == (1, {"completed": 1}, {"p0": 1, "p1": 1}, 1)
    AuditFinding.delete().where(AuditFinding.pattern_type == "p1").execute()
    assert told() == (1, {"completed": 1}, {"p0": 1}, 0)
    operations.update(audit_id, status="error", risk_level="x", site_type="y")
    assert told() == (1, {"error": 1}, {"p0": 1}, 0)
    assert facets().risk_level == {"x": 1}
    moved = NOW - timedelta(days=9)
    Audit.update(created_at=moved).where(Audit.id == audit_id).execute()
    assert [audit.id for audit in history(pattern_type="p0", until=NOW).items] == [audit_id]
    operations.update(audit_id, status="running")
    assert told() == (1, {"running": 1}, {"p0": 1}, 0)
    assert [audit.id for audit in history(pattern_type="p0", until=NOW).items] == [audit_id]
    removal.delete(audit_id)
    assert told() == (0, {}, {}, 0)


# ---- through the facade and on the command line ----


@pytest.mark.anyio
async def test_the_facade_filters_and_counts(store: AuditStore, finding: Any) -> None:
    first = await store.create("https://www.shop.example/a", audit_tier="quick_scan")
    second = await store.create("http://shop.example:80/b")
    await store.record_many(first.id, [finding(1), {"type": "audit_complete"}])
    await store.update(second.id, trust_score=12.5)
    assert await store.count() == await store.count(host="SHOP.example.") == 2
    assert await store.count(pattern_type="hidden_cancel", min_severity="high") == 1
    assert await store.count(min_severity="critical") == 0
    page = await store.history(audit_tier="quick_scan", pattern_type="hidden_cancel")
    assert [audit.id for audit in page.items] == [first.id]
    page = await store.history(order="lowest")
    assert [audit.id for audit in page.items] == [second.id, first.id]
    found = await store.facets(since=first.created_at)
    assert (found.total, found.status) == (2, {"completed": 1, "queued": 1})
    assert found.pattern_type == {"hidden_cancel": 1}
    with pytest.raises(InvalidAudit, match="pattern_type"):
        await store.facets(pattern_type="")
    with pytest.raises(TypeError, match="unexpected keyword"):
        await store.count(colour="red")


@pytest.mark.anyio
async def test_dates_may_be_text_wherever_audits_are_chosen(
    file_store: AuditStore, tmp_path: Any
) -> None:
    store = file_store
    ids = []
    for time in (datetime(2020, 1, 31, 23, tzinfo=UTC), datetime.now(UTC) - timedelta(days=3)):
        audit = await store.create("https://shop.example/")
        ids.append(audit.id)
        await store.update(audit.id, status="completed", started_at=time)
        await store.write(Audit.update(created_at=time).where(Audit.id == audit.id).execute)
    old, new = ids
    for dates, wanted in [
        ({"since": "7d"}, [new]),
        ({"since": "1w", "until": "24h"}, [new]),
        ({"until": "2d"}, [old, new]),
        ({"until": "2021"}, [old]),
        ({"since": "2020-02"}, [new]),
        ({"since": "2020-01-31", "until": "2020-02-01"}, [old]),
        # Without a zone it is UTC.
        ({"since": "2020-01-31T23:00", "until": "2020-01-31 23:00:00.000001"}, [old]),
        ({"since": "2020-02-01T00:00+01:00", "until": "2020-02-01T00:01+01:00"}, [old]),
        ({"since": "2020-01-31T23:01Z", "until": "3w"}, []),
    ]:
        assert [audit.id for audit in (await store.history(**dates, order="oldest")).items] == (
            wanted
        ), dates
        found = await store.search("shop", **dates)
        assert {hit.audit.id for hit in found.items} == set(wanted)
        assert await store.count(**dates) == (await store.facets(**dates)).total == len(wanted)
        series = await store.trend(host="shop.example", **dates)
        assert [point.audit_id for point in series.points] == wanted
        target = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        assert (await store.export(target, **dates)).audits == len(wanted)
    for bad in ("soon", "", "7", "-7d", "\uff12d", "2026-13", "0000", "999999w", "\ud800", "a\0",
                "0001-01-01T00:00+05:00", "x" * 100_000):  # fmt: skip
        for name in ("since", "until"):
            told = f"^{name}: must be a date such as 2026-01-31, 2026-01, .*, got "
            for ask in (store.history, store.count, store.facets, store.search, store.trend,
                        store.export):  # fmt: skip
                args = {store.search: ["x"], store.trend: ["https://shop.example/"],
                        store.export: [tmp_path / "none.jsonl"]}.get(ask, [])  # fmt: skip
                with pytest.raises(InvalidAudit, match=told):
                    await ask(*args, **{name: bad})


@pytest.fixture
def path(tmp_path: Any) -> str:
    found = str(tmp_path / "audits.db")
    with connect(found):
        for number in range(4):
            audit_id = operations.create(f"https://s{number}.example/").id
            operations.update(audit_id, status="completed", trust_score=10.0 * number)
        old = datetime.now(UTC) - timedelta(days=40)
        Audit.update(created_at=old).where(Audit.id == audit_id).execute()
        operations.create("https://queued.example/")
    return found


def listed(capsys: Any, *args: str) -> list[str]:
    assert run([*args, "--json"]) == 0
    return [item["url"] for item in json.loads(capsys.readouterr().out)["items"]]


def test_dates_as_people_write_them(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    history = ("history", "--database", path)
    assert len(listed(capsys, *history, "--since", "7d")) == 4
    assert len(listed(capsys, *history, "--since", "24h", "--until", "1h")) == 0
    assert len(listed(capsys, *history, "--since", "8w")) == 5
    assert listed(capsys, *history, "--until", "5w") == ["https://s3.example/"]
    month = datetime.now(UTC).strftime("%Y-%m")
    old = listed(capsys, *history, "--until", month)
    assert "https://s3.example/" in old
    assert set(old) | set(listed(capsys, *history, "--since", month)) == set(
        listed(capsys, *history)
    )
    assert len(listed(capsys, *history, "--since", "2020")) == 5
    for bad in (
        "2026-13",
        "soon",
        "-7d",
        "7",
        "999999w",
        "2026-1",
        "0000",
        "0001-01-01T00:00+05:00",
    ):
        assert run([*history, f"--since={bad}"]) == 2
        assert "is no date such as 2026-01-31, 2026-01" in capsys.readouterr().err


def test_the_command_line_filters_orders_and_counts(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    history = ("history", "--database", path)
    lowest = listed(capsys, *history, "--order", "lowest", "--status", "completed")
    assert lowest == [f"https://s{number}.example/" for number in range(4)]
    assert listed(capsys, *history, "--host", "http://WWW.s1.example/x") == ["https://s1.example/"]
    assert listed(capsys, *history, "--pattern", "none_such", "--min-severity", "low") == []
    assert len(listed(capsys, *history, "--tier", "standard_audit")) == 5
    assert run([*history, "--order", "best"]) == 2
    assert "--order" in capsys.readouterr().err
    assert run(["stats", "--database", path]) == 0
    out = capsys.readouterr().out
    assert out.startswith("5 audits\n")
    assert "completed" in out
    assert "80%" in out
    assert run(["stats", "--database", path, "--max-score", "10", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["total"] == 2
    assert told["status"] == [["completed", 2]]
    assert told["risk_level"] == [[None, 2]]
    assert run(["stats", "--database", path, "--host", "/"]) == 2
    assert "host: must be" in capsys.readouterr().err
