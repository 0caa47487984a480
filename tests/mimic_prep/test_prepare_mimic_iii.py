"""MIMIC-III: CareVue items, error marks, dated prescriptions, one table for all notes."""

from __future__ import annotations

import polars as pl
import pytest

from mimic_prep import protocol
from mimic_prep.ingest import RawTables
from mimic_prep.mimic import MimicReader
from mimic_prep.pipeline import prepare
from mimic_prep.releases.mimic_iii.tables import MIMIC3

_SUMMARY = "Chief Complaint:\nChest pain\n\nBrief Hospital Course:\nHe had pneumonia.\n"
_TABLES = {
    "ICUSTAYS": "ROW_ID,SUBJECT_ID,HADM_ID,ICUSTAY_ID,FIRST_CAREUNIT,INTIME,OUTTIME\n"
    "1,1,10,100,MICU,2151-03-01 08:00:00,2151-03-05 08:00:00\n2,2,20,200,CCU,2151-03-01 08:00:00,2151-03-05 08:00:00\n",
    "PATIENTS": "ROW_ID,SUBJECT_ID,GENDER,DOB\n1,1,M,2081-03-01 00:00:00\n2,2,F,1851-03-01 00:00:00\n",
    "ADMISSIONS": "SUBJECT_ID,HADM_ID,ADMITTIME,DISCHTIME,ADMISSION_TYPE,ADMISSION_LOCATION\n"
    "1,10,2151-03-01 06:00:00,2151-03-09 12:00:00,EMERGENCY,EMERGENCY ROOM ADMIT\n"
    "2,20,2151-03-01 06:00:00,2151-03-09 12:00:00,ELECTIVE,PHYS REFERRAL/NORMAL DELI\n",
    "DIAGNOSES_ICD": "SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n1,10,1,486\n2,20,1,4019\n",
    "PRESCRIPTIONS": "SUBJECT_ID,HADM_ID,STARTDATE,DRUG_TYPE,DRUG\n2,20,2151-02-28 00:00:00,MAIN,Aspirin\n"
    "2,20,2151-03-01 00:00:00,MAIN,Morphine\n",
    "CHARTEVENTS": "SUBJECT_ID,HADM_ID,ICUSTAY_ID,ITEMID,CHARTTIME,VALUE,VALUENUM,VALUEUOM,WARNING,ERROR\n"
    "1,10,100,211,2151-03-01 08:30:00,80,80,BPM,,\n1,10,100,211,2151-03-01 08:40:00,99,99,BPM,0,1\n"
    "1,10,100,678,2151-03-01 09:00:00,100.4,100.4,Deg. F,,\n1,10,100,190,2151-03-01 09:00:00,.6,0.6,torr,,\n"
    "1,10,100,198,2151-03-01 10:00:00,14,14,points,,\n1,10,100,184,2151-03-01 10:00:00,3,3,,,\n"
    "1,10,100,723,2151-03-01 10:00:00,3,3,,,\n1,10,100,454,2151-03-01 10:00:00,3,3,,,\n"
    "2,20,200,220045,2151-03-01 08:30:00,70,70,bpm,0,0\n",
    "LABEVENTS": "SUBJECT_ID,HADM_ID,ITEMID,CHARTTIME,VALUE,VALUENUM,VALUEUOM\n"
    "1,,50912,2151-03-01 11:00:00,2,2,mg/dL\n",
    "OUTPUTEVENTS": "ICUSTAY_ID,CHARTTIME,ITEMID,VALUE,VALUEUOM,ISERROR\n100,2151-03-01 11:00:00,40055,90,ml,\n",
    "NOTEEVENTS": "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,ISERROR,TEXT\n"
    f'1,1,10,2151-03-09,,,Discharge summary,,"{_SUMMARY}"\n'
    '2,1,10,2151-03-01,2151-03-01 09:00:00,,Radiology,,"IMPRESSION: Early ""film""."\n'
    '3,1,10,2151-03-04,2151-03-04 09:00:00,,Radiology,,"IMPRESSION: Late film."\n'
    '4,1,10,2151-03-01,2151-03-01 09:00:00,,Nursing,,"Patient calm\nand warm."\n'
    '5,1,10,2151-03-01,2151-03-01 09:00:00,,Radiology,1,"IMPRESSION: Withdrawn."\n',
}


@pytest.fixture
def cohort(tmp_path):
    """Prepare the tables, with settings; a function that reads one file of the cohort."""
    for name, text in _TABLES.items():
        (tmp_path / f"{name}.csv").write_text(text)

    def run(*settings: str):
        out = tmp_path / "cohort"
        chosen = protocol.load("admission", list(settings))
        prepare(MimicReader(MIMIC3), RawTables(tmp_path, "MIMIC-III", 1), out, chosen, overwrite=True)
        return lambda name: pl.read_parquet(out / f"{name}.parquet")

    return run


def test_carevue_values_units_and_error_marks(cohort):
    read = cohort()
    values = {(row["variable"], row["hour"]): row["value"] for row in read("series").filter(stay_id=100).to_dicts()}
    assert values["heart_rate", 0.0] == 80
    assert values["temperature", 1.0] == 38
    assert values["fio2", 1.0] == 60  # a fraction whose unit says torr
    assert values["gcs_total", 2.0] == 14  # as charted, not the sum of its parts
    assert values["creatinine", 3.0] == 2
    assert values["urine_output", 3.0] == 90
    assert ("marked as an error" in read("quarantine")["reason"].to_list()) is True


def test_ages_over_89_are_masked_by_a_birth_300_years_ago(cohort):
    stays = cohort()("stays").sort("stay_id")
    assert stays["age"].to_list() == pytest.approx([70.0, 91.4], abs=0.01)


def test_labels_come_from_icd9(cohort):
    labels = cohort()("labels").sort("stay_id")
    assert labels["pneumonia"].to_list() == [True, False]
    assert labels["essential_hypertension"].to_list() == [False, True]


def test_notes_of_one_table_by_category(cohort):
    notes = cohort()("notes").filter(stay_id=100).select("kind", "section", "text").rows()
    assert notes == [
        ("discharge", "chief_complaint", "Chest pain"),
        ("radiology", "radiology_impression", 'Early "film".'),
    ]


def test_other_kinds_of_notes_on_request(cohort):
    notes = cohort("notes.kinds=[nursing]")("notes").filter(stay_id=100, kind="nursing")
    assert notes["text"].to_list() == ["Patient calm and warm."]


def test_a_drug_dated_today_may_have_come_after_admission(cohort):
    digest = cohort()("notes").filter(stay_id=200)["text"][0]
    assert "Aspirin" in digest
    assert "Morphine" not in digest
