"""The store's log as a Merkle tree, and what can be proven with it.

Leaf i is the digest of the event that is the (i+1)th by id, removed events and the rows where a
restore continued the ids among them: what a head covers. In a store whose ids have no gaps that is
the event with the id i + 1. An audit's digests are a chain, so a proof of its last event proves all
of its events and their order.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from peewee import SQL

from veritas_peewee.database.current import current_database, snapshot
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.errors import DatabaseCorrupt, InvalidAudit, StoreError
from veritas_peewee.evidence import blocks, merkle
from veritas_peewee.evidence.blocks import BLOCK, Block
from veritas_peewee.ledger import heads
from veritas_peewee.models import AuditEvent, RemovedEvent


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The proof that an event is in the tree of some size."""

    event_id: int
    index: int
    """The position of the event's leaf, from 0."""
    size: int
    """How many leaves the tree has."""
    leaf: bytes
    """The hash of the leaf: SHA-256 over a zero byte and the event's digest."""
    root: bytes
    path: tuple[bytes, ...]
    """The hashes beside the way from the leaf to the root, in that order."""


class Tree:
    """The tree over the current database's log, as of one moment.

    It is made, and asked, inside `database.current.snapshot()`. To make one reads the digests after
    the last full block that is stored. Raises DatabaseCorrupt if those up to the newest checkpoint
    are not the ones of which it was made.
    """

    def __init__(self) -> None:
        found, _ = blocks.stored()
        begun = found.pop() if found and found[-1].leaves < BLOCK else None
        self._ends = [one.last_event for one in found]
        """The id of the last event of each block."""
        self._roots = [one.root for one in found]
        self._tail: list[bytes] = []
        """The hashes of the leaves after the last block."""
        self._new: list[Block] = []
        self.newest = self._ends[-1] if found else 0
        """The newest event's id."""
        for event_id, digest in heads.digests_after(self.newest):
            self._tail.append(merkle.leaf_hash(digest or b"?"))
            self.newest = event_id
            if begun is not None and len(self._tail) == begun.leaves:
                if merkle.root_over(self._tail) != begun.root:
                    break
                begun = None
            if len(self._tail) == BLOCK:
                self._full(event_id)
        if begun is not None:
            raise _not_those(self._ends[-1] if self._ends else 0, begun.last_event)
        self.size = len(self._roots) * BLOCK + len(self._tail)
        """How many leaves it has."""
        self._levels: list[list[bytes]] | None = None
        self._read: tuple[int, list[list[bytes]]] = (-1, [])

    def check_stored(self) -> None:
        """Raise DatabaseCorrupt if what is stored of a block does not agree with itself, so that
        its root may not be that of its events: to be asked before a root is signed."""
        stored = len(self._roots) - sum(block.leaves == BLOCK for block in self._new)
        for number in blocks.wrong_rows(stored):
            raise _not_those(self._ends[number - 1] if number else 0, self._ends[number])

    def _full(self, last_event: int) -> None:
        block = blocks.block_of(len(self._roots), last_event, self._tail)
        self._new.append(block)
        self._ends.append(last_event)
        self._roots.append(block.root)
        self._tail = []

    def new_blocks(self) -> list[Block]:
        """The blocks that are not stored yet, the last of which need not be full."""
        if not self._tail:
            return self._new
        return [*self._new, blocks.block_of(len(self._roots), self.newest, self._tail)]

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves; over all by default.

        Raises InvalidAudit for a size that the tree has not, DatabaseCorrupt where the events of a
        block are not those that it was stored of.
        """
        return merkle.root_of(self._subtree, 0, self._checked(size))

    def inclusion(self, event_id: int, size: int | None = None) -> Inclusion:
        """The proof that an event, by its id, is in the tree of `size` leaves (default: of all).

        It can have been removed. Raises StoreError if there is no such event, or if the tree was
        not that large yet; and the errors of `root`.
        """
        size = self._checked(size)
        index = self._index(event_id)
        if index >= size:
            raise StoreError(f"event {event_id} is not in the tree of {size}: it came later")
        path = merkle.inclusion_path(self._subtree, index, size)
        leaf = self._subtree(index, 1)
        root = merkle.proven_root(leaf, index, size, path)
        return Inclusion(event_id, index, size, leaf, root, tuple(path))

    def consistency(self, earlier: int, size: int | None = None) -> tuple[bytes, ...]:
        """The proof that the tree of `size` leaves (default: of all) begins with that of `earlier`.

        Raises the errors of `root`.
        """
        size = self._checked(size)
        if not 0 <= earlier <= size:
            raise _no_size(earlier, size)
        return tuple(merkle.consistency_path(self._subtree, earlier, size))

    def size_upto(self, event_id: int) -> int:
        """How many leaves there are of events up to this id."""
        block = bisect_left(self._ends, event_id)
        if block < len(self._ends) and self._ends[block] == event_id:
            return (block + 1) * BLOCK
        return block * BLOCK + _count(self._ends[block - 1] if block else 0, event_id)

    def _index(self, event_id: int) -> int:
        index = self.size_upto(event_id) - 1
        if event_id > 0 and _count(event_id - 1, event_id):
            return index
        raise StoreError(f"there is no event {event_id} in this store's log")

    def _checked(self, size: int | None) -> int:
        if size is None:
            return self.size
        if not 0 <= size <= self.size:
            raise _no_size(size, self.size)
        return size

    def _subtree(self, first: int, count: int) -> bytes:
        number, start = divmod(first, BLOCK)
        if count >= BLOCK:
            if self._levels is None:
                self._levels = merkle.levels_of(self._roots)
            return self._levels[(count // BLOCK).bit_length() - 1][first // count]
        return self._inside(number)[count.bit_length() - 1][start // count]

    def _inside(self, number: int) -> list[list[bytes]]:
        """The levels inside of one block, or of the leaves after the last one."""
        if self._read[0] != number:
            if number == len(self._roots):
                self._read = number, merkle.levels_of(self._tail)
            else:
                self._read = number, self._levels_of_block(number)
        return self._read[1]

    def _levels_of_block(self, number: int) -> list[list[bytes]]:
        before, last = (self._ends[number - 1] if number else 0), self._ends[number]
        rows = list(heads.events_between(before, last))
        levels = merkle.levels_of([merkle.leaf_hash(digest or b"?") for _, digest in rows])
        if len(rows) != BLOCK or levels[-1][0] != self._roots[number]:
            raise _not_those(before, last)
        return levels


def _not_those(after: int, upto: int) -> DatabaseCorrupt:
    return DatabaseCorrupt(
        f"{current_database().name}: the events from {after + 1} to {upto} are not those of which "
        "the store's tree was made, so nothing can be proven: `veritas-peewee verify` says which; "
        "if it is only a row of store_tree that is wrong, `veritas-peewee verify --fix` mends it"
    )


def _no_size(size: int, most: int) -> InvalidAudit:
    return InvalidAudit(f"size: the tree has {most} leaves, and so no first {size}")


def _count(after: int, upto: int) -> int:
    rows = execute(_count_sql(), (after, upto, after, upto))
    return sum(int(number) for (number,) in rows)


@per_backend
def _count_sql() -> str:
    present = AuditEvent.select(SQL("COUNT(*)"))
    removed = RemovedEvent.select(SQL("COUNT(*)"))
    present = present.where(AuditEvent.id > MARK, AuditEvent.id <= MARK)
    removed = removed.where(RemovedEvent.event_id > MARK, RemovedEvent.event_id <= MARK)
    return f"{text_of(present)} UNION ALL {text_of(removed)}"


# ---- one question at a time ----


def inclusion_proof(event_id: int, size: int | None = None) -> Inclusion:
    """The proof that an event, by its id, is in the tree of `size` leaves (default: of all).

    Raises the errors of `Tree.inclusion`.
    """
    with snapshot():
        return Tree().inclusion(event_id, size)


def consistency_proof(earlier: int, size: int | None = None) -> tuple[bytes, ...]:
    """The hashes that prove that the log of `size` events (default: of all) begins with the log of
    `earlier` events: nothing was taken away, altered or put in between.

    Raises the errors of `Tree.consistency`.
    """
    with snapshot():
        return Tree().consistency(earlier, size)
