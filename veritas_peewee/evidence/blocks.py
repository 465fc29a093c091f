"""The stored part of the tree: one row for each block of 1,024 events, the last one not full.

They are derived from the digests, and only save time: without them a checkpoint or a proof reads
every digest of the store. Nothing that records writes them; who makes a checkpoint does. `verify`
computes them again: where one differs, it can tell which events are not what they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from hashlib import sha256
from typing import NamedTuple

from peewee import SQL, NodeList

from veritas_peewee.database.current import atomic, current_database
from veritas_peewee.database.expressions import blob_as_read, is_integer
from veritas_peewee.database.statements import (
    MARK,
    execute,
    per_backend,
    store_rows,
    text_of,
    update_sql,
)
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


class Stored(NamedTuple):
    """What is stored of a block, without its parts."""

    number: int
    leaves: int
    last_event: int
    root: bytes


def stored(first: int = 0) -> tuple[list[Stored], list[int]]:
    """The stored blocks in order from number `first` on, up to the first row that is not one of
    this library's; and the numbers of the rows from that one on."""
    found: list[Stored] = []
    before = None
    rows = execute(_rows_sql(), (first or -heads.LARGEST_ID,))
    for place, (number, leaves, last_event, root, parts) in enumerate(rows):
        block = Stored(number, leaves, last_event, root)
        if number != first + place or not _follows(before, block) or not _is_sound(block, parts):
            return found, [row[0] for row in rows[place:]]
        found.append(block)
        before = block
    return found, []


def signed_upto() -> int:
    """The id of the last event of the newest checkpoint, as the newest row says; 0 without one."""
    for (last_event,) in execute(_newest_sql(), ()):
        if isinstance(last_event, int):
            return last_event
    return 0


def _follows(before: Stored | None, block: Stored) -> bool:
    return before is None or (
        before.leaves == BLOCK
        and isinstance(block.last_event, int)
        and block.last_event > before.last_event
    )


def _is_sound(block: Stored, parts: object) -> bool:
    _, leaves, last_event, root = block
    return (
        isinstance(leaves, int)
        and 0 < leaves <= BLOCK
        and isinstance(last_event, int)
        and leaves <= last_event <= heads.LARGEST_ID
        and isinstance(root, bytes)
        and len(root) == _HASH
        and parts in (_length(leaves), _length(leaves) + _HASH)
    )


def _length(leaves: int) -> int:
    """The length of a block's parts, in bytes."""
    return -(-leaves // PART) * _HASH


def wrong_rows(upto: int) -> Iterator[int]:
    """The numbers of those rows below `upto`, all of which `stored` has found sound, that do not
    agree with themselves, as where a disk has changed a bit."""
    for number, leaves, last_event, root, parts in execute(_whole_sql(), (upto,)) if upto else ():
        length = _length(leaves)
        if parts[length:]:
            is_right = parts[length:] == _check(number, leaves, last_event, root)
        else:  # of a version that wrote no check
            hashes = [parts[start : start + _HASH] for start in range(0, length, _HASH)]
            is_right = merkle.levels_of(hashes)[-1][0] == root
        if not is_right:
            yield number


def stored_parts(number: int) -> bytes:
    """The parts of the stored block with this number."""
    ((leaves, parts),) = execute(_parts_sql(), (number,))
    return bytes(parts)[: _length(leaves)]


def _row(block: Block) -> tuple[int, int, int, bytes, bytes]:
    """A block as it is stored: its parts are followed by a digest over the rest of the row, which
    costs a reader less than to hold the root against all of them."""
    number, leaves, last_event, root, parts = astuple(block)
    return number, leaves, last_event, root, parts + _check(number, leaves, last_event, root)


def _check(number: int, leaves: int, last_event: int, root: bytes) -> bytes:
    return sha256(b"%d %d %d " % (number, leaves, last_event) + root).digest()


@atomic
def store(blocks: Sequence[Block]) -> int:
    """Store new blocks, the last of which need not be full; returns how many were stored.

    They must be of events that are committed. Nothing is stored if another process has stored more
    meanwhile, or while an import can still add events among earlier ones.
    """
    if not blocks or is_importing():
        return 0
    first = max(blocks[0].number - 1, 0)  # that it is still there shows that those before it are
    there, odd = stored(first)
    begun = there.pop() if there and there[-1].leaves < BLOCK else None
    following = first + len(there)
    after = [one for one in blocks if one.number >= following]
    if not after or after[0].number != following:
        return 0
    if begun is not None and after[0].leaves <= begun.leaves:
        return 0
    if begun is not None or odd:
        remove_from(following)
    store_rows(TreeBlock, _COLUMNS, [_row(one) for one in after])
    return len(after)


def remove_from(number: int) -> None:
    """Remove the stored blocks from this one on: the next checkpoint stores them anew."""
    current_database().execute_sql(_remove_sql(), (number,))


def remake(block: Block) -> None:
    """Put what is stored of a block right."""
    text = update_sql(TreeBlock, *_COLUMNS[1:])
    current_database().execute_sql(text, (*_row(block)[1:], block.number))


def is_importing() -> bool:
    """Whether an import or a copy is not complete, so that events can come among earlier ones."""
    taken = kept_ids.newest_taken()
    return taken is not None and taken.open and heads.newest_event() <= taken.position


@per_backend
def _rows_sql() -> str:
    numbers = [
        SQL(f"CASE WHEN {is_integer(name)} THEN {name} END") for name in ("leaves", "last_event")
    ]
    length = NodeList((SQL("LENGTH("), blob_as_read(TreeBlock.parts), SQL(")")))
    query = TreeBlock.select(TreeBlock.number, *numbers, blob_as_read(TreeBlock.root), length)
    return text_of(query.where(TreeBlock.number >= MARK).order_by(TreeBlock.number))


@per_backend
def _newest_sql() -> str:
    query = TreeBlock.select(SQL(f"CASE WHEN {is_integer('last_event')} THEN last_event END"))
    return text_of(query.order_by(TreeBlock.number.desc()).limit(SQL("1")))


@per_backend
def _whole_sql() -> str:
    numbers = TreeBlock.number, TreeBlock.leaves, TreeBlock.last_event
    digests = blob_as_read(TreeBlock.root), blob_as_read(TreeBlock.parts)
    query = TreeBlock.select(*numbers, *digests).where(TreeBlock.number < MARK)
    return text_of(query.order_by(TreeBlock.number))


@per_backend
def _parts_sql() -> str:
    query = TreeBlock.select(TreeBlock.leaves, TreeBlock.parts)
    return text_of(query.where(TreeBlock.number == MARK))


@per_backend
def _remove_sql() -> str:
    return text_of(TreeBlock.delete().where(TreeBlock.number >= MARK))
