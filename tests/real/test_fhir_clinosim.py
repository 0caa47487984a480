"""Simulated inpatients with LOINC, UCUM, panels and notes: from NDJSON to a cohort, every line accounted for."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from clinragen.artifacts import read_json
from clinragen.cohort.folder import Cohort
from mimic_prep.cli import main

PATIENTS = 8


@pytest.fixture(scope="module")
def export(shared) -> Path:
    return shared("fhir-clinosim")


@pytest.fixture(scope="module")
def cohort(export, tmp_path_factory) -> Cohort:
    """Whole hospital stays: the ward's name says nothing of intensive care."""
    out = tmp_path_factory.mktemp("clinosim") / "cohort"
    options = ["--stays", "hospital", "--zone", "UTC", "--workers", "1"]
    assert main(["fhir", "--raw", str(export), "--out", str(out), *options]) == 0
    return Cohort.load(out)


def _resources(export: Path, kind: str) -> list[dict]:
    with gzip.open(export / f"{kind}.ndjson.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_every_inpatient_is_a_stay_of_its_encounter_s_period(export, cohort):
    inpatient = [one for one in _resources(export, "Encounter") if one["class"]["code"] == "IMP"]
    assert cohort.stays.height == cohort.stays["subject_id"].n_unique() == PATIENTS == len(inpatient)
    periods = {(one["period"]["start"], one["period"]["end"]) for one in inpatient}
    times = cohort.stays.select(pl.col("intime", "outtime").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert set(times.rows()) == periods


def test_values_are_those_of_the_observations(export, cohort):
    """Every heart rate and every component of a pressure panel that ends up in the series stands in the export."""
    stated: dict[str, set[float]] = {"heart_rate": set(), "systolic_bp": set(), "creatinine": set()}
    codes = {"8867-4": "heart_rate", "8480-6": "systolic_bp", "2160-0": "creatinine"}
    for one in _resources(export, "Observation"):
        for part in (one, *one.get("component", [])):
            for coding in part["code"]["coding"]:
                if coding["code"] in codes and "valueQuantity" in part:
                    stated[codes[coding["code"]]].add(round(part["valueQuantity"]["value"], 2))
    for name, numbers in stated.items():
        values = cohort.series.filter(pl.col("variable") == name)["value"].cast(pl.Float64).round(2)
        assert len(values) > PATIENTS, name
        assert set(values.to_list()) <= numbers, name
    assert cohort.series["variable"].n_unique() > 15


def test_every_line_is_accounted_for(export, cohort):
    tables = read_json(cohort.paths.manifest, "the manifest")["tables"]
    for path in sorted(export.glob("*.ndjson.gz")):
        with gzip.open(path, "rb") as lines:
            rows = sum(bool(line.strip()) for line in lines)
        count = tables[path.name]
        lost = sum(count["out_of_scope"].values()) + sum(count["quarantined"].values())
        assert count["read"] == rows == count["kept"] + lost, path.name
    assert not tables["Specimen.ndjson.gz"]["out_of_scope"]
    assert not tables["Observation.ndjson.gz"]["quarantined"]


def test_arterial_gases_of_specimens_that_only_say_blood_are_read(export, cohort):
    named = Counter(one["code"]["coding"][0]["code"] for one in _resources(export, "Observation"))
    assert named["2703-7"]
    assert {"pao2", "paco2", "ph"} <= set(cohort.series["variable"])


def test_diagnoses_in_icd_become_labels_and_notes_text(cohort):
    carried = cohort.labels.drop("stay_id").sum().row(0, named=True)
    assert carried["septicemia"] > 0
    assert carried["pneumonia"] + carried["congestive_heart_failure"] > 0
    assert set(cohort.notes["stay_id"]) == set(cohort.stays["stay_id"])
    known = cohort.notes.join(cohort.stays, on="stay_id").filter(pl.col("time") > pl.col("prediction_time"))
    assert known.is_empty()
