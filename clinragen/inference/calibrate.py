"""Calibrated probabilities and decision thresholds, fitted to scores of the validation split only."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from clinragen.errors import UserError
from clinragen.inference.intervals import CalibrationVariance
from clinragen.schema import INTERVAL_QUANTILE, SETS_HOLD

FOLDS = 10  # of the stays, for probabilities that the calibration was not fitted to
MIN_POSITIVES = 20  # with fewer validation positives than this a phenotype keeps the common threshold
BISECTIONS = 40  # of an interval of offsets
MIN_SLOPE = 1e-3  # a score that says nothing, or the contrary, keeps its order


class LabelCounts(NamedTuple):
    """How often labels occur among some stays.

    Attributes:
        positive: stays that have each label, [labels].
        eligible: stays that could have it, [labels].
    """

    positive: np.ndarray
    eligible: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, eligible: np.ndarray) -> LabelCounts:
        """Count labels, 0 or 1, among the pairs that count, both [n, labels]."""
        return cls((labels * eligible).sum(axis=0), eligible.sum(axis=0))

    def and_of(self, others: LabelCounts | None) -> LabelCounts:
        """Those of both groups of stays."""
        return self if others is None else LabelCounts(*(one + two for one, two in zip(self, others, strict=True)))

    def rates(self) -> np.ndarray:
        """The share of eligible stays with each label, with one more stay of the common rate, so never 0 or 1."""
        common = self.positive.sum() / self.eligible.sum()
        return (self.positive + common) / (self.eligible + 1)


@dataclass(frozen=True)
class Calibration:
    """Platt scaling with a common slope, and an offset and a threshold for each phenotype.

    The slope is common because rare phenotypes have too few validation positives for their own. With the offsets, the
    mean probability of a label on the validation stays is the rate of the label, counted on training stays too.

    ``possible`` is the probability from which on a label belongs to the set of possible ones, which holds ``SETS_HOLD``
    of a stay's labels on average (:func:`set_threshold`); None for a model from before there were such sets.

    ``variance`` says how certain slope and offsets are; None for a model from before there were intervals.
    """

    labels: list[str]
    slope: float
    offsets: list[float]
    thresholds: list[float]
    possible: float | None = None
    variance: CalibrationVariance | None = None

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated probabilities, [n, phenotypes].

        Raises:
            UserError: a logit is NaN or infinite.
        """
        if not np.isfinite(logits).all():
            row, label = np.argwhere(~np.isfinite(logits))[0]
            raise UserError(f"the model's score of {self.labels[label]} is not finite (row {row}): train anew")
        return _logistic(self.slope * logits + np.asarray(self.offsets))

    def intervals(self, logits: np.ndarray) -> np.ndarray | None:
        """Low and high end of each probability, [n, phenotypes, 2]; None for a model without variance."""
        if self.variance is None:
            return None
        calibrated, reach = (
            self.slope * logits + np.asarray(self.offsets),
            INTERVAL_QUANTILE * self.variance.deviations(logits),
        )
        return np.stack([_logistic(calibrated - reach), _logistic(calibrated + reach)], axis=-1)

    def beliefs(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities with each phenotype's odds divided by its threshold's: above 0.5 if predicted, never 0 or 1."""
        threshold = np.asarray(self.thresholds)
        odds = probabilities / (1 - probabilities).clip(1e-9) * (1 - threshold) / threshold
        return (odds / (1 + odds)).clip(1e-6, 1 - 1e-6)

    def moved(self, shift: np.ndarray) -> Calibration:
        """The calibration of logits that lack ``shift``, [phenotypes]."""
        offsets = (np.asarray(self.offsets) + self.slope * shift).tolist()
        return replace(self, offsets=offsets, variance=self.variance and self.variance.moved(shift))

    def to_json(self) -> dict[str, Any]:
        """The calibration as plain values for ``calibration.json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any], labels: list[str]) -> Calibration:
        """Check the label order and load."""
        if values.get("labels") != labels:
            raise UserError("calibration.json belongs to another label set than its model: train anew")
        slope, offsets, thresholds = values.get("slope", ""), values.get("offsets", []), values.get("thresholds", [])
        if not (_numbers([slope]) and _numbers(offsets, len(labels)) and _numbers(thresholds, len(labels))):
            raise UserError("calibration.json: expected a slope, and an offset and a threshold for each label")
        if outside := [label for label, value in zip(labels, thresholds, strict=True) if not 0 < value < 1]:
            raise UserError(f"calibration.json: the threshold of {outside[0]} does not lie between 0 and 1: train anew")
        possible = values.get("possible")
        if not (possible is None or (_numbers([possible]) and 0 <= possible <= 1)):
            raise UserError("calibration.json: `possible` is no probability: train anew")
        described = values.get("variance")
        variance = None if described is None else CalibrationVariance.from_json(described, len(labels))
        return cls(labels, slope, offsets, thresholds, possible, variance)


