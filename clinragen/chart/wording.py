"""Wording of statements: phrasings that vary between stays but not between runs, lists, and word counts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


class Wording:
    """Chooses among phrasings by the SHA-256 of the stay and a running number."""

    def __init__(self, *seed: object) -> None:
        self._seed = ":".join(str(part) for part in seed)
        self._drawn = 0

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices, by the next draw of this stay."""
        self._drawn += 1
        digest = hashlib.sha256(f"{self._seed}:{self._drawn}".encode()).digest()
        return choices[int.from_bytes(digest[:8], "big") % len(choices)]


class _Scripted(Wording):
    """Picks by a given script, then always the first choice; records how many choices there were."""

    def __init__(self, script: Sequence[int]) -> None:
        self.script = script
        self.choices: list[int] = []

    def pick(self, choices: Sequence[T]) -> T:
        position = len(self.choices)
        self.choices.append(len(choices))
        return choices[self.script[position] if position < len(self.script) else 0]


def every[M](write: Callable[[Wording], M]) -> list[M]:
    """All texts that ``write`` can give, over every sequence of picks, without duplicates.

    >>> sorted(every(lambda wording: wording.pick("ab") + wording.pick("xy")))
    ['ax', 'ay', 'bx', 'by']
    """
    results: list[M] = []
    scripts: list[list[int]] = [[]]
    while scripts:
        script = scripts.pop()
        wording = _Scripted(script)
        result = write(wording)
        if result not in results:
            results.append(result)
        for depth in reversed(range(len(script), len(wording.choices))):
            start = [*script, *[0] * (depth - len(script))]
            scripts += [[*start, choice] for choice in reversed(range(1, wording.choices[depth]))]
    return results


def words(text: str) -> int:
    """Number of words, as counted for the length limits."""
    return len(text.split())


def listed(items: Sequence[str], last: str = "and") -> str:
    """Items as an enumeration.

    >>> listed(["fever", "cough", "chills"])
    'fever, cough and chills'
    """
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def named(names: Sequence[str]) -> str:
    """Diagnoses in one phrase; those whose names are lists themselves come last.

    >>> named(["pleurisy, pneumothorax or pulmonary collapse", "shock"])
    'shock and pleurisy, pneumothorax or pulmonary collapse'
    """
    return listed(sorted(names, key=lambda name: "," in name))
