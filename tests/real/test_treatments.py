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
_COLUMNS = (
    "subject_id",
    "stay_id",
    "itemid",
    "starttime",
    "endtime",
    "storetime",
    "rate",
    "rateuom",
    "amount",
    "amountuom",
)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _inputevents(fhir: Path, path: Path) -> None:
    stays = {
        f"Encounter/{one['id']}": one["identifier"][0]["value"] for one in _lines(fhir / "MimicEncounterICU.ndjson.gz")
    }
    subjects = {
        f"Patient/{one['id']}": one["identifier"][0]["value"] for one in _lines(fhir / "MimicPatient.ndjson.gz")
    }
    with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for one in _lines(fhir / "MimicMedicationAdministrationICU.ndjson.gz"):
            period, dosage = one.get("effectivePeriod", {}), one.get("dosage", {})
            start = period.get("start") or one["effectiveDateTime"]
            times = [time[:19].replace("T", " ") for time in (start, period.get("end") or start)]
            rate, dose = dosage.get("rateQuantity", {}), dosage.get("dose", {})
            writer.writerow(
                [subjects[one["subject"]["reference"]], stays[one["context"]["reference"]],
                 one["medicationCodeableConcept"]["coding"][0]["code"],
                 *times, "", rate.get("value"), rate.get("unit"), dose.get("value"), dose.get("unit")]
            )  # fmt: skip


def _rates(cohort: clinragen.Cohort, hours_ahead: int) -> pl.DataFrame:
    begins = pl.col("intime") - pl.duration(hours=hours_ahead)
    stays = cohort.stays.select("stay_id", begins.alias("begins"))
    rates = cohort.series.filter(
        pl.col("variable").str.ends_with("_rate"), pl.col("variable").is_in(list(cohort.added.rows))
    )
    return rates.join(stays, on="stay_id").select("begins", "hour", "variable", "value")


@pytest.fixture(scope="module")
def tables(shared, tmp_path_factory) -> Path:
    """The tables of MIMIC-IV, with inputevents."""
    raw, folder = shared("mimic-iv-demo"), tmp_path_factory.mktemp("raw")
    for name in ("hosp", "icu"):
        (folder / name).mkdir()
        for file in (raw / name).iterdir():
            (folder / name / file.name).symlink_to(file)
    _inputevents(shared("fhir-mimic-iv-demo-30"), folder / "icu" / "inputevents.csv.gz")
    return folder


@pytest.fixture(scope="module")
def lasting(tables, tmp_path_factory) -> clinragen.Cohort:
    """The cohort of MIMIC's tables."""
    out = tmp_path_factory.mktemp("lasting") / "cohort"
    return clinragen.prepare(tables, out, source="mimic-iv", variables="treatments")


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


