"""Infusions of the same 30 patients from two conversions: rows that last, and what was charted when a rate changed.

The demo of MIMIC-IV lacks inputevents: they are laid out from the administrations of its FHIR export.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import clinragen

pytestmark = [pytest.mark.real, pytest.mark.slow]
_COLUMNS = ("stay_id", "itemid", "starttime", "endtime", "storetime", "rate", "rateuom", "amount", "amountuom")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _inputevents(fhir: Path, path: Path) -> None:
    stays = {
        f"Encounter/{one['id']}": one["identifier"][0]["value"] for one in _lines(fhir / "MimicEncounterICU.ndjson.gz")
    }
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for one in _lines(fhir / "MimicMedicationAdministrationICU.ndjson.gz"):
            period, dosage = one.get("effectivePeriod", {}), one.get("dosage", {})
            start = period.get("start") or one["effectiveDateTime"]
            rate, dose = dosage.get("rateQuantity", {}), dosage.get("dose", {})
            writer.writerow(
                [stays[one["context"]["reference"]], one["medicationCodeableConcept"]["coding"][0]["code"],
                 start[:19], (period.get("end") or start)[:19], "", rate.get("value"), rate.get("unit"),
                 dose.get("value"), dose.get("unit")]
            )  # fmt: skip


def _rates(cohort: clinragen.Cohort, hours_ahead: int) -> pl.DataFrame:
    begins = pl.col("intime") - pl.duration(hours=hours_ahead)
    stays = cohort.stays.select("stay_id", begins.alias("begins"))
    rates = cohort.series.filter(
        pl.col("variable").str.ends_with("_rate"), pl.col("variable").is_in(list(cohort.added.rows))
    )
    return rates.join(stays, on="stay_id").select("begins", "hour", "variable", "value")


def test_rates_of_rows_that_last_are_those_charted_in_each_hour(shared, tmp_path):
    raw, clif = shared("mimic-iv-demo"), shared("clif-mimic-iv-demo-30")
    for folder in ("hosp", "icu"):
        (tmp_path / "raw" / folder).mkdir(parents=True)
        for file in (raw / folder).iterdir():
            (tmp_path / "raw" / folder / file.name).symlink_to(file)
    _inputevents(shared("fhir-mimic-iv-demo-30"), tmp_path / "raw" / "icu" / "inputevents.csv.gz")
    lasting = clinragen.prepare(tmp_path / "raw", tmp_path / "a", source="mimic-iv", variables="treatments")
    charted = clinragen.prepare(clif, tmp_path / "b", source="clif", variables="treatments")
    both = _rates(lasting, 0).join(_rates(charted, 5), on=["begins", "hour", "variable"], suffix="_charted")
    counts = dict(both["variable"].value_counts().iter_rows())
    assert counts == {
        "norepinephrine_rate": 136,
        "phenylephrine_rate": 106,
        "vasopressin_rate": 11,
        "epinephrine_rate": 1,
    }
    assert both.filter((pl.col("value") - pl.col("value_charted")).abs() > 0.001).is_empty()
    assert both.height == _rates(charted, 5).height  # every hour that was charted
