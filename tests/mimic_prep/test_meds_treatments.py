"""Infusions and ventilation of a MEDS dataset, in the codes of MIMIC-IV's conversion, as hourly values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import clinragen
from mimic_prep.releases.meds.layout import spans
from tests.mimic_prep import test_meds_datasets as meds

pytestmark = pytest.mark.slow
_NOREPINEPHRINE, _PHENYLEPHRINE, _SALINE, _VENTILATOR = 221906, 221749, 225158, 225792
_MORE = {"unit": pl.String, "order_id": pl.Int64, "statusdescription": pl.String}


def event(time: str, code: str, number: float | None = None, **more: Any) -> dict[str, Any]:
    return {"time": f"2150-01-02 {time}:00", "code": code, "numeric_value": number, **more}


def infusion(item: int, start: str, end: str, rate: float | None, unit: str | None = "mcg/kg/min", *,
             order: int | None, amount: float = 1.0, amount_unit: str = "mg", status: str = "FinishedRunning",
             weight: float | None = None) -> list[dict[str, Any]]:  # fmt: skip
    """The events of one row of inputevents."""
    rows = [
        event(start, f"INFUSION_START//{item}", rate, unit=unit, order_id=order),
        event(end, f"INFUSION_END//{item}", amount, unit=amount_unit, order_id=order, statusdescription=status),
    ]
    return rows + ([event(start, "SUBJECT_WEIGHT_AT_INFUSION//KG", weight)] if weight else [])


def write(root: Path, events: list[dict[str, Any]]) -> Path:
    """One patient's stay from midnight of 2 January, with these events."""
    usual = meds.frame(meds.patient(1)).with_columns(pl.lit(None, dtype=kind).alias(n) for n, kind in _MORE.items())
    more = pl.DataFrame(events, schema={**meds.SCHEMA, **_MORE}, orient="row").with_columns(
        pl.col("time").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us"), subject_id=pl.lit(1, dtype=pl.Int64)
    )
    (root / "data").mkdir(parents=True)
    pl.concat([usual, more.select(usual.columns)]).sort("time").write_parquet(root / "data" / "0.parquet")
    return root


class Prepared:
    """A cohort with treatments; its values by variable and hour."""

    def __init__(
        self, folder: Path, events: list[dict[str, Any]], variables: str | tuple[str, ...] = "treatments"
    ) -> None:
        raw = write(folder / "raw", events)
        self.cohort = clinragen.prepare(raw, folder / "cohort", source="meds", variables=variables, workers=1)
        names = list(self.cohort.added.rows)
        self.values: dict[str, dict[float, float]] = {}
        for name, hour, value in (
            self.cohort.series.filter(pl.col("variable").is_in(names)).select("variable", "hour", "value").iter_rows()
        ):
            self.values.setdefault(name, {})[hour] = round(value, 3)

    def counts(self, table: str) -> tuple[dict[str, int], dict[str, int]]:
        """Rows of a table that are out of scope, and in quarantine."""
        counts = self.cohort.manifest["tables"][table]
        return counts["out_of_scope"], counts["quarantined"]


def test_start_and_end_of_an_order_give_a_rate_that_lasts(tmp_path):
    made = Prepared(
        tmp_path,
        [
            *infusion(_NOREPINEPHRINE, "01:30", "03:00", 0.1, order=1),
            *infusion(_NOREPINEPHRINE, "03:00", "04:30", 0.2, order=2),  # the rate was changed
            *infusion(_NOREPINEPHRINE, "03:30", "05:30", 0.05, order=3),  # a second pump, which ends later
            *infusion(_PHENYLEPHRINE, "02:00", "03:00", 100, "mcg/min", order=4, weight=80),
            *infusion(_SALINE, "06:00", "08:00", 50, "mL/hour", order=5, amount=100, amount_unit="ml"),
            *infusion(_SALINE, "09:00", "09:01", None, None, order=6, amount=500, amount_unit="ml"),
            event("10:00", f"PROCEDURE//START//{_VENTILATOR}"),
            event("11:30", f"PROCEDURE//END//{_VENTILATOR}"),
        ],
    )
    assert made.values["norepinephrine_rate"] == {1: 0.1, 2: 0.1, 3: 0.25, 4: 0.05, 5: 0}
    assert made.values["phenylephrine_rate"] == {2: 1.25, 3: 0}
    assert made.values["fluids_in"] == {6: 50, 7: 50, 9: 500}
    assert made.values["invasive_ventilation"] == {10: 1, 11: 0}
    assert made.values["vasopressor_dose"][2] == 0.225


