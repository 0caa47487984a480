"""Dates that an export cast to times: midnight then says nothing of the hour."""

from __future__ import annotations

from datetime import time

import polars as pl

from mimic_prep.accounting import Ledger
from mimic_prep.ingest import RawTables
from mimic_prep.tables import Table

MIDNIGHT = time(0)
_MOSTLY = 0.9


def are_dates(raw: RawTables, table: Table, column: str) -> bool:
    """Whether nearly all of the first times of a column are midnight.

    Args:
        raw: the export.
        table: of it; False if it is absent.
        column: canonical name of a column of times.
    """
    if not raw.locate(table):
        return False
    with raw.booked_in(Ledger()):  # its rows are counted when all of them are read
        first = next(raw.stream(table, lambda _: None), None)
    times = first[column].drop_nulls() if first is not None else pl.Series([], dtype=pl.Datetime("ms"))
    return int((times.dt.time() == MIDNIGHT).sum()) > _MOSTLY * len(times)
