"""The criteria by which rationales are rated, from ``configs/rating/criteria.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from clinragen.config import CONFIG_ROOT, load_yaml

#: The scale of every criterion, worst first.
SCALE = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Criterion:
    """One criterion.

    Attributes:
        key: its name in files.
        question: what the rater answers.
        anchors: words for each point of the scale, worst first.
    """

    key: str
    question: str
    anchors: tuple[str, ...]

    @property
    def title(self) -> str:
        """The name for a heading."""
        return self.key.capitalize()

    @property
    def points(self) -> list[tuple[int, str]]:
        """Each point of the scale with its words."""
        return list(zip(SCALE, self.anchors, strict=True))


@cache
def criteria() -> dict[str, Criterion]:
    """The criteria by key, in the order in which they are asked.

    >>> list(criteria())
    ['correctness', 'readability', 'soundness', 'consistency', 'persuasiveness']
    """
    entries = load_yaml(CONFIG_ROOT / "rating" / "criteria.yaml")
    return {key: Criterion(key, str(row["question"]), tuple(map(str, row["anchors"]))) for key, row in entries.items()}
