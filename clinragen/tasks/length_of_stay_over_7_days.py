"""Long stay: whether the ICU stay lasts more than 7 days, as in MIMIC-Extract (Wang et al. 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clinragen.label_sets import LabelSet, Phenotype
from clinragen.tasks import ListWording, Task, in_intensive_care

if TYPE_CHECKING:
    import polars as pl

    from clinragen.cohort.folder import Cohort

DAYS = 7
KEY = "icu_stay_over_7_days"
LABELS = LabelSet("length of stay", (Phenotype(KEY, "icu stay over 7 days"),))


def table(cohort: Cohort) -> pl.DataFrame:
    """stay_id and the label; null where the patient had left the ICU or died, or the end of the stay is unknown."""
    import polars as pl

    stays = cohort.stays.join(in_intensive_care(cohort), on="stay_id", maintain_order="left")
    longer = pl.col("outtime") - pl.col("intime") > pl.duration(days=DAYS)
    return stays.select("stay_id", pl.when("eligible").then(longer).alias(KEY))


TASK = Task(
    name="length_of_stay_over_7_days",
    summary="Will the ICU stay last more than 7 days?",
    label_set=lambda cohort: LABELS,
    table=table,
    wording=ListWording("Outcome", "icu stay of at most 7 days"),
    panel="Length of stay",
)
