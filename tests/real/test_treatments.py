"""Treatments of the same 30 patients of MIMIC-IV from its tables and other forms, hour by hour.

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


@pytest.fixture(scope="module")
def lasting(shared, tmp_path_factory) -> clinragen.Cohort:
    """The cohort of MIMIC's tables."""
    raw, folder = shared("mimic-iv-demo"), tmp_path_factory.mktemp("lasting")
    for name in ("hosp", "icu"):
        (folder / "raw" / name).mkdir(parents=True)
        for file in (raw / name).iterdir():
            (folder / "raw" / name / file.name).symlink_to(file)
    _inputevents(shared("fhir-mimic-iv-demo-30"), folder / "raw" / "icu" / "inputevents.csv.gz")
    return clinragen.prepare(folder / "raw", folder / "cohort", source="mimic-iv", variables="treatments")


def _treatments(cohort: clinragen.Cohort, *stays: int) -> pl.DataFrame:
    """stay_id, hour, variable, value of treatments, perhaps of some stays."""
    rows = cohort.series.filter(pl.col("variable").is_in(list(cohort.added.rows)))
    return rows.filter(pl.col("stay_id").is_in(list(stays))) if stays else rows


def test_rates_of_rows_that_last_are_those_charted_in_each_hour(lasting, shared, tmp_path):
    clif = shared("clif-mimic-iv-demo-30")
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


def test_treatments_of_fhir_are_those_of_the_tables_hour_by_hour(lasting, shared, tmp_path):
    """Ventilation is that of MIMIC's own table; rates and fluids are laid out from the export itself."""
    fhir = clinragen.prepare(
        shared("fhir-mimic-iv-demo-30"), tmp_path / "fhir", source="fhir", variables="treatments", workers=1
    )
    ours, raw = _treatments(fhir), _treatments(lasting, *fhir.stays["stay_id"])
    key = ["stay_id", "hour", "variable"]
    assert ours.sort(key).equals(raw.sort(key))
    assert dict(ours["variable"].value_counts().iter_rows()) == {
        "norepinephrine_rate": 246, "phenylephrine_rate": 211, "vasopressin_rate": 104, "epinephrine_rate": 1,
        "vasopressor_dose": 392, "fluids_in": 1332, "invasive_ventilation": 641,
    }  # fmt: skip
    tables = fhir.manifest["tables"]
    assert not any(counts["quarantined"] for name, counts in tables.items() if "nfusion" in name or "Proc" in name)
