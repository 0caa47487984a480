"""The Merkle tree of RFC 9162, section 2.1 (that of RFC 6962): root, inclusion and consistency proofs, their check."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

HASH_SIZE: Final = 32
EMPTY: Final = hashlib.sha256().digest()
_LEAF, _NODE = b"\x00", b"\x01"


def leaf_hash(entry: bytes) -> bytes:
    """Hash of an entry.

    >>> leaf_hash(b"").hex()[:8]
    '6e340b9c'
    """
    return hashlib.sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two neighbouring subtrees."""
    return hashlib.sha256(_NODE + left + right).digest()


class Tree:
    """A tree that grows by hashes of entries, and tells the root and proofs of every size that it had.

    Level k holds the hashes of the complete subtrees of 2**k leaves; whatever else is asked for is a few of them.

    Args:
        leaves: hashes of entries.
    """

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for leaf in leaves:
            self.append(leaf)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, leaf: bytes) -> None:
        """Add the hash of one more entry."""
        self._levels[0].append(leaf)
        level = 0
        while len(row := self._levels[level]) % 2 == 0:
            level += 1
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(node_hash(row[-2], row[-1]))

    def root(self, size: int | None = None) -> bytes:
        """Root over the first ``size`` entries; all by default."""
        size = len(self) if size is None else size
        self._check(size)
        return self._hash(0, size) if size else EMPTY

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """Proof that an entry is in the tree of a size: the hashes beside its path, from the bottom.

        Raises:
            ValueError: there is no such entry or size.
        """
        self._check(size)
        if not 0 <= index < size:
            raise ValueError(f"no entry {index} in a tree of {size}")
        path: list[bytes] = []
        start = 0
        while size > 1:
            left = _largest_power(size)
            if index - start < left:
                path.append(self._hash(start + left, size - left))
                size = left
            else:
                path.append(self._hash(start, left))
                start, size = start + left, size - left
        return path[::-1]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of size ``old`` is the beginning of that of size ``new``.

        Raises:
            ValueError: not 0 < old <= new <= size of the tree.
        """
        self._check(new)
        if not 0 < old <= new:
            raise ValueError(f"no consistency of {old} with {new} entries")
        path: list[bytes] = []
        start, size, whole = 0, new, True
        while start + size != old:
            left = _largest_power(size)
            if old - start <= left:
                path.append(self._hash(start + left, size - left))
                size = left
            else:
                path.append(self._hash(start, left))
                start, size, whole = start + left, size - left, False
        if not whole:
            path.append(self._hash(start, size))
        return path[::-1]

    def _hash(self, start: int, size: int) -> bytes:
        """Hash of the subtree over ``size`` leaves from ``start`` on, which is a multiple of a power of two >= size."""
        if size & (size - 1) == 0:
            level = size.bit_length() - 1
            return self._levels[level][start >> level]
        left = _largest_power(size)
        return node_hash(self._hash(start, left), self._hash(start + left, size - left))

    def _check(self, size: int) -> None:
        if not 0 <= size <= len(self):
            raise ValueError(f"no size {size} of a tree of {len(self)}")


def _largest_power(size: int) -> int:
    """The largest power of two that is smaller than ``size``."""
    return 1 << ((size - 1).bit_length() - 1)


def includes(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether a proof shows that the entry with a hash is at an index of the tree (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size or any(len(part) != HASH_SIZE for part in (leaf, root, *proof)):
        return False
    node, last, value = index, size - 1, leaf
    for part in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            value = node_hash(part, value)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            value = node_hash(value, part)
        node, last = node >> 1, last >> 1
    return last == 0 and value == root


def extends(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Whether a proof shows that one tree is the beginning of another (RFC 9162, section 2.1.4.2).

    Args:
        old: size of the smaller tree; every tree begins with the empty one.
        new: size of the larger.
        proof: from ``Tree.consistency``; empty where the sizes are equal or the smaller is empty.
        old_root: of the smaller.
        new_root: of the larger.
    """
    if not 0 <= old <= new or any(len(part) != HASH_SIZE for part in (old_root, new_root, *proof)):
        return False
    if old in (0, new):
        return not proof and old_root == (EMPTY if old == 0 else new_root)
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    if not path:
        return False
    old_value = new_value = path[0]
    for part in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            old_value, new_value = node_hash(part, old_value), node_hash(part, new_value)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            new_value = node_hash(new_value, part)
        node, last = node >> 1, last >> 1
    return last == 0 and old_value == old_root and new_value == new_root