def test_what_tells_no_rate_is_counted(tmp_path):
    made = Prepared(
        tmp_path,
        [
            *infusion(_NOREPINEPHRINE, "01:00", "02:00", 0.1, None, order=1),
            *infusion(_NOREPINEPHRINE, "01:00", "02:00", 5, "mcg/min", order=2),  # without a weight
            *infusion(_NOREPINEPHRINE, "01:00", "02:00", 0.1, "puffs", order=3),
            *infusion(_NOREPINEPHRINE, "01:00", "02:00", 0.1, order=4, status="Rewritten"),
            *infusion(_NOREPINEPHRINE, "03:00", "02:00", 0.1, order=5),
            *infusion(_NOREPINEPHRINE, "01:00", "01:01", None, None, order=6),  # a bolus
            *infusion(_NOREPINEPHRINE, "01:00", "02:00", 0.1, order=7)[:1],  # no end
            *infusion(_NOREPINEPHRINE, "01:00", "02:00", 0.1, order=8)[1:],  # no start
            event("04:00", f"PROCEDURE//START//{_VENTILATOR}"),  # goes on, or was never ended
            *infusion(999, "01:00", "02:00", 0.1, order=9),
        ],
    )
    assert made.values == {}
    assert made.counts("icu/inputevents.parquet") == (
        {
            "rate without a unit: left out": 1,
            "rate without the weight that its unit needs: left out": 1,
            "rewritten or cancelled": 1,
            "row without a rate": 1,
        },
        {"unit of a rate that is not known for its drug": 1, "ends before it starts": 1, "no time": 2},
    )
    assert made.counts("icu/procedureevents.parquet") == ({}, {"no time": 1})
    unknown = made.cohort.manifest["meds"]["unknown_codes"]
    assert unknown == {"INFUSION_START": 1, "INFUSION_END": 1}


def test_without_orders_an_end_ends_what_began_before_it(tmp_path):
    made = Prepared(
        tmp_path,
        [
            *infusion(_NOREPINEPHRINE, "01:00", "02:00", 0.1, order=None),
            *infusion(_NOREPINEPHRINE, "02:00", "03:30", 0.2, order=None),
        ],
    )
    assert made.values["norepinephrine_rate"] == {1: 0.1, 2: 0.2, 3: 0}


def test_orders_pair_what_overlaps_and_nothing_gets_lost():
    def frame(*rows: tuple[int, str | None, float]) -> pl.DataFrame:
        kinds = {"time": pl.Int64, "order": pl.String, "numeric_value": pl.Float64}
        rest = {"subject_id": 1, "item": 7}
        return pl.DataFrame(rows, schema=kinds, orient="row").with_columns(
            pl.from_epoch("time", time_unit="s"), *(pl.lit(value).alias(name) for name, value in rest.items()),
            *(pl.lit(None, dtype=pl.String).alias(name) for name in ("unit", "own_unit", "status")),
        )  # fmt: skip

    paired = spans(
        frame((0, "a", 1.0), (10, "b", 2.0), (20, "a", 3.0), (30, "c", 4.0)),
        frame((50, "b", 20.0), (15, "a", 10.0), (40, "a", 30.0), (60, "d", 50.0)),
    )
    rows = paired.with_columns(pl.col("starttime", "endtime").dt.epoch("s")).select(
        "starttime", "endtime", "value", "value_end"
    )
    assert sorted(rows.rows(), key=str) == [
        (0, 15, 1.0, 10.0), (10, 50, 2.0, 20.0), (20, 40, 3.0, 30.0), (30, None, 4.0, None), (None, 60, None, 50.0),
    ]  # fmt: skip


def test_without_the_option_the_codes_are_unknown_as_before(tmp_path):
    events = [*infusion(_NOREPINEPHRINE, "01:30", "03:00", 0.1, order=1, weight=80),
              event("10:00", f"PROCEDURE//START//{_VENTILATOR}")]  # fmt: skip
    made = Prepared(tmp_path, events, variables=())
    assert made.values == {}
    assert made.cohort.manifest["meds"]["unknown_codes"] == {
        "INFUSION_START": 1, "INFUSION_END": 1, "SUBJECT_WEIGHT_AT_INFUSION//KG": 1, "PROCEDURE//START": 1,
    }  # fmt: skip
    assert not [name for name in made.cohort.manifest["tables"] if "inputevents" in name]
