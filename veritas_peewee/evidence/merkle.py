"""Merkle trees of RFC 6962 (and RFC 9162) over SHA-256: roots, proofs, and what proofs prove.

Nothing here reads a database. Hashes are 32 bytes; a leaf's hash is over its data, which for the
store's tree is the digest of one event.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

from veritas_peewee.errors import NotProven

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf with this data."""
    return sha256(b"\0" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over those of its two children."""
    return sha256(b"\1" + left + right).digest()


class Growing:
    """A tree to which leaves are added at the right; it holds at most one hash a level."""

    def __init__(self) -> None:
        self.size = 0
        """How many leaves it has."""
        self._peaks: list[bytes] = []  # of complete subtrees, the largest first

    def add(self, subtree: bytes, leaves: int = 1) -> None:
        """Add a complete subtree by its root: one leaf, or as many as a power of two.

        The size so far must be a multiple of `leaves`.
        """
        steps = self.size // leaves
        while steps & 1:
            subtree = node_hash(self._peaks.pop(), subtree)
            steps >>= 1
        self._peaks.append(subtree)
        self.size += leaves

    def copy(self) -> Growing:
        """The same tree, to which other leaves can be added."""
        other = Growing()
        other.size, other._peaks = self.size, [*self._peaks]
        return other

    def root(self) -> bytes:
        """The root as it is now."""
        if not self._peaks:
            return EMPTY_ROOT
        *rest, root = self._peaks
        for peak in reversed(rest):
            root = node_hash(peak, root)
        return root


def levels_of(hashes: Sequence[bytes]) -> list[list[bytes]]:
    """The complete subtrees over some hashes: the hashes, the nodes over pairs, and so on up."""
    levels = [list(hashes)]
    while len(row := levels[-1]) > 1:
        pairs = zip(row[::2], row[1::2], strict=False)
        levels.append([node_hash(left, right) for left, right in pairs])
    return levels


def root_over(leaves: Sequence[bytes]) -> bytes:
    """The root over the hashes of some leaves."""
    growing = Growing()
    for leaf in leaves:
        growing.add(leaf)
    return growing.root()


Subtree = Callable[[int, int], bytes]
"""Gives the root of a complete subtree: from its first leaf, and how many it has, a power of two
of which the first is a multiple."""


def root_of(subtree: Subtree, first: int, after: int) -> bytes:
    """The root over the leaves from `first` up to, not including, `after`."""
    count = after - first
    if count == 0:
        return EMPTY_ROOT
    if count & (count - 1) == 0:
        return subtree(first, count)
    left = _left_of(count)
    return node_hash(subtree(first, left), root_of(subtree, first + left, after))


def inclusion_path(subtree: Subtree, index: int, size: int) -> list[bytes]:
    """The hashes that prove a leaf in the tree of `size` leaves, from the leaf upward."""
    first, after, path = 0, size, []
    while (count := after - first) > 1:
        middle = first + _left_of(count)
        if index < middle:
            path.append(root_of(subtree, middle, after))
            after = middle
        else:
            path.append(root_of(subtree, first, middle))
            first = middle
    return path[::-1]


def consistency_path(subtree: Subtree, earlier: int, size: int) -> list[bytes]:
    """The hashes that prove that the tree of `earlier` leaves is what that of `size` begins with.

    There are none if the two are the same, or if the earlier one is empty.
    """
    first, after, path = 0, size, []
    if earlier in (0, size):
        return []
    while earlier != after:
        middle = first + _left_of(after - first)
        if earlier <= middle:
            path.append(root_of(subtree, middle, after))
            after = middle
        else:
            path.append(root_of(subtree, first, middle))
            first = middle
    if first:  # else it is the whole earlier tree, whose root is known
        path.append(root_of(subtree, first, after))
    return path[::-1]


def _left_of(count: int) -> int:
    """How many of `count` leaves, two or more, are in the left subtree."""
    return 1 << ((count - 1).bit_length() - 1)


# ---- what proofs prove ----


def proven_root(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root of the tree of `size` leaves in which the leaf with the hash `leaf` is at `index`,
    if the path is right.

    Raises NotProven for a path of the wrong length, or an index that is not in such a tree.
    """
    if not 0 <= index < size:
        raise NotProven(f"there is no leaf {index} in a tree of {size}")
    root, last, left = leaf, size - 1, list(path)[::-1]
    while last:
        if index & 1 or index != last:
            if not left:
                raise NotProven("the inclusion proof is too short")
            beside = left.pop()
            root = node_hash(beside, root) if index & 1 else node_hash(root, beside)
        index, last = index >> 1, last >> 1
    if left:
        raise NotProven("the inclusion proof is too long")
    return root


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raise NotProven unless the path proves that the leaf with the hash `leaf` is at `index`
    in the tree with this size and root."""
    if proven_root(leaf, index, size, path) != root:
        raise NotProven("the inclusion proof does not lead to the tree's root")


def check_consistency(
    earlier: int, size: int, path: Sequence[bytes], earlier_root: bytes, root: bytes
) -> None:
    """Raise NotProven unless the path proves that the tree of `size` leaves with the root `root`
    begins with the tree of `earlier` leaves with the root `earlier_root`."""
    if not 0 <= earlier <= size:
        raise NotProven(f"a tree of {size} leaves does not begin with one of {earlier}")
    if earlier in (0, size):
        known = EMPTY_ROOT if earlier == 0 else root
        if path or earlier_root != known:
            raise NotProven("the consistency proof does not fit the two trees")
        return
    hashes = [*path]
    if earlier & (earlier - 1) == 0:
        hashes.insert(0, earlier_root)  # a complete tree is a node of the larger one
    index, last = earlier - 1, size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    if not hashes:
        raise NotProven("the consistency proof is too short")
    before = after = hashes.pop(0)
    for beside in hashes:
        if not last:
            raise NotProven("the consistency proof is too long")
        if index & 1 or index == last:
            before, after = node_hash(beside, before), node_hash(beside, after)
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            after = node_hash(after, beside)
        index, last = index >> 1, last >> 1
    if last:
        raise NotProven("the consistency proof is too short")
    if before != earlier_root or after != root:
        raise NotProven("the consistency proof does not lead to the roots of the two trees")
