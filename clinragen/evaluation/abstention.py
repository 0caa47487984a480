"""On how many stays a model abstains and why, and how well it does on those for which it answers."""

from __future__ import annotations

from collections import Counter

import numpy as np

from clinragen.abstention import kind_of
from clinragen.evaluation.diagnosis import METRICS, System, bootstrap, interval
from clinragen.evaluation.inputs import Predictions, Truth
from clinragen.evaluation.rows import Abstention, Interval

#: What is said of stays with and without those that are abstained on.
SCORES = ("macro_auroc", "micro_auroc", "thresholded_micro_f1", "thresholded_macro_f1", "ece")


def summarize(predictions: Predictions, truth: Truth, replicates: int = 1000, seed: int = 0) -> Abstention | None:
    """Counts, and scores without the stays that are abstained on; None for predictions that do not say.

    Args:
        predictions: of ``n`` stays.
        truth: their labels.
        replicates: of the bootstrap.
        seed: of the bootstrap.
    """
    if not predictions.abstains:
        return None
    counts = Counter(kind for reasons in predictions.abstains for kind in {kind_of(one) for one in reasons})
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    answered = np.array([not reasons for reasons in predictions.abstains])
    return {
        "stays": int((~answered).sum()),
        "reasons": [{"reason": kind, "stays": count} for kind, count in ordered],
        "answered": _scores(predictions.system, truth, answered, replicates, seed) if not answered.all() else None,
    }


def _scores(
    system: System, truth: Truth, answered: np.ndarray, replicates: int, seed: int
) -> dict[str, Interval] | None:
    if not answered.any():
        return None
    written = None if system.written is None else system.written[answered]
    part = System(system.probabilities[answered], system.thresholds, written)
    patients = truth.stays["subject_id"].to_numpy()[answered]
    scored = bootstrap(truth.gold[answered], {"model": part}, patients, replicates, seed, truth.eligible[answered])[
        "model"
    ]
    columns = {name: METRICS.index(name) for name in SCORES}
    return {name: interval(scored.value[i], scored.replicates[:, i]) for name, i in columns.items()}
