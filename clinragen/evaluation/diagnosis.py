"""Scores of diagnoses and probabilities, with bootstrap intervals that resample patients, not stays.

Every score takes sample weights, so that a bootstrap replicate is a vector of counts and differences between two
systems are paired. Conventions: a precision, recall or F1 with denominator 0 is 0, as in scikit-learn's
``zero_division=0``; an area under a curve leaves out labels that lack one of the two classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from clinragen.evaluation.ranking import Ranking
from clinragen.evaluation.rows import Bin, Interval

CALIBRATION_BINS = 10
AREAS = ("macro_auroc", "micro_auroc", "macro_auprc", "micro_auprc")
CALIBRATION = ("ece", "brier")
AGREEMENT = ("micro_precision", "micro_recall", "micro_f1", "macro_precision", "macro_recall", "macro_f1")
#: Names of the scores, in the order of :meth:`Scorer.vector`. ``written`` are the diagnoses the model wrote,
#: ``thresholded`` those whose probability reaches the threshold.
METRICS = (
    *AREAS,
    *CALIBRATION,
    *(f"thresholded_{name}" for name in AGREEMENT),
    *(f"written_{name}" for name in AGREEMENT),
)


@dataclass(frozen=True)
class System:
    """Predictions of one system for ``n`` stays and ``L`` labels.

    ``written`` is None for a system that writes no text (a baseline, or a control that reads the head only);
    ``threshold`` is a probability per label, at or above which the label counts as predicted.
    """

    probabilities: np.ndarray  # [n, L] in [0, 1]
    thresholds: np.ndarray  # [L]
    written: np.ndarray | None = None  # [n, L] bool

    @cached_property
    def thresholded(self) -> np.ndarray:
        """[n, L] bool."""
        return self.probabilities >= self.thresholds[None, :]

    @property
    def listed(self) -> np.ndarray:
        """[n, L] bool: the predicted diagnoses: as written, or by threshold if it writes none."""
        return self.thresholded if self.written is None else self.written

    def take(self, rows: Sequence[int] | np.ndarray) -> System:
        """The predictions of some stays: their numbers in this order, or which they are, [n] bool."""
        return System(self.probabilities[rows], self.thresholds, None if self.written is None else self.written[rows])


def agreement(
    gold: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None, eligible: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Per-label ``precision``, ``recall``, ``f1`` [L], and the same over all labels together as ``micro`` [3].

    Args:
        gold: [n, L] bool.
        predicted: [n, L] bool.
        weights: [n] sample weights; None counts every sample once.
        eligible: [n, L] bool, what counts; all by default.
    """
    if eligible is not None:
        gold, predicted = gold & eligible, predicted & eligible
    weights = np.ones(len(gold)) if weights is None else weights
    hits = weights @ (gold & predicted)
    called = weights @ predicted
    real = weights @ gold
    micro = [_share(a.sum(), b.sum()) for a, b in ((hits, called), (hits, real), (2 * hits, called + real))]
    return {
        "precision": _share(hits, called),
        "recall": _share(hits, real),
        "f1": _share(2 * hits, called + real),
        "micro": np.array(micro, dtype=float),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)


def calibration_curve(
    gold: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS, eligible: np.ndarray | None = None
) -> list[Bin]:
    """Mean probability and observed share in equal-width bins, over all labels together; without empty bins.

    The expected calibration error (Naeini et al. 2015) is the count-weighted mean distance between the two.
    """
    if eligible is not None:
        gold, probabilities = gold[eligible], probabilities[eligible]
    index = bins_of(probabilities, bins).ravel()
    count = np.bincount(index, minlength=bins)
    totals = np.bincount(index, probabilities.ravel(), bins)
    real = np.bincount(index, gold.ravel().astype(float), bins)
    return [
        {"count": int(count[b]), "probability": float(totals[b] / count[b]), "observed": float(real[b] / count[b])}
        for b in range(bins)
        if count[b]
    ]


def bins_of(probabilities: np.ndarray, bins: int) -> np.ndarray:
    """Which of so many bins of equal width each probability is in."""
    return np.minimum((probabilities * bins).astype(int), bins - 1)


