"""Logistic regressions of all labels at once, ridge or elastic net, by Newton's method with conjugate gradients.

All in 32 bits.
The cost of a fit is its products with the features. Each product serves all labels that have not converged. A fit needs
a few dozen of them; a quasi-Newton method over all labels needs over a hundred, since one step size must suit the
curvature of rare and common labels. The features are centred, in the products and not in memory, so that the
unpenalised intercept does not make the problem ill-conditioned.

An elastic net over groups of weights is a ridge that is weighed anew a few times (iteratively reweighted least squares;
Daubechies et al. 2010): sqrt(G) * |w_g| is majorised by a square, whose weight is large where the group is small. So
few groups are left, and a prediction rests on few things.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_matrix, issparse
from torch import Tensor

#: A label has converged when a whole Newton step would move its logits by less than this: the root mean square over
#: the stays, each weighted by how uncertain it is. The step is still taken, so the remaining error is smaller.
TOLERANCE = 1e-3
NEWTON_STEPS, PRODUCTS = 30, 60  # at most: steps, and products with the curvature within one
FORCING = 0.1  # relative residual of a step; more precise steps cost more than they save
ROUNDS = 3  # of weighing a ridge anew; six leave a fifth fewer weights and predict no better
#: Beside the largest group of a label, how long a group is that counts as gone while the ridge is weighed anew, and at
#: the end.
_SMALL, _GONE = 1e-3, 1e-2


class Features:
    """Centred features of n stays [n, d], with their products with weights and with slopes.

    Args:
        read: sparse, or dense.
    """

    def __init__(self, matrix: csr_matrix | np.ndarray):
        self.sparse = issparse(matrix)
        if self.sparse:
            self.rows = csr_matrix(matrix, dtype=np.float32)
            self.columns = csr_matrix(self.rows.T)
            mean = np.asarray(self.rows.mean(0)).ravel()
            squares = np.asarray(self.rows.multiply(self.rows).sum(0)).ravel()
        else:
            self.dense = torch.from_numpy(np.ascontiguousarray(matrix, dtype=np.float32))
            mean, squares = self.dense.mean(0).numpy(), torch.linalg.vector_norm(self.dense, dim=0).square().numpy()
        self.shape: tuple[int, int] = (matrix.shape[0], matrix.shape[1])  # type: ignore[index]
        self.mean = torch.from_numpy(mean.astype(np.float32))
        spread = squares - len(self) * mean**2
        self.spread = torch.from_numpy(np.maximum(spread, 0).astype(np.float32))  # sum of squares about the mean, [d]

    def __len__(self) -> int:
        return self.shape[0]

    def scores(self, weights: Tensor) -> Tensor:
        """[n, L] of weights [d, L]."""
        product = torch.from_numpy(self.rows @ weights.numpy()) if self.sparse else self.dense @ weights
        return product.sub_(self.mean @ weights)

    def gradient(self, slopes: Tensor) -> Tensor:
        """[d, L] of slopes [n, L]."""
        product = torch.from_numpy(self.columns @ slopes.numpy()) if self.sparse else self.dense.T @ slopes
        return product.sub_(torch.outer(self.mean, slopes.sum(0)))


@contextmanager
def every_core() -> Iterator[None]:
    """Use all available cores for large products, also if training used fewer threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or 0) or len(os.sched_getaffinity(0)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class ElasticNet:
    """Penalties beside the strength that both are multiplied by.

    Attributes:
        ridge: of the squared weights, half.
        lasso: of the length of each group, times the root of its size.
        group: number of neighbouring features of a group.
    """

    ridge: float
    lasso: float
    group: int = 1


def fit_elastic_net(
    features: Features,
    labels: np.ndarray,
    penalty: float,
    net: ElasticNet,
    done: Callable[[int], object] = lambda count: None,
    counts: np.ndarray | None = None,
) -> np.ndarray:
    """Elastic-net logistic regressions: float32 [d + 1, L], the last row the intercepts; groups that are gone are 0.

    Args:
        features: of the n stays, [n, d]; d is a multiple of the group size.
        labels: [n, L], 0 or 1.
        penalty: strength.
        net: what it penalises.
        done: called with the number of converged labels after each step.
        counts: [n, L], how much each stay counts for each label, none less than 0; all by 1 by default.
    """
    weights = fit_logistic(features, labels, penalty, None, done, counts)
    for _ in range(ROUNDS):
        lengths, longest = _lengths(weights, net.group)
        ridge = penalty * (net.ridge + net.lasso * net.group**0.5 / (lengths + _SMALL * longest).clamp_min(1e-9))
        weights = fit_logistic(features, labels, ridge, weights, done, counts)
    lengths, longest = _lengths(weights, net.group)
    weights[:-1][(lengths <= _GONE * longest).numpy()] = 0
    return weights


def _lengths(weights: np.ndarray, group: int) -> tuple[Tensor, Tensor]:
    """Length of each weight's group, [d, L], and of the longest group of each label, [L]."""
    slopes = torch.from_numpy(weights[:-1])
    lengths = slopes.reshape(-1, group, slopes.shape[1]).norm(dim=1)
    longest = lengths.amax(0) if len(lengths) else slopes.new_zeros(slopes.shape[1])
    return lengths.repeat_interleave(group, dim=0), longest


@torch.no_grad()
def fit_logistic(
    features: Features,
    labels: np.ndarray,
    penalty: float | Tensor,
    start: np.ndarray | None = None,
    done: Callable[[int], object] = lambda count: None,
    counts: np.ndarray | None = None,
) -> np.ndarray:
    """Ridge logistic regressions: float32 [d + 1, L], the last row the intercepts.

    Args:
        features: of the n stays, [n, d].
        labels: [n, L], 0 or 1.
        penalty: half of it times the squared weights is added to the summed loss; one for all, or one each, [d, L].
        start: initial weights; by default zero, with intercepts from the label shares.
        done: called with the number of converged labels after each step.
        counts: [n, L], how much each stay counts for each label, none less than 0; all by 1 by default.
    """
    truth = torch.from_numpy(labels.astype(np.float32))
    weighed = None if counts is None or (counts == 1).all() else torch.from_numpy(counts.astype(np.float32))
    if start is None:
        share = truth.mean(0) if weighed is None else (truth * weighed).sum(0) / weighed.sum(0).clamp_min(1)
        share = share.clamp(0.5 / len(truth), 1 - 0.5 / len(truth))
        weights, offsets = torch.zeros(features.shape[1], truth.shape[1]), share.logit()
    else:
        weights = torch.from_numpy(start[:-1].astype(np.float32))
        offsets = torch.from_numpy(start[-1].astype(np.float32)) + features.mean @ weights
    scores = features.scores(weights) + offsets
    active = torch.arange(truth.shape[1])
    ridge = torch.as_tensor(penalty, dtype=torch.float32).expand_as(weights)
    for _ in range(NEWTON_STEPS):
        target, reached = truth[:, active], scores[:, active]
        those = None if weighed is None else weighed[:, active]
        step, move, size = _newton(features, weights[:, active], reached, target, ridge[:, active], those)
        length = _line_search(reached, move, target, weights[:, active], step[:-1], ridge[:, active], those)
        weights[:, active] += length * step[:-1]
        offsets[active] += length * step[-1]
        scores[:, active] += length * move
        active = active[(size > TOLERANCE) & (length > 0)]
        done(truth.shape[1] - len(active))
        if not len(active):
            break
    return torch.cat([weights, (offsets - features.mean @ weights)[None]]).numpy()


def _newton(
    features: Features, weights: Tensor, scores: Tensor, target: Tensor, penalty: Tensor, counts: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """A step [d + 1, L], the change of the logits by it [n, L], and the size of that change [L]."""
    chance = scores.sigmoid()
    slopes = chance - target
    doubt = (chance * (1 - chance)).clamp_min(1e-7)
    if counts is not None:
        slopes, doubt = slopes * counts, doubt * counts.clamp_min(1e-7)  # a label without stays does not move
    total = doubt.sum(0)
    residual = -torch.cat([features.gradient(slopes) + penalty * weights, slopes.sum(0)[None]])
    # the diagonal of the curvature, as if all stays were equally uncertain
    scale = torch.cat([features.spread[:, None] * (total / len(scores)) + penalty, total[None]])
    step, move = torch.zeros_like(residual), torch.zeros_like(scores)
    direction = residual / scale
    left = first = (residual * direction).sum(0)
    size = (first / total).sqrt()
    for _ in range(PRODUCTS):
        going = left > FORCING**2 * first
        if not going.any():
            break
        ahead = features.scores(direction[:-1]) + direction[-1]
        bent = doubt * ahead
        curved = torch.cat([features.gradient(bent) + penalty * direction[:-1], bent.sum(0)[None]])
        length = torch.where(going, left / (direction * curved).sum(0).clamp_min(1e-30), 0)
        step += length * direction
        move += length * ahead
        residual -= length * curved
        after = (residual * residual / scale).sum(0)
        direction = torch.where(going, residual / scale + (after / left.clamp_min(1e-30)) * direction, direction)
        left = torch.where(going, after, left)
    size = ((doubt * move.square()).sum(0) / total).sqrt()
    return step, move, size


def _line_search(
    scores: Tensor, move: Tensor, target: Tensor, weights: Tensor, step: Tensor, penalty: Tensor, counts: Tensor | None
) -> Tensor:
    """Step length for each label that reduces its loss, [L]: 1, a half, a quarter and so on; 0 for none."""
    inner, square = (penalty * weights * step).sum(0), (penalty / 2 * step.square()).sum(0)

    def change(length: Tensor) -> Tensor:
        moved = scores + length * move
        grown = torch.nn.functional.softplus(moved) - torch.nn.functional.softplus(scores) - target * length * move
        grown = grown if counts is None else grown * counts
        return grown.sum(0, dtype=torch.float64) + length * inner + length.square() * square

    length = torch.ones(scores.shape[1])
    for _ in range(12):
        worse = change(length) > 0
        if not worse.any():
            break
        length = torch.where(worse, length / 2, length)
    return torch.where(change(length) > 0, 0, length)
