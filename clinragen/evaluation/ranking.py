"""Weighted area under the ROC and precision-recall curves of many labels at once, sorted only once.

A bootstrap computes the same two areas a thousand times with different weights. Sorting is the costly part and does not
depend on the weights, so :class:`Ranking` sorts once and computes each call from two cumulative sums.
"""

from __future__ import annotations

import numpy as np


class Ranking:
    """Scores of ``n`` samples for ``L`` labels, sorted once.

    Args:
        gold: [n, L] bool, the true labels.
        scores: [n, L] float, higher means more likely. Ties are counted as halves (ROC) or as one step (PR).
        eligible: [n, L] bool, the samples that count for each label; all where not given.

    >>> ranking = Ranking(np.array([[0], [1], [1]], bool), np.array([[0.1], [0.4], [0.2]]))
    >>> [area.tolist() for area in ranking(np.ones(3))]
    [[1.0], [1.0]]
    """

    def __init__(self, gold: np.ndarray, scores: np.ndarray, eligible: np.ndarray | None = None) -> None:
        if gold.shape != scores.shape or gold.ndim != 2:
            raise ValueError(f"gold {gold.shape} and scores {scores.shape} must both be [samples, labels]")
        self.labels = gold.shape[1]
        self.order = np.argsort(scores, axis=0, kind="stable").T  # [L, n], ascending
        counts = None if eligible is None or eligible.all() else eligible.T
        self.counts = None if counts is None else np.take_along_axis(counts, self.order, axis=1)
        ascending = np.take_along_axis(scores.T, self.order, axis=1)
        self.positive = np.take_along_axis(gold.T.astype(bool), self.order, axis=1)
        starts = np.ones_like(self.positive)
        starts[:, 1:] = ascending[:, 1:] != ascending[:, :-1]
        ends = np.ones_like(self.positive)
        ends[:, :-1] = starts[:, 1:]
        position = np.arange(gold.shape[0])[None, :]
        first = np.maximum.accumulate(np.where(starts, position, 0), axis=1)
        last = np.minimum.accumulate(np.where(ends, position, gold.shape[0])[:, ::-1], axis=1)[:, ::-1]
        # Both areas are sums over the positives, so only their tie groups are needed.
        self.label, self.column = np.nonzero(self.positive)
        self.first = first[self.label, self.column]
        self.after = last[self.label, self.column] + 1

    def __call__(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """AUROC and average precision, each [L]; NaN for a label without both classes.

        Args:
            weights: [n] non-negative sample weights, such as bootstrap counts.
        """
        sorted_weights = weights.astype(float)[self.order]
        if self.counts is not None:
            sorted_weights = sorted_weights * self.counts
        positive = np.where(self.positive, sorted_weights, 0.0)
        positives_before = _cumulative(positive)
        negatives_before = _cumulative(sorted_weights - positive)
        n_positive, n_negative = positives_before[:, -1], negatives_before[:, -1]
        weight = positive[self.label, self.column]
        below = (negatives_before[self.label, self.first] + negatives_before[self.label, self.after]) / 2
        true_positives = n_positive[self.label] - positives_before[self.label, self.first]
        false_positives = n_negative[self.label] - negatives_before[self.label, self.first]
        called = true_positives + false_positives
        precision = np.divide(true_positives, called, out=np.zeros_like(called), where=called > 0)
        both = (n_positive > 0) & (n_negative > 0)
        auroc = np.full(self.labels, np.nan)
        auprc = np.full(self.labels, np.nan)
        ranked = np.bincount(self.label, weight * below, self.labels)
        stepped = np.bincount(self.label, weight * precision, self.labels)
        np.divide(ranked, n_positive * n_negative, out=auroc, where=both)
        np.divide(stepped, n_positive, out=auprc, where=both)
        return auroc, auprc


def _cumulative(values: np.ndarray) -> np.ndarray:
    """[L, n] -> [L, n + 1]: the sum of all entries before each position."""
    return np.concatenate([np.zeros((values.shape[0], 1)), np.cumsum(values, axis=1)], axis=1)
