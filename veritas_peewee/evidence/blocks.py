"""The stored part of the tree: one row for each full block of 1,024 events.

They are derived from the digests, and only save time: without them a checkpoint or a proof reads
every digest of the store. Nothing that records writes them; who makes a checkpoint does. `verify`
computes them again, and where one differs, the events of that block are not what they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from peewee import SQL

from veritas_peewee.database.current import atomic
from veritas_peewee.database.expressions import blob_as_read, is_integer
from veritas_peewee.database.statements import execute, per_backend, store_rows, text_of
from veritas_peewee.evidence.merkle import levels_of
from veritas_peewee.ledger import heads, kept_ids
from veritas_peewee.models import TreeBlock

BLOCK = 1024
"""How many leaves a stored block has: a power of two."""
PART = 64
"""How many leaves there are to each hash that a block has beside its root, to tell where it
differs."""
_HASH = 32
_PARTS = BLOCK // PART * _HASH


class Block(NamedTuple):
    """A full block of the tree."""

    number: int
    """Its position among the blocks, from 0."""
    last_event: int
    """The id of its last event."""
    root: bytes
    parts: bytes
    """The roots over each 64 leaves, one after the other."""


def block_of(number: int, last_event: int, leaves: Sequence[bytes]) -> Block:
    """The block over the hashes of its 1,024 leaves."""
    levels = levels_of(leaves)
    return Block(number, last_event, levels[-1][0], b"".join(levels[PART.bit_length() - 1]))


def stored() -> list[tuple[int, bytes]]:
    """The last event's id and the root of each stored block, in order.

    They end before the first one that is missing, or is none that this library wrote.
    """
    found: list[tuple[int, bytes]] = []
    for number, last_event, root in execute(_roots_sql(), ()):
        before = found[-1][0] if found else 0
        if number != len(found) or not _is_sound(before, last_event, root):
            break
        found.append((last_event, root))
    return found


def _is_sound(before: int, last_event: object, root: object) -> bool:
    return (
        isinstance(last_event, int)
        and before + BLOCK <= last_event <= heads.LARGEST_ID
        and isinstance(root, bytes)
        and len(root) == _HASH
    )


def all_rows() -> list[tuple[int, int | None, bytes | None, bytes | None]]:
    """Every row as it is stored: its number, the last event's id, the root and the parts."""
    return [(row[0], row[1], row[2], row[3]) for row in execute(_rows_sql(), ())]


@atomic
def store(blocks: Sequence[Block]) -> int:
    """Store new blocks; returns how many were stored.

    They must be of events that are committed. Those that another process has stored meanwhile are
    left as they are; nothing is stored while an import can still add events among earlier ones.
    """
    if is_importing():
        return 0
    ((next_number,),) = execute(_next_sql(), ())
    new = [one for one in blocks if one.number >= next_number]
    if not new or new[0].number != next_number:
        return 0
    store_rows(TreeBlock, ("number", "last_event", "root", "parts"), [tuple(one) for one in new])
    return len(new)


def is_importing() -> bool:
    """Whether an import or a copy is not complete, so that events can come among earlier ones."""
    taken = kept_ids.newest_taken()
    return taken is not None and taken.open and heads.newest_event() <= taken.position


@per_backend
def _roots_sql() -> str:
    last = SQL(f"CASE WHEN {is_integer('last_event')} THEN last_event END")
    query = TreeBlock.select(TreeBlock.number, last, blob_as_read(TreeBlock.root))
    return text_of(query.order_by(TreeBlock.number))


@per_backend
def _rows_sql() -> str:
    last = SQL(f"CASE WHEN {is_integer('last_event')} THEN last_event END")
    blobs = (blob_as_read(TreeBlock.root), blob_as_read(TreeBlock.parts))
    return text_of(TreeBlock.select(TreeBlock.number, last, *blobs).order_by(TreeBlock.number))


@per_backend
def _next_sql() -> str:
    return text_of(TreeBlock.select(SQL("COALESCE(MAX(number), -1) + 1")))
