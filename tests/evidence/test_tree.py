"""The store's log as a tree: what its leaves are, what is proven with it, what is stored of it."""

from __future__ import annotations

from typing import Any

import pytest
from pymerkle import InmemoryTree

from tests.support.audits import fill
from tests.support.database_files import by_hand, select
from veritas_peewee import InvalidAudit, StoreError, connect, sync
from veritas_peewee.database.current import current_database, snapshot
from veritas_peewee.database.statements import execute
from veritas_peewee.errors import DatabaseCorrupt
from veritas_peewee.evidence import blocks, merkle, tree
from veritas_peewee.evidence.blocks import BLOCK
from veritas_peewee.ledger import continued, heads
from veritas_peewee.testing import make_event


def a_log(events: int, url: str = "https://shop.example/") -> str:
    """Record an audit with so many events; returns its id."""
    audit_id = str(sync.create(url).id)
    sync.record_many(audit_id, [make_event("log_entry", message="x") for _ in range(events)])
    return audit_id


def tree_now() -> tree.Tree:
    with snapshot():
        return tree.Tree()


def root(size: int | None = None) -> bytes:
    with snapshot():
        return tree.Tree().root(size)


def of_others(*, size: int | None = None) -> bytes:
    """The root that another library makes of the digests."""
    digests = [digest for _, digest in heads.all_digests()]
    return InmemoryTree.init_from_entries(digests, algorithm="sha256").get_root(size)


def remember(made: tree.Tree) -> None:
    blocks.store(made.new_blocks())


def rows() -> list[tuple[Any, ...]]:
    return execute("SELECT number, leaves, last_event FROM store_tree ORDER BY number", ())


def full(blocks: int) -> list[tuple[int, int, int]]:
    return [(one, BLOCK, (one + 1) * BLOCK) for one in range(blocks)]


def test_a_leaf_is_an_event_and_the_root_is_that_of_another_library(script):
    assert tree_now().size == 0
    assert root() == merkle.EMPTY_ROOT
    fill()
    newest = heads.newest_event()
    assert tree_now().size == newest
    assert root() == of_others()
    assert root(7) == of_others(size=7)


def test_each_event_is_proven_in_each_tree_that_has_it(script):
    fill()
    newest = heads.newest_event()
    for size in range(1, newest + 1):
        with snapshot():
            whole = tree.Tree()
            for event_id in range(1, size + 1):
                proof = whole.inclusion(event_id, size)
                assert (proof.index, proof.size) == (event_id - 1, size)
                merkle.check_inclusion(proof.leaf, proof.index, size, proof.path, whole.root(size))


def test_removed_events_stay_in_the_tree_and_later_trees_are_consistent(script):
    ids = fill()
    before = tree_now()
    known = root()
    gone = sync.get(ids[1]).events[-1].id
    sync.delete(ids[1])
    a_log(50)
    with snapshot():
        now = tree.Tree()
        assert now.size > before.size
        assert now.root(before.size) == known
        merkle.check_consistency(
            before.size, now.size, now.consistency(before.size), known, now.root()
        )
        proof = now.inclusion(gone)
        merkle.check_inclusion(proof.leaf, proof.index, proof.size, proof.path, now.root())


def test_blocks_are_stored_when_asked_and_change_no_root_and_no_proof(script):
    a_log(3 * BLOCK - 3)
    first = tree_now()
    roots = {size: root(size) for size in (1, 63, BLOCK, 2 * BLOCK + 5, 3 * BLOCK - 3)}
    assert rows() == []
    remember(first)
    assert rows() == [*full(2), (2, BLOCK - 3, 3 * BLOCK - 3)]
    a_log(10)
    now = tree_now()
    assert [one.number for one in now.new_blocks()] == [2, 3]
    remember(now)
    remember(now)  # as another process would have, by now
    remember(first)  # which knows less than is stored
    assert rows() == [*full(3), (3, 7, 3 * BLOCK + 7)]
    assert root() == of_others()
    with snapshot():
        whole = tree.Tree()
        for size, known in roots.items():
            assert whole.root(size) == known
            path = whole.consistency(size)
            merkle.check_consistency(size, whole.size, path, known, whole.root())
        for event_id in (1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 1, whole.size):
            proof = whole.inclusion(event_id)
            merkle.check_inclusion(proof.leaf, event_id - 1, whole.size, proof.path, whole.root())


