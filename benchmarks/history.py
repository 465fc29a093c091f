"""A history of many audits in realistic shares, with rare values, and the queries for it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmarks.sample import MOMENT, audit_id, stored

PAGE = 20
HOSTS = 100
VERSION = 5
"""Changes with the rows that are generated, so that cached files are made anew."""

# The commonest words come first: the frequency of the nth word is in proportion to 1 / (n + 3).
# After the words that are searched for come made-up ones.
COMMON, SELDOM = ("consent", "banner"), ("escrow", "lottery")
_LEADING = ("page", "button", COMMON[0], "price", "link", COMMON[1], "cookie", "cancel", "offer")
_SYLLABLES = ("ba", "con", "der", "fi", "gra", "hel", "kor", "lan", "mun", "nes", "pli", "ron",
              "ster", "tal", "ver", "wil")  # fmt: skip
_TRAILING = tuple(one + two + three for one in _SYLLABLES for two in _SYLLABLES
                  for three in _SYLLABLES[:12])  # fmt: skip
_WORDS = (*_LEADING, *_TRAILING[:300], *SELDOM, *_TRAILING[300:])
_SHARES = tuple(accumulate(1 / (place + 3) for place in range(len(_WORDS))))
_PATTERNS = (
    (("hidden_cancel", "obstruction"), 30), (("hidden_cost", "sneaking"), 25),
    (("fake_countdown", "urgency"), 20), (("hidden_decline", "visual_interference"), 15),
    (("nagging", "forced_action"), 9), (("trick_wording", "misdirection"), 1),
)  # fmt: skip
_SEVERITIES = (("low", 40), ("medium", 35), ("high", 20), ("critical", 5))

# The rare ones are planted, evenly over time: enough for a page in the smallest history.
_STATUSES = (("completed", 88), ("error", 8), ("disconnected", 3), ("queued", 1))
_SITES = (("ecommerce", 45), ("news", 20), ("company", 15), ("streaming", 10), ("travel", 6))
_RISKS = (("trusted", 90), ("probably_safe", 70), ("suspicious", 40), ("high_risk", 20))
_SPACING = timedelta(seconds=30)
_KEYS = {
    "status": ("status", "="),
    "risk_level": ("risk_level", "="),
    "url": ("url", "="),
    "site_type": ("site_type", "="),
    "min_score": ("trust_score", ">="),
    "max_score": ("trust_score", "<="),
    "since": ("created_at", ">="),
    "until": ("created_at", "<"),
}


class HistoryQuery(NamedTuple):
    """A page that is asked for, by the filters of the facade's `history`."""

    name: str
    filters: dict[str, Any]
    deep: bool = True
    """Whether there are enough audits for a deep page."""

    def conditions(self) -> list[tuple[str, str, Any]]:
        """(column, operator, stored value) of each filter."""
        return [(*_KEYS[name], stored(value)) for name, value in self.filters.items()]


COLUMNS = (
    "id", "url", "status", "trust_score", "risk_level", "signal_scores", "narrative", "site_type",
    "site_type_confidence", "security_results", "pages_scanned", "elapsed_seconds", "errors",
    "started_at", "completed_at", "created_at", "updated_at", "host",
)  # fmt: skip


def created_at(number: int) -> datetime:
    return MOMENT + number * _SPACING


def url_of(number: int) -> str:
    """One of a history's urls; they belong to few hosts, each with a hundredth of the audits."""
    return f"https://site{number % HOSTS}.example/{number}"


def _chosen(dice: random.Random, shares: Sequence[tuple[Any, int]]) -> Any:
    return dice.choices([name for name, _ in shares], [share for _, share in shares])[0]


def _text(dice: random.Random, words: int) -> str:
    return " ".join(dice.choices(_WORDS, cum_weights=_SHARES, k=words))


FINDING_COLUMNS = (
    "audit_id", "pattern_type", "category", "severity", "confidence", "description",
    "plain_english", "created_at",
)  # fmt: skip


