"""What a value measures: arterial or venous blood, an intubated patient, urine or irrigation."""

from __future__ import annotations

import polars as pl
import pytest

from mimic_prep import protocol
from mimic_prep.ingest import RawTables
from mimic_prep.mimic import MimicReader
from mimic_prep.pipeline import prepare
from mimic_prep.releases.eicu.reader import EicuReader
from mimic_prep.releases.mimic_iii.tables import MIMIC3

_AT = "2151-03-01 08:30:00"
_GAS = {50821: 55, 50818: 48, 50820: 7.31, 50802: -3, 50813: 2.5, 50824: 139}
_KEYS = ("pao2", "paco2", "ph", "base_excess", "lactate", "sodium")


def _gas(hospital, kind: str | None, specimen: object = "", at: str = _AT, **others) -> None:
    if kind is not None:
        hospital.lab(1, at, 52033, "", "", value=kind, specimen_id=specimen, **others)
    for item, value in _GAS.items():
        hospital.lab(1, at, item, value, "", specimen_id=specimen, **others)


_KINDS = {
    "ART.": 0, "ART": 0, "Arterial": 0, "art line": 0, "A-LINE": 0, None: 0, "___": 0, "": 0, "UNKNOWN": 0, "VEN.": 2,
    "VEN": 2, "MIX.": 2, "CENTRAL VENOUS.": 2, "Mixed Venous": 2, "CAP.": 2, "PULMONARY ARTERY": 2, "venous": 2,
    "CORD": 2, "PERIPHERAL": 2, "PLEURAL": 6, "FLUID.": 6, "CSF": 6, "JOINT": 6,
}  # fmt: skip


@pytest.mark.parametrize("by_specimen", [True, False])
def test_a_gas_is_arterial_only_from_an_artery(hospital, prepared, by_specimen):
    for hour, kind in enumerate(_KINDS):
        at = f"2151-03-0{1 + (8 + hour) // 24} {(8 + hour) % 24:02}:30:00"
        _gas(hospital, kind, 500 + hour if by_specimen else "", at)
    values = prepared(hospital).values(100)
    found = {kind: [key for key in _KEYS if (key, hour) in values] for hour, kind in enumerate(_KINDS)}
    assert found == {kind: list(_KEYS[lost:]) for kind, lost in _KINDS.items()}


def test_two_samples_of_one_minute_are_told_apart_by_their_specimen(hospital, prepared):
    for specimen, kind, oxygen in ((1, "ART.", 92), (2, "VEN.", 38)):
        hospital.lab(1, _AT, 52033, "", "", value=kind, specimen_id=specimen)
        hospital.lab(1, _AT, 50821, oxygen, "mm Hg", specimen_id=specimen)
    assert prepared(hospital).values(100)["pao2", 0.0] == 92


def test_two_samples_of_one_minute_without_ids_cannot_be_told_apart(hospital, prepared):
    for kind, oxygen in (("ART.", 92), ("VEN.", 38)):
        hospital.lab(1, _AT, 52033, "", "", value=kind)
        hospital.lab(1, _AT, 50821, oxygen, "mm Hg")
    assert ("pao2", 0.0) not in prepared(hospital).values(100)


def test_a_corrected_specimen_type_counts_from_its_entry(hospital, prepared):
    _gas(hospital, "VEN.", 7, storetime="2151-03-01 08:40:00")
    hospital.lab(1, _AT, 52033, "", "", value="ART.", specimen_id=7, storetime="2151-03-01 09:40:00")
    _gas(hospital, "VEN.", 8, "2151-03-01 10:30:00", storetime="2151-03-01 10:40:00")
    hospital.lab(1, "2151-03-01 10:30:00", 52033, "", "", value="ART.", specimen_id=8, storetime="2151-03-04 09:40:00")
    values = prepared(hospital).values(100)
    assert values["pao2", 0.0] == 55
    assert ("pao2", 2.0) not in values


