"""Which findings an audit has already: by the engine's ids in its log, and by their contents.

However many findings a call reports, it reads the contents of the audit's findings once. Calls
that report one each share what was read, through the connection's memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from peewee import SQL

from veritas_peewee.database.current import current_database
from veritas_peewee.database.expressions import is_same
from veritas_peewee.database.statements import (
    MARK,
    execute,
    per_backend,
    store_rows,
    stored_forms,
    text_of,
    update_sql,
)
from veritas_peewee.ledger import log_questions, seals
from veritas_peewee.ledger.memory import remembered
from veritas_peewee.models import AuditFinding
from veritas_peewee.values.moments import format_datetime

Row = tuple[Any, ...]
"""A finding's stored values in the order of `_COLUMNS`."""
_COLUMNS = seals.covered(AuditFinding)
_VALUES = _COLUMNS[1:-1]
_FORMS = stored_forms(AuditFinding, _VALUES)
_CONTENT = ("category", "pattern_type", "severity", "confidence", "description")
"""The columns by which a finding without an id is recognised."""
SCREENSHOT_AT = _COLUMNS.index("screenshot_index")
_FEW = 8
"""How many findings of a call are looked for by themselves, before all are read."""
_AT = tuple(_COLUMNS.index(name) for name in _CONTENT)


class KnownFindings:
    """The findings of one audit for the length of a call: those it has, and those it is given."""

    def __init__(self, audit_id: str, *, is_new: bool = False) -> None:
        """`is_new`: nothing of the audit is stored, so nothing has to be looked up."""
        self.audit_id = audit_id
        self._memory = remembered(current_database())
        self._reported: set[str] = set()
        self._first_asked = 0
        """The event before which an id was first looked for; 0 if none was."""
        self._none_before: bool | None = True if is_new else None
        self._new: list[Row] = []
        self._contents: set[bytes] = set()
        """The contents of the first `_counted` new rows."""
        self._counted = 0
        self._stored: set[bytes] | None = set() if is_new else None
        """The contents of the stored rows; None if they were not read in this call."""
        self._asked = False
        self._targets: dict[bytes, list[list[Any]]] | None = {} if is_new else None
        """The findings by their content, as [id, index of the screenshot]; -1 - n for new row n."""
        self._targeted = self._pointed = 0
        self._moment: tuple[datetime | None, str] = (None, "")

    @property
    def new(self) -> list[Row]:
        """The rows that were added, each with its digest at its end."""
        return self._new

    # ---- by the engine's id ----

    def is_reported(self, finding_id: str, before: int) -> bool:
        """Whether a `finding` event older than the event `before` has reported this finding."""
        if finding_id in self._reported:
            return True
        if not self._first_asked:
            self._first_asked = before
        elif self._none_before is None:
            # Nearly always a call brings all findings of its audit: then one query is enough.
            self._none_before = not log_questions.findings_reported(
                self.audit_id, self._first_asked
            )
        if self._none_before:
            return False
        return log_questions.finding_reported(self.audit_id, finding_id, before)

    def report(self, finding_id: str, event_id: int) -> None:
        """Take a finding as reported by an event of this call."""
        self._reported.add(finding_id)
        if (one := self._memory.followed.get(self.audit_id)) is not None:
            one.reported.setdefault(finding_id, event_id)

    # ---- by content ----

    def row(self, values: dict[str, Any], when: datetime) -> Row:
        """The row of a finding with these checked values."""
        if self._moment[0] is not when:
            self._moment = when, format_datetime(when)
        row = [values[name] for name in _VALUES]
        for position, convert in _FORMS:
            row[position] = convert(row[position])
        return (self.audit_id, *row, self._moment[1])

    def is_there(self, row: Row) -> bool:
        """Whether the audit has a finding with this row's content."""
        self._count()
        if not self._contents and self._stored is not None and not self._stored:
            return False  # nearly always, of a new audit
        content = _digest(content_of(row))
        if content in self._contents:
            return True
        stored = self._read() if self._stored is None else self._stored
        if stored is None:
            return bool(execute(_content_sql(), (self.audit_id, *content_of(row))))
        return content in stored

    def add(self, row: Row) -> None:
        """Add a finding to the audit; it is inserted by `write_all`."""
        self._new.append((*row, seals.digest_of(row)))

    def point(self, row: Row) -> None:
        """Have a finding with this row's content point at the row's screenshot, if one points at
        none and none at this one."""
        index = row[SCREENSHOT_AT]
        self._pointed += 1
        targets = self._alike(row) if self._pointed <= _FEW else self._targets_of(row)
        free = [target for target in targets if target[1] in (-1, None)]
        if not free or any(target[1] == index for target in targets):
            return
        free[0][1] = index
        if (key := free[0][0]) >= 0:
            sql = update_sql(AuditFinding, "screenshot_index")
            current_database().execute_sql(sql, (index, key))
            return
        pointed = list(self._new[-1 - key][:-1])
        pointed[SCREENSHOT_AT] = index
        self._new[-1 - key] = (*pointed, seals.digest_of(pointed))

    def _alike(self, row: Row) -> list[list[Any]]:
        """The findings with this row's content, as in `_targets`, asked for by themselves."""
        content = content_of(row)
        stored = execute(_alike_sql(), (self.audit_id, *content)) if self._targets is None else ()
        found = [[*one] for one in stored]
        return found + [
            [-1 - position, new[SCREENSHOT_AT]]
            for position, new in enumerate(self._new)
            if content_of(new) == content
        ]

    def _targets_of(self, row: Row) -> list[list[Any]]:
        """The same, with those of all contents, which are read once."""
        if self._targets is None:
            self._targets = {}
            for finding_id, at, *values in execute(_targets_sql(), (self.audit_id,)):
                self._targets.setdefault(_digest(values), []).append([finding_id, at])
        for position in range(self._targeted, len(self._new)):
            new = self._new[position]
            target = [-1 - position, new[SCREENSHOT_AT]]
            self._targets.setdefault(_digest(content_of(new)), []).append(target)
        self._targeted = len(self._new)
        return self._targets.get(_digest(content_of(row)), [])

    def _remember(self) -> None:
        """The findings that were added are in the file now."""
        if isinstance(self._memory.contents.get(self.audit_id), set):
            self._count()
            self._memory.add_contents(self.audit_id, self._contents)

    def _count(self) -> None:
        self._contents.update(_digest(content_of(row)) for row in self._new[self._counted :])
        self._counted = len(self._new)

    def _read(self) -> set[bytes] | None:
        """The contents of the stored rows; None for a question that may well be the only one."""
        contents = self._memory.contents
        cached = contents.get(self.audit_id)
        if isinstance(cached, set):
            self._stored = cached
        elif cached or self._asked or current_database().reads_ahead:
            rows = execute(_contents_sql(), (self.audit_id,))
            self._stored = {_digest(row) for row in rows}
            self._memory.add_contents(self.audit_id, self._stored)
        else:
            self._asked = True
            if cached is None:
                self._memory.ask_for_contents(self.audit_id)
        return self._stored


