"""The writes to an audit's rows; each operation that callers see is all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Unpack

from peewee import IntegrityError

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.failures import is_duplicate
from veritas_peewee.database.statements import (
    MARK,
    execute,
    per_backend,
    store_rows,
    stored_forms,
    text_of,
)
from veritas_peewee.errors import InvalidAudit
from veritas_peewee.ledger import formulas, log, rows, seals
from veritas_peewee.ledger.digests import marked
from veritas_peewee.ledger.memory import remembered
from veritas_peewee.ledger.stored import AT
from veritas_peewee.models import Audit, AuditRunner, AuditStatus
from veritas_peewee.queries import lookups
from veritas_peewee.queries.lookups import OPTIONS_EVENT
from veritas_peewee.recording.collected import KINDS, Collected
from veritas_peewee.values.addresses import check_url, host_of
from veritas_peewee.values.ids import check_id, key_of, new_audit_id, not_found
from veritas_peewee.values.moments import format_datetime, utc_now
from veritas_peewee.values.plain import MAX_DEPTH, encode_json, invalid, named, plain
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
    field = Audit._meta.fields[name]
    if value is None and not field.null:
        raise invalid(name, "cannot be empty", value)
    return field.check(value)


@atomic
def create(
    url: str,
    *,
    id: str | None = None,
    audit_tier: str = "standard_audit",
    verdict_mode: str = "expert",
    options: dict[str, Any] | None = None,
    created_at: datetime | None = None,
) -> Audit:
    """Add a queued audit of `url`; returns it.

    `options` are for its engine; an event of its log keeps them. `created_at` is for histories that
    are made from archives. Raises InvalidAudit for a url that is not http(s), for an id that is bad
    or already in use, and for options or a time that cannot be stored.
    """
    now = utc_now()
    event = ""
    if options is not None:
        if not issubclass(type(options), dict):
            raise invalid("options", "must be a JSON object", options)
        text = encode_json(plain(options, "options"), "options", MAX_DEPTH - 1)
        event = f'{{"type":"{OPTIONS_EVENT}","options":{text}}}'
    audit = Audit(
        id=new_audit_id() if id is None else check_id(id),
        url=check_url(url),
        host=host_of(url),
        audit_tier=check_column("audit_tier", audit_tier),
        verdict_mode=check_column("verdict_mode", verdict_mode),
        created_at=now
        if created_at is None
        else Audit._meta.fields["created_at"].check(created_at),
        updated_at=now,
    )
    try:
        values = {name: getattr(audit, name) for name in Audit._meta.sorted_field_names}
        stored = formulas.first_values(values)
        row = marked(stored)
        values["seal"] = formulas.first_seal(row)
        insert(Audit, values)
        current_database().confirm()
    except IntegrityError as error:
        if not is_duplicate(error):  # a trigger of a caller's has refused it
            raise
        raise InvalidAudit(f"id: there is already an audit {audit.id!r}") from error
    seals.begin(audit.id, row, [*stored, values["seal"], None, audit.host])
    if event:
        log.append_event(audit.id, OPTIONS_EVENT, event, now)
    audit.__data__ = values
    audit._dirty.clear()
    audit.findings, audit.screenshots = [], []
    audit.load_details(None)
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


@atomic
def claim(audit_id: str) -> bool:
    """Take a queued audit, to run it: it is running from now on, and this process its runner.

    Of all callers, in all processes, exactly one is given True; others, and all callers for an
    audit that is not queued, False. Raises AuditNotFound.
    """
    audit_id = key_of(audit_id)
    if audit_state(audit_id)["status"] != AuditStatus.QUEUED:
        return False
    update.inside_unit(audit_id, status=AuditStatus.RUNNING)
    return True


def sealed(audit_id: str) -> Audit:
    """The audit as it is now, with the seal of what the open transaction has changed so far."""
    current_database().seal_changes()
    return lookups.get(audit_id)


def insert(model: Any, values: dict[str, Any]) -> None:
    """Insert one row of checked values through the model's prepared SQL."""
    names = tuple(values)
    row = list(values.values())
    for position, convert in stored_forms(model, names):
        if row[position] is not None:
            row[position] = convert(row[position])
    store_rows(model, names, [tuple(row)])


