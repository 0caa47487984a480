"""Noise from a site's secret, and the privacy that it buys.

Noise is drawn from a ChaCha20 stream under a key that is derived from the site's secret and from what the noise is for,
the very numbers included: a site that was killed adds the same noise to the same numbers, and never the same noise to
others. Epsilon is that of composed Gaussian mechanisms, by the privacy loss distributions of ``dp-accounting``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType

import numpy as np
from scipy.special import ndtri

from clinragen.errors import UserError, missing_extra
from clinragen.federation.update import Tensors, norm

_LEAST_NOISE, _MOST_NOISE = 0.05, 1e5


def keystream(secret: bytes, purpose: Sequence[str | bytes], numbers: int) -> np.ndarray:
    """Numbers that nobody without the secret can tell from random ones: uint64 [numbers].

    Args:
        secret: 32 bytes or more.
        purpose: what they are for; no two uses share one.
        numbers: how many.
    """
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    except ImportError:
        raise missing_extra("noise and masks of a federation", "federation") from None
    parts = [part.encode() if isinstance(part, str) else part for part in purpose]
    info = b"clinragen federation" + b"".join(len(part).to_bytes(8) + part for part in parts)
    key = HKDF(SHA256(), 32, salt=None, info=info).derive(secret)
    cipher = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    return np.frombuffer(cipher.update(bytes(8 * numbers)), "<u8").astype(np.uint64)


def noisy(tensors: Tensors, deviations: dict[str, float], secret: bytes, purpose: Sequence[str]) -> Tensors:
    """Tensors with Gaussian noise, float64.

    Args:
        tensors: the exact numbers.
        deviations: standard deviation of the noise, by name.
        secret: of the site.
        purpose: federation and round.
    """
    digest = hashlib.sha256()
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} {array.dtype} {array.shape} {deviations[name]!r}\n".encode() + array.tobytes())
    noised = {}
    for name, array in sorted(tensors.items()):
        stream = keystream(secret, ["noise", *purpose, digest.digest(), name], array.size)
        uniform = ((stream >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        noised[name] = array + deviations[name] * ndtri(uniform).reshape(array.shape)
    return noised


def clipped(tensors: Tensors, longest: float) -> dict[str, np.ndarray]:
    """Tensors that together are no longer than a length."""
    length = norm(tensors)
    return {name: array * min(1.0, longest / length if length else 1.0) for name, array in tensors.items()}


def clipped_sum(rows: Tensors, longest: float) -> dict[str, np.ndarray]:
    """The sum over patients, each of whom adds no more than a length.

    Args:
        rows: by name, float64 [patients, ...].
        longest: of what one patient adds.
    """
    squares = sum(np.square(rows[name]).reshape(len(rows[name]), -1).sum(1) for name in sorted(rows))
    scales = np.minimum(1.0, longest / np.sqrt(np.maximum(squares, np.finfo(np.float64).tiny)))
    return {name: np.einsum("p,p...->...", scales, rows[name]) for name in sorted(rows)}


@lru_cache(maxsize=512)
def epsilon(spent: float, delta: float) -> float:
    """What releases with Gaussian noise spend together.

    Gaussian mechanisms compose to one whose inverse variance is the sum of theirs: exact, and a single convolution.

    Args:
        spent: sum of 1 / noise**2 over the releases, noise in sensitivities; 0 spends nothing.
        delta: probability with which the bound may fail.
    """
    if not spent:
        return 0.0
    accounting, accountant = _accounting()
    return float(accountant().compose(accounting.GaussianDpEvent(spent**-0.5)).get_epsilon(delta))


@lru_cache(maxsize=64)
def noise_for(budget: float, releases: int, delta: float) -> float:
    """The least noise, in sensitivities, with which so many releases stay within epsilon.

    Raises:
        UserError: no noise in reach is enough.
    """
    low, high = _LEAST_NOISE, _MOST_NOISE
    if epsilon(releases / high**2, delta) > budget:
        raise UserError(f"epsilon {budget:g} is too little for {releases} releases: raise it, or have fewer rounds")
    while high / low > 1.001:
        middle = (low * high) ** 0.5
        low, high = (low, middle) if epsilon(releases / middle**2, delta) <= budget else (middle, high)
    return high


def _accounting() -> tuple[ModuleType, type]:
    try:
        import dp_accounting
        from dp_accounting.pld import PLDAccountant
    except ImportError:
        raise missing_extra("differential privacy", "federation") from None
    return dp_accounting, PLDAccountant
