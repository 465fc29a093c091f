"""R5 searching, R6 facets, by the number of audits in the history."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

from benchmarks.cases.common import with_peer
from benchmarks.cases.reads import SIZES
from benchmarks.files import cached_file
from benchmarks.history import COMMON, PAGE, SELDOM, created_at
from benchmarks.measure import p50_ms
from benchmarks.model import Case, Metrics, Spec, Unsupported
from benchmarks.peers.base import Peer

PEERS = "ours", "sqlite3-row"
MILLION = "1 million findings"
"""The parameter for the file with 100,000 audits of ten findings each."""
_SITE = "site0.example"


def searching(spec: Spec) -> Metrics:
    """R5: a page of 20 hits; a common word is in about half of all audits."""
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "two common words": (" ".join(COMMON), {}),
        "two words, seldom together": (" ".join(SELDOM), {}),
        "a phrase of common words": (f'"{" ".join(COMMON)}"', {}),
        "a common word without another": (f"{COMMON[0]} -{COMMON[1]}", {}),
        "the beginning of a common word": (f"{COMMON[0][:5]}*", {}),
        "two common words, completed": (" ".join(COMMON), {"status": "completed"}),
        "two common words, one site of a hundred": (" ".join(COMMON), {"host": _SITE}),
    }

    async def search(peer: Peer, text: str, filters: dict[str, Any]) -> None:
        found = await peer.search(text, filters)
        assert found <= PAGE, found
        if spec.param != SIZES[0]:
            assert found == PAGE, (text, found)

    return _each(spec, {name: (search, one) for name, one in wanted.items()})


def counting_kinds(spec: Spec) -> Metrics:
    """R6: how many audits have each status, risk level, site type, tier and pattern type."""
    size = int(spec.param)
    month = created_at(size) - timedelta(days=30)
    wanted: dict[str, dict[str, Any]] = {
        "all": {},
        "completed": {"status": "completed"},
        "last 30 days": {"since": month},
        "the newer half": {"since": created_at(size // 2)},
        "last 30 days, completed": {"since": month, "status": "completed"},
        "score of at least 60": {"min_score": 60},
        "score below 40": {"max_score": 39.9},
        "severity at least high": {"min_severity": "high"},
        "one site of a hundred": {"host": _SITE},
        "a seldom pattern type": {"pattern_type": "trick_wording"},
        "a common pattern type": {"pattern_type": "hidden_cost"},
    }

    async def facets(peer: Peer, filters: dict[str, Any]) -> None:
        assert await peer.facets(filters) > 0

    return _each(spec, {name: (facets, (one,)) for name, one in wanted.items()})


def _each(
    spec: Spec, calls: dict[str, tuple[Callable[..., Awaitable[None]], tuple[Any, ...]]]
) -> Metrics:
    name = "findings" if spec.param == MILLION else f"history-{int(spec.param)}"
    path = cached_file(spec.data, name)

    async def use(peer: Peer) -> Metrics:
        found: Metrics = {}
        for name, (call, values) in calls.items():
            try:
                found[name] = await p50_ms(partial(call, peer, *values), spec.seconds / 2)
            except Unsupported:
                continue
        if not found:
            raise Unsupported("none of it")
        return found

    return with_peer(spec.peer, path, use)


CASES = (
    Case(
        "R5",
        "a page of 20 hits of a search, by the number of audits (with 1.5 findings each)",
        searching,
        (*SIZES[:2], MILLION, SIZES[2]),
        PEERS,
        (),
        quick_params=(*SIZES[:2], MILLION),
        note="p50 in ms. The million findings are those of 100,000 audits. sqlite3 asks the same "
        "full-text index for the best 20 of all matches, on the calling thread; ours ranks the "
        "newest thousand that match.",
    ),
    Case(
        "R6",
        "facets: how many audits of each kind, by the number of audits",
        counting_kinds,
        SIZES,
        PEERS,
        (),
        quick_params=SIZES[:2],
        once=True,
        note="p50 in ms. sqlite3 counts with GROUP BY, five statements on the calling thread.",
    ),
)
