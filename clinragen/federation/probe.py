"""The loss of a site's stays for one linear probe: its gradient, proximal steps, and what each patient adds to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import expit

from clinragen.stages.logistic import ElasticNet

_CAUTION = 2.0  # by how much steps are shorter than the first curvature allows: it grows as the model becomes sure
#: Share by which each step is pulled back to the round's start: the corrected loss of a site with few stays may have no
#: minimum, and then the sites would part, each along its own flat direction, and their mean would circle.
_PULL = 0.1


@dataclass(frozen=True)
class SiteProbe:
    """Mean loss of a site's stays for one linear probe, and steps that reduce it.

    Attributes:
        matrix: features [n, d].
        labels, eligible: [n, L].
        mean: of the features over all sites, float32 [d]; the weights act on what differs from it.
        net: what is penalised.
        penalty: its strength for a mean loss.
        curvature: mean over all sites of the largest curvature of a squared loss.
        rates: of the labels, [L].
    """

    matrix: csr_matrix | np.ndarray
    labels: np.ndarray
    eligible: np.ndarray
    mean: np.ndarray
    net: ElasticNet
    penalty: float
    curvature: float
    rates: np.ndarray

    def gradient(self, weights: np.ndarray) -> np.ndarray:
        """Of the mean loss by weights and offsets, float32 [d + 1, L]."""
        slopes = self.slopes(weights)
        total = slopes.sum(0)
        by_weight = np.asarray(self.matrix.T @ slopes) - np.outer(self.mean, total)
        return (np.vstack([by_weight, total[None]]) / max(len(slopes), 1)).astype(np.float32)

    def slopes(self, weights: np.ndarray) -> np.ndarray:
        """Derivative of each stay's loss by its logits, float32 [n, L]."""
        scores = np.asarray(self.matrix @ weights[:-1]) - self.mean @ weights[:-1] + weights[-1]
        return ((expit(scores) - self.labels) * self.eligible).astype(np.float32)

    def private_gradient(self, weights: np.ndarray, longest: float) -> np.ndarray:
        """Sum of the gradients of all stays, each no longer than a length, float64 [d + 1, L].

        The gradient of a stay is the product of its features and its slopes, and so is its length: no gradient of a
        single stay is ever made.
        """
        slopes = self.slopes(weights).astype(np.float64)
        squares = np.asarray(_squares(self.matrix)).ravel() - 2 * np.asarray(self.matrix @ self.mean).ravel()
        lengths = np.sqrt(np.maximum(squares + self.mean @ self.mean, 0) + 1) * np.linalg.norm(slopes, axis=1)
        slopes *= np.minimum(1, longest / np.maximum(lengths, 1e-30))[:, None]
        total = slopes.sum(0)
        return np.vstack([np.asarray(self.matrix.T @ slopes) - np.outer(self.mean, total), total[None]])

    def steps(self, weights: np.ndarray, gradient: np.ndarray, count: int) -> np.ndarray:
        """Weights after proximal steps along the mean gradient of all sites, corrected by the site's own change."""
        before, moved = self.gradient(weights), weights
        here = (self.labels * self.eligible).sum(0) / np.maximum(self.eligible.sum(0), 1)
        lengths = self._lengths(max(self.curvature, largest_curvature(self.matrix, self.mean)), here * (1 - here))
        for number in range(count):
            along = gradient + (self.gradient(moved) - before if number else 0)
            moved = self._step(moved, along, lengths)
            moved = ((1 - _PULL) * moved + _PULL * weights).astype(np.float32)
        return moved

    def private_step(self, weights: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Weights after one proximal step along a gradient; reads no row of the site."""
        return self._step(weights, gradient, self._lengths(self.curvature, 0.0))

    def _lengths(self, steepest: float, doubt_here: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """How far a step goes for weights and offsets of each label, float32 [L]: not too far for site or average."""
        doubt = _CAUTION * np.maximum(self.rates * (1 - self.rates), doubt_here)
        return (1 / (doubt * max(steepest, 1e-6))).astype(np.float32), (1 / doubt).astype(np.float32)

    def _step(self, weights: np.ndarray, along: np.ndarray, lengths: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        slopes = self.shrunk(weights[:-1] - lengths[0] * along[:-1], lengths[0])
        return np.vstack([slopes, weights[-1:] - lengths[1] * along[-1:]]).astype(np.float32)

    def shrunk(self, weights: np.ndarray, length: np.ndarray) -> np.ndarray:
        """The proximal step of the elastic net: groups of weights [d, L] become shorter, and short ones go."""
        groups = weights.reshape(-1, self.net.group, weights.shape[1])
        lengths = np.sqrt(np.square(groups).sum(1, keepdims=True))
        lasso = length * self.penalty * self.net.lasso * self.net.group**0.5
        shorter = groups * np.maximum(0, 1 - lasso / np.maximum(lengths, 1e-30))
        return (shorter / (1 + length * self.penalty * self.net.ridge)).reshape(weights.shape)


def largest_curvature(matrix: csr_matrix | np.ndarray, mean: np.ndarray | None = None, products: int = 15) -> float:
    """The largest eigenvalue of the features' second moments about a mean, by power iteration."""
    stays, width = matrix.shape[0], matrix.shape[1]  # type: ignore[index]
    if not stays:
        return 0.0
    centre = np.asarray(matrix.mean(0), dtype=np.float32).ravel() if mean is None else mean
    vector = np.random.default_rng(0).normal(size=width).astype(np.float32)
    for _ in range(products):
        vector /= max(float(np.linalg.norm(vector)), 1e-30)
        along = np.asarray(matrix @ vector) - centre @ vector
        vector = np.asarray(matrix.T @ along) - centre * along.sum()
    return float(np.linalg.norm(vector)) / stays


def _squares(matrix: csr_matrix | np.ndarray) -> np.ndarray:
    """Squared length of each row, [n]."""
    return np.asarray((matrix.multiply(matrix) if isinstance(matrix, csr_matrix) else matrix * matrix).sum(1))
