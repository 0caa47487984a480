"""Rows that qualify other rows of a table: the specimen of a blood gas, and bladder irrigation before urine output.

Such rows are passed along with the measurements, with negative numbers in place of a variable, until all rows of a stay
are together.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from clinragen.catalog import Variable, specimen, variables
from mimic_prep.items import items_of

#: Codes in the column ``variable`` of rows that are no measurements. The value of ``SPECIMEN`` is its level; the
#: priority of the other two is their variable.
SPECIMEN, FLOWED_IN, FLOWED_OUT = -1, -2, -3
BIN_SECONDS = 3600
_MOMENT = ["stay", "second"]
_OTHER_BLOOD = "gas of another specimen than arterial blood: left out"
_NET = "irrigation and urine of an hour: the difference stands"
_NO_NET = "irrigation whose urine cannot be told: left out"


def companions(release: str, table: str) -> dict[int, tuple[int, int]]:
    """Item id -> ``variable`` and ``priority`` of the qualifying rows."""
    qualifying: dict[int, tuple[int, int]] = dict.fromkeys(
        specimen().items.get(release, {}).get(table, ()), (SPECIMEN, 0)
    )
    for index, variable in enumerate(variables().values()):
        ways = variable.irrigation.get(release, {}).get(table, {})
        qualifying |= dict.fromkeys(ways.get("in", ()), (FLOWED_IN, index))
        qualifying |= dict.fromkeys(ways.get("out", ()), (FLOWED_OUT, index))
    return qualifying


class Qualifier:
    """Applies qualifying rows to the measurements of a table.

    Call it with all rows (``events.EVENTS``, and perhaps ``specimen``) of some stays; it returns measurements only, and
    remarks with row counts.
    """

    def __init__(self, release: str, table: str) -> None:
        self._companions = bool(companions(release, table))
        analyser = set(specimen().analyser.get(release, {}).get(table, ()))
        self._level = np.full((len(variables()), 256), 99, dtype=np.int8)  # least specimen level that excludes a value
        for index, variable in enumerate(variables().values()):
            for priority, item in enumerate(items_of(variable, release, table)):
                if item in analyser:
                    self._level[index, priority] = _level(variable)

    def __call__(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, Counter[str]]:
        """The valid measurements among ``rows``, and the number of rows for each remark."""
        remarks: Counter[str] = Counter()
        if self._companions:
            kind = rows["variable"]
            if (kind == SPECIMEN).any():
                rows = self._of_blood(rows, remarks)
            if (kind <= FLOWED_IN).any():
                rows = _net(rows, remarks)
        return rows.drop("specimen", strict=False), remarks

    def _of_blood(self, rows: pl.DataFrame, remarks: Counter[str]) -> pl.DataFrame:
        specimens, values = rows.filter(pl.col("variable") == SPECIMEN), rows.filter(pl.col("variable") != SPECIMEN)
        index, priority = (values[name].to_numpy() for name in ("variable", "priority"))
        bearable = np.where(index >= 0, self._level[np.maximum(index, 0), priority & 255], 99)
        gases = np.flatnonzero(bearable < 99)
        lost = gases[_levels(values[gases], specimens) >= bearable[gases]]
        if len(lost):
            remarks[_OTHER_BLOOD] += len(lost)
            values = values.filter(~pl.Series(np.isin(np.arange(values.height), lost)))
        return values


def _level(variable: Variable) -> int:
    return 1 if variable.arterial else 2


def _levels(gases: pl.DataFrame, specimens: pl.DataFrame) -> np.ndarray:
    """The specimen level of each gas, 0 if unknown: by its specimen id, or without one by its minute.

    If several rows state it, the last known one counts; several at the same time may belong to several samples.
    """
    if "specimen" not in gases.columns:
        gases, specimens = (rows.with_columns(specimen=pl.lit(None, dtype=pl.Int64)) for rows in (gases, specimens))
    by_specimen = _last_known(specimens.drop_nulls("specimen"), ["stay", "specimen"])
    without = specimens.filter(pl.col("specimen").is_null())
    of_gas = gases.select(*_MOMENT, "specimen")
    levels = of_gas.join(by_specimen, on=["stay", "specimen"], how="left", maintain_order="left")["value"]
    for rows, who in ((without, pl.lit(True)), (specimens, pl.col("specimen").is_null())):
        near = of_gas.join(_last_known(rows, _MOMENT), on=_MOMENT, how="left", maintain_order="left")
        levels = levels.fill_null(near.select(pl.when(who).then("value")).to_series())
    return levels.fill_null(0).to_numpy()


def _last_known(specimens: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    each = [*key, *(["specimen"] if "specimen" not in key else [])]
    last = specimens.filter(pl.col("known") == pl.col("known").max().over(each))
    return last.group_by(key).agg(pl.col("value").max())


def _net(rows: pl.DataFrame, remarks: Counter[str]) -> pl.DataFrame:
    """Output minus inflow, for each hour in which both are charted."""
    flows, values = rows.filter(pl.col("variable") <= FLOWED_IN), rows.filter(pl.col("variable") > FLOWED_IN)
    flows = last_versions(flows).with_columns(bin=pl.col("second") // BIN_SECONDS)
    into, out = pl.col("variable") == FLOWED_IN, pl.col("variable") == FLOWED_OUT
    hours = flows.group_by("stay", "bin", "priority").agg(
        pl.col("value").filter(out).sort().sum().alias("out"),
        pl.col("value").filter(into).sort().sum().alias("in"),
        pl.col("second").filter(out).max(),
        pl.col("known").max(),
        both=into.any() & out.any(),
    )
    net = hours.filter(pl.col("both") & (pl.col("out") >= pl.col("in")))
    remarks[_NET] += net.height
    remarks[_NO_NET] += hours.height - net.height
    net_rows = net.select(
        "stay",
        "second",
        variable=pl.col("priority"),
        priority=pl.lit(255, dtype=pl.Int16),
        value=pl.col("out") - pl.col("in"),
        known="known",
    )
    return pl.concat([values, net_rows.select(values.columns)])


def last_versions(rows: pl.DataFrame) -> pl.DataFrame:
    """The last entered rows for each item and second; the others were corrected."""
    newest = pl.col("known").max().over("stay", "second", "variable", "priority")
    return rows.filter(pl.col("known") == newest)
