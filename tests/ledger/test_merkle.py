"""The Merkle tree: vectors of certificate transparency, and a second verifier straight from the RFC's definitions."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.ledger.merkle import Tree, extends, includes, leaf_hash

# the reference entries, roots and proofs of certificate-transparency and transparency-dev/merkle
ENTRIES = [
    bytes.fromhex(digits)
    for digits in ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
]
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
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): INCLUSION[(0, 8)],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 7): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}
REFERENCE = Tree(map(leaf_hash, ENTRIES))


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_reference(size):
    assert REFERENCE.root(size).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_those_of_the_reference(index, size):
    proof = REFERENCE.inclusion(index, size)
    assert [part.hex() for part in proof] == INCLUSION[(index, size)]
    assert includes(leaf_hash(ENTRIES[index]), index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_consistency_proofs_are_those_of_the_reference(old, new):
    proof = REFERENCE.consistency(old, new)
    assert [part.hex() for part in proof] == CONSISTENCY[(old, new)]
    assert extends(old, new, proof, bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new]))


# A second implementation, from the recursive definitions of RFC 9162, sections 2.1.1, 2.1.3.1 and 2.1.4.1.


def mth(entries):
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = split(len(entries))
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def split(n):
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def path(m, entries):
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def subproof(m, entries, complete):
    if m == len(entries):
        return [] if complete else [mth(entries)]
    k = split(len(entries))
    if m <= k:
        return [*subproof(m, entries[:k], complete), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], False), mth(entries[:k])]


def root_by_path(leaf, index, size, proof):
    """Root that a proof leads to, by the same recursion; the proof has to be used up."""
    if size == 1:
        return leaf if not proof else None
    if not proof:
        return None
    k = split(size)
    if index < k:
        inner = root_by_path(leaf, index, k, proof[:-1])
        return inner and hashlib.sha256(b"\x01" + inner + proof[-1]).digest()
    inner = root_by_path(leaf, index - k, size - k, proof[:-1])
    return inner and hashlib.sha256(b"\x01" + proof[-1] + inner).digest()


ENTRY_LISTS = st.lists(st.binary(max_size=6), min_size=1, max_size=40)


@given(ENTRY_LISTS, st.data())
def test_an_independent_implementation_agrees_on_random_trees(entries, data):
    tree = Tree(map(leaf_hash, entries))
    size = data.draw(st.integers(1, len(entries)))
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    first = entries[:size]
    assert tree.root(size) == mth(first)
    assert tree.inclusion(index, size) == path(index, first)
    assert tree.consistency(old, size) == subproof(old, first, True)
    assert includes(leaf_hash(entries[index]), index, size, path(index, first), mth(first))
    assert extends(old, size, subproof(old, first, True), mth(entries[:old]), mth(first))


@given(ENTRY_LISTS, st.data())
def test_a_changed_proof_proves_nothing(entries, data):
    tree, size = Tree(map(leaf_hash, entries)), len(entries)
    index = data.draw(st.integers(0, size - 1))
    proof, leaf, root = tree.inclusion(index, size), leaf_hash(entries[index]), tree.root()
    for changed in changes(proof, root, data):
        assert includes(leaf, index, size, changed, root) == (root_by_path(leaf, index, size, changed) == root)
        assert not includes(leaf, index, size, changed, root)
    old = data.draw(st.integers(1, size))
    consistency = tree.consistency(old, size)
    for changed in changes(consistency, root, data):
        assert not extends(old, size, changed, tree.root(old), root)
    other = leaf_hash(b"another entry")
    assert not includes(other, index, size, proof, root)
    assert not extends(old, size, consistency, other, root)
    assert not extends(old, size, consistency, tree.root(old), other)


def changes(proof, root, data):
    yield [*proof, root]
    yield [root, *proof]
    yield [*proof, b""]
    if proof:
        yield proof[:-1]
        spot = data.draw(st.integers(0, len(proof) - 1))
        yield [*proof[:spot], bytes([proof[spot][0] ^ 8]) + proof[spot][1:], *proof[spot + 1 :]]


@pytest.mark.parametrize(("index", "size"), [(0, 0), (-1, 3), (3, 3), (0, 4)])
def test_what_is_not_in_the_tree_has_no_proof(index, size):
    tree = Tree([leaf_hash(b"x")] * 3)
    with pytest.raises(ValueError, match=r"no (entry|size)"):
        tree.inclusion(index, size)
    assert not includes(leaf_hash(b"x"), index, size, [], tree.root())


@pytest.mark.parametrize(("old", "new"), [(0, 2), (3, 2), (1, 4)])
def test_a_tree_does_not_extend_one_that_it_never_was(old, new):
    with pytest.raises(ValueError, match="no "):
        Tree([leaf_hash(b"x")] * 3).consistency(old, new)
