"""The axes along which rows differ most."""

from __future__ import annotations

import numpy as np

AXES = 64  # at most: of series as good as all summaries, and an eighth of the work
FARTHEST = 4.0  # standard deviations: one extreme value is not to outweigh all others


def principal_axes(rows: np.ndarray, most: int = AXES) -> np.ndarray:
    """The first principal axes of standardised rows, float32 [features, axes], the largest part of each positive.

    Args:
        rows: [n, features], about 0.
        most: how many, at most.
    """
    variances, axes = np.linalg.eigh(rows.T.astype(np.float64) @ rows)
    first = np.argsort(-variances, kind="stable")[:most]
    return _signed(axes[:, first]).astype(np.float32)


def _signed(axes: np.ndarray) -> np.ndarray:
    """Each axis so that its largest part is positive: a library may give either sign."""
    largest = np.abs(axes).argmax(0)
    return axes * np.sign(axes[largest, np.arange(axes.shape[1])])