def write_all(findings: Iterable[KnownFindings]) -> None:
    """Insert the findings that were added to audits."""
    if not (new := [one for one in findings if one._new]):
        return
    for one in new:
        seals.add_rows(one.audit_id, AuditFinding, [row[-1] for row in one._new])
    store_rows(AuditFinding, (*_COLUMNS, "digest"), [row for one in new for row in one._new])
    for one in new:
        one._remember()


def content_of(row: Row) -> Row:
    """The values of a row by which a finding without an id is recognised."""
    return tuple([row[at] for at in _AT])


_digest = seals.digest_of


@per_backend
def _contents_sql() -> str:
    fields = [AuditFinding._meta.fields[name] for name in _CONTENT]
    return text_of(AuditFinding.select(*fields).where(AuditFinding.audit == MARK))


@per_backend
def _targets_sql() -> str:
    names = ("id", "screenshot_index", *_CONTENT)
    query = AuditFinding.select(*[AuditFinding._meta.fields[name] for name in names])
    return text_of(query.where(AuditFinding.audit == MARK).order_by(AuditFinding.id))


@per_backend
def _alike_sql() -> str:
    fields = [AuditFinding._meta.fields[name] for name in ("id", "screenshot_index")]
    query = AuditFinding.select(*fields).where(AuditFinding.audit == MARK)
    for name in _CONTENT:
        query = query.where(is_same(AuditFinding._meta.fields[name]))
    return text_of(query.order_by(AuditFinding.id))


@per_backend
def _content_sql() -> str:
    query = AuditFinding.select(SQL("1")).where(AuditFinding.audit == MARK)
    for name in _CONTENT:
        # IS and not =, because the category may be NULL.
        query = query.where(is_same(AuditFinding._meta.fields[name]))
    return text_of(query.limit(SQL("1")))
