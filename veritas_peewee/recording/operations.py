"""The writes to an audit's rows; each operation that callers see is all or nothing."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Unpack

from peewee import SQL, Expression, IntegrityError

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.statements import (
    MARK,
    execute,
    insert_rows,
    insert_values,
    stored_forms,
    text_of,
    update_sql,
)
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger import log, seals
from veritas_peewee.models import Audit, AuditFinding, AuditRunner, AuditScreenshot, AuditStatus
from veritas_peewee.queries import lookups
from veritas_peewee.recording.removal import keep_files
from veritas_peewee.values.addresses import check_url, host_of
from veritas_peewee.values.ids import check_id, key_of, new_audit_id, not_found
from veritas_peewee.values.moments import format_datetime, utc_now
from veritas_peewee.values.plain import check_text, encode_json, invalid, named
from veritas_peewee.values.states import StatusText

if TYPE_CHECKING:
    from veritas_peewee.values.columns import AuditChanges

SET_BY_STORE = frozenset(
    {"id", "screenshots_count", "created_at", "updated_at", "seal", "sealed_events", "host"}
)
COLUMNS = tuple(name for name in Audit._meta.fields if name not in SET_BY_STORE)
"""The columns that a caller may change, in the model's order."""


def check_column(name: str, value: Any) -> Any:
    """`value` as column `name` takes it; else raises InvalidAudit, which names both."""
    if name not in COLUMNS:
        if name in SET_BY_STORE:
            raise InvalidAudit(f"{name}: is kept by the store and cannot be set")
        raise InvalidAudit(
            f"{named(name)}: there is no such column; there are {', '.join(sorted(COLUMNS))}"
        )
    if name == "url":
        return check_url(value)
    field = Audit._meta.fields[name]
    if value is None and not field.null:
        raise invalid(name, "cannot be empty", value)
    checked = field.check(value)
    if name == "errors":
        for number, text in enumerate(checked):
            check_text(f"errors[{number}]", text)
    elif name == "signal_scores":
        for signal, score in checked.items():
            check_score(f"signal_scores.{named(str(signal))}", score)
    return checked


def check_score(name: str, value: Any) -> float:
    """`value` as a score from 0 to 100; else raises InvalidAudit, which begins with `name`."""
    try:
        score: float | None = Audit._meta.fields["trust_score"].check(value)
        if score is not None:
            return score
    except InvalidAudit as error:
        raise InvalidAudit(str(error).replace("trust_score", name, 1)) from None
    raise invalid(name, "is missing", value)


@atomic
def create(
    url: str,
    *,
    id: str | None = None,
    audit_tier: str = "standard_audit",
    verdict_mode: str = "expert",
) -> Audit:
    """Add a queued audit of `url`; returns it.

    Raises InvalidAudit for a url that is not http(s), and for an id that is bad or already in use.
    """
    now = utc_now()
    audit = Audit(
        id=new_audit_id() if id is None else check_id(id),
        url=check_url(url),
        host=host_of(url),
        audit_tier=check_column("audit_tier", audit_tier),
        verdict_mode=check_column("verdict_mode", verdict_mode),
        created_at=now,
        updated_at=now,
    )
    try:
        values = {name: getattr(audit, name) for name in Audit._meta.sorted_field_names}
        values["seal"] = seals.first_seal(values)
        insert(Audit, values)
    except IntegrityError as error:
        raise InvalidAudit(f"id: there is already an audit {audit.id!r}") from error
    seals.begin(audit.id, values["seal"])
    audit.__data__ = values
    audit._dirty.clear()
    audit.findings, audit.screenshots = [], []
    return audit


@atomic
def update(audit_id: str, /, **changes: Unpack[AuditChanges]) -> Audit:
    """Change columns of an audit, record the change in its event log, and return the audit.

    Raises AuditNotFound, or InvalidAudit for an unknown column or a bad value.
    """
    audit_id = key_of(audit_id)
    checked = {name: check_column(name, value) for name, value in changes.items()}
    stored = {
        name: format_datetime(value) if isinstance(value, datetime) else value
        for name, value in checked.items()
    }
    now = utc_now()
    log.append_event(
        audit_id, "audit_update", encode_json({"type": "audit_update", "changes": stored}, ""), now
    )
    if checked:
        change_row(audit_id, now, checked)
    return sealed(audit_id)


@atomic
def update_status(
    audit_id: str, status: AuditStatus | StatusText, *, error_message: str | None = None
) -> Audit:
    """Set an audit's status and, with `error_message`, its error; raises as `update` does."""
    changes: AuditChanges = {"status": status}
    if error_message is not None:
        changes["error_message"] = error_message
    audit: Audit = update.inside_unit(audit_id, **changes)
    return audit


def sealed(audit_id: str) -> Audit:
    """The audit as it is now, with the seal of what the open transaction has changed so far."""
    current_database().seal_changes()
    return lookups.get(audit_id)


def insert(model: Any, values: dict[str, Any]) -> int:
    """Insert one row of checked values through the model's prepared SQL; returns its rowid."""
    names = tuple(values)
    row = list(values.values())
    for position, convert in stored_forms(model, names):
        if row[position] is not None:
            row[position] = convert(row[position])
    return insert_values(model, names, row)[0]


