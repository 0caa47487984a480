"""How much each sign of a chart speaks for each diagnosis: what the graph says of it, corrected by training stays.

A sign is a finding of the series, told apart by how marked it is, a variable that is normal throughout, or a concept
that the note affirms, now or in the past, or denies. Its worth for a diagnosis is a log likelihood ratio,
ln P(sign | diagnosis) / P(sign | not diagnosis), in nats: a normal prior from the graph, updated by what is counted
over training stays (normal-normal empirical Bayes).

    x1 of n1 stays with the diagnosis show the sign, x0 of n0 without; n = n1 + n0; q1 = n1 / n, q0 = n0 / n
    b  = ln (x1 + q1) / (n1 + 2 q1) - ln (x0 + q0) / (n0 + 2 q0)
    v  = 1 / (x1 + q1) - 1 / (n1 + 2 q1) + 1 / (x0 + q0) - 1 / (n0 + 2 q0)         the variance of b (delta method)
    m  = FULL_TIE * tie of the graph (of a finding, times how much it tells by itself); of what is normal or denied,
         -FULL_TIE / 2 * tie of what would be expected: the lack of a sign tells less than the sign
    worth = (b / v + m / T^2) / (1 / v + 1 / T^2),    deviation = (1 / v + 1 / T^2) ** -0.5,    T = SPREAD

Of the stay's diagnoses that a sign speaks for, each may be why it shows. With rates that add up, the part of it that is
due to diagnosis k, its *share*, is the attributable fraction (LR = exp(worth); the sum is over those diagnoses)

    share_k = (LR_k - 1) / (1 + sum_j (LR_j - 1))

The added q share one stay among both groups by their sizes, so that b is 0 for a sign that was never seen, however rare
the diagnosis is (Sweeting, Sutton and Lambert 2004, "What to add to nothing?"). With few stays v is large and the graph
decides; with many the counts do.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import TypedDict

from clinragen.artifacts import sha256_json
from clinragen.chart.findings import Finding
from clinragen.chart.note_evidence import NoteEvidence
from clinragen.chart.support import SUPPORTS, expected, tie
from clinragen.knowledge.graph import ConceptGraph

#: What a tie of strength 1 says before anything was counted: ten times as frequent with the diagnosis as without.
FULL_TIE = math.log(10)
#: One standard deviation of what the graph says: a factor of two.
SPREAD = math.log(2)
#: Without a tie in the graph a sign is cited only if it is at least so much more frequent, at the lower bound.
CLEAR = math.log(1.5)
_BOUND = 1.645  # deviations below the worth: 95 % one-sided
#: A finding nearer to the reference range than this (severity) speaks for nothing.
SPEAKS = 0.05
#: How much a circumstance of the admission tells by itself, beside a finding of the note.
CIRCUMSTANCE = 0.5
_MARKED = (0.35, 0.65)  # weights that part slight, moderate and marked findings

#: Where and how a concept shows (slight, moderate or marked in the series; note or history), and its id.
Sign = tuple[str, str]


def sign_of(item: Finding | NoteEvidence) -> Sign:
    """The sign that a finding of the series, or a phrase of the note, is counted as."""
    if isinstance(item, Finding):
        if item.direction == "normal":
            return "normal", item.concept
        return ("slight", "moderate", "marked")[sum(item.weight >= bound for bound in _MARKED)], item.concept
    return "denied" if item.denied else "history" if item.past else "note", item.concept


def speaking(findings: Iterable[Finding]) -> list[Finding]:
    """Those of the abnormal findings that are far enough out of range to speak for anything."""
    return [finding for finding in findings if finding.severity >= SPEAKS]


@dataclass
class Tally:
    """How many stays show each sign, with each diagnosis and in all.

    Attributes:
        stays: number of stays counted.
        diagnoses: key -> stays with it.
        signs: sign -> stays that show it.
        both: (sign, key) -> stays with both.
    """

    stays: int = 0
    diagnoses: Counter[str] = field(default_factory=Counter)
    signs: Counter[Sign] = field(default_factory=Counter)
    both: Counter[tuple[Sign, str]] = field(default_factory=Counter)

    def add(self, shown: Collection[Finding | NoteEvidence], diagnoses: Collection[str]) -> None:
        """Count one stay: what its chart shows, and its diagnoses."""
        signs = {sign_of(item) for item in shown}
        self.stays += 1
        self.diagnoses.update(diagnoses)
        self.signs.update(signs)
        self.both.update(product(signs, diagnoses))

    def log_ratio(self, sign: Sign, key: str) -> tuple[float, float]:
        """b and v of the module's formula; v is infinite where every stay, or none, carries the diagnosis."""
        n1 = self.diagnoses[key]
        n0 = self.stays - n1
        if not n1 or not n0:
            return 0.0, math.inf
        x1 = self.both[sign, key]
        x0 = self.signs[sign] - x1
        b = v = 0.0
        for sense, x, n in ((1, x1, n1), (-1, x0, n0)):
            share = n / self.stays
            seen, all_ = x + share, n + 2 * share
            b += sense * math.log(seen / all_)
            v += 1 / seen - 1 / all_
        return b, v


