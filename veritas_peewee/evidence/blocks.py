"""The stored part of the tree: one row for each block of 1,024 events, the last one not full.

They are derived from the digests, and only save time: without them a checkpoint or a proof reads
every digest of the store. Nothing that records writes them; who makes a checkpoint does. `verify`
computes them again: where one differs, it can tell which events are not what they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

from peewee import SQL

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.expressions import blob_as_read, is_integer
from veritas_peewee.database.statements import MARK, execute, per_backend, store_rows, text_of
from veritas_peewee.evidence import merkle
from veritas_peewee.ledger import heads, kept_ids
from veritas_peewee.models import TreeBlock

BLOCK = 1024
"""How many leaves a full block has: a power of two."""
PART = 16
"""How many leaves there are to each hash that a block has beside its root, to tell where it
differs."""
_HASH = 32
_COLUMNS = ("number", "leaves", "last_event", "root", "parts")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the tree."""

    number: int
    """Its position among the blocks, from 0."""
    leaves: int
    """How many it has: 1,024, or fewer in the last one."""
    last_event: int
    """The id of its last event."""
    root: bytes
    parts: bytes
    """The roots over each 16 leaves, one after the other, and over those that are left."""


def block_of(number: int, last_event: int, leaves: Sequence[bytes]) -> Block:
    """The block over the hashes of its leaves, one or more."""
    return Block(number, len(leaves), last_event, merkle.root_over(leaves), parts_of(leaves))


def parts_of(leaves: Sequence[bytes]) -> bytes:
    starts = range(0, len(leaves), PART)
    return b"".join(merkle.root_over(leaves[start : start + PART]) for start in starts)


def full() -> list[tuple[int, bytes]]:
    """The last event's id and the root of each stored block that is full, in order.

    They end before the first one that is missing, or is none that this library wrote.
    """
    found: list[tuple[int, bytes]] = []
    for number, leaves, last_event, root in execute(_roots_sql(), ()):
        before = found[-1][0] if found else 0
        if leaves != BLOCK or not _is_sound(number == len(found), before, leaves, last_event, root):
            break
        found.append((last_event, root))
    return found


def begun(number: int, before: int) -> Block | None:
    """The stored block with this number, if it is one that is not full; `before` is the last event
    of the one before it."""
    for row in execute(f"{_rows_sql()} LIMIT 1 OFFSET {number}", ()):
        _, leaves, last_event, root, parts = row
        sound = _is_sound(row[0] == number, before, leaves, last_event, root)
        if sound and leaves < BLOCK and _are_parts(leaves, parts):
            return Block(*row)
    return None


def sound() -> tuple[list[Block], list[int]]:
    """The stored blocks in order, up to the first that is none that this library wrote; and the
    numbers of the rows from that one on."""
    found: list[Block] = []
    odd: list[int] = []
    for row in execute(_rows_sql(), ()):
        number, leaves, last_event, root, parts = row
        before = found[-1].last_event if found else 0
        is_next = not odd and number == len(found) and (not found or found[-1].leaves == BLOCK)
        if _is_sound(is_next, before, leaves, last_event, root) and _are_parts(leaves, parts):
            found.append(Block(*row))
        else:
            odd.append(number)
    return found, odd


def _is_sound(is_next: bool, before: int, leaves: object, last: object, root: object) -> bool:
    return (
        is_next
        and isinstance(leaves, int)
        and 0 < leaves <= BLOCK
        and isinstance(last, int)
        and before + leaves <= last <= heads.LARGEST_ID
        and isinstance(root, bytes)
        and len(root) == _HASH
    )


def _are_parts(leaves: int, parts: object) -> bool:
    return isinstance(parts, bytes) and len(parts) == -(-leaves // PART) * _HASH


@atomic
def store(blocks: Sequence[Block]) -> int:
    """Store new blocks, the last of which need not be full; returns how many were stored.

    They must be of events that are committed. Nothing is stored if another process has stored more
    meanwhile, or while an import can still add events among earlier ones.
    """
    if not blocks or is_importing():
        return 0
    stored, odd = sound()
    kept = len(stored) - (bool(stored) and stored[-1].leaves < BLOCK)
    after = [one for one in blocks if one.number >= kept]
    if not after or after[0].number != kept or (kept < len(stored) and after[0] == stored[kept]):
        return 0
    if kept < len(stored) and after[0].leaves < stored[kept].leaves:
        return 0
    if odd or kept < len(stored):
        remove_from(kept)
    store_rows(TreeBlock, _COLUMNS, [astuple(one) for one in after])
    return len(after)


def remove_from(number: int) -> None:
    """Remove the stored blocks from this one on: the next checkpoint stores them anew."""
    current_database().execute_sql(_remove_sql(), (number,))


def is_importing() -> bool:
    """Whether an import or a copy is not complete, so that events can come among earlier ones."""
    taken = kept_ids.newest_taken()
    return taken is not None and taken.open and heads.newest_event() <= taken.position


@per_backend
def _roots_sql() -> str:
    return _select(TreeBlock.root)


@per_backend
def _rows_sql() -> str:
    return _select(TreeBlock.root, TreeBlock.parts)


def _select(*blobs: object) -> str:
    numbers = [
        SQL(f"CASE WHEN {is_integer(name)} THEN {name} END") for name in ("leaves", "last_event")
    ]
    query = TreeBlock.select(TreeBlock.number, *numbers, *map(blob_as_read, blobs))
    return text_of(query.order_by(TreeBlock.number))


@per_backend
def _remove_sql() -> str:
    return text_of(TreeBlock.delete().where(TreeBlock.number >= MARK))
