"""How well scores order the stays of a cohort that happens to have the labels. For evaluation only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from clinragen.evaluation.diagnosis import interval, patient_bootstrap
from clinragen.evaluation.ranking import Ranking

FEW = 5  # stays with a label, below which it does not count in the mean
REPLICATES = 1000


def evaluate(
    gold: np.ndarray, scores: Mapping[str, np.ndarray], patients: np.ndarray, keys: list[str]
) -> dict[str, Any]:
    """AUROC of each label and their mean, with intervals that resample patients.

    Args:
        gold: labels of the stays, bool [n, L].
        scores: by name, [n, L]; NaN counts as 0, the mean of the training stays.
        patients: whose each stay is, [n].
        keys: of the labels.
    """
    draws = np.stack([np.ones(len(gold)), *patient_bootstrap(patients, REPLICATES, 0)])
    some = gold.sum(0) >= FEW
    labels: dict[str, Any] = {key: {"stays": int(count)} for key, count in zip(keys, gold.sum(0), strict=True)}
    means: dict[str, Any] = {}
    for name, values in scores.items():
        ranking = Ranking(gold, np.nan_to_num(values))
        areas = np.stack([ranking(weights)[0] for weights in draws])
        for column, key in enumerate(keys):
            labels[key][name] = interval(float(areas[0, column]), areas[1:, column])
        if some.any():
            macro = np.array([np.nanmean(row) if not np.isnan(row).all() else np.nan for row in areas[:, some]])
            means[name] = interval(float(macro[0]), macro[1:])
    return {"macro_auroc": means, "labels_counted": int(some.sum()), "least_stays": FEW, "labels": labels}
