"""The filters that select audits: the same for the history, the search, counts and facets."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, TypedDict

import peewee

from veritas_peewee.catalog.entries import level_of
from veritas_peewee.database.expressions import is_text, passed_over
from veritas_peewee.database.statements import MARK
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.models import Audit, AuditFinding, AuditStatus, Severity
from veritas_peewee.values.addresses import host_of
from veritas_peewee.values.moments import moment
from veritas_peewee.values.plain import check_text, invalid
from veritas_peewee.values.states import SeverityText, StatusText


class Filters(TypedDict, total=False):
    """Filters by name; None is the same as leaving a filter out."""

    status: AuditStatus | StatusText | None
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
    """The earliest `created_at`: a datetime with a time zone, or a text such as `2026-01-31`,
    `2026-01` or `7d`, which is in UTC unless it names a zone."""
    until: datetime | str | None
    """The moment before which `created_at` must be, in the same forms."""
    pattern_type: str | None
    """At least one finding of the audit has this pattern type."""
    min_severity: Severity | SeverityText | None
    """At least one finding (of `pattern_type`, if that is given) is of this severity or graver."""


class Filter(NamedTuple):
    """A filter that compares a column of the audits."""

    column: str
    compare: str = "eq"
    """The function of `operator` that compares the column with the value."""
    read: Callable[[str, Any], Any] | None = None
    """Turns the filter's name and the value that was given into a value that the column takes."""
    pins: bool = False
    """Whether one value selects so few audits that other conditions are checked on each of them."""
    common: bool = False
    """Whether nearly all audits have the same value, so that any other filter selects fewer."""


class Condition(NamedTuple):
    """A column of the audits and the stored value that it is compared with."""

    column: str
    compare: str
    value: Any


class FindingShape(NamedTuple):
    """The part of a condition on findings on which its SQL text depends."""

    pattern: bool
    severities: int
    """How many severities a finding may have; 0 if any will do."""


class FindingCondition(NamedTuple):
    """The condition that an audit has a finding of a pattern type, of at least some severity, or
    of both."""

    pattern: str | None
    level: int | None
    """The least severity as a number, see `catalog.entries.level_of`."""

    @property
    def key(self) -> tuple[str, int]:
        """The pattern type and the least level as they are in the catalog."""
        return self.pattern or "", -1 if self.level is None else self.level

    @property
    def severities(self) -> list[str]:
        """The severities that are grave enough; empty if any will do."""
        return [] if self.level is None else [one.value for one in list(Severity)[self.level :]]

    @property
    def shape(self) -> FindingShape:
        return FindingShape(self.pattern is not None, len(self.severities))

    @property
    def values(self) -> list[str]:
        return [*([] if self.pattern is None else [self.pattern]), *self.severities]


class Shape(NamedTuple):
    """The part of conditions on which their SQL text depends: texts are cached by it."""

    columns: tuple[tuple[str, str], ...] = ()
    """Each column and how it is compared."""
    finding: FindingShape | None = None

    @property
    def names(self) -> frozenset[str]:
        """The columns that are compared."""
        return frozenset(column for column, _ in self.columns)


class Conditions(NamedTuple):
    """The conditions that select audits: an audit must meet all of them."""

    columns: tuple[Condition, ...] = ()
    finding: FindingCondition | None = None

    @property
    def names(self) -> frozenset[str]:
        """The columns that are compared."""
        return frozenset(one.column for one in self.columns)

    @property
    def shape(self) -> Shape:
        columns = tuple((one.column, one.compare) for one in self.columns)
        return Shape(columns, None if self.finding is None else self.finding.shape)

    @property
    def values(self) -> list[Any]:
        """The values of the marks in the SQL text, in their order there."""
        found = [one.value for one in self.columns]
        return found if self.finding is None else [*found, *self.finding.values]

    def on(self, *columns: str) -> Conditions:
        """Only the conditions on some columns."""
        return Conditions(tuple(one for one in self.columns if one.column in columns))

    def but_on(self, *columns: str) -> Conditions:
        """All conditions but those on some columns."""
        left = tuple(one for one in self.columns if one.column not in columns)
        return Conditions(left, self.finding)

    def without_finding(self) -> Conditions:
        return Conditions(self.columns)


