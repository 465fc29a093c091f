"""How an audit's seal is computed, while it runs and once it has ended."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from veritas_peewee.catalog.entries import UNFINISHED
from veritas_peewee.database.statements import stored_forms
from veritas_peewee.ledger.children import Children
from veritas_peewee.ledger.digests import covered, digest_of, marked
from veritas_peewee.models import Audit

_STATUS = covered(Audit).index("status")


def is_unfinished(values: list[Any]) -> bool:
    """Whether an audit has not ended, by its row's stored values."""
    return values[_STATUS] in UNFINISHED


def first_values(values: dict[str, Any]) -> list[Any]:
    """What a seal covers of a new audit's row, as stored values, from its checked values by
    column."""
    names = covered(Audit)
    row = [values[name] for name in names]
    for position, convert in stored_forms(Audit, names):
        row[position] = convert(row[position])
    return row


def first_seal(row: bytes) -> str:
    """The seal of a new audit, which has nothing but its row yet, as `marked` makes it."""
    return running_seal_of(row, Children(None))


def running_seal(values: list[Any], children: Children) -> str:
    """The seal of an audit that has not ended: over its row's stored values, and its rows."""
    return running_seal_of(marked(values), children)


def running_seal_of(row: bytes, children: Children) -> str:
    """The same, from the row's values as `marked` makes them."""
    if children.findings[0] or children.screenshots[0]:
        row = row + b"\0" + marked((*children.findings, *children.screenshots))
    return sha256(row).hexdigest()


def is_running_seal(
    seal: object, values: list[Any], children: Children, sealed_events: object
) -> bool:
    """Whether this is the seal of an audit that has not ended."""
    return sealed_events is None and seal == running_seal(values, children)


def is_older_seal(seal: object, values: list[Any], sealed_events: object) -> bool:
    """Whether this is the seal that earlier versions gave an unfinished audit: over its row alone.

    Such audits are in exports of these versions; in a database they were sealed again.
    """
    return sealed_events is None and seal == digest_of(values).hex()


def ended_seal(
    values: list[Any], children: Iterable[list[bytes | None]], count: int, last: bytes | None
) -> str:
    """The seal of an audit that has ended.

    It covers the row's stored values, the digests of its findings and of its screenshots
    (`children`), and of the log as it was at the end the number of events and the last digest.
    """
    whole = list(values)
    for digests in children:
        whole += len(digests), *digests
    return digest_of([*whole, count, last]).hex()


def is_ended_seal(
    seal: object,
    values: list[Any],
    children: Iterable[list[bytes | None]],
    sealed_events: object,
    last: bytes | None,
) -> bool:
    """Whether this is the seal of an audit that has ended; `last` is the last sealed event's
    digest."""
    if not isinstance(sealed_events, int):
        return False
    return seal == ended_seal(values, children, sealed_events, last)
