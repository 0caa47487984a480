"""What a cohort's orders of drugs say at the prediction time, and what was started after it.

Whatever a model reads of ``orders.parquet`` goes through ``readable``; labels of tasks are made by ``new_starts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from clinragen.cohort.folder import Cohort

PRESCRIBED = ("order", "infusion")


def readable(cohort: Cohort) -> pl.DataFrame:
    """The orders that were entered and had started before the prediction time, in the columns of ``schema.ORDERS``.

    Where a source does not say when an order was entered, its start counts. A stop from the prediction time on is null:
    it was not known.

    Raises:
        UserError: the cohort has no orders.
    """
    rows = _timed(cohort).filter(pl.max_horizontal("known", "start") < pl.col("prediction_time"))
    stopped = pl.when(pl.col("stop") < pl.col("prediction_time")).then("stop")
    return rows.with_columns(stop=stopped).select(cohort.orders.columns)


def in_force(cohort: Cohort) -> pl.DataFrame:
    """Of the readable orders, those of the hospital that had not ended at the prediction time."""
    return readable(cohort).filter(pl.col("kind").is_in(PRESCRIBED) & pl.col("stop").is_null())


def new_starts(cohort: Cohort, hours: float = 24) -> pl.DataFrame:
    """stay_id, drug_class, start: classes that were first started within ``hours`` of the prediction time.

    A class that was started or ordered before the prediction time is none of them, whether or not it was in force then.

    Raises:
        UserError: the cohort has no orders.
    """
    rows = _timed(cohort).filter(pl.col("kind").is_in(PRESCRIBED)).drop_nulls("drug_class")
    first = rows.group_by("stay_id", "drug_class").agg(
        pl.col("start").min(), pl.col("known").min(), pl.col("prediction_time").first()
    )
    since = pl.col("start") - pl.col("prediction_time")
    new = (pl.col("known") >= pl.col("prediction_time")) & since.is_between(
        pl.duration(), pl.duration(minutes=round(60 * hours)), closed="left"
    )
    return first.filter(new).select("stay_id", "drug_class", "start").sort("stay_id", "drug_class")


def already_ordered(cohort: Cohort) -> pl.DataFrame:
    """stay_id, drug_class: classes that were ordered or started before the prediction time, each once.

    Also those that nobody could know of then, since they were entered later: they are no new start either.

    Raises:
        UserError: the cohort has no orders.
    """
    rows = _timed(cohort).filter(pl.col("kind").is_in(PRESCRIBED)).drop_nulls("drug_class")
    before = rows.filter(pl.min_horizontal("known", "start") < pl.col("prediction_time"))
    return before.select("stay_id", "drug_class").unique().sort("stay_id", "drug_class")


def by_class(rows: pl.DataFrame, stay_ids: np.ndarray, keys: Sequence[str]) -> np.ndarray:
    """Which classes the rows name for each stay, bool [stays, classes]; other stays and classes are passed over.

    Args:
        rows: stay_id and drug_class; several of a pair count once.
        stay_ids: the stays, in any order.
        keys: the classes, in the order of the columns.
    """
    wide = np.zeros((len(stay_ids), len(keys)), dtype=bool)
    row = {stay: number for number, stay in enumerate(stay_ids.tolist())}
    column = {key: number for number, key in enumerate(keys)}
    for stay, key in rows.select("stay_id", "drug_class").unique().iter_rows():
        if stay in row and key in column:
            wide[row[stay], column[key]] = True
    return wide


def _timed(cohort: Cohort) -> pl.DataFrame:
    """All orders with ``prediction_time`` and ``known``: when an order was entered, or else when it started."""
    times = cohort.stays.select("stay_id", "prediction_time")
    rows = cohort.orders.join(times, on="stay_id", how="left", maintain_order="left")
    return rows.with_columns(known=pl.coalesce("entered", "start"))
