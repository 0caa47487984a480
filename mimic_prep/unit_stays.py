"""Stays from the transfers of patients: adjacent rows in units of intensive care are one stay."""

from __future__ import annotations

from datetime import timedelta

import polars as pl


def merged(rows: pl.DataFrame, by: list[str], gap: timedelta) -> pl.DataFrame:
    """One row for each run of rows of the same ``by`` that overlap, or are at most ``gap`` apart.

    The order of ``rows`` does not matter. If a row of a run has no end, the run has none.

    Args:
        rows: ``by``, start, end, and others.
        by: columns of the patient and the admission.
        gap: the longest pause within a stay.

    Returns:
        The columns of the first row of each run, with the run's ``end`` and ``rows``, how many were merged.

    >>> from datetime import datetime
    >>> hour = lambda number: datetime(2024, 1, 1, number)
    >>> rows = pl.DataFrame({"who": [1, 1, 1], "start": [hour(8), hour(9), hour(12)], "end": [hour(9), hour(10), None]})
    >>> merged(rows, ["who"], timedelta(minutes=1)).select("start", "end", "rows").rows()[0]
    (datetime.datetime(2024, 1, 1, 8, 0), datetime.datetime(2024, 1, 1, 10, 0), 2)
    """
    others = [name for name in rows.columns if name not in (*by, "start", "end")]
    rows = rows.sort(*by, "start", "end", *others, nulls_last=True)
    forever = pl.lit(rows["start"].max()).cast(rows.schema["end"]) + timedelta(days=1)
    until = pl.col("end").fill_null(forever)
    rows = rows.with_columns(before=until.cum_max().shift(1).over(by))
    begins = (pl.col("before").is_null() | (pl.col("start") > pl.col("before") + gap)).cast(pl.Int64)
    rows = rows.with_columns(begins=begins).with_columns(run=pl.col("begins").cum_sum().over(by))
    is_open = pl.col("end").is_null().any()
    return rows.group_by(*by, "run", maintain_order=True).agg(
        pl.col("start").first(),
        pl.when(is_open).then(None).otherwise(pl.col("end").max()).alias("end"),
        *(pl.col(name).first() for name in others),
        rows=pl.len(),
    ).drop("run")  # fmt: skip
