"""Diagnoses of eICU without a code: from a string if it is unambiguous, otherwise counted."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from clinragen.catalog import phenotypes
from clinragen.config import CONFIG_ROOT, load_yaml
from mimic_prep import labels
from mimic_prep.cli import main
from mimic_prep.code_repair import repaired
from mimic_prep.releases.eicu.diagnosis_strings import filled

_PATIENT = (
    "patientunitstayid,patienthealthsystemstayid,gender,age,hospitaladmittime24,hospitaladmitoffset,"
    "hospitaldischargeyear,hospitaldischargeoffset,unitstaytype,unitdischargeoffset,uniquepid"
)


@pytest.fixture
def prepared(tmp_path: Path, capsys):
    """Labels by stay, and the warnings, of a hospital of three stays with these rows of diagnoses."""

    def run(*rows: str, header: str = "patientunitstayid,diagnosisstring,icd9code") -> tuple[dict, list[str]]:
        raw, out = tmp_path / "raw", tmp_path / "cohort"
        raw.mkdir()
        stays = [f"{n},{n},Female,60,10:00:00,-10,2014,9000,admit,5000,002-{n}" for n in (1, 2, 3)]
        (raw / "patient.csv").write_text("\n".join([_PATIENT, *stays]) + "\n")
        lab = ["patientunitstayid,labresultoffset,labname,labresult", *(f"{n},30,creatinine,1.5" for n in (1, 2, 3))]
        (raw / "lab.csv").write_text("\n".join(lab) + "\n")
        if rows or header:
            (raw / "diagnosis.csv").write_text("\n".join([header, *rows]) + "\n")
        assert main(["eicu", "--raw", str(raw), "--out", str(out)]) == 0
        capsys.readouterr()
        warnings = json.loads((out / "manifest.json").read_text())["warnings"]
        if not (out / "labels.parquet").exists():
            return {}, warnings
        found = pl.read_parquet(out / "labels.parquet").to_dicts()
        return {row["stay_id"]: {key for key, value in row.items() if value is True} for row in found}, warnings

    return run


@pytest.mark.parametrize(
    ("string", "expected"),
    [
        ("cardiovascular|shock / hypotension|septic shock", {"shock", "septicemia"}),
        ("cardiovascular|shock / hypotension|sepsis|sepsis with single organ dysfunction", {"septicemia"}),
        ("cardiovascular|shock / hypotension|hypotension", set()),
        ("pulmonary|respiratory failure|acute respiratory failure", {"respiratory_failure"}),
        ("pulmonary|pulmonary infections|pneumonia|hospital acquired (not ventilator-associated)", {"pneumonia"}),
        ("pulmonary|pulmonary infections|Pneumonia ", {"pneumonia"}),
        ("renal|disorder of kidney|acute renal failure|due to hypovolemia/decreased circulating volume",
         {"acute_renal_failure"}),
        ("infectious diseases|systemic/other infections|septic shock|no organism identified", {"shock", "septicemia"}),
        ("pulmonary|pulmonary infections|no pneumonia", set()),
        ("pulmonary|pulmonary infections|aspiration pneumonia", set()),
        ("endocrine|glucose metabolism|diabetes mellitus|without complication", {"diabetes_without_complication"}),
        ("renal|disorder of kidney|acute renal failure", {"acute_renal_failure"}),
        ("renal|disorder of kidney|chronic kidney disease|stage 3", {"chronic_kidney_disease"}),
        ("cardiovascular|ventricular disorders|congestive heart failure", {"congestive_heart_failure"}),
        ("cardiovascular|arrhythmias|atrial fibrillation|with rapid ventricular response", {"cardiac_dysrhythmias"}),
        ("neurologic|disorders of vasculature|stroke|ischemic stroke", {"acute_cerebrovascular_disease"}),
        ("gastrointestinal|GI bleeding / PUD|GI bleeding", {"gastrointestinal_hemorrhage"}),
        ("pulmonary|pulmonary infections|pneumonia|possible", set()),
        ("pulmonary|pulmonary infections|rule out pneumonia", set()),
        ("infectious diseases|systemic/other infections|suspected sepsis", set()),
        ("cardiovascular|ventricular disorders|history of congestive heart failure", set()),
        ("toxicology|drug overdose|sedative", set()),
        ("cardiovascular|vascular disorders|pulmonary hypertension", set()),
        ("sepsis", {"septicemia"}),
        ("burns/trauma|trauma - chest|hemothorax", set()),
    ],
)  # fmt: skip
def test_a_clear_string_gives_its_labels(prepared, string, expected):
    found, warnings = prepared(f'1,"{string}",', "2,whatever,584.9")
    assert found[1] == expected
    assert found[2] == {"acute_renal_failure"}
    assert any(line.startswith("1 diagnoses have a string and no code") for line in warnings)


def _filled(*rows: tuple[str | None, str | None]) -> tuple[list[str], int, int]:
    frame = pl.DataFrame(rows, schema={"codes": pl.String, "string": pl.String}, orient="row")
    entries, told, left = filled(frame)
    return entries["codes"].to_list(), told, left


def test_the_code_of_the_same_string_goes_before_the_list():
    same = "endocrine|glucose metabolism|some rare disease"
    assert _filled(("250.13", same), (None, same)) == (["250.13", "250.13"], 1, 0)


def test_a_narrower_string_takes_the_code_of_a_wider_one():
    wide = "cardiovascular|rhythm|odd rhythm"
    assert _filled(("427.9", wide), (None, f"{wide}|very odd")) == (["427.9", "427.9"], 1, 0)
    assert _filled(("427.9", f"{wide}|very odd"), (None, wide)) == (["427.9"], 0, 1)


def test_a_string_under_several_codes_tells_none():
    same = "endocrine|glucose metabolism|some rare disease"
    assert _filled(("250.13", same), ("250.12", same), (None, same)) == (["250.13", "250.12"], 0, 1)


def test_codes_that_lost_their_zeros(prepared):
    found, warnings = prepared('1,sepsis,"38.9, A41.9"', "2,x,38.9", "3,x,0389")
    assert [found[stay] for stay in (1, 2, 3)] == [{"septicemia"}] * 3
    assert any("leading zeros" in line for line in warnings)


def test_entries_with_neither_are_out_of_scope(prepared):
    found, warnings = prepared("1,,", '1," ",', "2,x,584.9")
    assert found[1] == set()
    assert not any("have a string" in line for line in warnings)


def test_every_code_of_the_list_is_one_that_is_known():
    rows = load_yaml(CONFIG_ROOT / "concepts" / "eicu_diagnoses.yaml")["strings"]
    codes = [code for row in rows for code in row["icd9"]]
    table, _ = repaired(pl.DataFrame({"code": codes, "version": [9] * len(codes)}), phenotypes(), "the list")
    owned = set(labels.owners(table, phenotypes())["code"])
    assert set(table["code"]) - owned == {"5070"}  # aspiration is another category: it stands before pneumonia


@pytest.mark.parametrize("header", ["", "patientunitstayid,diagnosisstring,icd9code"])
def test_stays_that_are_not_coded_make_a_cohort_without_labels(prepared, header):
    found, warnings = prepared(header=header)
    assert found == {}
    assert any("no labels" in line for line in warnings)


def test_stays_without_any_code_beside_coded_ones_are_told(prepared):
    found, warnings = prepared("2,x,584.9")
    assert found[1] == set()
    assert any(line.startswith("2 of 3 stays have no coded diagnosis at all") for line in warnings)
