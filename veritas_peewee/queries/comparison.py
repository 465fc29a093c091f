"""What changed from one audit to the next: scores, risk, signals, security, findings, images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise, zip_longest
from typing import Any

from veritas_peewee.database.statements import MARK, execute, text_of
from veritas_peewee.errors import AuditNotFound, InvalidAudit
from veritas_peewee.models import Audit, AuditStatus, audit_time
from veritas_peewee.queries import lookups
from veritas_peewee.queries.finding_matches import FindingChanges, match_findings
from veritas_peewee.queries.trends import site_key
from veritas_peewee.values.plain import invalid, shown


@dataclass(frozen=True, slots=True)
class ComparedAudit:
    """One of the audits that are compared."""

    id: str
    url: str
    status: str
    time: datetime | None
    """When it ran: the start that its engine reported, or else when it was stored."""
    trust_score: float | None
    risk_level: str | None
    findings: int | None
    """How many findings it has; None for an audit that did not complete."""


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """A score in two audits; None where it is not known."""

    before: float | None
    after: float | None
    difference: float | None
    """`after` minus `before`; None unless both are known."""


@dataclass(frozen=True, slots=True)
class TextChange:
    """A text in two audits; None where it is not known."""

    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class ValueChange:
    """An entry of a security module's result that differs; None in an audit without that entry."""

    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class ModuleChange:
    """A security module's result in two audits; None where it reported nothing."""

    before: Any
    after: Any
    score: ScoreChange
    """The change of the results' own `score`, on the module's own scale."""
    differences: list[ValueChange]
    """The other entries that differ; empty if the module reported nothing in one of the audits."""


@dataclass(frozen=True, slots=True)
class ComparedScreenshot:
    """A screenshot of one of the audits."""

    id: int
    file_path: str
    index_num: int
    file_size_bytes: int | None
    sha256: str | None


@dataclass(frozen=True, slots=True)
class ScreenshotPair:
    """Two screenshots with the same label, one of each audit; None in an audit without one."""

    label: str
    before: ComparedScreenshot | None
    after: ComparedScreenshot | None
    same: bool | None
    """Whether both files have the same bytes; None if that is not known."""


