"""A caution: what in the chart speaks against a drug, how much, and by which source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["allergy", "cross_reaction", "duplicate", "renal", "hepatic", "measurement", "interaction"]
Severity = Literal["contraindicated", "avoid", "caution"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: The gravest first.
SEVERITIES: tuple[Severity, ...] = get_args(Severity)


@dataclass(frozen=True)
class MeasuredValue:
    """A value of the series: catalogue key, hours from intime, canonical unit."""

    variable: str
    hour: float
    value: float


@dataclass(frozen=True)
class DrugOrder:
    """A drug that was ordered, infused or taken before admission.

    Attributes:
        ingredient: as ``clinragen.drugs`` names it.
        drug_class: its class there.
        kind: order, infusion, or home (taken before admission).
        hour: its start, hours from intime; before it negative.
    """

    ingredient: str
    drug_class: str
    kind: str
    hour: float


@dataclass(frozen=True)
class NotePhrase:
    """A phrase of a note: ``text``, from character ``start`` to ``end`` of a section in the cohort's notes."""

    note_id: str
    section: str
    start: int
    end: int
    text: str


Evidence = MeasuredValue | DrugOrder | NotePhrase


@dataclass(frozen=True)
class Caution:
    """What speaks against starting a drug.

    Attributes:
        drug: the ingredient that was screened.
        because: one sentence that a clinician can check in the chart.
        evidence: where in the chart it is.
        source: key of the work that the rule is from; ``clinragen.safety.rules.citation`` gives it in full.
    """

    kind: Kind
    severity: Severity
    drug: str
    because: str
    evidence: tuple[Evidence, ...]
    source: str

    @property
    def rank(self) -> tuple[int, int, str, str]:
        """Its place in a list: the gravest first, then by kind and text."""
        return SEVERITIES.index(self.severity), KINDS.index(self.kind), self.because, self.source


def milder(severity: Severity) -> Severity:
    """The next milder severity; "caution" stays.

    >>> milder("contraindicated"), milder("caution")
    ('avoid', 'caution')
    """
    return SEVERITIES[min(SEVERITIES.index(severity) + 1, len(SEVERITIES) - 1)]
