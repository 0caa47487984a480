"""Where and when each stay was: its hospital, the network of hospitals, and its period. Never an input of a model.

Splits by site, the audit by site and the evaluation by site read them. Like outcomes they are kept apart from the stays
as soon as they are read, so that no other file of a cohort can depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import polars as pl

from clinragen.cohort.manifest import Clock, CohortCounts
from clinragen.schema import CARE_UNIT, SITES

#: The most stays that may lie in the future before the dates of an export count as shifted.
_MOST_LATER = 0.01
_SHIFTED = (
    "the years of its dates lie in the future (to {year}): they were shifted to hide the true ones, so the cohort has "
    "no periods (clock: none)"
)


@dataclass(frozen=True)
class Sites:
    """Sites of stays.

    Attributes:
        rows: the columns of ``schema.SITES`` and the care unit, in the order of the stays.
        clock: what the periods are.
        warnings: what the user should know.
    """

    rows: pl.DataFrame
    clock: Clock
    warnings: tuple[str, ...] = ()

    def of(self, stays: pl.DataFrame) -> pl.DataFrame:
        """subject_id and the columns of ``rows`` of some of the stays, in their order."""
        return stays.select("stay_id", "subject_id").join(self.rows, on="stay_id", how="left", maintain_order="left")


def of_stays(stays: pl.DataFrame, given: pl.DataFrame | None, clock: Clock, today: date | None = None) -> Sites:
    """The sites of stays.

    Args:
        stays: stay_id, intime and, if the source knows it, care_unit.
        given: stay_id, and of hospital, network and period what the source knows; names of any type.
        clock: what the source's dates are; with ``absolute`` the period is the calendar year of ``intime``.
        today: years after it show that dates were shifted; the day of the preparation by default.
    """
    unit = pl.col(CARE_UNIT.name) if CARE_UNIT.name in stays.columns else pl.lit(None)
    rows = stays.select("stay_id", "intime", unit.cast(pl.String).str.strip_chars().alias(CARE_UNIT.name))
    warnings = ()
    if given is not None:
        named = given.select("stay_id", pl.exclude("stay_id").cast(pl.String).str.strip_chars())
        rows = rows.join(named, on="stay_id", how="left", maintain_order="left")
    absent = [name for name in SITES.names if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    if clock == "absolute":
        later = rows["intime"].dt.date() > (today or date.today())
        if int(later.sum()) > _MOST_LATER * rows.height:
            clock, warnings = "none", (_SHIFTED.format(year=rows["intime"].dt.year().max()),)
        else:  # a slip of the pen is no period either
            year = pl.col("intime").dt.year().cast(pl.String)
            rows = rows.with_columns(period=pl.when(~later).then(year))
    rows = rows.select("stay_id", pl.col(*SITES.names[1:], CARE_UNIT.name).replace("", None))
    if clock == "none" or not rows["period"].count():
        return Sites(rows.with_columns(period=pl.lit(None, dtype=pl.String)), "none", warnings)
    return Sites(rows, clock, warnings)


def counts(rows: pl.DataFrame) -> CohortCounts:
    """How many hospitals and networks there are, and the stays of each period, as far as they are known.

    Args:
        rows: the columns of ``schema.SITES``.
    """
    several = {f"{name}s": rows[name].drop_nulls().n_unique() for name in ("hospital", "network") if rows[name].count()}
    periods = dict(rows["period"].drop_nulls().value_counts().sort("period").iter_rows())
    return CohortCounts(**several, **({"periods": periods} if periods else {}))  # type: ignore[typeddict-item]
