"""The targets that the store must reach, and whether it did: the median of each round's ratio."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

from benchmarks.cases.finding import MILLION
from benchmarks.cases.follow import ALONE, FOLLOWED
from benchmarks.model import Outcomes
from benchmarks.peers import EARLIER, OURS


class Target(NamedTuple):
    case: str
    what: str
    sign: str
    """">=" or "<="."""
    value: float
    unit: str
    measure: Callable[[Outcomes, bool], float | None]


class Verdict(NamedTuple):
    target: Target
    measured: float | None

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        if self.target.sign == ">=":
            return self.measured >= self.target.value
        return self.measured <= self.target.value


def verdicts(outcomes: Outcomes, pinned: bool) -> list[Verdict]:
    return [Verdict(target, target.measure(outcomes, pinned)) for target in TARGETS]


Place = tuple[str, str, str, str]
"""(case, peer, parameter, metric)"""


def _values(outcomes: Outcomes, place: Place, pinned: bool) -> list[float]:
    case, peer, param, metric = place
    found = outcomes.get((case, peer, param, pinned))
    return [one[metric] for one in found.rounds if metric in one] if found else []


def _ratio(above: Place, below: Place) -> Callable[[Outcomes, bool], float | None]:
    def measure(outcomes: Outcomes, pinned: bool) -> float | None:
        pairs = zip(
            _values(outcomes, above, pinned), _values(outcomes, below, pinned), strict=False
        )
        ratios = [one / other for one, other in pairs]
        return median(ratios) if ratios else None

    return measure


def _against(case: str, param: str, metric: str, peer: str) -> Callable[..., float | None]:
    return _ratio((case, "ours", param, metric), (case, peer, param, metric))


def _largest(*places: Place) -> Callable[[Outcomes, bool], float | None]:
    def measure(outcomes: Outcomes, pinned: bool) -> float | None:
        found = [_values(outcomes, place, pinned) for place in places]
        return max((median(values) for values in found if values), default=None)

    return measure


def _growth(outcomes: Outcomes, pinned: bool) -> float | None:
    """R2: the worst filter, the largest history against the smallest."""
    worst = worst_growth(outcomes, pinned)
    return worst[0][1] if worst else None


def worst_growth(outcomes: Outcomes, pinned: bool) -> list[tuple[str, float]]:
    """(page, p50 at the largest history / p50 at the smallest), the worst first."""
    sizes = sorted(
        int(param)
        for (case, peer, param, pin), found in outcomes.items()
        if (case, peer, pin) == ("R2", "ours", pinned) and found.rounds
    )
    if len(sizes) < 2:
        return []
    small, large = (outcomes["R2", "ours", str(size), pinned] for size in (sizes[0], sizes[-1]))
    grown = {
        page: median(one[page] for one in large.rounds) / median(one[page] for one in small.rounds)
        for page in large.rounds[0]
        if page.endswith("first") and page in small.rounds[0]
    }
    return sorted(grown.items(), key=lambda item: -item[1])


def _depth(outcomes: Outcomes, pinned: bool) -> float | None:
    """R2: the worst deep page against its first page, in the largest history."""
    ratios = []
    sizes = [key for key in outcomes if key[:2] == ("R2", "ours") and key[3] == pinned]
    if not sizes:
        return None
    rounds = outcomes[max(sizes, key=lambda key: int(key[2]))].rounds
    for page in rounds[0] if rounds else ():
        name, _, place = page.partition(" · ")
        if place == "deep":
            ratios.append(median(one[page] / one[f"{name} · first"] for one in rounds))
    return max(ratios, default=None)


def _memory(outcomes: Outcomes, pinned: bool) -> float | None:
    peaks = {
        int(key[2]): found.rounds[0]["peak_mb"]
        for key, found in outcomes.items()
        if key[0] == "MEM" and key[3] == pinned and found.rounds
    }
    return peaks[max(peaks)] - peaks[min(peaks)] if len(peaks) > 1 else None


def _writer(param: str) -> Place:
    return "M1", "ours", param, "write_per_s"


def _reader(param: str) -> Place:
    return "M1", "ours", param, "read_p99_ms"


_LAGS: list[Place] = [
    ("L1", "ours", param, "p99_ms") for param in ("W1 at 100", "1 s query", "large read")
]

TARGETS = (
    Target("MIX", "100 audits, against the commit of --against", ">=", 3, "x",
           _ratio(("MIX", OURS, "100", "per_s"), ("MIX", EARLIER, "100", "per_s"))),
    *(
        Target("MIX", f"{audits} audit{'s' * (audits > 1)}, against aiosqlite", ">=", wanted, "x",
               _against("MIX", str(audits), "per_s", "aiosqlite"))
        for audits, wanted in ((1, 2), (16, 4), (100, 10))
    ),
    *(
        Target("E1", f"a lone {kind}, p50, against aiosqlite", "<=", 0.6, "x",
               _against("E1", kind, "p50_ms", "aiosqlite"))
        for kind in ("stats_update", "site_type", "security_result", "finding")
    ),
    Target("W1", "100 tasks, against SQLAlchemy async", ">=", 50, "x",
           _against("W1", "100", "per_s", "sqlalchemy")),
    Target("W1", "100 tasks, against bare aiosqlite", ">=", 3, "x",
           _against("W1", "100", "per_s", "aiosqlite")),
    Target("W1", "100 tasks, share of executemany's rate", ">=", 0.10, "x",
           _against("W1", "100", "per_s", "executemany")),
    Target("W1", "lone write p50, against bare aiosqlite", "<=", 1.1, "x",
           _against("W1", "1", "p50_ms", "aiosqlite")),
    Target("W2", "16 tasks, against SQLAlchemy async", ">=", 20, "x",
           _against("W2", "16", "per_s", "sqlalchemy")),
    Target("W2", "1 task, against bare aiosqlite", ">=", 1, "x",
           _against("W2", "1", "per_s", "aiosqlite")),
    Target("W2", "16 tasks, against bare aiosqlite", ">=", 2, "x",
           _against("W2", "16", "per_s", "aiosqlite")),
    Target("W3", "record_many, share of executemany's rate", ">=", 0.35, "x",
           _against("W3", "events", "per_s", "executemany")),
    Target("W3", "result files, share of executemany's rate", ">=", 0.35, "x",
           _against("W3", "results", "per_s", "executemany")),
    Target("R1", "p50, against SQLAlchemy async", "<=", 1 / 6, "x",
           _against("R1", "1", "p50_ms", "sqlalchemy")),
    Target("R1", "audits per second, against aiosqlite", ">=", 1.1, "x",
           _against("R1", "1", "per_s", "aiosqlite")),
    Target("R1", "the same, 16 callers at once", ">=", 0.9, "x",
           _against("R1", "16", "per_s", "aiosqlite")),
    Target("R2", "worst filter, largest history against smallest", "<=", 1.5, "x", _growth),
    Target("R2", "worst deep page against its first page", "<=", 1.5, "x", _depth),
    Target("R4", "a host's series at a million audits", "<=", 100, " ms",
           _largest(("R4", "ours", "1000000", "trend_1000_ms"))),
    Target("R5", "two common words among a million findings", "<=", 20, " ms",
           _largest(("R5", "ours", MILLION, "two common words"))),
    Target("R5", "two common words among a million audits", "<=", 15, " ms",
           _largest(("R5", "ours", "1000000", "two common words"))),
    Target("R6", "facets at a million audits", "<=", 100, " ms",
           _largest(("R6", "ours", "1000000", "all"))),
    Target("R6", "the same by a common pattern type", "<=", 50, " ms",
           _largest(("R6", "ours", "1000000", "a common pattern type"))),
    Target("M1", "writers with readers, against writers alone", ">=", 0.7, "x",
           _ratio(_writer("both"), _writer("writers"))),
    Target("M1", "readers' p99 with writers, against alone", "<=", 3, "x",
           _ratio(_reader("both"), _reader("readers"))),
    Target("M1", "paced readers: p99 with writers, against alone", "<=", 3, "x",
           _ratio(_reader("both, paced"), _reader("readers, paced"))),
    Target("M1", "writes that failed", "<=", 0, "",
           _largest(("M1", "ours", "both", "write_errors"))),
    Target("F1", "writes with 1,000 followers, against none", ">=", 0.9, "x",
           _ratio(("F1", "ours", FOLLOWED, "per_s"), ("F1", "ours", ALONE, "per_s"))),
    *(
        Target("L1", f"p99 during {place[2]}", "<=", 5, " ms", _largest(place))
        for place in _LAGS
    ),
    Target("MEM", "listing the largest history, above the smallest", "<=", 50, " MB", _memory),
    Target("S1", "import, against peewee and anyio", "<=", 1.2, "x",
           _ratio(("S1", "ours", "cold process", "import_ms"),
                  ("S1", "ours", "cold process", "import_base_ms"))),
    Target("S1", "import of AuditStore, connect and Audit, against the same", "<=", 1.3, "x",
           _ratio(("S1", "ours", "cold process", "import_names_ms"),
                  ("S1", "ours", "cold process", "import_base_ms"))),
)  # fmt: skip