def _logistic(values: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -values))


def _numbers(values: Any, count: int = 1) -> bool:
    """Whether a JSON value is a list of this many numbers."""
    return isinstance(values, list) and len(values) == count and all(type(value) in (int, float) for value in values)


def fit_calibration(
    logits: np.ndarray,
    labels: np.ndarray,
    names: list[str],
    eligible: np.ndarray | None = None,
    patients: np.ndarray | None = None,
    training: LabelCounts | None = None,
) -> Calibration:
    """Fit on validation logits and labels, both [n, phenotypes].

    One logistic regression over all (stay, phenotype) pairs, on the logit and an indicator of each phenotype. How
    common a label is needs no score, so the training stays, of which there are more, are counted for it as well.

    Args:
        logits: [n, phenotypes], of the validation stays.
        labels: [n, phenotypes], 0 or 1.
        names: keys of the phenotypes, in the order of the columns.
        eligible: [n, phenotypes], the pairs that count; all by default.
        patients: [n], whose the stays are; each is a patient's only one by default.
        training: labels of the training stays; by default only validation stays tell how common a label is.

    Raises:
        UserError: none of these pairs is positive, or all are.
    """
    width = logits.shape[1]
    counts = np.ones(logits.shape, dtype=bool) if eligible is None else eligible
    pairs = counts.reshape(-1)
    unthresholded = _scaled(logits, labels, names, counts, training)
    if unthresholded is None:
        raise UserError("the validation split has no positive label at all: calibration needs more stays")
    slope, offsets = unthresholded.slope, unthresholded.offsets
    probabilities = unthresholded.probabilities(logits)
    common = _best_threshold(labels.reshape(-1)[pairs], probabilities.reshape(-1)[pairs])
    thresholds = [
        0.5 * (common + _best_threshold(labels[counts[:, i], i], probabilities[counts[:, i], i]))
        if labels[counts[:, i], i].sum() >= MIN_POSITIVES
        else common
        for i in range(width)
    ]
    possible = set_threshold(_held_out(logits, labels, names, counts, training), labels, counts)
    variance = CalibrationVariance.fit(logits, labels, probabilities, counts, patients)
    return Calibration(names, slope, offsets, thresholds, possible, variance)


def _scaled(
    logits: np.ndarray, labels: np.ndarray, names: list[str], counts: np.ndarray, training: LabelCounts | None
) -> Calibration | None:
    """Slope and offsets, without thresholds; None where the pairs that count are all of one kind."""
    some = LabelCounts.of(labels, counts)
    if not 0 < some.positive.sum() < some.eligible.sum():
        return None
    slope = _slope(logits, labels, counts, some)
    scores, rates = slope * logits, some.and_of(training).rates()
    offsets = [_offset(scores[counts[:, i], i], rate) for i, rate in enumerate(rates)]
    return Calibration(names, slope, offsets, [0.5] * len(offsets))