def _host(name: str, value: Any) -> str:
    if host := host_of(check_text(name, value)):
        return host
    raise invalid(name, "must be a host's name or an address of it", value)


FILTERS: dict[str, Filter] = {
    "status": Filter("status"),
    "risk_level": Filter("risk_level"),
    "url": Filter("url", pins=True),
    "host": Filter("host", read=_host, pins=True),
    "site_type": Filter("site_type"),
    "audit_tier": Filter("audit_tier", common=True),
    "min_score": Filter("trust_score", "ge"),
    "max_score": Filter("trust_score", "le"),
    "since": Filter("created_at", "ge", read=moment),
    "until": Filter("created_at", "lt", read=moment),
}
"""The filters on columns. A new one is an entry here and a key of `Filters`; the history reads it
in order if the column has an index that continues with `created_at` and `id`."""

PINNED = frozenset(one.column for one in FILTERS.values() if one.pins)
"""The columns of the filters that `pins` marks."""
LONG = PINNED
"""The columns that can hold long texts, as `expressions.is_text` compares them."""
COMMON = frozenset(one.column for one in FILTERS.values() if one.common)
"""The columns of the filters that `common` marks."""


def conditions_of(filters: Filters) -> Conditions:
    """The conditions that filters state; raises InvalidAudit, which names a filter's bad value."""
    given: dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
    pattern, severity = given.pop("pattern_type", None), given.pop("min_severity", None)
    columns = tuple(_condition(name, value) for name, value in given.items())
    if pattern is None and severity is None:
        return Conditions(columns)
    return Conditions(columns, _finding(pattern, severity))


def _condition(name: str, value: Any) -> Condition:
    column, compare, read, *_ = FILTERS[name]
    if read is not None:
        value = read(name, value)
    try:
        return Condition(column, compare, Audit._meta.fields[column].db_value(value))
    except InvalidAudit as error:
        raise InvalidAudit(str(error).replace(column, name, 1)) from None


def _finding(pattern: Any, severity: Any) -> FindingCondition:
    level = None
    if pattern is not None:
        pattern = check_text("pattern_type", pattern)
        if not pattern:
            raise invalid("pattern_type", "cannot be empty", pattern)
    if severity is not None:
        level = level_of(severity)
        if level < 0:
            raise invalid("min_severity", f"must be one of {', '.join(Severity)}", severity)
    return FindingCondition(pattern, level)


def check_names(filters: Filters, caller: str) -> None:
    """Raise TypeError, in Python's own words, for a keyword that is not a filter."""
    for name in filters:
        if name not in Filters.__annotations__:
            raise TypeError(f"{caller}() got an unexpected keyword argument {name!r}")


def where(
    query: Any,
    shape: Shape,
    *,
    looked_up: frozenset[str] | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Any:
    """`query` with the conditions added, on the columns in `fields` or else on those of `Audit`.

    SQLite may use an index only for the columns in `looked_up` (None: for all): which index is
    right depends on the order of the rows, and SQLite does not always see that.
    """
    for column, compare in shape.columns:
        left = (fields or Audit._meta.fields).get(column, Audit._meta.fields[column])
        if looked_up is not None and column not in looked_up:
            left = passed_over(left)
        compared = is_text if column in LONG else getattr(operator, compare)
        query = query.where(compared(left, MARK))
    return query if shape.finding is None else query.where(_has_finding(shape.finding))


def _has_finding(shape: FindingShape) -> Any:
    query = AuditFinding.select(peewee.SQL("1")).where(AuditFinding.audit == Audit.id)
    if shape.pattern:
        # Without an index: the few findings of one audit are read, not all of one pattern type.
        query = query.where(passed_over(AuditFinding.pattern_type) == MARK)
    if shape.severities:
        marks = ", ".join("?" * shape.severities)
        query = query.where(peewee.NodeList((AuditFinding.severity, peewee.SQL(f"IN ({marks})"))))
    return peewee.fn.EXISTS(query)
