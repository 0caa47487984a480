"""How much each modality counts: weights of a sum of similarities, by the label overlap of validation stays.

As hybrid retrieval over modalities does (arXiv 2407.00978): the first candidates of each modality are put together and
ordered by the weighted sum of their similarities. A weight may be 0.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

#: Weights of a modality beside that of the labels, which is 1 or 0.
GRID = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
#: Usual weight of each other modality beside it. On validation stays of the eICU demo and of the synthetic hospital
#: .01 to .03 share most labels, by little; and neighbours with the same labels are then those with the like charts.
USUAL = 0.02
#: Standard errors by which others must be better: there are hundreds, of which some are better by two by chance.
CERTAIN = 3.0
NEIGHBOURS = 10


@dataclass(frozen=True)
class Judged:
    """The candidates of one validation stay.

    Attributes:
        similarities: of each candidate by each modality, [candidates, modalities]; candidates in the order of rows.
        overlap: Jaccard index of its labels with those of the stay, [candidates].
    """

    similarities: np.ndarray
    overlap: np.ndarray


def jaccard(labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Jaccard index of a stay's labels with those of others; 0 where neither has any.

    Args:
        labels: bool [L].
        others: bool [n, L].
    """
    both = (others & labels).sum(1)
    return both / np.maximum((others | labels).sum(1), 1)


def fit_weights(
    stays: Sequence[Judged], names: Sequence[str], scale: str | None, apart: Collection[str] = ()
) -> dict[str, float]:
    """The weights under which the first neighbours of validation stays share most labels with them.

    The best of hundreds of weights is often the best by chance. So the usual weights are kept unless others are better
    by more than ``CERTAIN`` standard errors of the difference over the stays.

    Args:
        stays: their candidates.
        names: of the modalities, in the order of the columns.
        scale: the modality whose weight is 1 or 0, so that sums are not tried twice; None: there is none.
        apart: modalities that are varied while the others have their usual weight, and the other way round: all
            weights of six are tens of thousands.

    Returns:
        Weights that sum to 1.
    """
    padded = _Padded.of(stays)
    usual = np.array([1.0 if scale in (None, name) else USUAL for name in names])
    before = padded.overlap(usual)
    chosen, gained = usual, 0.0
    for weights in _grid(names, scale, apart):
        gains = padded.overlap(weights) - before
        error = gains.std() / len(gains) ** 0.5
        if gains.mean() > max(gained, CERTAIN * error, 1e-9):
            chosen, gained = weights, float(gains.mean())
    return {name: round(float(weight), 6) for name, weight in zip(names, chosen / chosen.sum(), strict=True)}


def _grid(names: Sequence[str], scale: str | None, apart: Collection[str]) -> Iterator[np.ndarray]:
    for varied in ({*names} - {*apart}, {*names} & {*apart}):
        choices = [(1.0, 0.0) if name == scale else GRID if name in varied else (USUAL,) for name in names]
        yield from (np.array(weights) for weights in product(*choices) if varied and any(weights))


@dataclass(frozen=True)
class _Padded:
    """Candidates of all stays as arrays, so that a point of the grid is one product."""

    similarities: np.ndarray  # [stays, candidates, modalities]
    overlaps: np.ndarray  # [stays, candidates]
    absent: np.ndarray  # bool [stays, candidates]

    @classmethod
    def of(cls, stays: Sequence[Judged]) -> _Padded:
        most = max(NEIGHBOURS, *(len(stay.overlap) for stay in stays))
        shape = len(stays), most
        similarities = np.zeros((*shape, stays[0].similarities.shape[1]))
        overlaps, absent = np.zeros(shape), np.ones(shape, dtype=bool)
        for row, stay in enumerate(stays):
            count = len(stay.overlap)
            similarities[row, :count], overlaps[row, :count], absent[row, :count] = (
                stay.similarities,
                stay.overlap,
                False,
            )
        return cls(similarities, overlaps, absent)

    def overlap(self, weights: np.ndarray) -> np.ndarray:
        """Mean overlap of each stay with its first neighbours under some weights, [stays]."""
        scores = (self.similarities @ weights).round(10)
        scores -= 1e-14 * np.arange(scores.shape[1])  # of equal ones the first
        scores[self.absent] = -np.inf
        nearest = np.argpartition(-scores, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        return np.take_along_axis(self.overlaps, nearest, 1).mean(1)
