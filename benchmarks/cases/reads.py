"""R1 one audit, R2 the history page, R3 counting and a url's series, R4 a host's series."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import peers
from benchmarks.cases.common import WARM_UP, with_peer
from benchmarks.files import AUDITS, cached_file
from benchmarks.history import PAGE, HistoryQuery, queries
from benchmarks.measure import closed_loop, p50_ms
from benchmarks.model import Case, Metrics, Spec, View
from benchmarks.peers.base import Peer
from benchmarks.sample import FINDINGS, SCREENSHOTS, audit_id

DEEP = 10_000 * PAGE
"""Audits before the deep page: 10,000 pages of them, or 80 % of what a smaller history has."""
READS = "ours", "sqlalchemy", "aiosqlite", "sqlite3-row"


def one_audit(spec: Spec) -> Metrics:
    """R1: each of so many callers loads random audits, one at a time."""
    callers = int(spec.param)
    path = cached_file(spec.data, "audits")
    dice = random.Random(1)

    async def use(peer: Peer) -> Metrics:
        async def read(number: int) -> None:
            children = await peer.read_audit(audit_id(dice.randrange(AUDITS)))
            assert children == FINDINGS + SCREENSHOTS, children

        await closed_loop(read, callers, WARM_UP)
        return (await closed_loop(read, callers, spec.seconds)).metrics()

    return with_peer(spec.peer, path, use)


def history_pages(spec: Spec) -> Metrics:
    """R2: each page by itself, and then the same one behind many others."""
    size = int(spec.param)
    path = cached_file(spec.data, f"history-{size}")
    asked = [(query, _deep_place(path, query)) for query in queries(size)]
    pages = len(asked) + sum(place is not None for _, place in asked)

    async def use(peer: Peer) -> Metrics:
        found: Metrics = {}
        for query, place in asked:
            found[f"{query.name} · first"] = await _page(peer, query, None, spec.seconds, pages)
            if place is not None:
                after = await peer.seek(query, *place)
                found[f"{query.name} · deep"] = await _page(peer, query, after, spec.seconds, pages)
        return found

    return with_peer(spec.peer, path, use)


async def _page(peer: Peer, query: HistoryQuery, after: Any, seconds: float, pages: int) -> float:
    async def read() -> None:
        rows = await peer.history(query, after)
        assert rows == PAGE, f"{query.name}: {rows} audits"

    return await p50_ms(read, seconds * 2 / pages)


def _deep_place(path: Path, query: HistoryQuery) -> tuple[datetime, str] | None:
    """The last audit before the deep page."""
    if not query.deep:
        return None
    terms = [f"{column} {sign} ?" for column, sign, _ in query.conditions()]
    where = f"WHERE {' AND '.join(terms)}" if terms else ""
    values = [value for _, _, value in query.conditions()]
    with closing(sqlite3.connect(path)) as database:
        total = database.execute(f"SELECT count(*) FROM audits {where}", values).fetchone()[0]
        moment, found = database.execute(
            f"SELECT created_at, id FROM audits {where} "
            "ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET ?",
            (*values, min(DEEP, total * 8 // 10)),
        ).fetchone()
    return datetime.fromisoformat(f"{moment}+00:00"), found


def counting(spec: Spec) -> Metrics:
    """R3: how many audits have a status, and the scores of one url over time."""
    size = int(spec.param)
    path = cached_file(spec.data, f"history-{size}")
    by_name = {query.name: query for query in queries(size)}
    url = by_name["url"].filters["url"]

    async def use(peer: Peer) -> Metrics:
        async def common() -> None:
            assert await peer.count("completed") > size / 2

        async def rare() -> None:
            assert await peer.count("running") >= PAGE

        async def series() -> None:
            assert await peer.series(url) >= PAGE

        return {
            "count_common_ms": await p50_ms(common, spec.seconds),
            "count_rare_ms": await p50_ms(rare, spec.seconds / 3),
            "series_ms": await p50_ms(series, spec.seconds / 3),
        }

    return with_peer(spec.peer, path, use)


def trends(spec: Spec) -> Metrics:
    """R4: the series of a host with a hundredth of all audits, with its findings by severity."""
    path = cached_file(spec.data, f"history-{int(spec.param)}")

    async def use(peer: Peer) -> Metrics:
        async def newest(limit: int) -> None:
            assert await peer.trend("site0.example", limit) > 0

        found: Metrics = {}
        for limit in (100, 1000):
            found[f"trend_{limit}_ms"] = await p50_ms(partial(newest, limit), spec.seconds / 2)
        return found

    return with_peer(spec.peer, path, use)


SIZES = ("1000", "100000", "1000000")
CASES = (
    Case(
        "R1",
        "one audit with 20 findings and 5 screenshots, by the number of callers at once",
        one_audit,
        ("1", "16"),
        (*peers.LIBRARIES, "sqlite3-row"),
        (
            View("per_s", "audits per second"),
            View("p50_ms", "p50, ms", 3),
            View("p99_ms", "p99, ms", 3),
        ),
        only={"sqlite3-row": ("1",)},
        note="aiosqlite and sqlite3 return rows as the driver gives them, JSON unread.",
    ),
    Case(
        "R2",
        "a page of 20 of the history, by the number of audits in it",
        history_pages,
        SIZES,
        READS,
        (),
        quick_params=SIZES[:2],
        note="p50 in ms. Every peer has the same indexes and asks by keyset; every page is full. "
        "Deep: behind 10,000 pages, or 80 % of a smaller history.",
    ),
    Case(
        "R3",
        "counting a status, and one url's series of scores (about 30)",
        counting,
        ("100000",),
        READS,
        (
            View("count_common_ms", "count, common status, ms", 3),
            View("count_rare_ms", "count, rare status, ms", 3),
            View("series_ms", "series, ms", 3),
        ),
    ),
    Case(
        "R4",
        "a host's series with its findings by severity, by the number of audits in the history",
        trends,
        SIZES,
        ("ours",),
        (
            View("trend_100_ms", "the newest 100, p50, ms", 3),
            View("trend_1000_ms", "the newest 1,000, p50, ms", 3),
        ),
        quick_params=SIZES[:2],
    ),
)
