"""Dates that an export cast to times: midnight then says nothing of the hour."""

from __future__ import annotations

from dataclasses import replace
from datetime import time

from mimic_prep.ingest import RawTables
from mimic_prep.tables import Table

MIDNIGHT = time(0)
_MOSTLY = 0.9
_FIRST = 1 << 16  # rows that tell


def are_dates(raw: RawTables, table: Table, column: str) -> bool:
    """Whether nearly all of the first times of a column are midnight.

    Args:
        raw: the export.
        table: of it; False if it is absent.
        column: canonical name of a column of times.
    """
    columns = {name: about for name, about in table.columns.items() if about.required or name == column}
    times = raw.first_rows(replace(table, columns=columns), _FIRST)[column].drop_nulls()
    return int((times.dt.time() == MIDNIGHT).sum()) > _MOSTLY * len(times)