def test_what_the_chart_calls_arterial_is_left_alone_and_losses_are_counted(hospital, prepared):
    _gas(hospital, "VEN.", 5)
    hospital.chart(100, _AT, 220224, 88, "mmHg")
    cohort = prepared(hospital)
    assert cohort.values(100)["pao2", 0.0] == 88
    (labs,) = (count for name, count in cohort.manifest["tables"].items() if "labevents" in name)
    assert labs["remarks"]["gas of another specimen than arterial blood: left out"] == 2


# --- the coma scale of a patient who cannot speak --------------------------------------------------------------------


_VERBAL = [
    ("No Response-ETT", 1, None), ("no response-ett", 1, None), ("No Response - ETT", 1, None),
    ("1.0 ET/Trach", 1, None), ("Intubated", 1, None), ("1T", "", None), ("Trached", 1, None),
    ("Unable to test", 1, None), ("Tracheostomy", 1, None), ("No Response", 1, 1), ("1 No Response", 1, 1),
    ("Oriented", 5, 5), ("Incomprehensible sounds", 2, 2), ("1", 1, 1),
]  # fmt: skip


def test_a_tube_in_the_throat_is_no_score(hospital, prepared):
    for hour, (words, number, _) in enumerate(_VERBAL):
        at = f"2151-03-01 {8 + hour:02}:30:00"
        for item, value, text in ((220739, 3, "To Speech"), (223900, number, words), (223901, 6, "Obeys Commands")):
            hospital.chart(100, at, item, value, value=text)
    values = prepared(hospital).values(100)
    hours = range(len(_VERBAL))
    verbal = [value for _, _, value in _VERBAL]
    assert [values.get(("gcs_verbal", hour)) for hour in hours] == verbal
    assert [values.get(("gcs_total", hour)) for hour in hours] == [value and 9 + value for value in verbal]
    assert [(values["gcs_eye", hour], values["gcs_motor", hour]) for hour in hours] == [(3, 6)] * len(_VERBAL)


def test_the_hour_stands_as_its_last_entry_says(hospital, prepared):
    for minute, words, number in ((5, "Oriented", 5), (40, "No Response-ETT", 1)):
        for item, value, text in ((220739, 4, "x"), (223901, 6, "x"), (223900, number, words)):
            hospital.chart(100, f"2151-03-01 09:{minute:02}:00", item, value, value=text)
    for minute, words, number in ((5, "No Response-ETT", 1), (40, "Oriented", 5)):
        for item, value, text in ((220739, 4, "x"), (223901, 6, "x"), (223900, number, words)):
            hospital.chart(100, f"2151-03-01 10:{minute:02}:00", item, value, value=text)
    values = prepared(hospital).values(100)
    assert ("gcs_verbal", 1.0) not in values
    assert ("gcs_total", 1.0) not in values
    assert (values["gcs_verbal", 2.0], values["gcs_total", 2.0]) == (5, 15)


def test_a_stay_of_which_nothing_could_be_tested_has_no_series(hospital, prepared):
    hospital.tables["icu/chartevents"] = [row for row in hospital.tables["icu/chartevents"] if row["stay_id"] != 201]
    hospital.tables["hosp/labevents"] = [row for row in hospital.tables["hosp/labevents"] if row["subject_id"] != 2]
    hospital.chart(201, "2150-06-10 03:00:00", 223900, 1, value="No Response-ETT")
    assert sorted(prepared(hospital).stays["stay_id"]) == [100, 200]


def test_swollen_eyes_are_no_score(hospital, prepared):
    hospital.chart(100, _AT, 220739, 1, value="None - swollen shut")
    hospital.chart(100, "2151-03-01 09:30:00", 220739, 1, value="None")
    values = prepared(hospital).values(100)
    assert ("gcs_eye", 0.0) not in values
    assert values["gcs_eye", 1.0] == 1


_PLACES = {
    "ICUSTAYS": "SUBJECT_ID,HADM_ID,ICUSTAY_ID,FIRST_CAREUNIT,INTIME,OUTTIME\n"
    "1,10,100,MICU,2151-03-01 08:00:00,2151-03-05 08:00:00\n",
    "PATIENTS": "SUBJECT_ID,GENDER,DOB\n1,M,2081-03-01 00:00:00\n",
    "ADMISSIONS": "SUBJECT_ID,HADM_ID,ADMITTIME,DISCHTIME,ADMISSION_TYPE,ADMISSION_LOCATION\n"
    "1,10,2151-03-01 06:00:00,2151-03-09 12:00:00,EMERGENCY,EMERGENCY ROOM ADMIT\n",
    "DIAGNOSES_ICD": "SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n1,10,1,486\n",
}


