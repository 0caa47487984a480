"""Which claims cite evidence, in numbers: as footnotes, they lead from a claim to its evidence and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clinragen.schema import RATIONALE_KINDS, RationaleKind
from clinragen.verification.claims import Checked

#: (section, start, end) of a passage of the note.
Passage = tuple[int, int, int]


@dataclass(frozen=True)
class Citations:
    """The claims of a stay that rest on a passage of the note or on measurements, numbered in reading order.

    Attributes:
        numbers: of the claims by rationale; claims that cite nothing have none.
        passages: the passages of the note with the numbers of the claims that rest on them.
        hours: the measurements by variable: the hours that each of the claims, by its number, rests on.
    """

    numbers: Mapping[RationaleKind, Mapping[Checked, int]]
    passages: Mapping[Passage, list[int]]
    hours: Mapping[str, Mapping[int, list[float]]]

    @classmethod
    def of(cls, claims: Mapping[RationaleKind, Sequence[Checked]]) -> Citations:
        """Number the claims of a stay's rationales."""
        numbers: dict[RationaleKind, dict[Checked, int]] = {kind: {} for kind in RATIONALE_KINDS}
        passages: dict[Passage, list[int]] = {}
        hours: dict[str, dict[int, list[float]]] = {}
        last = 0
        for kind in RATIONALE_KINDS:
            for claim in sorted(claims[kind], key=lambda claim: (claim.start, claim.end)):
                if claim in numbers[kind] or not (claim.places or claim.measured):
                    continue
                last += 1
                numbers[kind][claim] = last
                for passage in claim.places:
                    passages.setdefault((passage.section, passage.start, passage.end), []).append(last)
                for variable, hour, _ in claim.measured:
                    hours.setdefault(variable, {}).setdefault(last, []).append(hour)
        return cls(numbers, passages, hours)

    @property
    def last(self) -> int:
        """The number that was given last; 0 without any."""
        return max((number for numbers in self.numbers.values() for number in numbers.values()), default=0)


def passage_id(section: int, start: int) -> str:
    """The id of the element that shows a passage of the note.

    >>> passage_id(2, 17)
    'p2-17'
    """
    return f"p{section}-{start}"
