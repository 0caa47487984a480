"""Gains of a model's parts, an offset for each label, and a threshold: fitted to validation stays, by sums over sites.

Gains and offsets are found by Newton's method, whose slope and curvature are sums over stays. The optimum of F1 is at a
threshold of half the best F1 (Lipton et al. 2014), which is found by repetition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from clinragen.federation.features import SiteRows, over_all
from clinragen.federation.update import Tensors, TensorSpec
from clinragen.federation.work import Phase, Statistic

_START = 0.25  # threshold
_GAIN_RIDGE, _OFFSET_RIDGE = 1.0, 0.5  # pull to the prior, as so much curvature
_LONGEST = 2.0  # step of a gain or an offset


@dataclass(frozen=True)
class Fusion:
    """The phases ``fuse`` and ``threshold``, and what they leave in the tensors ``fusion`` and ``threshold``.

    Attributes:
        prior: the gain of each part where nothing is known, [parts].
        labels: how many there are.
        rounds, threshold_rounds: of the two phases.
    """

    prior: tuple[float, ...]
    labels: int
    rounds: int
    threshold_rounds: int

    def phases(self) -> list[Phase]:
        """The two phases."""
        unknown = len(self.prior) + self.labels
        sums = {"slope": TensorSpec([unknown], "F64"), "bend": TensorSpec([unknown, unknown], "F64")}
        return [
            Phase("fuse", "statistics", self.rounds, sums),
            Phase("threshold", "statistics", self.threshold_rounds, {"flagged": TensorSpec([3], "F64")}),
        ]

    def start(self) -> dict[str, np.ndarray]:
        """Before the first round: gains of the prior, no offsets."""
        return {"fusion": np.array([*self.prior, *[0.0] * self.labels]), "threshold": np.full(1, _START)}

    def parted(self, tensors: Tensors) -> tuple[np.ndarray, np.ndarray]:
        """Gains [parts] and offsets [L]."""
        gains, offsets = np.split(tensors["fusion"], [len(self.prior)])
        return gains, offsets

    def logits(self, scores: np.ndarray, tensors: Tensors) -> np.ndarray:
        """Of the parts' logits, float64 [parts, n, L], the sum with gains and offsets, [n, L]."""
        gains, offsets = self.parted(tensors)
        return np.tensordot(gains, scores, axes=1) + offsets

    def statistics(self, scores: np.ndarray, rows: SiteRows, tensors: Tensors, phase: str) -> dict[str, Statistic]:
        """A site's sums for one of the phases, from the parts' logits of its validation stays, [parts, n, L]."""
        chance = expit(self.logits(scores, tensors))
        if phase == "threshold":
            flagged, gold = (chance >= tensors["threshold"][0]) & rows.eligible, rows.labels & rows.eligible
            counts = np.array([(flagged & gold).sum(), flagged.sum(), gold.sum()], np.float64)
            return {"flagged": over_all(rows, counts)}
        missed = (chance - rows.labels) * rows.eligible
        doubt = chance * (1 - chance) * rows.eligible
        slope = np.concatenate([(scores * missed).sum((1, 2)), missed.sum(0)])
        across = np.einsum("pnl,nl->pl", scores, doubt)
        bend = np.block([
            [np.einsum("pnl,qnl,nl->pq", scores, scores, doubt), across],
            [across.T, np.diag(doubt.sum(0))],
        ])  # fmt: skip
        return {name: over_all(rows, values) for name, values in (("slope", slope), ("bend", bend))}

    def advance(self, tensors: Tensors, totals: dict[str, np.ndarray], phase: str) -> dict[str, np.ndarray]:
        """The tensor that a round of one of the phases changes, from the sums of all sites.

        Args:
            tensors: the model; ``rates`` are those of the labels.
            totals: by name, the sums.
            phase: ``fuse`` or ``threshold``.
        """
        if phase == "threshold":
            hits, flagged, positive = totals["flagged"]
            f1 = 2 * hits / (flagged + positive) if flagged + positive else 2 * _START
            return {"threshold": np.array([np.clip(f1 / 2, 0.02, 0.5)])}
        fusion, parts = tensors["fusion"], len(self.prior)
        if not totals["bend"].any():
            return {"fusion": fusion}
        if not fusion[parts:].any():  # offsets start where the labels are as common as in training
            return {"fusion": np.concatenate([fusion[:parts], logit(tensors["rates"])])}
        ridge = np.repeat([_GAIN_RIDGE, _OFFSET_RIDGE], [parts, len(fusion) - parts])
        prior = np.concatenate([self.prior, logit(tensors["rates"])])
        slope, bend = totals["slope"] + ridge * (fusion - prior), totals["bend"] + np.diag(ridge)
        step = _newton(bend, slope, fusion[:parts])
        step *= min(1.0, _LONGEST / max(np.abs(step).max(), 1e-9))
        moved = fusion - step
        moved[:parts] = moved[:parts].clip(0)
        return {"fusion": moved}


def _newton(bend: np.ndarray, slope: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Newton's step, to be taken off: a gain that would fall below 0 goes to 0, and the others are chosen beside it."""
    step = np.linalg.solve(bend, slope)
    if len(zero := np.flatnonzero(gains < step[: len(gains)])):
        free = np.setdiff1d(np.arange(len(step)), zero)
        step[zero] = gains[zero]
        along = slope[free] - bend[np.ix_(free, zero)] @ step[zero]
        step[free] = np.linalg.solve(bend[np.ix_(free, free)], along)
    return step
