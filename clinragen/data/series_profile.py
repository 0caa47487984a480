"""What the series of training stays look like together: which variables are measured, how often, how high, how steady.

Each stay is a row of three numbers for each variable: how often it was measured, its mean and its deviation over time.
A row's distance from those of training is that of a probabilistic PCA (Tipping & Bishop 1999): a Mahalanobis distance
whose covariance has the largest axes of the data and is round in all other directions, so that a few hundred stays
suffice. Rows of exchanged variables, of constants or of a template are far although each number alone may be usual.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from clinragen.data.dataset import StayDataset
from clinragen.shape import NUMBER, differs

FARTHEST = 5.0  # standard deviations: one strange number is not to outweigh all others
_LEAST_SPREAD = 0.05  # of a number that hardly varies among training stays
_FOLDS = 5
_DIGITS = 5  # of what is stored


@dataclass(frozen=True)
class SeriesProfile:
    """Averages, spreads and axes of the rows of training stays; no stay.

    Attributes:
        centre, spread: of each number, [3 x variables].
        axes: directions of the largest variances, [axes][3 x variables].
        variances: along these.
        rest: variance in every other direction.
    """

    centre: list[float]
    spread: list[float]
    axes: list[list[float]]
    variances: list[float]
    rest: float

    @classmethod
    def fit(cls, rows: np.ndarray) -> SeriesProfile:
        """From :func:`rows_of`, [n, 3 x variables]."""
        measured = np.isfinite(rows)
        counts = measured.sum(axis=0)
        centre = np.where(measured, rows, 0.0).sum(axis=0) / np.maximum(1, counts)
        squares = np.where(measured, (rows - centre) ** 2, 0.0).sum(axis=0)
        spread = np.maximum(np.sqrt(squares / np.maximum(1, counts)), _LEAST_SPREAD)
        begun = cls(centre.tolist(), spread.tolist(), [], [], 1.0)
        standard = begun._standard(rows)
        values, vectors = np.linalg.eigh(standard.T @ standard / max(1, len(rows)))
        many = values > values.mean()  # Kaiser's rule
        left = float(values[~many].mean()) if (~many).any() else 1.0
        return cls(
            _rounded(centre),
            _rounded(spread),
            [_rounded(axis) for axis in vectors[:, many].T],
            _rounded(values[many]),
            round(max(left, 0.01), _DIGITS),
        )

    def distances(self, rows: np.ndarray) -> np.ndarray:
        """How far each row is from those of training, [n]; about 1 for most of them."""
        standard = self._standard(rows)
        squares = (standard**2).sum(axis=1)
        if not self.axes:
            return np.sqrt(squares / self.rest / standard.shape[1])
        along = standard @ np.asarray(self.axes).T
        inside = (along**2 / np.maximum(np.asarray(self.variances), self.rest)).sum(axis=1)
        outside = np.maximum(squares - (along**2).sum(axis=1), 0.0) / self.rest
        return np.sqrt((inside + outside) / standard.shape[1])

    def _standard(self, rows: np.ndarray) -> np.ndarray:
        """In standard deviations; what is not known is usual."""
        standard = (rows - np.asarray(self.centre)) / np.asarray(self.spread)
        return np.clip(np.nan_to_num(standard), -FARTHEST, FARTHEST)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any, variables: int) -> SeriesProfile | None:
        """The profile of so many variables; None if it is damaged."""
        numbers = [NUMBER]
        shape = {"centre": numbers, "spread": numbers, "axes": [numbers], "variances": numbers, "rest": NUMBER}
        if differs(values, shape):
            return None
        rows = [values["centre"], values["spread"], *values["axes"]]
        sound = all(len(row) == 3 * variables for row in rows) and len(values["axes"]) == len(values["variances"])
        return cls(**{name: values[name] for name in shape}) if sound and values["rest"] > 0 else None


def rows_of(data: StayDataset) -> np.ndarray:
    """Of each stay, for each variable: how often it was measured, its mean, its deviation; [n, 3 x variables].

    The first is the root of the share of the bins, the others are of standardised values, nan where there are too few.
    """
    counts = data.observed.sum(axis=2)
    sums = (data.values * data.observed).sum(axis=2)
    squares = (data.values**2 * data.observed).sum(axis=2)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    variances = np.where(counts > 2, squares / np.maximum(counts, 1) - np.nan_to_num(means) ** 2, np.nan)
    often = np.sqrt(counts / data.observed.shape[2])
    return np.concatenate([often, means, np.sqrt(np.maximum(variances, 0.0))], axis=1)


def held_out_distances(rows: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """The distance of each row from those of other patients, [n]: rows that were fitted are nearer than new ones."""
    distances = np.zeros(len(rows))
    _, owner = np.unique(patients, return_inverse=True)
    fold = owner % _FOLDS
    for number in range(_FOLDS):
        mine = fold == number
        others = rows[~mine] if (~mine).any() else rows
        distances[mine] = SeriesProfile.fit(others).distances(rows[mine])
    return distances


def _rounded(values: np.ndarray) -> list[float]:
    return values.round(_DIGITS).tolist()
