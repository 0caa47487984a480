"""The index: a row for each stay, from which the script of the page draws the table, and the cohort in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from clinragen.label_sets import LabelSet
from clinragen.reporting.views import StayView
from clinragen.reporting.visible import visible
from clinragen.verification.claims import STANDINGS

#: Disagreements that the index names.
_WORST = 10
#: Most characters of a chief complaint.
_LONGEST = 120


@dataclass(frozen=True)
class Disagreement:
    """A label whose probability is far from what was recorded."""

    stay_id: int
    name: str
    probability: float
    recorded: bool

    @property
    def distance(self) -> float:
        """Between the probability and what was recorded."""
        return abs(float(self.recorded) - self.probability)


@dataclass
class LabelCount:
    """How often a label is written and recorded.

    Attributes:
        index, name: of the label.
        written, recorded, agrees: numbers of stays.
        expected: sum of the probabilities.
        coded: number of stays of which it is known whether it was recorded.
    """

    index: int
    name: str
    written: int = 0
    recorded: int = 0
    agrees: int = 0
    coded: int = 0
    expected: float = 0.0


@dataclass
class Index:
    """What the index shows; stays are added one by one.

    Attributes:
        rows: of the stays, for the script.
        totals: numbers of claims by standing, of listed and of grounded diagnoses, and of abstentions.
        counts: by label.
        splits: of the stays.
        worst: the largest disagreements, at most one of a stay.
        coded: whether it is known of any stay what was recorded.
    """

    labels: LabelSet
    rows: list[dict[str, Any]] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    counts: list[LabelCount] = field(default_factory=list)
    splits: set[str] = field(default_factory=set)
    worst: list[Disagreement] = field(default_factory=list)
    coded: bool = False

    def __post_init__(self) -> None:
        self.counts = [LabelCount(index, name) for index, name in enumerate(self.labels.names.values())]

    def add(self, view: StayView) -> None:
        """Add a stay."""
        self.rows.append(_row(view))
        self.splits.add(view.split)
        self.coded = self.coded or view.coded
        sums = {standing: view.claims(standing) for standing in STANDINGS}
        sums |= {"claims": view.claims(), "listed": view.written, "grounded": view.grounded}
        for name, count in (sums | {"abstains": bool(view.abstains), "parsed": view.parsed}).items():
            self.totals[name] = self.totals.get(name, 0) + int(count)
        for one in view.diagnoses:
            count = self.counts[one.index]
            count.written += one.written
            count.expected += one.probability
            if one.recorded is not None:
                count.coded += 1
                count.recorded += one.recorded
                count.agrees += one.recorded and one.written
        self._disagreements(view)

    def extend(self, other: Index) -> None:
        """Add the stays of another index; :meth:`settle` brings them into order."""
        self.rows += other.rows
        for name, count in other.totals.items():
            self.totals[name] = self.totals.get(name, 0) + count
        for mine, theirs in zip(self.counts, other.counts, strict=True):
            for name in ("written", "recorded", "agrees", "coded", "expected"):
                setattr(mine, name, getattr(mine, name) + getattr(theirs, name))
        self.splits |= other.splits
        self.worst += other.worst
        self.coded = self.coded or other.coded

    def settle(self) -> None:
        """Bring the stays into the order of their ids, however the parts came."""
        self.rows.sort(key=lambda row: int(row["id"]))
        self.worst = sorted(self.worst, key=lambda one: (-one.distance, one.stay_id))[:_WORST]
        for count in self.counts:
            count.expected = round(count.expected, 6)  # sums of the same numbers in any order

    def _disagreements(self, view: StayView) -> None:
        apart = [
            Disagreement(view.stay_id, one.name, one.probability, one.recorded)
            for one in view.diagnoses
            if one.recorded is not None
        ]
        if apart:
            self.worst.append(max(apart, key=lambda one: one.distance))
            self.worst = sorted(self.worst, key=lambda one: (-one.distance, one.stay_id))[:_WORST]

    @property
    def stays(self) -> int:
        """Number of stays."""
        return len(self.rows)


def _row(view: StayView) -> dict[str, Any]:
    """A stay for the script, with short names since there may be ten thousands of them: p holds the probability of each
    label in thousandths, w, r and o the labels that are written, recorded and not ruled out."""
    by_label = sorted(view.diagnoses, key=lambda one: one.index)
    row: dict[str, Any] = {
        "id": str(view.stay_id),  # a number of the script holds 53 bits only
        "age": view.age,
        "sex": view.sex,
        "split": view.split,
        "complaint": visible(view.complaint)[:_LONGEST],
        "p": [round(1000 * one.probability) for one in by_label],
        "w": [one.index for one in by_label if one.written],
        "r": [one.index for one in by_label if one.recorded],
        "o": [one.index for one in by_label if one.possible and not one.written],
        "coded": view.coded,
        "abstains": len(view.abstains),
        "parsed": view.parsed,
        "claims": view.claims(),
        "refuted": view.claims("contradicted"),
        "absent": view.claims("not in the chart"),
        "grounded": view.grounded,
        "f1": round(view.f1, 3) if view.coded else None,
    }
    return {name: value for name, value in row.items() if value not in (None, [], "", 0, False) or name in _ALWAYS}


#: Entries of a row that are never left out.
_ALWAYS = ("id", "age", "sex", "split", "p")


def names_for_search(labels: LabelSet) -> list[str]:
    """Other names of each label by which the search finds it: its key, and published ones."""
    return [" ".join((key, *label.published)) for key, label in labels.items()]
