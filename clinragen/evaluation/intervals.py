"""Whether the intervals of probabilities hold what came true.

The stays of each label are divided by probability into three bins of one size. A bin's interval is the mean of those of
its stays. It says where the share that came true would lie among endlessly many stays; the share of a few dozen differs
from that by chance. Two coverages are therefore given: how often the interval contains the share as it is, beside how
often an interval that is right would, and how often it does within the error of so few stays.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from clinragen.evaluation.diagnosis import bins_of, interval, patient_bootstrap
from clinragen.evaluation.inputs import Predictions
from clinragen.evaluation.rows import Interval, IntervalBin, Intervals
from clinragen.schema import INTERVAL_LEVEL, INTERVAL_QUANTILE

PARTS = 3  # bins of a label
BINS = 5  # of probabilities, over all labels together


def summarize(
    predictions: Predictions,
    gold: np.ndarray,
    eligible: np.ndarray,
    patients: np.ndarray,
    replicates: int = 1000,
    seed: int = 0,
) -> Intervals | None:
    """Coverage of the intervals; None for predictions without any.

    Args:
        predictions: of ``n`` stays.
        gold: [n, L] bool.
        eligible: [n, L] bool, what counts.
        patients: [n] ids.
        replicates: of the bootstrap.
        seed: of the bootstrap.
    """
    probabilities, ends = predictions.system.probabilities, predictions.intervals
    if ends is None:
        return None
    inside, likely, within = [], [], []
    for label in range(gold.shape[1]):
        rows = np.flatnonzero(eligible[:, label])
        for part in np.array_split(rows[np.argsort(probabilities[rows, label], kind="stable")], PARTS):
            if len(part):
                p = probabilities[part, label]
                (low, high), observed = ends[part, label].mean(axis=0), gold[part, label].mean()
                chance = float(np.sqrt((p * (1 - p)).sum())) / len(part)  # standard error of the observed share
                deviation = max((high - low) / (2 * INTERVAL_QUANTILE), 1e-9)
                both = np.hypot(deviation, chance)
                inside.append(low <= observed <= high)
                within.append(abs(observed - p.mean()) <= INTERVAL_QUANTILE * both)
                likely.append(2 * NormalDist().cdf(float(INTERVAL_QUANTILE * deviation / both)) - 1)
    return {
        "level": INTERVAL_LEVEL,
        "width": float((ends[..., 1] - ends[..., 0])[eligible].mean()),
        "bins": len(inside),
        "inside": wilson(sum(inside), len(inside)),
        "expected_inside": float(np.mean(likely)),
        "within_error": wilson(sum(within), len(within)),
        "curve": _curve(probabilities, ends, gold, eligible, patients, replicates, seed),
    }


def _curve(
    probabilities: np.ndarray,
    ends: np.ndarray,
    gold: np.ndarray,
    eligible: np.ndarray,
    patients: np.ndarray,
    replicates: int,
    seed: int,
) -> list[IntervalBin]:
    """Bins of equal width over all labels: the mean interval, and the share that came true with its own interval."""
    weights = np.array([np.ones(len(gold)), *patient_bootstrap(patients, replicates, seed)])
    index = bins_of(probabilities, BINS)
    rows: list[IntervalBin] = []
    for number in range(BINS):
        mine = (index == number) & eligible
        if mine.any():
            count, came = weights @ mine.sum(axis=1), weights @ (mine & gold).sum(axis=1)
            shares = np.divide(came, count, out=np.full_like(came, np.nan), where=count > 0)
            low, high = ends[mine].mean(axis=0)
            rows.append(
                {
                    "count": int(mine.sum()),
                    "probability": float(probabilities[mine].mean()),
                    "low": float(low),
                    "high": float(high),
                    "observed": interval(float(shares[0]), shares[1:]),
                }
            )
    return rows


def wilson(count: int, of: int) -> Interval:
    """A share with its 95 % interval by Wilson's formula, which does not leave 0 to 1.

    >>> {name: round(value, 3) for name, value in wilson(9, 10).items()}
    {'value': 0.9, 'low': 0.596, 'high': 0.982}
    """
    if not of:
        return {"value": None, "low": None, "high": None}
    share, square = count / of, INTERVAL_QUANTILE**2
    middle = (share + square / (2 * of)) / (1 + square / of)
    reach = INTERVAL_QUANTILE / (1 + square / of) * np.sqrt(share * (1 - share) / of + square / (4 * of**2))
    return {"value": share, "low": max(0.0, float(middle - reach)), "high": min(1.0, float(middle + reach))}
