"""What audits can be chosen by: the same filters for the history, the search, counts and facets."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypedDict

import peewee

from veritas_peewee.catalog import level_of
from veritas_peewee.database.statements import MARK
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.models import Audit, AuditFinding, AuditStatus, Severity
from veritas_peewee.values.addresses import host_of
from veritas_peewee.values.plain import check_text, invalid, plain_text


class Filters(TypedDict, total=False):
    """Filters by name; one that is None is as one that is not given."""

    status: AuditStatus | str | None
    risk_level: str | None
    url: str | None
    host: str | None
    """A site, by its name or any address of it: scheme, port, path and `www.` do not count."""
    site_type: str | None
    audit_tier: str | None
    min_score: float | None
    """The lowest and highest trust score, 0 to 100; an audit without a score is in no range."""
    max_score: float | None
    since: datetime | str | None
    """The earliest `created_at`: a datetime with a time zone, or a text as in `moment`."""
    until: datetime | str | None
    """What `created_at` must be before, in the same forms."""
    pattern_type: str | None
    """A pattern type that a finding of the audit has."""
    min_severity: Severity | str | None
    """The least severity of a finding, of that pattern type if one is given."""


class Condition(NamedTuple):
    """One filter as SQL: its column, how it is compared, and the stored values."""

    column: str
    compare: str
    values: tuple[Any, ...]


Shape = tuple[tuple[str, str], ...]
"""What the SQL text of conditions depends on: their columns and comparisons."""

_COLUMNS = {
    "status": ("status", "eq"),
    "risk_level": ("risk_level", "eq"),
    "url": ("url", "eq"),
    "host": ("host", "eq"),
    "site_type": ("site_type", "eq"),
    "audit_tier": ("audit_tier", "eq"),
    "min_score": ("trust_score", "ge"),
    "max_score": ("trust_score", "le"),
    "since": ("created_at", "ge"),
    "until": ("created_at", "lt"),
}
PINNED = frozenset(("url", "host"))
"""Columns with so few audits to a value that any other condition is looked at one by one."""
FINDING = "finding"
"""The column of a condition on an audit's findings."""


def conditions_of(filters: Filters) -> list[Condition]:
    """The conditions that filters ask for; InvalidAudit names a filter's bad value."""
    given: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    pattern, severity = given.pop("pattern_type", None), given.pop("min_severity", None)
    found = []
    for name, value in given.items():
        column, compare = _COLUMNS[name]
        if name == "host":
            value = _host(value)
        elif column == "created_at":
            value = moment(name, value)
        found.append(Condition(column, compare, (_stored(name, column, value),)))
    if pattern is not None or severity is not None:
        found.append(_finding(pattern, severity))
    return found


def check_names(filters: Filters, caller: str) -> None:
    """A keyword that is no filter is the TypeError that Python itself would raise."""
    for name in filters:
        if name not in Filters.__annotations__:
            raise TypeError(f"{caller}() got an unexpected keyword argument {name!r}")


def _stored(name: str, column: str, value: Any) -> Any:
    """A filter's value as the column stores it; the error names the filter."""
    try:
        return Audit._meta.fields[column].db_value(value)
    except InvalidAudit as error:
        raise InvalidAudit(str(error).replace(column, name, 1)) from None


_AGO = re.compile(r"(\d{1,6})([hdw])", re.ASCII)
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}
DATES = "2026-01-31, 2026-01, 2026-01-31T18:00+01:00, or 7d ago (h, d, w)"


def moment(name: str, value: object) -> object:
    """The moment that a text means, counted from now if it is a time ago; what is no text stays.

    The text is an ISO date or date and time, a year, a month, or so many hours, days or weeks ago
    (`24h`, `7d`, `2w`); without a zone it is UTC. Raises InvalidAudit, which names the filter.
    """
    text = plain_text(value)
    if text is None:
        return value
    try:
        if ago := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if re.fullmatch(r"\d{4}(-\d\d)?", text):
            text += "-01" if len(text) == 7 else "-01-01"
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(name, f"must be a date such as {DATES}", value) from None


def _host(value: Any) -> str:
    if host := host_of(check_text("host", value)):
        return host
    raise invalid("host", "must be a host's name or an address of it", value)


def _finding(pattern: Any, severity: Any) -> Condition:
    compare, values = "", []
    if pattern is not None:
        if not check_text("pattern_type", pattern):
            raise invalid("pattern_type", "cannot be empty", pattern)
        compare, values = "pattern", [pattern]
    if severity is not None:
        level = level_of(severity)
        if level < 0:
            raise invalid("min_severity", f"must be one of {', '.join(Severity)}", severity)
        names = [one.value for one in list(Severity)[level:]]
        compare, values = f"{compare} {len(names)}", [*values, *names]
    return Condition(FINDING, compare, tuple(values))


def pattern_key(finding: Condition) -> tuple[str, int]:
    """What a condition on findings is in the catalog: the pattern type and the least level."""
    kind, _, severities = finding.compare.partition(" ")
    pattern = finding.values[0] if kind else ""
    return pattern, level_of(finding.values[1 if kind else 0]) if severities else -1


def shape_of(conditions: list[Condition]) -> Shape:
    return tuple((condition.column, condition.compare) for condition in conditions)


def values_of(conditions: list[Condition]) -> list[Any]:
    return [value for condition in conditions for value in condition.values]


def where(
    query: Any,
    shape: Shape,
    *,
    looked_up: frozenset[str] | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Any:
    """`query` with conditions on `Audit`; `fields` says where a column is to be found instead.

    Columns not among `looked_up` (None: all are) are no reason to choose an index: which one is
    right follows from the order of the rows, and SQLite does not always see it.
    """
    for column, compare in shape:
        if column == FINDING:
            query = query.where(has_finding(compare))
            continue
        left = (fields or Audit._meta.fields).get(column, Audit._meta.fields[column])
        if looked_up is not None and column not in looked_up:
            left = passed_over(left)
        query = query.where(getattr(operator, compare)(left, MARK))
    return query


def passed_over(field: Any) -> Any:
    """A column that is no reason for SQLite to choose an index."""
    return peewee.NodeList((peewee.SQL("+"), field), glue="")


def has_finding(compare: str) -> Any:
    """That an audit has a finding of a pattern type, of one of some severities, or both."""
    kind, _, severities = compare.partition(" ")
    query = AuditFinding.select(peewee.SQL("1")).where(AuditFinding.audit == Audit.id)
    if kind:
        # Those of one audit are looked through, not those of one pattern type.
        query = query.where(passed_over(AuditFinding.pattern_type) == MARK)
    if severities:
        marks = ", ".join("?" * int(severities))
        query = query.where(peewee.NodeList((AuditFinding.severity, peewee.SQL(f"IN ({marks})"))))
    return peewee.fn.EXISTS(query)
