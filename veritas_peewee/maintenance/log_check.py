"""Whether the store's log as a whole is what it was: its heads, its gaps, its removals."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from itertools import pairwise

from veritas_peewee.database.expressions import text_as_bytes
from veritas_peewee.database.statements import rows_of
from veritas_peewee.evidence.checkpoints import Checkpoint
from veritas_peewee.evidence.walk import TreeWalk
from veritas_peewee.ledger import continued, kept_ids
from veritas_peewee.ledger.heads import (
    HEAD_EVERY,
    Head,
    all_digests,
    head_digest,
    newest_head,
)
from veritas_peewee.ledger.kept_ids import PLACEHOLDER, Taken
from veritas_peewee.ledger.problems import Problems
from veritas_peewee.maintenance.upkeep import upkeep
from veritas_peewee.models import StoreHead


def check_log(problems: Problems, notes: list[str], against: Head | Checkpoint | None) -> Head:
    """Check the current database's log, also against a head or a checkpoint of it that was kept.

    Adds what is wrong to `problems` and what only costs something to `notes`; returns the head
    that the store has now.
    """
    taken = _check_imports(problems)
    checkpoint = against if isinstance(against, Checkpoint) else None
    earlier = against.head if isinstance(against, Checkpoint) else against
    tree = TreeWalk(None if checkpoint is None else checkpoint.size)
    walk = _Walk(problems, taken[-1] if taken else None, earlier, tree)
    walk.through()
    problems += tree.problems()
    upkeep().check_own_tables(problems)
    notes += walk.notes
    if taken and taken[-1].open and walk.newest <= taken[-1].position:
        notes.append(
            "an import or a copy is under way or was interrupted: run it again, an import with "
            "--skip-existing, and it is completed"
        )
    head = newest_head()
    is_it = checkpoint is None or _compare_tree(problems, checkpoint, tree, walk.marks)
    if earlier is not None:
        _compare(problems, notes, earlier, walk, head, taken, is_it)
    return head


def _check_imports(problems: Problems) -> list[Taken]:
    """The heads of imports that compute."""
    rows = kept_ids.heads_taken()
    for (before, earlier), (number, _) in pairwise([(0, None), *rows]):
        if number != before + 1 or (earlier is not None and not earlier.open):
            problems.add(f"the heads of an import before head {number} are not what they were")
    for number, found in rows:
        if found is None:
            problems.add(f"head {number} of an import is not what it was")
    return [found for _, found in rows if found is not None]


class _Walk:
    """The walk through the digests of all events, in which every head is computed again."""

    def __init__(
        self, problems: Problems, taken: Taken | None, earlier: Head | None, tree: TreeWalk
    ) -> None:
        self.tree = tree
        self.problems = problems
        self.taken = taken
        self.earlier = earlier
        self.heads = _stored_heads()
        self.marks = continued.marks()
        self.notes: list[str] = []
        self.digest = head_digest("", [])
        self.since = hashlib.sha256(self.digest.encode())  # of the events since the last head
        self.newest = 0
        self.earlier_digest: str | None = None
        """The digest at the event of the earlier head; None if there is no such event."""
        positions = [position for position in self.heads if position >= 0]
        # Up to here events have come in any order and with gaps: by an import, or in a file of the
        # older store.
        self.start = min(positions, default=0) if taken is None else taken.position
        self.last = max(positions, default=0)
        if earlier is not None and earlier.position == 0:
            self.earlier_digest = self.digest

    def through(self) -> None:
        if self.heads.get(0, self.digest.encode()) != self.digest.encode():
            self.problems.add("up to event 0 the log is not what it was")
        self.heads.pop(0, None)
        due, total = self.start or HEAD_EVERY, 0
        for event_id, digest in all_digests():
            if event_id > due:
                self._head(due, total)
                due = event_id + -event_id % HEAD_EVERY
            self._gap(event_id)
            self.newest = max(event_id, self.newest)
            self.since.update(digest or b"?")
            self.tree.add(event_id, digest)
            if self.taken is not None and event_id <= self.start:
                total += kept_ids.total_of([(event_id, digest)])
            if self.earlier is not None and event_id == self.earlier.position:
                self.earlier_digest = self.since.hexdigest()
        if self.newest or self.taken is not None:
            self._head(due, total)
        self._left()
        self._counter()

    def _head(self, position: int, total: int) -> None:
        """Compare the head at an event, and continue from it."""
        self.digest = self.since.hexdigest()
        stored = self.heads.pop(position, None)
        if self.taken is not None and position == self.start:
            self.digest = kept_ids.digest_of_total(position, total % (1 << 256))
            if self.earlier is not None and self.earlier.position == position:
                self.earlier_digest = self.digest
            wrong = self.digest != self.taken.digest or stored is not None
        elif stored is None:
            wrong = False
            if position < self.last:
                self.problems.add(f"the head that is stored for event {position} is missing")
        else:
            wrong = stored != self.digest.encode()
        if wrong:
            self.problems.add(f"up to event {position} the log is not what it was")
        self.since = hashlib.sha256(self.digest.encode())

    def _gap(self, event_id: int) -> None:
        if event_id in self.marks:
            if self.marks[event_id] != continued.digest_of(self.newest, event_id):
                self.problems.add(
                    f"row {event_id} of removed_events: it is not what a restore wrote"
                )
            self.notes.append(
                f"a restore left out the ids from {self.newest + 1} to {event_id}, which the store "
                "that it replaced had given to events"
            )
        elif event_id <= self.newest:
            self.problems.add(f"event {event_id}: another event had this id, and was removed")
        elif event_id != self.newest + 1 and self.newest >= self.start:
            first, last = self.newest + 1, event_id - 1
            gone = f"{first}" if first == last else f"{first} to {last}"
            self.problems.add(f"event {gone}: missing from the store")

    def _left(self) -> None:
        """Heads of events that there are not."""
        for position in sorted(self.heads):
            if position > self.newest:
                self.problems.add(
                    f"the events from {self.newest + 1} to {position} are missing from the store"
                )
            else:
                self.problems.add(
                    f"the head that is stored for event {position} is not of this store"
                )

    def _counter(self) -> None:
        upkeep().check_counter(self.problems, self.newest, self.start)


def _stored_heads() -> dict[int, bytes]:
    return dict(rows_of(StoreHead.select(StoreHead.event_id, text_as_bytes(StoreHead.digest))))


def _compare_tree(
    problems: Problems, checkpoint: Checkpoint, tree: TreeWalk, marks: Collection[int]
) -> bool:
    """Whether the log begins with what the checkpoint was signed of; `marks` are of restores."""
    or_restore = ", or a restore has left them out, as the notes say" if marks else ""
    if tree.wanted_root is None:
        problems.add(f"the log had {checkpoint.size} events when the checkpoint was signed, and "
                     f"has {tree.size}: the newest of them are gone{or_restore}")  # fmt: skip
        return False
    if tree.wanted_root != checkpoint.root_hash:
        problems.add(
            f"the first {checkpoint.size} events of the log are not those of which the "
            f"checkpoint was signed: events were altered, or are gone{or_restore}"
        )
        return False
    return True


def _compare(
    problems: Problems,
    notes: list[str],
    earlier: Head,
    walk: _Walk,
    now: Head,
    taken: list[Taken],
    is_the_tree: bool,
) -> None:
    """What has gone since the store had the head `earlier`.

    Unless `is_the_tree`, it is reported already that the log is another one.
    """
    newest = max(walk.newest, now.position)
    known = [(one.position, one.digest) for one in taken]
    if not is_the_tree:
        pass
    elif earlier.position > newest:
        problems.add(f"the events from {newest + 1} to {earlier.position} are gone: the head "
                     f"that was kept is of event {earlier.position}")  # fmt: skip
    elif walk.earlier_digest != earlier.digest:
        if earlier.digest == PLACEHOLDER or (earlier.position, earlier.digest) in known:
            notes.append("the head that was kept was printed while an import was under way: the "
                         "events that came after it lie between the others, so it shows only that "
                         "no audit and no change is gone")  # fmt: skip
        else:
            problems.add(f"up to event {earlier.position} the log is not what it was when the head "
                         "was kept: events were altered, or are gone")  # fmt: skip
    if earlier.changes > now.changes:
        problems.add("changes and removals of rows that were made before the head was kept "
                     "are gone")  # fmt: skip
    if earlier.audits > now.audits:
        problems.add(f"{earlier.audits - now.audits} audits that were there when the "
                     "head was kept are gone")  # fmt: skip
