"""Sums of which the coordinator sees no part: every two sites share a mask that one adds and the other takes away.

After Bonawitz et al. 2017, without recovery from dropouts: each round needs all members, which the manifest demands.
Numbers are integers modulo 2**64, so the masks cancel to the bit. A masked number is uniformly distributed for whoever
knows none of the site's masks; all other members together know them all, and so does a coordinator that colludes
with them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from clinragen.errors import UserError, missing_extra
from clinragen.federation.manifest import Federation, Member
from clinragen.federation.privacy import keystream
from clinragen.federation.update import Tensors

#: Fixed point: 2**-40 of a change weighted by its site's share, 2**-20 of a sum; whole numbers exactly.
_STEPS = {"training": 2.0**40, "statistics": 2.0**20}
_ROOM = 2.0**62


def agreement_key(secret: bytes) -> str:
    """A site's X25519 public key in hexadecimal, from its secret."""
    return _private(secret).public_key().public_bytes_raw().hex()


def masked(tensors: Tensors, kind: str, federation: Federation, member: Member, secret: bytes, purpose: str) -> Tensors:
    """Tensors as they leave a site: uint64, by name.

    Args:
        tensors: sums, or a change weighted by the share of the site.
        kind: of the phase.
        federation: its members share the masks.
        member: the site.
        secret: of the site.
        purpose: the round and the model that it starts from: masks are used once.

    Raises:
        UserError: a number is too large for fixed point.
    """
    total = {name: _encoded(name, array, kind, len(federation.members)) for name, array in tensors.items()}
    for other in federation.members:
        if other.name == member.name:
            continue
        shared = _shared(secret, other)
        for name in sorted(total):
            stream = keystream(shared, ["mask", federation.id, purpose, name], total[name].size)
            mask = stream.reshape(total[name].shape)
            total[name] = total[name] + mask if member.name < other.name else total[name] - mask
    return total


def unmasked_sum(masked_tensors: Sequence[Tensors], kind: str, whole: frozenset[str]) -> dict[str, np.ndarray]:
    """The sum over all members, float64; int64 of tensors in ``whole``."""
    sums = {}
    for name in sorted(masked_tensors[0]):
        total = np.zeros(masked_tensors[0][name].shape, np.uint64)
        for tensors in masked_tensors:
            total = total + tensors[name]
        signed = total.view(np.int64)
        sums[name] = signed if name in whole else signed.astype(np.float64) / _STEPS[kind]
    return sums


def _encoded(name: str, array: np.ndarray, kind: str, members: int) -> np.ndarray:
    steps = array if array.dtype.kind == "i" else np.rint(array * _STEPS[kind])
    if not (np.abs(steps) < _ROOM / members).all():
        raise UserError(f"tensor '{name}' has numbers too large for secure aggregation, so nothing leaves this site")
    return steps.astype(np.int64).view(np.uint64)


def _shared(secret: bytes, other: Member) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    try:
        return _private(secret).exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(other.agreement_key)))
    except ValueError:
        raise UserError(f"site {other.name} has an agreement_key that is none, so nothing leaves this site") from None


def _private(secret: bytes):
    try:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    except ImportError:
        raise missing_extra("secure aggregation", "federation") from None
    return X25519PrivateKey.from_private_bytes(hashlib.sha256(b"clinragen agreement" + secret).digest())