STATE = (
    "status", "started_at", "completed_at", "errors", "security_results", "error_message"
)  # fmt: skip
"""The columns on which changes of an audit's row depend."""


class AuditState(dict[str, Any]):
    """An audit's columns in `STATE`, each converted when it is first asked for."""

    def __init__(self, audit_id: str, row: Sequence[Any]) -> None:
        super().__init__()
        self._audit_id, self._row = audit_id, row
        self._collected: dict[str, Collected] = {}

    def __missing__(self, name: str) -> Any:
        if name in KINDS:
            value = self.collected(name).value
        else:
            value = Audit._meta.fields[name].python_value(self._row[AT[name]])
        self[name] = value
        return value

    def collected(self, name: str) -> Collected:
        """A column to which events add."""
        if name not in self._collected:
            self._collected[name] = Collected(self._audit_id, name, self._row[AT[name]])
        return self._collected[name]

    def change(self, name: str, value: Any) -> None:
        """An event sets the column."""
        if name in KINDS:
            self.collected(name).replace(value)
        self[name] = value


def audit_state(audit_id: str) -> AuditState:
    """The columns on which changes of an audit's row depend; raises AuditNotFound."""
    row = rows.current(current_database(), key_of(audit_id))
    if row is None:
        raise not_found(audit_id)
    return AuditState(audit_id, row)


def change_row(audit_id: str, when: datetime, changes: dict[str, Any]) -> None:
    """Write checked values to an audit's row, with what follows from a new status."""
    columns = {**changes, "updated_at": when}
    runs = None
    if "status" in changes:
        runs = follow_status(columns, audit_state(audit_id), when, closes=True)
    write_row(audit_id, columns, runs)


def follow_status(
    changes: dict[str, Any], state: dict[str, Any], when: datetime, *, closes: bool
) -> bool | None:
    """Add to `changes`, which have a status, the times that follow from it.

    `state` is the audit's `audit_state` before the changes. Returns whether this session is the
    audit's runner from now on; False: nobody is; None: that stays as it is. An audit keeps its
    runner when its result is recorded, until an event `closes` it: more events are to come.
    """
    old, new = state["status"], AuditStatus(changes["status"])
    if new == AuditStatus.RUNNING and changes.get("started_at", state["started_at"]) is None:
        changes["started_at"] = when
    if new == AuditStatus.COMPLETED and old != new:
        changes.setdefault("completed_at", when)
    if new == AuditStatus.RUNNING:
        return None if old == new else True
    if new == AuditStatus.QUEUED:
        return None if old == new else False
    if closes:
        return False
    return True if old == AuditStatus.QUEUED else None


def write_row(audit_id: str, columns: dict[str, Any], runs: bool | None) -> None:
    """Write checked values to an audit's row; `runs` is what `follow_status` gives."""
    fields = Audit._meta.fields
    database = current_database()
    stored = {
        name: value.text() if isinstance(value, Collected) else fields[name].db_value(value)
        for name, value in columns.items()
    }
    if not rows.write(database, audit_id, stored):
        raise not_found(audit_id)
    for name, value in columns.items():
        if isinstance(value, Collected):
            value.remember(stored[name])
    if runs is True:
        database.execute_own(_runner_sql()[0], (audit_id, database.session.runs(audit_id)))
    elif runs is False:
        release(audit_id)


def runner_of(audit_id: str) -> Any:
    """The session in which an audit runs, or is about to be closed; None if there is none."""
    rows = execute(_runner_sql()[2], (audit_id,))
    return rows[0][0] if rows else None


def release(audit_id: str) -> None:
    """From now on nobody runs the audit."""
    database = current_database()
    database.execute_own(_runner_sql()[1], (audit_id,))
    database.session.ran(audit_id)
    remembered(database).closed.append(audit_id)


@per_backend
def _runner_sql() -> tuple[str, str, str]:
    begun = AuditRunner.insert({AuditRunner.audit: MARK, AuditRunner.session: MARK})
    begun = begun.on_conflict(conflict_target=[AuditRunner.audit], preserve=[AuditRunner.session])
    ended = AuditRunner.delete().where(AuditRunner.audit == MARK)
    asked = AuditRunner.select(AuditRunner.session).where(AuditRunner.audit == MARK)
    return text_of(begun), text_of(ended), text_of(asked)