def _slope(logits: np.ndarray, labels: np.ndarray, counts: np.ndarray, some: LabelCounts) -> float:
    """The slope of a logistic regression with an offset for each label, of the pairs that count, ``some`` in number."""
    from scipy.optimize import minimize  # not needed for prediction

    means = (logits * counts).sum(axis=0) / np.maximum(some.eligible, 1)
    centred = np.where(counts, logits - means, 0.0).astype(float)  # the search goes straighter
    along = (centred * labels).sum()

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        slope, scores = flat[0], flat[0] * centred + flat[1:]
        missed = _logistic(scores) * counts
        loss = (np.logaddexp(0, scores) * counts).sum() - slope * along - some.positive @ flat[1:]
        change = np.array([(missed * centred).sum() - along, *(missed.sum(axis=0) - some.positive)])
        return float(loss) + slope**2 / 2, change + slope * (np.arange(len(flat)) == 0)  # a ridge, for few stays

    start = np.array([1.0, *np.log(some.rates() / (1 - some.rates()))])
    bounds = [(MIN_SLOPE, None)] + [(None, None)] * logits.shape[1]
    return float(minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds).x[0])


def _offset(scores: np.ndarray, rate: float) -> float:
    """What to add to the scores of one label, [stays], so that the mean probability is its rate, by bisection."""
    middle = np.log(rate / (1 - rate))
    if not len(scores):
        return float(middle)
    low, high = middle - scores.max(), middle - scores.min()
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _logistic(scores + middle).mean() < rate else (low, middle)
    return float((low + high) / 2)


def _held_out(
    logits: np.ndarray, labels: np.ndarray, names: list[str], counts: np.ndarray, training: LabelCounts | None
) -> np.ndarray:
    """Probabilities of each stay by what was fitted to the others: those that were fitted to it know its labels."""
    probabilities = np.zeros(logits.shape)
    fold = np.arange(len(logits)) * FOLDS // len(logits)  # neighbours, which are often stays of one patient, together
    for number in range(FOLDS):
        mine = fold == number
        fitted = _scaled(logits[~mine], labels[~mine], names, counts[~mine], training)
        fitted = fitted or _scaled(logits, labels, names, counts, training)
        assert fitted is not None, "the whole has labels of both kinds"
        probabilities[mine] = fitted.probabilities(logits[mine])
    return probabilities


def set_threshold(probabilities: np.ndarray, labels: np.ndarray, eligible: np.ndarray | None = None) -> float:
    """The probability from which on labels form sets that hold ``SETS_HOLD`` of a new stay's labels on average.

    The average is over stays that have any of the labels: others lose nothing, and would hide what these lose.

    Conformal risk control (Angelopoulos et al. 2024), which holds for any model and any number of stays, if new stays
    are exchangeable with these: the largest threshold at which the average share of a stay's labels that are left out
    is at most what is allowed, where one more stay, of which all are left out, is counted with them.

    Args:
        probabilities: of ``n`` stays that the model was not trained on, [n, labels].
        labels: [n, labels], 0 or 1.
        eligible: [n, labels], the pairs that count; all by default.

    Returns:
        The threshold; 0, which keeps all labels, where there are too few stays for any other.
    """
    gold = labels.astype(bool) if eligible is None else labels.astype(bool) & eligible
    gold, probabilities = gold[gold.any(axis=1)], probabilities[gold.any(axis=1)]
    each = 1 / gold.sum(axis=1, keepdims=True)
    order = np.argsort(probabilities[gold])
    lost = np.concatenate([[0.0], np.cumsum(np.broadcast_to(each, gold.shape)[gold][order])])
    allowed = (1 - SETS_HOLD) * (len(gold) + 1) - 1
    spared = int(np.searchsorted(lost, allowed + 1e-9, side="right")) - 1  # positives that may lie below it
    if spared < 0:
        return 0.0
    ascending = probabilities[gold][order]
    return float(ascending[spared]) if spared < len(ascending) else 1.0


def _best_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold with the best F1 on a grid."""
    candidates = np.linspace(0.05, 0.8, 76)
    flagged = probabilities[None] >= candidates[:, None]
    hits = (flagged & (labels[None] > 0)).sum(1)
    scores = 2 * hits / np.maximum(flagged.sum(1) + labels.sum(), 1)
    return float(candidates[int(scores.argmax())])