_STATE = ("status", "started_at", "completed_at", "errors", "security_results")


@functools.cache
def _state_sql() -> str:
    fields = [Audit._meta.fields[name] for name in _STATE]
    return text_of(Audit.select(*fields).where(Audit.id == MARK))


def audit_state(audit_id: str) -> dict[str, Any]:
    """The columns in `_STATE`, on which changes of the row depend; raises AuditNotFound."""
    rows = execute(_state_sql(), (key_of(audit_id),))
    if not rows:
        raise not_found(audit_id)
    state = {
        name: Audit._meta.fields[name].python_value(value)
        for name, value in zip(_STATE, rows[0], strict=True)
    }
    # In a file that was edited by hand these can be anything.
    for name, kind in (("errors", list), ("security_results", dict)):
        if not isinstance(state[name], kind):
            state[name] = kind()
    return state


def change_row(
    audit_id: str,
    when: datetime,
    changes: dict[str, Any],
    errors: Sequence[str] = (),
    state: dict[str, Any] | None = None,
) -> None:
    """Write checked values, append `errors`, and set what follows from a new status.

    `state` is the audit's `audit_state`; it is read if it is needed and not given.
    """
    changes = dict(changes)
    if "status" in changes or errors:
        state = audit_state(audit_id) if state is None else state
        if errors:
            changes["errors"] = [*changes.get("errors", state["errors"]), *errors]
        if "status" in changes:
            _change_status(audit_id, when, changes, state)
    changes["updated_at"] = when
    fields = Audit._meta.fields
    names = [name for name in Audit._meta.sorted_field_names if name in changes]
    row = [fields[name].db_value(changes[name]) for name in names]
    database = current_database()
    if not database.execute_sql(update_sql(Audit, *names), [*row, audit_id]).rowcount:
        raise not_found(audit_id)


def _change_status(
    audit_id: str, when: datetime, changes: dict[str, Any], state: dict[str, Any]
) -> None:
    old, new = state["status"], AuditStatus(changes["status"])
    if new == AuditStatus.RUNNING:
        if changes.get("started_at", state["started_at"]) is None:
            changes["started_at"] = when
        if old != new:
            database = current_database()
            database.execute_sql(_runner_sql()[0], (audit_id, database.session.id))
    elif old == AuditStatus.RUNNING:
        current_database().execute_sql(_runner_sql()[1], (audit_id,))
    if new == AuditStatus.COMPLETED and old != new:
        changes.setdefault("completed_at", when)


@functools.cache
def _runner_sql() -> tuple[str, str]:
    begun = AuditRunner.insert({AuditRunner.audit: MARK, AuditRunner.session: MARK})
    ended = AuditRunner.delete().where(AuditRunner.audit == MARK)
    return text_of(begun.on_conflict_replace()), text_of(ended)


def finding_contents(audit_id: str) -> list[tuple[Any, ...]]:
    """The contents of an audit's findings: by these a finding without an id is recognised."""
    return execute(_contents_sql(), (audit_id,))


@functools.cache
def _contents_sql() -> str:
    fields = [AuditFinding._meta.fields[name] for name in _CONTENT]
    return text_of(AuditFinding.select(*fields).where(AuditFinding.audit == MARK))


_CONTENT = ("category", "pattern_type", "severity", "confidence", "description")


def finding_is_there(audit_id: str, values: dict[str, Any]) -> bool:
    """Whether the audit has a finding row with the content of these checked values."""
    fields = AuditFinding._meta.fields
    wanted = [fields[name].db_value(values[name]) for name in _CONTENT]
    return bool(execute(_content_sql(), (audit_id, *wanted)))


@functools.cache
def _content_sql() -> str:
    query = AuditFinding.select(SQL("1")).where(AuditFinding.audit == MARK)
    for name in _CONTENT:
        # IS and not =, because the category may be NULL.
        query = query.where(Expression(AuditFinding._meta.fields[name], "IS", MARK))
    return text_of(query.limit(SQL("1")))


def add_findings(audit_id: str, findings: list[dict[str, Any]], when: datetime) -> None:
    """Insert finding rows of checked values, each with the same columns."""
    if not findings:
        return
    moment = format_datetime(when)
    names = seals.covered(AuditFinding)
    forms = stored_forms(AuditFinding, names[1:-1])
    rows = []
    for values in findings:
        row = [values[name] for name in names[1:-1]]
        for position, convert in forms:
            row[position] = convert(row[position])
        whole = (audit_id, *row, moment)
        rows.append((*whole, seals.digest_of(whole)))
    seals.add_rows(audit_id, AuditFinding, [row[-1] for row in rows])
    insert_rows(AuditFinding, (*names, "digest"), rows)


def add_screenshot(audit_id: str, values: dict[str, Any], when: datetime) -> int:
    """Insert a screenshot row of checked values; its file is on disk already."""
    row = {"audit": audit_id, **values, "created_at": format_datetime(when)}
    stored = tuple([row[name] for name in seals.covered(AuditScreenshot)])
    columns = (*seals.covered(AuditScreenshot), "digest")
    digest = seals.digest_of(stored)
    seals.add_rows(audit_id, AuditScreenshot, [digest])
    keep_files([values["file_path"]])
    return insert_rows(AuditScreenshot, columns, [(*stored, digest)])[0]
