"""Attribution: which concepts, variables and hours a diagnosis rests on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError


def chosen_stays(
    cohort: Cohort, split: str, stays: Sequence[int] = (), diagnoses: Sequence[str] = (), limit: int | None = None
) -> np.ndarray:
    """The stays to explain, by ascending id: the given ones, or those of a split.

    Args:
        cohort: cohort of the stays.
        split: used if no stays are given.
        stays: stay ids.
        diagnoses: phenotypes to explain, each by any of its names.
        limit: only the first stays of a split.

    Raises:
        UserError: a stay that is not in the cohort, or an unknown phenotype or split.
    """
    for name in diagnoses:
        cohort.label_set.find(name)
    cohort_stays = set(cohort.stays["stay_id"].to_list())
    for stay in stays:
        if stay not in cohort_stays:
            raise UserError(f"stay {stay} is not in {cohort.paths.stays}")
    return np.unique(np.asarray(stays, dtype=np.int64)) if stays else cohort.split(split)[:limit]
