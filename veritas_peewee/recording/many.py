"""Many outputs of engines, some in each transaction; each is stored whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from veritas_peewee.database.current import atomic
from veritas_peewee.database.transactions import is_known
from veritas_peewee.errors import StoreError
from veritas_peewee.ledger.stored import stored_ids
from veritas_peewee.models import Audit
from veritas_peewee.queries.images import current_images
from veritas_peewee.recording import whole
from veritas_peewee.recording.ingest import (
    PreparedAudit,
    Source,
    ingest_noted,
    prepare_audit,
    write_audit,
)
from veritas_peewee.recording.preparing import discard_rest
from veritas_peewee.recording.recorder import take_over

TOGETHER, TOGETHER_LENGTH = 32, 16 << 20
"""The most outputs in one transaction, and how many characters of events are enough for one."""


class Ingested(NamedTuple):
    """What became of one output."""

    source: Source
    audit: Audit | None
    """None if it was not stored."""
    notes: list[str]
    """The parts that could not be read; of an output that was not stored, the error."""


def ingest_each(sources: Iterable[Source], *, url: str | None = None) -> Iterator[Ingested]:
    """Store audits as `ingest` does; yields in order what became of each, once it is committed.

    One that fails does so alone.
    """
    some: list[tuple[Source, PreparedAudit | StoreError]] = []
    length = 0
    try:
        for source in sources:
            try:
                prepared = prepare_audit(source, current_images(), url=url)
            except StoreError as error:
                some.append((source, error))
            else:
                some.append((source, prepared))
                length += sum(len(one.text) for one in prepared.events)
            if len(some) == TOGETHER or length >= TOGETHER_LENGTH:
                written = _write(some, url)
                some, length = [], 0
                yield from written
        written = _write(some, url)
        some = []
        yield from written
    except BaseException:
        for _, one in some:
            if isinstance(one, PreparedAudit):
                discard_rest(one.events)
        raise


def _write(
    some: list[tuple[Source, PreparedAudit | StoreError]], url: str | None
) -> list[Ingested]:
    """Write what could be prepared, in one transaction; what cannot be a part of it, alone."""
    prepared = [one for _, one in some if isinstance(one, PreparedAudit)]
    written: dict[int, Audit] = {}
    failure: Exception | None = None
    try:
        written = _write_new(prepared)
    except Exception as error:
        failure = error
        for one in prepared:
            discard_rest(one.events)
    return [_outcome(source, one, written, failure, url) for source, one in some]


def _outcome(
    source: Source,
    one: PreparedAudit | StoreError,
    written: dict[int, Audit],
    failure: Exception | None,
    url: str | None,
) -> Ingested:
    try:
        if isinstance(one, StoreError):
            raise one
        if failure is not None:
            if not is_known(failure):
                raise failure
            # All were undone, and their images are gone: once more, so that only the one that is
            # at fault fails.
            audit, notes = ingest_noted(source, url=url)
            return Ingested(source, audit, notes)
        audit = written[id(one)] if id(one) in written else _alone(one)
        return Ingested(source, audit, one.unread)
    except StoreError as error:
        return Ingested(source, None, [str(error)])


def _alone(prepared: PreparedAudit) -> Audit:
    try:
        return write_audit(prepared)
    except BaseException:
        discard_rest(prepared.events)
        raise


@atomic
def _write_new(prepared: list[PreparedAudit]) -> dict[int, Audit]:
    """Write the audits that are not in the store yet, all or none; returns them by the `id` of
    what was prepared."""
    there = stored_ids([one.audit_id for one in prepared])
    chosen: dict[str, PreparedAudit] = {}
    for one in prepared:
        if one.url is not None and one.audit_id not in there:
            chosen.setdefault(one.audit_id, one)
    for one in chosen.values():
        for event in one.events:
            take_over(event)
    new = [whole.new_audit(one.audit_id, one.url or "", one.events) for one in chosen.values()]
    return {id(one): audit for one, audit in zip(chosen.values(), whole.insert(new), strict=True)}