def test_mimic_iii_gases_scores_limits_and_irrigation(tmp_path):
    chart = [
        "100,723,2151-03-01 08:30:00,1.0 ET/Trach,1", "100,184,2151-03-01 08:30:00,4 Spontaneously,4",
        "100,454,2151-03-01 08:30:00,6 Obeys Commands,6", "100,198,2151-03-01 08:30:00,11,11",
        "100,723,2151-03-01 09:30:00,4 Confused,4", "100,198,2151-03-01 09:30:00,14,14",
        "100,198,2151-03-01 10:10:00,11,11", "100,723,2151-03-01 10:20:00,1.0 ET/Trach,1",
    ]  # fmt: skip
    labs = [
        "1,50800,2151-03-01 08:30:00,VEN,,", "1,50821,2151-03-01 08:30:00,40,40,mm Hg",
        "1,50818,2151-03-01 08:30:00,51,51,mm Hg", "1,50800,2151-03-01 09:30:00,ART,,",
        "1,50821,2151-03-01 09:30:00,91,91,mm Hg", "1,50821,2151-03-01 10:30:00,85,85,mm Hg",
        "1,51002,2151-03-01 08:30:00,GREATER THAN 50,,ng/mL", "1,51275,2151-03-01 08:30:00,>150,,sec",
        "1,51003,2151-03-01 08:30:00,<0.01,,ng/mL", "1,50911,2151-03-01 08:30:00,NotDone,,ng/mL",
        "1,50820,2151-03-01 11:30:00,7.1,7.1,units", "1,50800,2151-03-01 11:30:00,PLEURAL,,",
    ]  # fmt: skip
    outputs = ["100,2151-03-01 08:30:00,227488,1000,ml,", "100,2151-03-01 08:40:00,227489,1250,ml,"]
    files = _PLACES | {
        "CHARTEVENTS": "\n".join(["ICUSTAY_ID,ITEMID,CHARTTIME,VALUE,VALUENUM", *chart]) + "\n",
        "LABEVENTS": "\n".join(["SUBJECT_ID,ITEMID,CHARTTIME,VALUE,VALUENUM,VALUEUOM", *labs]) + "\n",
        "OUTPUTEVENTS": "\n".join(["ICUSTAY_ID,CHARTTIME,ITEMID,VALUE,VALUEUOM,ISERROR", *outputs]) + "\n",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.csv").write_text(text)
    prepare(MimicReader(MIMIC3), RawTables(tmp_path, "MIMIC-III", 1), tmp_path / "out", protocol.load("admission"))
    rows = pl.read_parquet(tmp_path / "out" / "series.parquet").select("variable", "hour", "value").rows()
    assert {(variable, hour): round(value, 3) for variable, hour, value in rows} == {
        ("gcs_eye", 0.0): 4, ("gcs_motor", 0.0): 6, ("gcs_verbal", 1.0): 4, ("gcs_total", 1.0): 14,
        ("pao2", 1.0): 91, ("pao2", 2.0): 85, ("troponin_i", 0.0): 50, ("ptt", 0.0): 150, ("troponin_t", 0.0): 0.01,
        ("urine_output", 0.0): 250,
    }  # fmt: skip


# --- irrigation ------------------------------------------------------------------------------------------------------


_FLOWS = [
    ([(5, 227488, 3000), (5, 227489, 3300)], 300),
    ([(5, 227489, 3300), (50, 227488, 3000)], 300),  # in any order within the hour
    ([(5, 227488, 1000), (5, 227489, 1100), (35, 227488, 1000), (35, 227489, 1250)], 350),
    ([(5, 227488, 25), (15, 227489, 25)], 0),
    ([(5, 227488, 3000), (5, 227489, 2800)], None),  # some of it is still inside: the urine is not known
    ([(5, 227488, 3000)], None),
    ([(5, 227489, 2600)], None),  # mixed with what went in at another time
    ([(5, 227489, 2600), (20, 226559, 40)], 40),
    ([(5, 227488, 3000), (5, 227489, 3300), (20, 226559, 40)], 340),
    ([(20, 226559, 40), (20, 226627, 900), (20, 226631, 900), (20, 226566, 900)], 40),  # theatre, mixtures
]


def test_what_was_rinsed_with_is_no_urine(hospital, prepared):
    for hour, (rows, _) in enumerate(_FLOWS, 5):
        for minute, item, volume in rows:
            hospital.urine(100, f"2151-03-01 {8 + hour:02}:{minute:02}:00", volume, item)
    cohort = prepared(hospital)
    values = cohort.values(100)
    assert [values.get(("urine_output", hour)) for hour in range(5, 5 + len(_FLOWS))] == [v for _, v in _FLOWS]
    (outputs,) = (count for name, count in cohort.manifest["tables"].items() if "outputevents" in name)
    assert outputs["remarks"]["irrigation whose urine cannot be told: left out"] == 4


def test_a_correction_of_what_went_in_counts(hospital, prepared):
    hospital.urine(100, "2151-03-01 09:05:00", 300, 227488, storetime="2151-03-01 09:06:00")
    hospital.urine(100, "2151-03-01 09:05:00", 3000, 227488, storetime="2151-03-01 09:26:00")
    hospital.urine(100, "2151-03-01 09:05:00", 3300, 227489, storetime="2151-03-01 09:26:00")
    assert prepared(hospital).values(100)["urine_output", 1.0] == 300


# --- eICU ------------------------------------------------------------------------------------------------------------


def test_eicu_texts_of_results_and_scores(tmp_path):
    files = {
        "patient": [
            "patientunitstayid,patienthealthsystemstayid,gender,age,hospitaladmittime24,hospitaladmitoffset,"
            "hospitaldischargeyear,hospitaldischargeoffset,unittype,unitadmitsource,unitstaytype,unitdischargeoffset,"
            "uniquepid",
            "1,7,Female,60,10:00:00,-60,2014,9000,MICU,Emergency Department,admit,5000,002-1039",
        ],
        "diagnosis": ["patientunitstayid,icd9code", '1,"486, J18.9"'],
        "lab": [
            "patientunitstayid,labresultoffset,labname,labresult,labresulttext,labmeasurenamesystem",
            "1,30,troponin - I,,<0.02,ng/mL", "1,30,PTT,,>200,sec", "1,30,sodium,140,140.0,mmol/L",
            "1,30,creatinine,,SEE COMMENT,mg/dL", "1,30,PT - INR,,>10.0,ratio",
        ],
        "nurseCharting": [
            "patientunitstayid,nursingchartoffset,nursingchartcelltypevalname,nursingchartvalue",
            "1,70,Eyes,4", "1,70,Motor,6", "1,70,Verbal,1T", "1,70,GCS Total,11T", "1,130,O2 Saturation,97%",
            "1,130,GCS Total,10", "1,130,Verbal,Intubated", "1,190,Eyes,4", "1,190,Motor,6", "1,190,Verbal,5",
        ],
    }  # fmt: skip
    for name, lines in files.items():
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    prepare(EicuReader(), RawTables(tmp_path, "eICU", 1), tmp_path / "out", protocol.load("admission"))
    rows = pl.read_parquet(tmp_path / "out" / "series.parquet").select("variable", "hour", "value").rows()
    assert {(variable, hour): round(value, 3) for variable, hour, value in rows} == {
        ("troponin_i", 0.0): 0.02, ("ptt", 0.0): 200, ("sodium", 0.0): 140, ("inr", 0.0): 10,
        ("gcs_eye", 1.0): 4, ("gcs_motor", 1.0): 6, ("spo2", 2.0): 97,
        ("gcs_eye", 3.0): 4, ("gcs_motor", 3.0): 6, ("gcs_verbal", 3.0): 5, ("gcs_total", 3.0): 15,
    }  # fmt: skip
