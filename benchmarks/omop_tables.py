"""Tables of an OMOP CDM of any size for timing: the measurements of ``raw_tables``, under standard concepts.

The measurements are the chart rows, 53 % of them of a concept that is used, with the columns of CDM 5.4 in its order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import polars as pl
import raw_tables

from clinragen.catalog import variables

_MEASUREMENT = (
    "measurement_id", "person_id", "measurement_concept_id", "measurement_date", "measurement_datetime",
    "measurement_time", "measurement_type_concept_id", "operator_concept_id", "value_as_number", "value_as_concept_id",
    "unit_concept_id", "range_low", "range_high", "provider_id", "visit_occurrence_id", "visit_detail_id",
    "measurement_source_value", "measurement_source_concept_id", "unit_source_value", "unit_source_concept_id",
    "value_source_value", "measurement_event_id", "meas_event_field_concept_id",
)  # fmt: skip
_TIME = "%Y-%m-%d %H:%M:%S"


def items() -> list[int]:
    """The standard concepts that the catalogue uses in ``measurement``."""
    return sorted(
        {int(item) for one in variables().values() for item in one.items.get("omop", {}).get("measurement", {})}
    )


def write(rows: int, out: Path) -> None:
    """Write the tables below ``out``."""
    people = raw_tables.people(max(1, round(rows / raw_tables.CHART_ROWS_PER_STAY)))
    stays = people["icu/icustays"]
    dates = stays.select("hadm_id", date=pl.col("intime").dt.strftime("%Y-%m-%d"))

    def span(name: str, start: str, end: str) -> dict[str, pl.Expr]:
        return {
            f"{name}_start_date": pl.col(start).dt.strftime("%Y-%m-%d"),
            f"{name}_start_datetime": pl.col(start).dt.strftime(_TIME),
            f"{name}_end_date": pl.col(end).dt.strftime("%Y-%m-%d"),
            f"{name}_end_datetime": pl.col(end).dt.strftime(_TIME),
        }

    small = {
        "person": stays.select(
            person_id="subject_id", gender_concept_id=pl.when(pl.col("gender") == "F").then(8532).otherwise(8507),
            year_of_birth=pl.col("anchor_year") - pl.col("anchor_age"),
        ),
        "visit_occurrence": stays.select(
            person_id="subject_id", visit_occurrence_id="hadm_id", visit_concept_id=pl.lit(9201),
            **span("visit", "admittime", "dischtime"),
        ),
        "care_site": pl.DataFrame({"care_site_id": [1], "care_site_name": ["Medical ICU"]}),
        "visit_detail": stays.select(
            person_id="subject_id", visit_detail_id="stay_id", visit_occurrence_id="hadm_id",
            visit_detail_concept_id=pl.lit(32037), **span("visit_detail", "intime", "outtime"), care_site_id=pl.lit(1),
        ),
        "condition_occurrence": people["hosp/diagnoses_icd"].join(dates, on="hadm_id").select(
            pl.int_range(pl.len()).alias("condition_occurrence_id"), person_id="subject_id",
            condition_start_date="date", condition_type_concept_id=pl.lit(32821), condition_source_value="icd_code",
            condition_source_concept_id=pl.lit(0), visit_occurrence_id="hadm_id",
        ),
    }  # fmt: skip
    for name, frame in small.items():
        raw_tables.write_table(out / f"{name}.csv.gz", tuple(frame.columns), iter([frame.clone]))
    raw_tables.write_table(out / "measurement.csv.gz", _MEASUREMENT, _measurements(stays, rows))


def _measurements(stays: pl.DataFrame, rows: int) -> Iterator[Callable[[], pl.DataFrame]]:
    """The chart rows, with the first concept of its variable in place of each item id."""
    concept_of = {
        int(item): int(next(iter(concepts)))
        for one in variables().values()
        for item in one.items.get("mimic4", {}).get("chartevents", {})
        if (concepts := one.items.get("omop", {}).get("measurement"))
    }

    def make(chart: Callable[[], pl.DataFrame]) -> pl.DataFrame:
        frame, time = chart(), pl.col("charttime")
        return frame.select(
            measurement_id=pl.int_range(pl.len()),
            person_id="subject_id",
            measurement_concept_id=pl.col("itemid").replace(concept_of),
            measurement_date=time.dt.strftime("%Y-%m-%d"),
            measurement_datetime=time.dt.strftime(_TIME),
            measurement_time=time.dt.strftime("%H:%M:%S"),
            measurement_type_concept_id=pl.lit(32817),
            value_as_number="number",
            unit_concept_id=pl.lit(0),
            range_low="ref_range_lower",
            range_high="ref_range_upper",
            visit_occurrence_id="hadm_id",
            visit_detail_id="stay_id",
            measurement_source_value=pl.col("itemid").cast(pl.String),
            measurement_source_concept_id=pl.lit(2_000_000_000, dtype=pl.Int64),
            value_source_value="value",
        )

    for chart in raw_tables.events("icu/chartevents", stays, rows):
        yield partial(make, chart)
