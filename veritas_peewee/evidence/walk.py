"""The tree computed again along a walk through all digests, and held against what is stored."""

from __future__ import annotations

from dataclasses import astuple
from hashlib import sha256
from typing import NamedTuple

from peewee import SQL

from veritas_peewee.database.expressions import text_as_bytes
from veritas_peewee.database.statements import MARK, execute, per_backend, text_of
from veritas_peewee.evidence import blocks, merkle
from veritas_peewee.evidence.blocks import BLOCK, PART, Block, Stored
from veritas_peewee.ledger import heads
from veritas_peewee.models import AuditEvent, RemovedEvent

_HASH = 32
_NAMED = 3
"""The most audits that one problem names."""


class TreeWalk:
    """The tree of a log whose events are added one by one, in their order.

    `wanted` is a size at which the root is to be known.
    """

    def __init__(self, wanted: int | None = None) -> None:
        self.size = 0
        self.wanted = wanted
        self.wanted_root = merkle.EMPTY_ROOT if wanted == 0 else None
        """The root over the first `wanted` leaves; None as long as there are fewer."""
        stored, self._odd = blocks.stored()
        self._stored = stored[::-1]
        self._whole = merkle.Growing()  # the full blocks so far
        self._leaves: list[bytes] = []
        self._ids: list[int] = []
        self._differing: _Block | None = None
        """The first block that is not as it is stored."""
        self._parts: list[tuple[int, bytes]] = []
        """The blocks before it by their numbers, with a digest of what their parts should be: the
        database is not asked as long as it gives the digests of events."""
        self._is_needed = wanted is not None or bool(stored)

    def add(self, event_id: int, digest: bytes | None) -> None:
        """The next event of the log."""
        self.size += 1
        if not self._is_needed:
            return
        self._leaves.append(merkle.leaf_hash(digest or b"?"))
        self._ids.append(event_id)
        if self.size == self.wanted:
            self.wanted_root = self._root()
        if self._stored and len(self._leaves) == self._stored[-1].leaves:
            self._compare(self._stored.pop())
        if len(self._leaves) == BLOCK:
            self._whole.add(merkle.root_over(self._leaves), BLOCK)
            self._leaves, self._ids = [], []

    def _root(self) -> bytes:
        growing = self._whole.copy()
        for leaf in self._leaves:
            growing.add(leaf)
        return growing.root()

    def _compare(self, stored: Stored) -> None:
        if self._differing is not None:
            return  # where events are gone, each later block differs
        parts = blocks.parts_of(self._leaves)
        if stored.root != merkle.root_over(self._leaves) or stored.last_event != self._ids[-1]:
            self._differing = _Block(stored.number, self._leaves[:], self._ids[:])
        else:
            self._parts.append((stored.number, sha256(parts).digest()))

    def problems(self) -> list[str]:
        """What the walk has found, once all events were added; it asks the database."""
        found = [f"row {one} of store_tree was not written by this library" for one in self._odd]
        wrong = set(blocks.wrong_rows(len(self._parts)))
        found += [_wrong_row(number) for number, parts in self._parts
                  if number in wrong
                  or sha256(blocks.stored_parts(number)).digest() != parts]  # fmt: skip
        if self._differing is None and self._stored:  # the log ends before what is stored does
            self._differing = _Block(self._stored[-1].number, self._leaves, self._ids)
            if (part := self._differing.first_difference(whole=True)) is None:
                last = self._stored[0].last_event
                return [
                    *found,
                    f"the store's tree was made of events up to {last}, and the log has "
                    f"{self.size}: the newest of them are gone",
                ]
        elif self._differing is None:
            return found
        elif (part := self._differing.first_difference()) is None:
            return [*found, _wrong_row(self._differing.number)]
        first, last = part
        return [
            *found,
            f"the events from {first} to {last}{_whose(first, last)} are not those of which the "
            "store's tree was made: one was altered, or one up to there is gone",
        ]


def blocks_to_remake() -> list[Block]:
    """The blocks as they should be of which something else is stored, though its root, or each of
    its parts, is that of its events: only what is derived was altered."""
    stored, _ = blocks.stored()
    left, leaves, ids, made = stored[::-1], list[bytes](), list[int](), list[Block]()
    for event_id, digest in heads.all_digests() if left else ():
        if not left:
            continue
        leaves.append(merkle.leaf_hash(digest or b"?"))
        ids.append(event_id)
        if len(leaves) == BLOCK:
            made.append(_as_it_should_be(left.pop(), ids, leaves))
            leaves, ids = [], []
    if left and leaves:
        made.append(_as_it_should_be(left.pop(), ids, leaves))
    there = [(*one, blocks.stored_parts(one.number)) for one in stored[: len(made)]]
    wrong = set(blocks.wrong_rows(len(made)))
    return [
        block
        for block, (*row, root, parts) in zip(made, there, strict=True)
        if (block.root == root or block.parts == parts)
        and (astuple(block) != (*row, root, parts) or block.number in wrong)
    ]


def _as_it_should_be(stored: Stored, ids: list[int], leaves: list[bytes]) -> Block:
    """A block as it should be. The last one is of the first of these events: of as many as its root
    is of, or as it says."""
    growing = merkle.Growing()
    for leaf in leaves:
        growing.add(leaf)
        if growing.root() == stored.root:
            break
    number = min(stored.leaves, len(leaves)) if growing.root() != stored.root else growing.size
    return blocks.block_of(stored.number, ids[number - 1], leaves[:number])


class _Block(NamedTuple):
    """A block as the walk has met it."""

    number: int
    leaves: list[bytes]
    ids: list[int]

    def first_difference(self, *, whole: bool = False) -> tuple[int, int] | None:
        """The first and the last event of the first part that is not as it is stored; only parts
        that are `whole`, if that is asked."""
        stored = blocks.stored_parts(self.number)
        after = len(self.leaves) - (len(self.leaves) % PART if whole else 0)
        for start in range(0, after, PART):
            at = start // PART * _HASH
            if merkle.root_over(self.leaves[start : start + PART]) != stored[at : at + _HASH]:
                ids = self.ids[start : start + PART]
                return ids[0], ids[-1]
        return None


def _wrong_row(number: int) -> str:
    return f"row {number} of store_tree is not what its events give"


def _whose(first: int, last: int) -> str:
    """Whose events these are, in words."""
    rows = execute(_audits_sql(), (first, last, first, last))
    names = sorted({row[0].decode(errors="backslashreplace") for row in rows} - {""})
    if not names:
        return ""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f" (audit {', '.join(names[:_NAMED])}{more})"


@per_backend
def _audits_sql() -> str:
    present = AuditEvent.select(text_as_bytes(AuditEvent._meta.fields["audit"])).distinct()
    removed = RemovedEvent.select(text_as_bytes(RemovedEvent.audit_id)).distinct()
    present = present.where(AuditEvent.id >= MARK, AuditEvent.id <= MARK)
    removed = removed.where(RemovedEvent.event_id >= MARK, RemovedEvent.event_id <= MARK)
    limit = SQL("20")
    return f"SELECT * FROM ({text_of(present.limit(limit))}) AS p UNION ALL SELECT * FROM (" \
           f"{text_of(removed.limit(limit))}) AS r"  # fmt: skip
