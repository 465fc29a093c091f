"""The seals of audits that end, or have ended, by what a connection remembers of them."""

from __future__ import annotations

from typing import Any

from veritas_peewee.catalog.entries import READ
from veritas_peewee.ledger.children import totals
from veritas_peewee.ledger.followed import Followed
from veritas_peewee.ledger.formulas import ended_seal, is_unfinished
from veritas_peewee.ledger.memory import Remembered, State
from veritas_peewee.ledger.stored import SEAL


def entry_of(seal: str, columns: dict[str, Any], followed: Followed) -> tuple[object, ...]:
    """What an audit's entry in the catalog is made of, after the seal with which it was so."""
    return (seal, len(followed.findings), *(columns[name] for name in READ))


def is_followed(memory: Remembered, audit_id: str) -> bool:
    """Whether an audit that ends, or has ended, can be sealed by what is remembered of it."""
    return (
        audit_id in memory.followed
        and audit_id in memory.stored
        and audit_id in memory.chain
        and audit_id not in memory.changed_rows
        and memory.known.get(audit_id) in (State.ROW, State.ROWS)
    )


def seal_ended(
    memory: Remembered, audit_id: str, before: list[Any], values: list[Any]
) -> tuple[str, int] | None:
    """The seal of an audit that ends with these values, or had ended, and how many events it
    covers, by what is remembered of it; None if that is not enough."""
    if not is_followed(memory, audit_id):
        return None
    followed, children = memory.followed[audit_id], memory.children.get(audit_id)
    if children is not None:
        if not children.same_rows(totals(None, followed.digests)):
            return None
    elif is_unfinished(before) or memory.known[audit_id] is not State.ROWS:
        return None
    last = memory.chain[audit_id] if followed.events else None
    seal = ended_seal(values, followed.digests, followed.events, last)
    old = followed.entry
    if old is not None and old[0] == before[SEAL]:  # what it was made of is still the same
        followed.entry = (seal, *old[1:])
    memory.known[audit_id] = State.ROWS
    memory.set_children(audit_id, None)
    memory.touched(audit_id)  # its entry in the catalog is to be looked at
    return seal, followed.events
