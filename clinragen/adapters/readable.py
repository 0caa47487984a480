"""What of a cohort's series may leave it: what was measured before the prediction time."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from clinragen.cohort.folder import Cohort


def until_prediction(cohort: Cohort) -> Cohort:
    """The cohort without the rows of its series whose hour begins at or after its stay's prediction time.

    A cohort that passes its audit has none; one that was changed since, or that another tool wrote, may have some.
    """
    window = cohort.stays.select(
        "stay_id", _hours=(pl.col("prediction_time") - pl.col("intime")).dt.total_milliseconds() / 3_600_000
    )
    rows = cohort.series.join(window, on="stay_id", how="left", maintain_order="left")
    before = rows.filter(pl.col("hour").cast(pl.Float64) < pl.col("_hours")).drop("_hours")
    if before.height == cohort.series.height:
        return cohort
    part = replace(cohort)
    vars(part)["series"] = before  # the cached property, whose value is read from the file otherwise
    return part