@dataclass(frozen=True, slots=True)
class Step:
    """What changed from an audit to the one after it."""

    before: ComparedAudit
    after: ComparedAudit
    trust_score: ScoreChange
    risk_level: TextChange
    signals: dict[str, ScoreChange]
    security: dict[str, ModuleChange]
    findings: FindingChanges
    screenshots: list[ScreenshotPair]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Audits in the order in which they ran, and the steps between them."""

    audits: list[ComparedAudit]
    steps: list[Step]


def compare(ids: Iterable[str]) -> Comparison:
    """What changed between two or more audits, each compared with the one that ran before it.

    They are ordered by when they ran, in whatever order `ids` names them, so that a change for the
    worse is never shown as one for the better. Raises AuditNotFound for an id that no audit has,
    and InvalidAudit for fewer than two ids or an id that is given twice.
    """
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise invalid("ids", "must be a list of audits' ids", ids)
    wanted = list(ids)
    if len(wanted) < 2:
        raise InvalidAudit(f"ids: two audits or more are needed to compare, got {len(wanted)}")
    for number, one in enumerate(wanted):
        if one in wanted[:number]:
            raise invalid("ids", "an audit is given twice", one)
    audits = sorted((lookups.get(one) for one in wanted), key=_order)
    return Comparison(
        [_summary(audit) for audit in audits],
        [_step(before, after) for before, after in pairwise(audits)],
    )


def last_two(url: str | None = None, *, host: str | None = None) -> list[str]:
    """The ids of the last two completed audits of a url, or of a host, the older one first.

    Raises AuditNotFound if there are fewer than two, and InvalidAudit for a bad value, and unless
    exactly one of `url` and `host` is given.
    """
    name, key = site_key(url, host)
    rows = execute(_last_sql(name), (key, AuditStatus.COMPLETED, 2))
    if len(rows) < 2:
        has = "only one" if rows else "no"
        raise AuditNotFound(
            f"there is {has} completed audit of {shown(url or host)}: two are needed"
        )
    return [audit_id for (audit_id,) in reversed(rows)]


def _last_sql(column: str) -> str:
    query = Audit.select(Audit.id)
    query = query.where(Audit._meta.fields[column] == MARK, Audit.status == MARK)
    return text_of(query.order_by(audit_time.desc(), Audit.id.desc()).limit(MARK))


def _time(audit: Audit) -> datetime | None:
    return next(
        (time for time in (audit.started_at, audit.created_at) if isinstance(time, datetime)), None
    )


def _order(audit: Audit) -> tuple[float, float, str]:
    times = (_time(audit), audit.created_at)
    seconds = [time.timestamp() if isinstance(time, datetime) else 0.0 for time in times]
    return seconds[0], seconds[1], str(audit.id)


def _summary(audit: Audit) -> ComparedAudit:
    return ComparedAudit(
        audit.id,
        audit.url,
        audit.status,
        _time(audit),
        _number(audit.trust_score),
        audit.risk_level,
        len(audit.findings) if audit.status == AuditStatus.COMPLETED else None,
    )


def _step(before: Audit, after: Audit) -> Step:
    return Step(
        _summary(before),
        _summary(after),
        _score(before.trust_score, after.trust_score),
        TextChange(before.risk_level, after.risk_level),
        {
            name: _score(*values)
            for name, *values in _side_by_side(before.signal_scores, after.signal_scores)
        },
        {
            name: _module(*values)
            for name, *values in _side_by_side(before.security_results, after.security_results)
        },
        match_findings(before, after),
        _screenshots(before, after),
    )


# ---- scores and modules ----


def _number(value: object) -> float | None:
    # Another program can have written anything, and a module's own score can be of any size.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    with suppress(OverflowError):
        if math.isfinite(value):
            return float(value)
    return None


def _score(before: object, after: object) -> ScoreChange:
    old, new = _number(before), _number(after)
    if old is None or new is None:
        return ScoreChange(old, new, None)
    # Without the noise of binary fractions: 0.7 - 0.45 is 0.25.
    difference = round(new - old, 9)
    return ScoreChange(old, new, difference if math.isfinite(difference) else None)


def _side_by_side(before: Any, after: Any) -> Iterable[tuple[str, Any, Any]]:
    old = before if isinstance(before, dict) else {}
    new = after if isinstance(after, dict) else {}
    return [(name, old.get(name), new.get(name)) for name in {**old, **new}]


def _module(before: Any, after: Any) -> ModuleChange:
    old, new = (side if isinstance(side, dict) else {} for side in (before, after))
    differences = []
    if isinstance(before, dict) and isinstance(after, dict):
        differences = [
            ValueChange(name, one, other)
            for name, one, other in _side_by_side(old, new)
            if name != "score" and not _same(one, other)
        ]
    elif before is not None and after is not None and not _same(before, after):
        differences = [ValueChange("", before, after)]
    return ModuleChange(before, after, _score(old.get("score"), new.get("score")), differences)


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, whatever the order of the items in their lists."""
    return _form(one) == _form(other)


def _form(value: Any) -> tuple[str, Any]:
    """A form that is equal only for the same JSON values: Python's `==` takes 1 for true."""
    if isinstance(value, dict):
        return "object", frozenset((name, _form(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return "list", frozenset(Counter(_form(inner) for inner in value).items())
    return "bool" if isinstance(value, bool) else "", value


# ---- screenshots ----


def _screenshots(before: Audit, after: Audit) -> list[ScreenshotPair]:
    """The screenshots of two audits paired by label; several with one label are paired in order."""
    old, new = _by_label(before), _by_label(after)
    pairs = []
    for label in {**old, **new}:
        for one, other in zip_longest(old.get(label, []), new.get(label, [])):
            known = one and other and one.sha256 and other.sha256
            same = one.sha256 == other.sha256 if known else None
            pairs.append(ScreenshotPair(label, one, other, same))
    return pairs


def _by_label(audit: Audit) -> dict[str, list[ComparedScreenshot]]:
    found: dict[str, list[ComparedScreenshot]] = {}
    for row in audit.screenshots:
        found.setdefault(row.label, []).append(
            ComparedScreenshot(
                row.id, row.file_path, row.index_num, row.file_size_bytes, row.sha256
            )
        )
    return found
