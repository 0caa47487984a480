"""Outcomes after the prediction time: labels of tasks such as mortality, and never an input.

Outcomes are separated from the stays as soon as they are read, so that no other file of a cohort can depend on them.
What
the source does not state stays null: a missing record of death does not mean that the patient survived.
"""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from clinragen.schema import OUTCOMES
from mimic_prep.cells import read_text
from mimic_prep.tables import TIME

#: spellings of yes and no in releases; integers and booleans of Parquet exports become such text
_YES, _NO = ("1", "1.0", "true", "t", "y", "yes"), ("0", "0.0", "false", "f", "n", "no")


def of_admissions(stays: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The outcomes of stays joined with their admissions, and warnings of cells that cannot be read.

    Args:
        stays: stay_id, dischtime, and as text ``expire_flag`` and ``deathtime``. Text, because a cell that cannot
            be read must lose only the outcome, not the stay.

    Returns:
        stay_id, died_in_hospital, death_time, hospital_outtime.
    """
    flag = pl.col("expire_flag").str.strip_chars().str.to_lowercase()
    read = stays.select(
        "stay_id",
        "dischtime",
        flag=pl.when(flag.is_in(_YES)).then(True).when(flag.is_in(_NO)).then(False),
        death=read_text("deathtime", TIME).cast(pl.Datetime("ms")),
    )
    unread = stays.select(
        hospital_expire_flag=pl.col("expire_flag").is_not_null() & read["flag"].is_null(),
        deathtime=pl.col("deathtime").is_not_null() & read["death"].is_null(),
    )
    warnings = [
        f"{name} cannot be read for {count:,} stays: what became of them counts as unknown"
        for name, count in unread.sum().row(0, named=True).items()
        if count
    ]
    # a time of death is given only for deaths in hospital, so it replaces a missing flag
    died = pl.coalesce("flag", pl.when(pl.col("death").is_not_null()).then(True))
    outcomes = read.select(
        "stay_id",
        died_in_hospital=died,
        death_time=pl.when(died).then("death"),
        hospital_outtime=pl.col("dischtime").cast(pl.Datetime("ms")),
    )
    return outcomes, warnings


def build(stays: pl.DataFrame, outcomes: pl.DataFrame) -> pa.Table:
    """The table ``outcomes.parquet``: one row for each stay, in the order of ``stays``, null if unknown."""
    table = stays.select("stay_id").join(outcomes, on="stay_id", how="left", maintain_order="left")
    return table.select(OUTCOMES.names).to_arrow().cast(OUTCOMES)
