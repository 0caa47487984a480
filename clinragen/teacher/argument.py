"""How well each diagnosis of a stay is argued for: what a further ground adds, and what a composed rationale argues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass
class Argument:
    """How likely the grounds told of each diagnosis hold one that shows because of it.

    Each ground does so with its share (``chart.worth``), as if independently of the others. So the first good ground of
    each diagnosis is worth more than a second of any: the greedy choice of the largest gain covers the diagnoses first
    and strengthens them afterwards.

    Attributes:
        open: diagnosis -> 1 - that probability; 1 for those not named.
    """

    open: dict[str, float] = field(default_factory=dict)

    @classmethod
    def beside(cls, elsewhere: Mapping[str, float]) -> Argument:
        """Beside what the other rationale of the stay argues, which counts half: both are to, where there is room."""
        return cls({key: 1.0 - argued / 2 for key, argued in elsewhere.items()})

    @property
    def argued(self) -> dict[str, float]:
        """The probability of each diagnosis that has a ground."""
        return {key: 1.0 - left for key, left in self.open.items()}

    def gain(self, key: str, share: float) -> float:
        """What a ground of this share adds for a diagnosis, 0..1."""
        return self.open.get(key, 1.0) * share

    def add(self, key: str, share: float) -> None:
        """Count a ground."""
        self.open[key] = self.open.get(key, 1.0) * (1.0 - share)


@dataclass(frozen=True)
class Composed[Told]:
    """A rationale: its words, the statements or phrases in it, and what it argues (``Argument.argued``)."""

    text: str
    told: list[Told] = field(default_factory=list)
    argued: dict[str, float] = field(default_factory=dict)
