"""A whole audit at once, from any form of the engine's output: a dict, a list or a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.errors import InvalidAudit, StoreError
from veritas_peewee.files.inputs import read_whole
from veritas_peewee.ledger.stored import stored_ids
from veritas_peewee.models import Audit, AuditStatus
from veritas_peewee.queries.images import Images, current_images
from veritas_peewee.recording import operations, whole
from veritas_peewee.recording.effects import kind_named
from veritas_peewee.recording.forms import Event, events_of, with_notes
from veritas_peewee.recording.live import NO_END
from veritas_peewee.recording.one_audit import is_same_address, notes_on_others
from veritas_peewee.recording.output import RESULT_EVENT, check_any, parse, unread
from veritas_peewee.recording.preparing import (
    PreparedEvent,
    discard_all,
    discard_rest,
    prepare_all,
)
from veritas_peewee.recording.recorder import apply_all, end_of_output, take_over
from veritas_peewee.values import addresses, ids
from veritas_peewee.values.ids import new_audit_id
from veritas_peewee.values.nesting import cut
from veritas_peewee.values.plain import EndlessJSON, invalid, named, plain, shown

Source = dict[str, Any] | list[Any] | str | os.PathLike[str]


class PreparedAudit(NamedTuple):
    """An audit ready to be written: its events checked, its images stored or ready to be."""

    audit_id: str
    url: str | None
    may_exist: bool
    events: list[PreparedEvent]
    unread: list[str]
    """Notes on the parts that could not be read, which are in the audit's errors too."""
    given_url: str | None = None
    """The address that the caller says it is of."""

    def discard(self) -> None:
        """Remove its images from disk: the audit will not be written."""
        discard_all(self.events)


def prepare_audit(
    source: Source,
    images: Images,
    *,
    audit_id: str | None = None,
    url: str | None = None,
) -> PreparedAudit:
    """The audit in `source`, ready to be written; runs in any thread and needs no database.

    See `ingest` for the arguments. Raises InvalidAudit if `source` holds no audit, or no url where
    one is needed, and StoreError if a file cannot be read or an image cannot be stored.
    """
    events, notes = _read(source)
    notes += notes_on_others(events)
    not_read = unread(events, notes)
    found_id = audit_id or next(_ids_in(events, notes), None) or new_audit_id()
    events[-1] = with_notes(events[-1], notes)
    address = url or next(_urls_in(events), None)
    if audit_id is None or url is not None:
        if address is None:
            reason = f" ({not_read[0]})" if not_read else ""
            raise InvalidAudit(
                f"url: none is told in the events{reason}; pass the url of the audit"
            )
        addresses.check_url(address)
    prepared = prepare_all(ids.check_id(found_id), events, images, lenient=True)
    if not issubclass(type(source), dict | list):
        for one, event in zip(prepared, events, strict=True):
            if one.kind == RESULT_EVENT and one.event is event:
                one.decoded = event  # it was made of JSON text, and effects leave it as it is
    return PreparedAudit(found_id, address, audit_id is not None, prepared, not_read, url)


@atomic
def write_audit(prepared: PreparedAudit) -> Audit:
    """Write a prepared audit, all or nothing, and return it.

    Raises InvalidAudit if an audit with this id has ended, is of another address than the caller
    says or, where the caller named no id, exists at all; AuditNotFound if there is no such audit
    and no url for a new one.
    """
    audit_id = prepared.audit_id
    if prepared.url is not None and not stored_ids([audit_id]):
        for one in prepared.events:
            take_over(one)
        return whole.insert([whole.new_audit(audit_id, prepared.url, prepared.events)])[0]
    status = operations.audit_state(audit_id)["status"]
    if not prepared.may_exist:
        raise InvalidAudit(f"id: audit {audit_id!r} is in the store already")
    if status in (AuditStatus.COMPLETED, AuditStatus.ERROR):
        raise InvalidAudit(f"id: audit {audit_id!r} has already ended ({status})")
    if prepared.given_url is not None:
        check_same_url(audit_id, prepared.given_url)
    apply_all.inside_unit(audit_id, prepared.events, whole=True)
    end_of_output.inside_unit(audit_id, NO_END)
    return operations.sealed(audit_id)