def findings(size: int, each: int | None = None) -> Iterator[tuple[object, ...]]:
    """The findings of a history: `each` for every audit, or by default none to three."""
    dice = random.Random(size + 1)
    for number in range(size):
        for _ in range(number % 4 if each is None else each):
            yield (
                audit_id(number),
                *_chosen(dice, _PATTERNS),
                _chosen(dice, _SEVERITIES),
                0.8,
                f"The {_text(dice, 14)}.",
                "It is harder to leave than to stay.",
                stored(created_at(number)),
            )


def rows(size: int) -> Iterator[tuple[object, ...]]:
    """The audits of a history, oldest first; the same audits in every run."""
    dice = random.Random(size)
    urls = max(size // 30, 1)
    rare = max(size // 10_000, 40)
    step = size // rare
    for number in range(size):
        status = _chosen(dice, _STATUSES)
        site = _chosen(dice, _SITES)
        score: float | None = round(dice.triangular(20, 99, 85), 1)
        turn = number % step
        if turn == 0:
            status = "running"
        elif turn == 1:
            site = "gambling"
        elif turn == 2:
            score = round(dice.uniform(1, 19), 1)
        elif turn == 3:
            score = 99.9
        elif turn == 4:  # two common values that hardly ever meet
            status, site = "error", "travel"
        if (status, site) == ("error", "travel") and turn != 4:
            site = "news"
        if status in ("running", "queued"):
            score = None
        risk = None if score is None else _risk(score)
        when = stored(created_at(number))
        number_of_url = (number * 7919) % urls
        yield (
            audit_id(number),
            url_of(number_of_url),
            status,
            score,
            risk,
            f'{{"visual":{score or 0},"structural":71,"temporal":64,"graph":80,"meta":55}}',
            f"**Verdict.** {_text(dice, 30)}.",
            site,
            0.9,
            '{"headers":{"score":0.5,"missing":["csp","hsts"]},"phishing":{"verified":false}}',
            number % 12,
            60.0,
            '["scout: the page did not answer within 30 s"]' if status == "error" else "[]",
            when,
            when if status == "completed" else None,
            when,
            when,
            urlsplit(url_of(number_of_url)).hostname,
        )


def _risk(score: float) -> str:
    return next((name for name, low in _RISKS if score >= low), "likely_fraudulent")


def queries(size: int) -> list[HistoryQuery]:
    """Each filter by itself, common and rare, and two together."""
    middle = created_at(size // 2)
    late = created_at(size - max(size // 20, 2 * PAGE))
    url = url_of(max(size // 30, 1) // 2)
    return [
        HistoryQuery("none", {}),
        HistoryQuery("status common", {"status": "completed"}),
        HistoryQuery("status rare", {"status": "running"}, deep=False),
        HistoryQuery("risk common", {"risk_level": "probably_safe"}),
        HistoryQuery("risk rare", {"risk_level": "likely_fraudulent"}, deep=False),
        HistoryQuery("url", {"url": url}, deep=False),
        HistoryQuery("site_type common", {"site_type": "ecommerce"}),
        HistoryQuery("site_type rare", {"site_type": "gambling"}, deep=False),
        HistoryQuery("min_score common", {"min_score": 60}),
        HistoryQuery("min_score rare", {"min_score": 99.5}, deep=False),
        HistoryQuery("max_score rare", {"max_score": 19.5}, deep=False),
        HistoryQuery("since", {"since": late}, deep=False),
        HistoryQuery("until", {"until": middle}),
        HistoryQuery("status+site_type", {"status": "completed", "site_type": "ecommerce"}),
        HistoryQuery(
            "status+site_type, seldom together",
            {"status": "error", "site_type": "travel"},
            deep=False,
        ),
        HistoryQuery(
            "status+risk rare", {"status": "completed", "risk_level": "likely_fraudulent"}, False
        ),
        HistoryQuery("status+min_score", {"status": "completed", "min_score": 60}),
        HistoryQuery("url+status", {"url": url, "status": "completed"}, deep=False),
        HistoryQuery("status+since", {"status": "completed", "since": late}, deep=False),
    ]
