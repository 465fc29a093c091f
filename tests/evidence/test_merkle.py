"""Trees and proofs: by the vectors that are published for RFC 6962, by pymerkle, by their laws."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InclusionProof, InmemoryTree, verify_inclusion

from veritas_peewee.errors import NotProven
from veritas_peewee.evidence import merkle

LEAVES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                 "606162636465666768696a6b6c6d6e6f")
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSIONS: list[tuple[int, int, list[str]]] = [
    (0, 1, []),
    (0, 8, ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"]),
    (5, 8, ["bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (1, 5, ["6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"]),
]  # fmt: skip
CONSISTENCIES: list[tuple[int, int, list[str]]] = [
    (1, 1, []),
    (1, 8, ["96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"]),
    (6, 8, ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"]),
    (2, 5, ["5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"]),
]  # fmt: skip
sizes = st.integers(1, 130)


def subtrees(leaves: Sequence[bytes]) -> Callable[[int, int], bytes]:
    levels = merkle.levels_of([merkle.leaf_hash(one) for one in leaves])
    return lambda first, count: levels[count.bit_length() - 1][first // count]


def numbered(size: int) -> list[bytes]:
    return [bytes([one]) * 32 for one in range(size)]


def root(leaves: Sequence[bytes], size: int) -> bytes:
    return merkle.root_of(subtrees(leaves), 0, size)


def in_hex(path: Sequence[bytes]) -> list[str]:
    return [one.hex() for one in path]


def test_roots_are_the_published_ones():
    growing = merkle.Growing()
    for size, expected in enumerate(ROOTS):
        assert growing.root().hex() == root(LEAVES, size).hex() == expected
        if size < len(LEAVES):
            growing.add(merkle.leaf_hash(LEAVES[size]))


@pytest.mark.parametrize(("index", "size", "path"), INCLUSIONS)
def test_inclusion_proofs_are_the_published_ones(index, size, path):
    made = merkle.inclusion_path(subtrees(LEAVES), index, size)
    assert in_hex(made) == path
    leaf = merkle.leaf_hash(LEAVES[index])
    merkle.check_inclusion(leaf, index, size, made, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("earlier", "size", "path"), CONSISTENCIES)
def test_consistency_proofs_are_the_published_ones(earlier, size, path):
    made = merkle.consistency_path(subtrees(LEAVES), earlier, size)
    assert in_hex(made) == path
    roots = bytes.fromhex(ROOTS[earlier]), bytes.fromhex(ROOTS[size])
    merkle.check_consistency(earlier, size, made, *roots)


@given(size=sizes, data=st.data())
def test_another_library_has_the_same_roots_and_takes_our_proofs(size, data):
    leaves = numbered(size)
    theirs = InmemoryTree.init_from_entries(leaves, algorithm="sha256")
    index = data.draw(st.integers(0, size - 1))
    assert theirs.get_root() == root(leaves, size)
    made = theirs.prove_inclusion(index + 1).serialize()
    path = in_hex(merkle.inclusion_path(subtrees(leaves), index, size))
    leaf = merkle.leaf_hash(leaves[index])
    made["path"] = [leaf.hex(), *path]  # theirs begins with the leaf
    verify_inclusion(leaf, root(leaves, size), InclusionProof.deserialize(made))


@given(sizes=st.lists(st.sampled_from([1, 2, 4, 8, 16]), max_size=20))
def test_a_tree_grows_by_complete_subtrees_as_by_leaves(sizes):
    by_subtrees, total = merkle.Growing(), 0
    leaves = numbered(256)
    for count in sizes:
        if total % count or total + count > len(leaves):
            continue
        by_subtrees.add(subtrees(leaves)(total, count), count)
        total += count
    assert by_subtrees.root() == root(leaves, total)


@given(size=sizes, data=st.data())
def test_a_proof_proves_its_leaf_at_its_place_in_its_tree_and_nothing_else(size, data):
    leaves = numbered(size)
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_path(subtrees(leaves), index, size)
    known = root(leaves, size)
    leaf = merkle.leaf_hash(leaves[index])
    merkle.check_inclusion(leaf, index, size, path, known)
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index)) if size > 1 else -1
    for wrong in (
        (leaf, other, size, path),
        (merkle.leaf_hash(b"another"), index, size, path),
        (leaf, index, size, [*path, known]),
        (leaf, index, size, [known, *path[1:]] if path else [known]),
        (leaf, index, size, path[:-1] if path else [known]),
        (leaf, size, size, path),
        (leaf, -1, size, path),
    ):
        with pytest.raises(NotProven):
            merkle.check_inclusion(*wrong, known)


@given(size=sizes, data=st.data())
def test_a_tree_is_consistent_with_each_that_it_grew_from_and_with_no_other(size, data):
    leaves = numbered(size)
    earlier = data.draw(st.integers(0, size))
    path = merkle.consistency_path(subtrees(leaves), earlier, size)
    roots = root(leaves, earlier), root(leaves, size)
    merkle.check_consistency(earlier, size, path, *roots)
    gone = data.draw(st.integers(0, max(earlier - 1, 0)))
    altered = root([*leaves[:gone], b"another", *leaves[gone + 1 :]], earlier)
    for wrong in (
        (earlier, size, path, altered if earlier else roots[1], roots[1]),
        (earlier, size, path, roots[0], merkle.leaf_hash(b"another")),
        (earlier, size, [*path, roots[0]], *roots),
        (earlier, size, path[:-1] if path else [roots[0]], *roots),
        (size + 1, size, path, *roots),
    ):
        if wrong[0] == 0 and wrong[4] != roots[1]:
            continue  # the empty tree is what any tree begins with
        with pytest.raises(NotProven):
            merkle.check_consistency(*wrong)