def check_same_url(audit_id: str, url: str) -> None:
    """Raise InvalidAudit if a stored audit is of another address than a caller says."""
    stored = Audit.select(Audit.url).where(Audit.id == audit_id).scalar()
    if isinstance(stored, str) and not is_same_address(stored, url):
        raise invalid("url", f"audit {audit_id!r} is of {shown(stored)}", url)


def write_together(jobs: list[tuple[PreparedAudit]]) -> list[Audit]:
    """Write prepared audits, all or none, and return them.

    What becomes of their images is for the caller, who may try them again one by one. Raises what
    `write_audit` does, and InvalidAudit if two have the same id.
    """
    prepared = [one for (one,) in jobs]
    ids = [one.audit_id for one in prepared]
    with current_database().unit():
        if len({*ids}) < len(ids) or stored_ids(ids) or any(one.url is None for one in prepared):
            raise InvalidAudit("id: is that of another audit")
        new = [whole.new_audit(one.audit_id, one.url or "", one.events) for one in prepared]
        return whole.insert(new)


def ingest(source: Source, *, audit_id: str | None = None, url: str | None = None) -> Audit:
    """Store an audit from the engine's output, all or nothing, and return it.

    `source` is a result (dict), a list of events, or the path of a file in any form. `audit_id` can
    be the id of a stored audit that has not ended; `url` is needed if the output has none, and
    must be the stored audit's own if there is one. Raises InvalidAudit, AuditNotFound or
    StoreError, as `prepare_audit` and `write_audit` do.
    """
    return ingest_noted(source, audit_id=audit_id, url=url)[0]


def ingest_noted(
    source: Source, *, audit_id: str | None = None, url: str | None = None
) -> tuple[Audit, list[str]]:
    """`ingest`, with notes on the parts of the output that could not be read."""
    prepared = prepare_audit(source, current_images(), audit_id=audit_id, url=url)
    try:
        return write_audit(prepared), prepared.unread
    except BaseException:
        discard_rest(prepared.events)
        raise


def _read(source: Source) -> tuple[list[Event], list[str]]:
    if issubclass(type(source), dict | list):
        notes: list[str] = []
        try:
            found = plain(source, "source")
        except EndlessJSON as error:
            notes.append(f"{error}: what is deeper was left out")
            found = plain(cut(source), "source")
        events = list(events_of(found))
        check_any(events, notes)
        return events, notes
    try:
        path = os.fspath(plain(source, "source"))
        name = named(os.fsdecode(path), 300)
    except Exception as error:  # also whatever a caller's class raises
        what = "must be a result, a list of events or a path"
        raise invalid("source", what, source) from error
    try:
        with open(path, "rb") as file:
            data = read_whole(file)
    except OSError as error:
        raise StoreError(f"{name}: cannot be read: {error.strerror or error}") from error
    except InvalidAudit as error:
        raise InvalidAudit(f"{name}: {error}") from error
    except ValueError as error:
        raise StoreError(f"{name}: cannot be read: {error}") from error
    try:
        return parse(data, may_be_cut=True)
    except InvalidAudit as error:
        raise InvalidAudit(f"{name}: {error}") from error


def _ids_in(events: list[Event], notes: list[str]) -> Iterator[str]:
    """The ids that events give their audit; a note for each that cannot be one."""
    for event in events:
        if kind_named(event.get("type")).names_audit and event.get("audit_id"):
            try:
                yield ids.check_id(event["audit_id"])
            except InvalidAudit as error:
                notes.append(f"{event['type']}.audit_{error}; the audit was given another one")


def _urls_in(events: list[Event]) -> Iterator[str]:
    """The audited addresses that events report, not yet checked."""
    for event in events:
        result = event.get("result")
        if (
            kind_named(event.get("type")).has_url
            and isinstance(result, dict)
            and result.get("url") is not None
        ):
            yield result["url"]