def _meds(raw: Path, root: Path) -> Path:
    """Treatments and what they need as events, in the codes and columns of MIMIC-IV's conversion."""

    def table(name: str) -> pl.DataFrame:
        return pl.read_csv(raw / f"{name}.csv.gz", infer_schema_length=0).with_columns(pl.col("subject_id").cast(int))

    def events(name: str, time: str, code: pl.Expr | str, **more: pl.Expr) -> pl.DataFrame:
        code = pl.lit(code) if isinstance(code, str) else code
        kinds = {"numeric_value": pl.Float32, "unit": pl.String, "order_id": pl.String, "statusdescription": pl.String,
                 "hadm_id": pl.Int64, "icustay_id": pl.Int64}  # fmt: skip
        cells = [more.get(key, pl.lit(None)).cast(kind, strict=False).alias(key) for key, kind in kinds.items()]
        when = pl.col(time).str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us")
        return table(name).select("subject_id", *cells, time=when, code=code)

    admission, stay = pl.col("hadm_id"), pl.col("stay_id")
    item = pl.col("itemid")
    known = {"hadm_id": admission, "icustay_id": stay}
    row = (pl.int_range(pl.len())).cast(pl.String)  # the demo lacks orders: a row is one
    rate = {"numeric_value": pl.col("rate"), "unit": pl.col("rateuom"), "order_id": row}
    amount = {"numeric_value": pl.col("amount"), "unit": pl.col("amountuom"), "order_id": row}
    state = {"statusdescription": pl.col("statusdescription")}
    heart = events("icu/chartevents", "charttime", "LAB//" + item + "//bpm", numeric_value=pl.col("valuenum"))
    parts = [
        events("hosp/admissions", "admittime", "HOSPITAL_ADMISSION//UNK//UNK", hadm_id=admission),
        events("hosp/admissions", "dischtime", "HOSPITAL_DISCHARGE//UNK", hadm_id=admission),
        events("icu/icustays", "intime", "ICU_ADMISSION//" + pl.col("first_careunit"), **known),
        events("icu/icustays", "outtime", "ICU_DISCHARGE//" + pl.col("last_careunit"), **known),
        heart.filter(pl.col("code") == "LAB//220045//bpm"),
        events("icu/inputevents", "starttime", "INFUSION_START//" + item, **rate),
        events("icu/inputevents", "endtime", "INFUSION_END//" + item, **amount),
        events("icu/procedureevents", "starttime", "PROCEDURE//START//" + item, **known),
        events("icu/procedureevents", "endtime", "PROCEDURE//END//" + item, **known, **state),
    ]
    patients = table("hosp/patients")
    static = patients.select("subject_id", code="GENDER//" + pl.col("gender"))
    birth = patients.select(
        "subject_id", code=pl.lit("MEDS_BIRTH"),
        time=pl.datetime(pl.col("anchor_year").cast(int) - pl.col("anchor_age").cast(int), 1, 1),
    )  # fmt: skip
    (root / "data").mkdir(parents=True)
    whole = pl.concat([*parts, static, birth.with_columns(pl.col("time").cast(pl.Datetime("us")))], how="diagonal")
    whole.sort("subject_id", "time", nulls_last=False).write_parquet(root / "data" / "0.parquet")
    return root


def test_treatments_of_meds_are_those_of_the_tables_and_each_difference_has_a_cause(lasting, tables, tmp_path):
    meds = clinragen.prepare(_meds(tables, tmp_path / "meds"), tmp_path / "out", source="meds", variables="treatments")
    both = _treatments(meds).join(
        _treatments(lasting), on=["stay_id", "hour", "variable"], how="full", coalesce=True, suffix="_raw"
    )
    entered_later = pl.col("value_raw").is_null() & (pl.col("variable") == "invasive_ventilation")
    # MEDS has no time of entry: in the tables, one row was entered after the prediction time
    assert both.filter(entered_later)["stay_id"].value_counts().rows() == [(34617352, 42)]
    both = both.filter(~entered_later)
    assert both.height == 3_931
    assert not both["value"].null_count() + both["value_raw"].null_count()
    apart = (pl.col("value") - pl.col("value_raw")).abs()
    assert both.filter(apart > 2e-5).is_empty()
    assert both.filter(apart > 0).height == 14  # the numbers of MEDS are of single precision


def test_ventilation_of_omop_is_that_of_the_tables_and_its_drugs_are_orders(lasting, shared, tmp_path):
    omop = clinragen.prepare(
        shared("omop-mimic-iv-demo-30"), tmp_path / "omop", source="omop", variables="treatments",
        options={"concepts": "mimic"},
    )  # fmt: skip
    begun = [cohort.stays.select("stay_id", "intime") for cohort in (omop, lasting)]
    ours, raw = (
        _treatments(cohort).join(stays, on="stay_id").select("intime", "hour", "variable", "value")
        for cohort, stays in zip((omop, lasting), begun, strict=True)
    )
    raw = raw.filter(pl.col("intime").is_in(omop.stays["intime"].implode()))
    assert set(ours["variable"]) == {"invasive_ventilation"}  # drug_exposure has no unit of a dose but bags and vials
    ventilated = raw.filter(pl.col("variable") == "invasive_ventilation")
    assert ventilated.height == 641
    assert ours.sort(pl.all()).equals(ventilated.sort(pl.all()))
    counts = omop.manifest["tables"]["drug_exposure.csv.gz (infusions)"]
    assert counts["kept"] == 0
    assert counts["out_of_scope"].keys() == {
        "an order, a prescription or a dispensing, not an administration", "drug not used",
    }  # fmt: skip
    assert counts["out_of_scope"]["an order, a prescription or a dispensing, not an administration"] == 161