class Learned(TypedDict):
    """The stays that were counted: their split, how many there were, and a hash of all counts."""

    split: str
    stays: int
    counts: str


class Worth:
    """How much signs speak for diagnoses, by a graph and by what was counted over stays of known diagnoses.

    Args:
        graph: gives the prior; without a tally it alone decides.
        tally: of training stays.
    """

    def __init__(self, graph: ConceptGraph, tally: Tally | None = None) -> None:
        self.graph = graph
        self._tally = tally or Tally()
        self._log_ratio = cache(self._tally.log_ratio)

    @property
    def origin(self) -> Learned:
        """What it was learned from, for manifests."""
        both = sorted(([*sign, key, count] for (sign, key), count in self._tally.both.items()), key=str)
        counts = {"diagnoses": self._tally.diagnoses, "signs": sorted(self._tally.signs.items()), "both": both}
        return {"split": "train", "stays": self._tally.stays, "counts": sha256_json(counts)}

    def speaks_for(self, item: Finding | NoteEvidence, diagnoses: Iterable[str]) -> dict[str, float]:
        """Those of a stay's diagnoses for which a finding, or a phrase of the note, may be cited, each with its share.

        A concept that the graph ties to a diagnosis may be cited where the stays do not speak against it. Another may
        only where the stays speak for it clearly (``CLEAR`` at the lower bound) and the graph ties it to none of the
        stay's diagnoses: what one of them explains would be cited for all that often go with it.
        """
        if _silent(item):
            return {}
        tied: dict[str, float] = {}
        clear: dict[str, float] = {}
        for key in diagnoses:
            worth, deviation = self.estimate(item, key)
            if tie(item, key, self.graph) >= SUPPORTS:
                tied[key] = worth
            elif worth - _BOUND * deviation > CLEAR:
                clear[key] = worth
        excess = {key: math.expm1(worth) for key, worth in (tied or clear).items() if worth > 0}
        whole = 1.0 + sum(excess.values())
        return {key: part / whole for key, part in excess.items()}

    def speaks_against(self, item: Finding | NoteEvidence, key: str) -> float:
        """How much a normal finding, or a denied sign, speaks against a diagnosis, in nats; at most ``FULL_TIE``."""
        return min(-self.estimate(item, key)[0], FULL_TIE)

    def estimate(self, item: Finding | NoteEvidence, key: str) -> tuple[float, float]:
        """Worth and its standard deviation, in nats."""
        b, v = self._log_ratio(sign_of(item), key)
        precision = 1 / v + 1 / SPREAD**2
        tied = tie(item, key, self.graph) * _tells(item) - expected(item, key, self.graph) / 2
        worth = (b / v + FULL_TIE * tied / SPREAD**2) / precision
        return worth, precision**-0.5


def _silent(item: Finding | NoteEvidence) -> bool:
    """Whether an item speaks for nothing: a sign that is denied, a value near the reference range."""
    if isinstance(item, NoteEvidence):
        return item.denied
    return item.direction != "normal" and item.severity < SPEAKS


def _tells(item: Finding | NoteEvidence) -> float:
    """How much an item tells by itself: who is at risk is less than what is found."""
    if isinstance(item, Finding):
        return item.weight
    return CIRCUMSTANCE if item.kind == "circumstance" else 1.0
