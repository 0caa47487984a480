"""Mortality: whether the patient dies in this hospital stay, asked of those who are in intensive care and alive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clinragen.label_sets import LabelSet, Phenotype
from clinragen.tasks import ListWording, Task, in_intensive_care

if TYPE_CHECKING:
    import polars as pl

    from clinragen.cohort.folder import Cohort

LABELS = LabelSet("mortality", (Phenotype("in_hospital_death", "in-hospital death", kind="acute"),))


def table(cohort: Cohort) -> pl.DataFrame:
    """stay_id and ``in_hospital_death``; null where the patient left the ICU or died before, or the end is unknown."""
    import polars as pl

    died = cohort.outcomes.select("stay_id", "died_in_hospital")
    stays = in_intensive_care(cohort).join(died, on="stay_id", how="left", maintain_order="left")
    return stays.select("stay_id", in_hospital_death=pl.when("eligible").then("died_in_hospital"))


def least_of_sensitivity_and_precision(gold: np.ndarray, probabilities: np.ndarray, threshold: float) -> float:
    """Event 1 of the PhysioNet/CinC Challenge 2012 (Silva et al. 2012): the smaller of sensitivity and precision.

    >>> gold = np.array([True, True, False, False])
    >>> least_of_sensitivity_and_precision(gold, np.array([0.9, 0.2, 0.8, 0.1]), 0.5)
    0.5
    """
    flagged = probabilities >= threshold
    hits = float((flagged & gold).sum())
    return float(min(hits / gold.sum(), hits / flagged.sum())) if gold.any() and flagged.any() else 0.0


TASK = Task(
    name="mortality",
    summary="Will the patient die in this hospital stay?",
    label_set=lambda cohort: LABELS,
    table=table,
    available=lambda cohort: cohort.paths.outcomes.exists(),
    wording=ListWording("Outcome", "discharged alive"),
    scorers={"min(Se, +P)": least_of_sensitivity_and_precision},
    panel="Mortality",
)
