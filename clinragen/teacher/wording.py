"""Wording that varies from stay to stay and never from run to run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Wording:
    """Picks among phrasings by SHA-256 of the stay and a running number."""

    def __init__(self, *seed: object) -> None:
        self._seed = ":".join(str(part) for part in seed)
        self._drawn = 0

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, the next draw of this stay."""
        self._drawn += 1
        digest = hashlib.sha256(f"{self._seed}:{self._drawn}".encode()).digest()
        return choices[int.from_bytes(digest[:8], "big") % len(choices)]


def words(text: str) -> int:
    """Number of words, as the length limits count them."""
    return len(text.split())


def listed(items: Sequence[str], last: str = "and") -> str:
    """Items in one phrase.

    >>> listed(["fever", "cough", "chills"])
    'fever, cough and chills'
    """
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"
