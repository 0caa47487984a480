"""How far raters agree: intraclass correlation and Krippendorff's alpha."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from clinragen.errors import missing_extra
from clinragen.rating.criteria import SCALE


class Icc(NamedTuple):
    """Intraclass correlations of absolute agreement, raters and targets drawn at random; NaN where undefined.

    Attributes:
        single: ICC(2,1), of one rater's rating.
        average: ICC(2,k), of the mean of all k raters.
    """

    single: float
    average: float


_UNDEFINED = Icc(float("nan"), float("nan"))


def icc(ratings: np.ndarray) -> Icc:
    """ICC(2,1) and ICC(2,k) of Shrout & Fleiss, Psychological Bulletin 86 (1979) 420-428.

    They are ICC(A,1) and ICC(A,k) of McGraw & Wong, Psychological Methods 1 (1996) 30-46: from a two-way analysis of
    variance with mean squares between targets (BMS), between raters (JMS) and of the residual (EMS).

    Args:
        ratings: [n, k] of n targets by k raters, without missing values.

    >>> ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    >>> [round(value, 2) for value in icc(np.array(ratings))]  # table 2 and 4 of Shrout & Fleiss
    [0.29, 0.62]
    """
    n, k = ratings.shape
    if n < 2 or k < 2:
        return _UNDEFINED
    values = ratings.astype(float)
    mean, by_target, by_rater = values.mean(), values.mean(axis=1), values.mean(axis=0)
    bms = k * ((by_target - mean) ** 2).sum() / (n - 1)
    jms = n * ((by_rater - mean) ** 2).sum() / (k - 1)
    residual = values - by_target[:, None] - by_rater[None, :] + mean
    ems = (residual**2).sum() / ((n - 1) * (k - 1))
    single, average = bms + (k - 1) * ems + k * (jms - ems) / n, bms + (jms - ems) / n
    tiny = 1e-12
    return Icc(
        float((bms - ems) / single) if abs(single) > tiny else float("nan"),
        float((bms - ems) / average) if abs(average) > tiny else float("nan"),
    )


def alpha(ratings: np.ndarray) -> float:
    """Krippendorff's alpha for ordinal ratings from 1 to 5; NaN where it is undefined.

    Args:
        ratings: [n, k] of n targets by k raters; NaN where a rater gave none.

    Raises:
        UserError: the library is not installed.
    """
    return alpha_of_counts(counts(ratings))


def counts(ratings: np.ndarray) -> np.ndarray:
    """How many raters gave each point of the scale: [n, k] with NaN -> [n, 5]."""
    return np.stack([(ratings == point).sum(axis=1) for point in SCALE], axis=1)


def alpha_of_counts(given: np.ndarray) -> float:
    """The same from :func:`counts`, by the library ``krippendorff``."""
    try:
        import krippendorff
    except ImportError:
        raise missing_extra("Krippendorff's alpha", "rate") from None
    paired = given[given.sum(axis=1) >= 2]
    if len(paired) == 0 or (paired.sum(axis=0) > 0).sum() < 2:  # nothing to compare, or one value throughout
        return float("nan")
    return float(krippendorff.alpha(value_counts=paired, value_domain=SCALE, level_of_measurement="ordinal"))