def test_only_what_came_since_the_stored_blocks_is_read(script, monkeypatch):
    a_log(2 * BLOCK + 10)
    remember(tree_now())
    read: list[int] = []
    monkeypatch.setattr(
        heads, "digests_after", lambda after, real=heads.digests_after: [
            row for row in real(after) if read.append(row[0]) is None
        ],
    )  # fmt: skip
    assert tree_now().size == 2 * BLOCK + 10
    assert read == list(range(2 * BLOCK + 1, 2 * BLOCK + 11))


def test_a_gap_that_a_restore_left_is_one_leaf(script):
    a_log(BLOCK)
    continued.continue_after(BLOCK + 500)
    audit_id = a_log(5)
    assert tree_now().size == BLOCK + 6
    remember(tree_now())
    event = sync.get(audit_id).events[0]
    assert event.id == BLOCK + 501
    with snapshot():
        whole = tree.Tree()
        proof = whole.inclusion(event.id)
        assert proof.index == BLOCK + 1
        assert whole.size_upto(event.id) == BLOCK + 2
        merkle.check_inclusion(proof.leaf, proof.index, proof.size, proof.path, whole.root())
        with pytest.raises(StoreError, match="no event 1100"):
            whole.inclusion(BLOCK + 76)


def test_what_is_not_in_a_tree_is_refused_by_name(script):
    a_log(10)
    with pytest.raises(StoreError, match="no event 11 in this store"):
        tree.inclusion_proof(11)
    with pytest.raises(StoreError, match="no event 0 in this store"):
        tree.inclusion_proof(0)
    with pytest.raises(StoreError, match="event 9 is not in the tree of 5: it came later"):
        tree.inclusion_proof(9, 5)
    with pytest.raises(InvalidAudit, match="the tree has 10 leaves, and so no first 11"):
        tree.inclusion_proof(9, 11)
    with pytest.raises(InvalidAudit, match="the tree has 5 leaves, and so no first 6"):
        tree.consistency_proof(6, 5)


def test_a_reader_makes_the_tree(path):
    with connect(path):
        a_log(BLOCK + 1)
    with connect(path, read_only=True):
        assert tree_now().size == BLOCK + 1


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM store_tree WHERE number = 1",
        "UPDATE store_tree SET root = 'x' WHERE number = 1",
        "UPDATE store_tree SET last_event = 'x' WHERE number = 1",
        "UPDATE store_tree SET last_event = 3 WHERE number = 1",
        "UPDATE store_tree SET leaves = 1000 WHERE number = 1",
        "DELETE FROM store_tree",
    ],
)
def test_what_is_stored_of_the_tree_can_be_lost(path, damage):
    with connect(path):
        a_log(3 * BLOCK)
        remember(tree_now())
        known = root()
    by_hand(path, damage)
    with connect(path):
        assert root() == known == of_others()
        remember(tree_now())
        assert rows() == full(3)
        assert root() == known


def test_a_proof_out_of_a_block_whose_events_were_altered_is_refused(path):
    with connect(path):
        a_log(2 * BLOCK)
        remember(tree_now())
    by_hand(path, "UPDATE audit_events SET digest = zeroblob(32) WHERE id = 1500")
    with connect(path):
        assert tree.inclusion_proof(3)
        with pytest.raises(DatabaseCorrupt, match="events from 1025 to 2048 are not those"):
            tree.inclusion_proof(1501)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE audit_events SET digest = zeroblob(32) WHERE id = 1030",
        "DELETE FROM audit_events WHERE id > 1030",
        "UPDATE removed_events SET digest = NULL WHERE event_id = 1040",
    ],
)
def test_no_tree_is_made_that_does_not_continue_that_of_the_last_checkpoint(path, damage):
    with connect(path):
        a_log(BLOCK + 10)
        gone = a_log(10)
        sync.delete(gone)
        remember(tree_now())
        a_log(30)
        assert tree_now().size == BLOCK + 50
    by_hand(path, "DROP TRIGGER remember_removed_event", damage)
    with connect(path), pytest.raises(DatabaseCorrupt, match="from 1025 to 1044 are not those"):
        tree_now()


def test_nothing_is_stored_while_an_import_can_still_add_earlier_events(path, tmp_path):
    exported = tmp_path / "audits.jsonl"
    with connect(path):
        ids = [a_log(600) for _ in range(3)]
        sync.export(exported)
    with connect(tmp_path / "other.db"):
        sync.import_(exported)
        assert {one.id for one in sync.history().items} == set(ids)
        current_database().execute_sql("UPDATE import_heads SET open = 1")
        remember(tree_now())
        assert (blocks.is_importing(), rows()) == (True, [])
        current_database().execute_sql("UPDATE import_heads SET open = 0")
        remember(tree_now())
        assert len(rows()) == 2
    assert select(path, "SELECT COUNT(*) FROM store_tree") == [(0,)]
