"""Which findings of two audits are the same, by their content and not by their ids."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from veritas_peewee.catalog.folding import folded
from veritas_peewee.models import Audit, AuditStatus, Severity

_SEVERITIES = [severity.value for severity in Severity]
_MOST_COMPARED = 2500
"""The most pairs of findings of one kind whose words are compared; if there are more, severity and
then order decide."""
_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class ComparedFinding:
    """A finding of one of the audits."""

    id: int
    audit_id: str
    category: str | None
    pattern_type: str
    severity: str
    confidence: float
    description: str
    plain_english: str | None
    screenshot_index: int | None


@dataclass(frozen=True, slots=True)
class FindingChange:
    """A finding that is in both audits."""

    before: ComparedFinding
    after: ComparedFinding
    severity_steps: int | None
    """How much graver it has become, in steps of severity: negative for milder, 0 for the same,
    None if one of the severities is not a known one."""


@dataclass(frozen=True, slots=True)
class FindingChanges:
    """The findings of two audits, each in exactly one list, the gravest first."""

    new: list[ComparedFinding]
    gone: list[ComparedFinding]
    still: list[FindingChange]
    unknown: list[ComparedFinding]
    """Findings that only one audit has, where the other did not complete: nobody can know whether
    they are new or gone."""


def match_findings(before: Audit, after: Audit) -> FindingChanges:
    """What became of the findings of `before` in `after`.

    Findings are matched by category and pattern type; case, punctuation and spaces do not count.
    Among several of one kind the description decides: first the findings that read the same are
    paired, then the ones with the most words in common, and of these the nearest in severity. A
    finding that is left over is new or gone. So a finding that is described in other words is
    still there, and if three become two, one is gone. Where the engine named no pattern type, only
    findings that read the same are paired.
    """
    old, new = _by_kind(before), _by_kind(after)
    changes = FindingChanges([], [], [], [])
    # A finding that a completed audit lacks is not there; of any other audit nobody can know.
    left = changes.gone if after.status == AuditStatus.COMPLETED else changes.unknown
    added = changes.new if before.status == AuditStatus.COMPLETED else changes.unknown
    for kind in {**old, **new}:
        pairs, gone, come = _pair(old.get(kind, []), new.get(kind, []))
        for one, other in pairs:
            steps = _steps(one.severity, other.severity)
            changes.still.append(FindingChange(one, other, steps))
        left.extend(gone)
        added.extend(come)
    for findings in (changes.new, changes.gone, changes.unknown):
        findings.sort(key=_gravest_first)
    changes.still.sort(key=lambda pair: _gravest_first(pair.after))
    return changes


def _by_kind(audit: Audit) -> dict[tuple[str, ...], list[ComparedFinding]]:
    found: dict[tuple[str, ...], list[ComparedFinding]] = {}
    for row in audit.findings:
        kind = kind_of(row.category, row.pattern_type, row.description)
        found.setdefault(kind, []).append(
            ComparedFinding(
                row.id,
                row.audit_id,
                row.category,
                row.pattern_type,
                row.severity,
                row.confidence,
                row.description,
                row.plain_english,
                row.screenshot_index,
            )
        )
    return found


def kind_of(category: object, pattern_type: object, description: object) -> tuple[str, ...]:
    """What two findings must have in common to be the same one; see `match_findings`."""
    kind = (_normal(category), _normal(pattern_type))
    return (*kind, _normal(description)) if kind[1] in ("", "unknown") else kind


_Findings = list[ComparedFinding]
_Pairs = list[tuple[ComparedFinding, ComparedFinding]]


def _pair(ours: _Findings, theirs: _Findings) -> tuple[_Pairs, _Findings, _Findings]:
    """The pairs among the findings of one kind, and the findings left over on either side."""
    pairs: _Pairs = []
    # The same severity first: where only the order has changed, nothing became graver or milder.
    for key in (_wording_and_severity, _wording):
        pairs += _alike(*_without(ours, theirs, pairs), key)
    pairs += _most_alike(*_without(ours, theirs, pairs))
    return pairs, *_without(ours, theirs, pairs)


def _wording(finding: ComparedFinding) -> tuple[str, ...]:
    return (_normal(finding.description),)


def _severity(finding: ComparedFinding) -> tuple[str, ...]:
    return (finding.severity,)


def _wording_and_severity(finding: ComparedFinding) -> tuple[str, ...]:
    return _normal(finding.description), finding.severity


def _alike(
    ours: _Findings, theirs: _Findings, key: Callable[[ComparedFinding], tuple[str, ...]]
) -> _Pairs:
    waiting: dict[tuple[str, ...], deque[ComparedFinding]] = {}
    for other in theirs:
        waiting.setdefault(key(other), deque()).append(other)
    pairs: _Pairs = []
    for one in ours:
        if same := waiting.get(key(one)):
            pairs.append((one, same.popleft()))
    return pairs


def _without(ours: _Findings, theirs: _Findings, pairs: _Pairs) -> tuple[_Findings, _Findings]:
    taken = {finding.id for pair in pairs for finding in pair}
    return [one for one in ours if one.id not in taken], [
        one for one in theirs if one.id not in taken
    ]


def _most_alike(ours: _Findings, theirs: _Findings) -> _Pairs:
    """As many pairs as possible; the findings with the most words in common are paired first."""
    if not 1 < len(ours) * len(theirs) <= _MOST_COMPARED:
        pairs = _alike(ours, theirs, _severity)
        return pairs + list(zip(*_without(ours, theirs, pairs), strict=False))
    words = {one.id: frozenset(_normal(one.description).split()) for one in (*ours, *theirs)}
    found = [
        (-_likeness(words[a.id], words[b.id]), abs(_rank(a.severity) - _rank(b.severity)), a, b)
        for a in ours
        for b in theirs
    ]
    found.sort(key=lambda entry: (*entry[:2], entry[2].id, entry[3].id))
    pairs = []
    taken: set[int] = set()
    for *_, one, other in found:
        if not taken & {one.id, other.id}:
            pairs.append((one, other))
            taken |= {one.id, other.id}
    return pairs


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / (len(one | other) or 1)


def _normal(text: object) -> str:
    """A text's words, folded as for the search, in lower case, with one space between them and
    without punctuation or `_`."""
    if not isinstance(text, str):
        return ""
    return " ".join(_WORDS.findall(folded(text).casefold()))


def _rank(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else -1


def _gravest_first(finding: ComparedFinding) -> tuple[int, int]:
    return -_rank(finding.severity), finding.id


def _steps(before: str, after: str) -> int | None:
    old, new = _rank(before), _rank(after)
    return None if old < 0 or new < 0 else new - old