class Scorer:
    """Computes all :data:`METRICS` of one system on the same stays under different weights.

    Args:
        gold: [n, L] bool.
        system: the system to score.
        eligible: [n, L] bool, what counts; all by default.
    """

    def __init__(self, gold: np.ndarray, system: System, eligible: np.ndarray | None = None) -> None:
        if gold.shape != system.probabilities.shape:
            raise ValueError(f"gold is {gold.shape}, probabilities are {system.probabilities.shape}")
        self.gold, self.system = gold, system
        self.eligible = np.ones_like(gold, dtype=bool) if eligible is None else eligible
        self.per_label = Ranking(gold, system.probabilities, self.eligible)
        self.pooled = Ranking(gold.reshape(-1, 1), system.probabilities.reshape(-1, 1), self.eligible.reshape(-1, 1))
        #: for each stay, the share of labels that count, and the sum of its squared errors as a share of all labels
        self.counted = self.eligible.mean(axis=1)
        self.squared_error = ((system.probabilities - gold) ** 2 * self.eligible).mean(axis=1)
        # [n, bins]: contribution of each sample to the signed gap of each bin, so that a replicate is one product
        self.gap = np.zeros((len(gold), CALIBRATION_BINS))
        index = bins_of(system.probabilities, CALIBRATION_BINS)
        rows = np.broadcast_to(np.arange(len(gold))[:, None], gold.shape)
        np.add.at(self.gap, (rows, index), (system.probabilities - gold) * self.eligible)

    def vector(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All scores [len(METRICS)] (NaN: not defined) and the AUROC of each label [L].

        Args:
            weights: [n] sample weights.
        """
        auroc, auprc = self.per_label(weights)
        micro_auroc, micro_auprc = self.pooled(np.repeat(weights, self.gold.shape[1]))
        total = max(weights @ self.counted, 1e-12)
        ece = np.abs(weights @ self.gap).sum() / (total * self.gold.shape[1])
        brier = weights @ self.squared_error / total
        scores = [_mean(auroc), micro_auroc[0], _mean(auprc), micro_auprc[0], ece, brier]
        for predicted in (self.system.thresholded, self.system.written):
            if predicted is None:
                scores += [np.nan] * len(AGREEMENT)
                continue
            measures = agreement(self.gold, predicted, weights, self.eligible)
            scores += [*measures["micro"], *(measures[name].mean() for name in ("precision", "recall", "f1"))]
        return np.array(scores, dtype=float), auroc


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def patient_bootstrap(patients: np.ndarray, replicates: int, seed: int) -> Iterator[np.ndarray]:
    """Weights [n] of each replicate: how often each stay's patient was drawn. The same seed gives the same weights.

    Args:
        patients: [n] patient ids; stays of one patient are drawn together.
        replicates: number of replicates.
        seed: of the random generator.
    """
    names, index = np.unique(patients, return_inverse=True)
    generator = np.random.default_rng(seed)
    for _ in range(replicates):
        draws = np.bincount(generator.integers(0, len(names), len(names)), minlength=len(names))
        yield draws[index].astype(float)


@dataclass(frozen=True)
class Bootstrapped:
    """Scores of one system: on the data, and on each replicate."""

    value: np.ndarray  # [metrics]
    replicates: np.ndarray  # [B, metrics]
    auroc: np.ndarray  # [L]
    auroc_replicates: np.ndarray  # [B, L]


def bootstrap(
    gold: np.ndarray,
    systems: dict[str, System],
    patients: np.ndarray,
    replicates: int = 1000,
    seed: int = 0,
    eligible: np.ndarray | None = None,
) -> dict[str, Bootstrapped]:
    """Score all systems on the same replicates.

    Args:
        gold: [n, L] bool.
        systems: name -> system.
        patients: [n] patient ids.
        replicates: number of bootstrap replicates.
        seed: of the random generator.
        eligible: [n, L] bool, what counts; all by default.
    """
    scorers = {name: Scorer(gold, system, eligible) for name, system in systems.items()}
    vectors: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in systems}
    for weights in patient_bootstrap(patients, replicates, seed):
        for name, scorer in scorers.items():
            vectors[name].append(scorer.vector(weights))
    results = {}
    for name, scorer in scorers.items():
        value, auroc = scorer.vector(np.ones(len(gold)))
        scores = np.array([row[0] for row in vectors[name]]).reshape(-1, len(METRICS))
        areas = np.array([row[1] for row in vectors[name]]).reshape(-1, gold.shape[1])
        results[name] = Bootstrapped(value, scores, auroc, areas)
    return results


def interval(value: float, replicates: np.ndarray, level: float = 0.95) -> Interval:
    """The value with its percentile interval; None if undefined.

    >>> interval(0.5, np.array([0.4, 0.5, 0.6, np.nan]), level=1.0)
    {'value': 0.5, 'low': 0.4, 'high': 0.6}
    """
    defined = replicates[~np.isnan(replicates)]
    if np.isnan(value):
        return {"value": None, "low": None, "high": None}
    if not len(defined):
        return {"value": float(value), "low": None, "high": None}
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return {"value": float(value), "low": float(low), "high": float(high)}


def ratio_interval(weights: np.ndarray, part: np.ndarray, whole: np.ndarray) -> Interval:
    """A ratio of sums: on the data and its interval over replicates.

    Args:
        weights: [1 + B, n] of the stays, first of the data, then of each replicate.
        part: [n] what is counted of each stay.
        whole: [n] of how much; the ratio is not defined where the sum is 0.
    """
    below, above = weights @ np.asarray(whole, dtype=float), weights @ np.asarray(part, dtype=float)
    values = np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)
    return interval(float(values[0]), values[1:])


def prevalence_guess(training_labels: np.ndarray, n: int, eligible: np.ndarray | None = None) -> System:
    """A baseline without inputs: every stay gets the training prevalence of each label as its probability.

    Its diagnoses are the ``k`` most common labels for every stay, with the ``k`` of the best micro F1 on the training
    labels: the best list that needs no input.

    Args:
        training_labels: [m, L] bool.
        n: number of stays to guess for.
        eligible: [m, L] bool, which training labels count; all by default.
    """
    prevalence = training_labels.mean(axis=0)
    if eligible is not None and not eligible.all():
        prevalence = (training_labels & eligible).sum(axis=0) / np.maximum(eligible.sum(axis=0), 1)
    commonest = np.argsort(-prevalence, kind="stable")
    hits = np.cumsum(prevalence[commonest])
    f1 = 2 * hits / np.maximum(np.arange(1, len(hits) + 1) + prevalence.sum(), 1e-12)
    listed = np.zeros(len(prevalence), dtype=bool)
    listed[commonest[: int(np.argmax(f1)) + 1]] = True
    thresholds = np.where(listed, 0.0, np.inf)
    return System(np.tile(prevalence, (n, 1)), thresholds, np.tile(listed, (n, 1)))
