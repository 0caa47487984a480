"""A value counts from when it was entered: what was reported after the prediction time was not known."""

from __future__ import annotations

from datetime import datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinragen.errors import UserError
from mimic_prep import protocol
from mimic_prep.ingest import RawTables
from mimic_prep.mimic import MimicReader
from mimic_prep.pipeline import prepare
from mimic_prep.releases.eicu.reader import EicuReader
from mimic_prep.releases.mimic_iii.tables import MIMIC3

_QUICK = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_INTIME, _PREDICTION = datetime(2151, 3, 1, 8), datetime(2151, 3, 3, 8)
_DRAWN = "2151-03-03 07:30:00"  # hour 47 of stay 100
_BEFORE, _LATER, _AT = "2151-03-03 07:50:00", "2151-03-03 09:10:00", "2151-03-03 08:00:00"


def _at(minutes: float) -> str:
    return (_INTIME + timedelta(minutes=minutes)).strftime("%Y-%m-%d %H:%M:%S")


_STORED = {
    _BEFORE: True, _LATER: False, _AT: False, "2151-03-03 07:59:59": True, "": True,
    "2151-02-28 06:00:00": True,  # a clock that is behind: it cannot have been known before it was drawn
    "2151-03-09 06:00:00": False,
}  # fmt: skip


def test_a_value_counts_when_it_was_entered_before_the_prediction_time(hospital, prepared):
    for hour, stored in enumerate(_STORED, 20):
        hospital.lab(1, _at(60 * hour), 50971, 4.4, "mEq/L", storetime=stored)
        hospital.chart(100, _at(60 * hour), 220210, 14, "insp/min", storetime=stored)
        hospital.urine(100, _at(60 * hour), 44, storetime=stored)
    values = prepared(hospital).values(100)
    for key in ("potassium", "respiratory_rate", "urine_output"):
        found = {stored: (key, float(hour)) in values for hour, stored in enumerate(_STORED, 20)}
        assert found == _STORED, key


def test_the_value_stands_at_the_hour_it_was_drawn(hospital, prepared):
    hospital.lab(1, _at(125), 50971, 4.4, "mEq/L", storetime=_at(420))
    values = prepared(hospital).values(100)
    assert values["potassium", 2.0] == 4.4
    assert ("potassium", 7.0) not in values


#: Value, and minutes from when it was drawn to when it was entered (None: not told); what stands of them.
_LATE = 2880
_VERSIONS = [
    ([(6.9, 20), (4.1, 50)], 4.1),
    ([(2.1, 20), (4.1, 50)], 4.1),
    ([(4.1, 50), (6.9, 20)], 4.1),  # in any order of rows
    ([(6.9, 20), (4.1, _LATE)], 6.9),  # corrected after the prediction time: the old one stood
    ([(6.9, _LATE), (4.1, 50)], 4.1),
    ([(6.9, None), (4.1, 50)], 4.1),  # without a time of entry it counts from when it was drawn
    ([(4.0, 50), (4.1, 50)], 4.1),  # entered at the same second: the larger one, as ever
    ([(6.9, 20), (5.0, 30), (4.1, 40), (9.9, _LATE)], 4.1),
    ([(6.9, _LATE), (4.1, _LATE)], None),
]


def test_of_the_versions_that_were_known_the_last_one_counts(hospital, prepared):
    for hour, (versions, _) in enumerate(_VERSIONS):
        for value, delay in versions:
            drawn = 60 * hour + 10
            stored = "" if delay is None else _at(drawn + delay)
            hospital.lab(1, _at(drawn), 50971, value, "mEq/L", storetime=stored)
            hospital.chart(100, _at(drawn), 224639, 10 * value, "kg", storetime=stored)
    values = prepared(hospital).values(100)
    assert [values.get(("potassium", hour)) for hour in range(len(_VERSIONS))] == [value for _, value in _VERSIONS]
    assert [values.get(("weight", hour)) for hour in range(len(_VERSIONS))] == [
        value and 10 * value for _, value in _VERSIONS
    ]


def test_a_corrected_volume_replaces_the_one_before_and_is_not_added(hospital, prepared):
    hospital.urine(100, _at(190), 900, storetime=_at(191))
    hospital.urine(100, _at(190), 90, storetime=_at(200))
    hospital.urine(100, _at(195), 10, storetime=_at(200))
    assert prepared(hospital).values(100)["urine_output", 3.0] == 100


@pytest.mark.parametrize(("setting", "expected"), [("storetime", None), ("charttime", 4.4)])
def test_the_habit_of_the_literature_is_an_option(hospital, prepared, setting, expected):
    hospital.lab(1, _DRAWN, 50971, 4.4, "mEq/L", storetime=_LATER)
    cohort = prepared(hospital, known_at=setting)
    assert cohort.values(100).get(("potassium", 47.0)) == expected
    assert cohort.manifest["protocol"]["known_at"] == setting


def test_by_chart_time_the_last_correction_counts_whenever_it_came(hospital, prepared):
    hospital.lab(1, _at(10), 50971, 6.9, "mEq/L", storetime=_at(30))
    hospital.lab(1, _at(10), 50971, 4.1, "mEq/L", storetime=_LATER)
    assert prepared(hospital, known_at="charttime").values(100)["potassium", 0.0] == 4.1


def test_the_shipped_protocols_say_which():
    assert protocol.load("admission").known_at == "storetime"
    assert protocol.load("paper").known_at == "charttime"
    with pytest.raises(UserError, match="known_at"):
        protocol.load("admission", ["known_at=now"])


def test_rows_without_a_time_of_entry_and_late_ones_are_counted(hospital, prepared):
    hospital.lab(1, _at(10), 50971, 4.4, "mEq/L", storetime="")
    hospital.lab(1, _DRAWN, 50971, 4.4, "mEq/L", storetime=_LATER)
    tables = prepared(hospital).manifest["tables"]
    (labs,) = (count for name, count in tables.items() if "labevents" in name)
    assert labs["out_of_scope"]["not known by the prediction time"] == 1
    assert labs["remarks"]["no time of entry: known when charted"] == 3


@pytest.mark.parametrize(
    ("setting", "read"),
    [("storetime", ["IMPRESSION 0", "IMPRESSION 2"]), ("charttime", ["IMPRESSION 0", "IMPRESSION 1", "IMPRESSION 2"])],
)
def test_notes_count_from_when_they_were_filed(hospital, prepared, setting, read):
    for number, filed in enumerate((_BEFORE, _LATER, "")):
        hospital.radiology(1, _DRAWN, filed, f"IMPRESSION: IMPRESSION {number}")
    notes = prepared(hospital, known_at=setting).notes.filter(kind="radiology", stay_id=100)
    assert sorted(notes["text"]) == read


@_QUICK
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 2879), st.integers(0, 3000), st.sampled_from([50912, 50971]), st.integers(1, 12)),
        max_size=12,
    )
)
def test_what_was_not_known_by_the_prediction_time_changes_no_byte(hospital, prepared, rows):
    base = hospital.copy()
    base.lab(1, _at(10), 50971, 4.4, "mEq/L", storetime=_at(60))
    base.chart(100, _at(20), 220045, 90, "bpm", storetime=_at(22))
    base.urine(100, _at(30), 40, storetime=_at(31))
    changed = base.copy()
    for drawn, late, item, value in rows:
        stored = (_PREDICTION + timedelta(minutes=late)).strftime("%Y-%m-%d %H:%M:%S")
        changed.lab(1, _at(drawn), item, value, storetime=stored)
        changed.chart(100, _at(drawn), 220045, 60 + value, "bpm", storetime=stored)
        changed.urine(100, _at(drawn), value, storetime=stored)
        changed.radiology(1, _at(drawn), stored, "IMPRESSION: Late.")
    first, second = prepared(base), prepared(changed)
    for name in ("stays", "series", "notes", "labels"):
        assert (first.root / f"{name}.parquet").read_bytes() == (second.root / f"{name}.parquet").read_bytes()


# --- MIMIC-III -------------------------------------------------------------------------------------------------------

_THIRD = {
    "ICUSTAYS": "SUBJECT_ID,HADM_ID,ICUSTAY_ID,FIRST_CAREUNIT,INTIME,OUTTIME\n"
    "1,10,100,MICU,2151-03-01 08:00:00,2151-03-05 08:00:00\n",
    "PATIENTS": "SUBJECT_ID,GENDER,DOB\n1,M,2081-03-01 00:00:00\n",
    "ADMISSIONS": "SUBJECT_ID,HADM_ID,ADMITTIME,DISCHTIME,ADMISSION_TYPE,ADMISSION_LOCATION\n"
    "1,10,2151-03-01 06:00:00,2151-03-09 12:00:00,EMERGENCY,EMERGENCY ROOM ADMIT\n",
    "DIAGNOSES_ICD": "SUBJECT_ID,HADM_ID,SEQ_NUM,ICD9_CODE\n1,10,1,486\n",
    "CHARTEVENTS": "ICUSTAY_ID,ITEMID,CHARTTIME,STORETIME,VALUE,VALUENUM,VALUEUOM,ERROR\n"
    "100,211,2151-03-01 08:30:00,2151-03-01 08:31:00,80,80,BPM,\n"
    f"100,211,{_DRAWN},{_LATER},99,99,BPM,\n"
    "100,618,2151-03-01 08:30:00,2151-03-01 08:35:00,40,40,BPM,\n"
    "100,618,2151-03-01 08:30:00,2151-03-01 08:45:00,14,14,BPM,\n",
    "LABEVENTS": f"SUBJECT_ID,ITEMID,CHARTTIME,VALUE,VALUENUM,VALUEUOM\n1,50912,{_DRAWN},2,2,mg/dL\n",
    "OUTPUTEVENTS": "ICUSTAY_ID,CHARTTIME,STORETIME,ITEMID,VALUE,VALUEUOM,ISERROR\n"
    f"100,{_DRAWN},{_LATER},40055,90,ml,\n100,2151-03-01 09:10:00,2151-03-01 09:12:00,40055,30,ml,\n",
    "NOTEEVENTS": "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,ISERROR,TEXT\n"
    f'1,1,10,2151-03-03,{_DRAWN},{_LATER},Nursing,,"Calm and warm."\n'
    f'2,1,10,2151-03-03,{_DRAWN},,Radiology,,"IMPRESSION: Film."\n',
}


@pytest.mark.parametrize("known_at", ["storetime", "charttime"])
def test_mimic_iii(tmp_path, known_at):
    for name, text in _THIRD.items():
        (tmp_path / f"{name}.csv").write_text(text)
    chosen = protocol.load("admission", [f"known_at={known_at}", "notes.kinds=[nursing,radiology]"])
    prepare(MimicReader(MIMIC3), RawTables(tmp_path, "MIMIC-III", 1), tmp_path / "cohort", chosen)
    series, notes = (pl.read_parquet(tmp_path / "cohort" / f"{name}.parquet") for name in ("series", "notes"))
    found = {(row["variable"], row["hour"]): row["value"] for row in series.to_dicts()}
    late = {("heart_rate", 47.0): 99.0, ("urine_output", 47.0): 90.0} if known_at == "charttime" else {}
    assert found == {
        ("heart_rate", 0.0): 80.0, ("respiratory_rate", 0.0): 14.0, ("urine_output", 1.0): 30.0,
        ("creatinine", 47.0): 2.0,  # LABEVENTS has no time of entry
        **late,
    }  # fmt: skip
    assert set(notes["kind"]) & {"nursing", "radiology"} == (
        {"nursing", "radiology"} if known_at == "charttime" else {"radiology"}
    )


# --- eICU ------------------------------------------------------------------------------------------------------------

_PATIENT = (
    "patientunitstayid,patienthealthsystemstayid,gender,age,hospitaladmittime24,hospitaladmitoffset,"
    "hospitaldischargeyear,hospitaldischargeoffset,unittype,unitadmitsource,unitstaytype,unitdischargeoffset,uniquepid"
)
_LAB = "patientunitstayid,labresultoffset,labname,labresult,labmeasurenamesystem,labresultrevisedoffset"
_NURSE = "patientunitstayid,nursingchartoffset,nursingchartentryoffset,nursingchartcelltypevalname,nursingchartvalue"
_RESP = "patientunitstayid,respchartoffset,respchartentryoffset,respchartvaluelabel,respchartvalue"
_OUTPUT = "patientunitstayid,intakeoutputoffset,intakeoutputentryoffset,celllabel,cellvaluenumeric"


def _eicu(folder, known_at: str = "storetime", **tables: list[str]) -> dict[tuple[str, float], float]:
    folder.mkdir(exist_ok=True)
    heads = {"lab": _LAB, "nurseCharting": _NURSE, "respiratoryCharting": _RESP, "intakeOutput": _OUTPUT}
    files = {
        "patient": [_PATIENT, "1,7,Female,60,10:00:00,-60,2014,9000,MICU,Emergency Department,admit,5000,002-1039"],
        "diagnosis": ["patientunitstayid,icd9code", '1,"486, J18.9"'],
        **{name: [heads[name], *rows] for name, rows in tables.items()},
    }
    for name, lines in files.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    out = folder / "cohort"
    prepare(EicuReader(), RawTables(folder, "eICU", 1), out, protocol.load("admission", [f"known_at={known_at}"]))
    rows = pl.read_parquet(out / "series.parquet").select("variable", "hour", "value").rows()
    return {(variable, hour): round(value, 3) for variable, hour, value in rows}


_REVISED = [
    (["{},potassium,6.9,mmol/L,900", "{},potassium,4.1,mmol/L,1400"], 4.1),
    (["{},potassium,2.1,mmol/L,900", "{},potassium,4.1,mmol/L,1400"], 4.1),
    (["{},potassium,4.1,mmol/L,1400", "{},potassium,6.9,mmol/L,900"], 4.1),
    (["{},potassium,6.9,mmol/L,", "{},potassium,4.1,mmol/L,1400"], 4.1),
    (["{},potassium,6.9,mmol/L,900", "{},potassium,4.1,mmol/L,2880"], 6.9),
    (["{},potassium,6.9,mmol/L,900", "{},potassium,4.1,mmol/L,2879"], 4.1),
    (["{},potassium,6.9,mmol/L,3000"], None),
    (["{},potassium,5.0,mmol/L,20"], 5.0),  # revised before it was drawn: known when drawn
]


def test_results_of_eicu_count_as_they_were_revised(tmp_path):
    rows = [row.format(f"1,{60 * hour + 30}") for hour, (rows, _) in enumerate(_REVISED) for row in rows]
    values = _eicu(tmp_path / "raw", lab=rows)
    assert [values.get(("potassium", hour)) for hour in range(len(_REVISED))] == [value for _, value in _REVISED]


_CHARTED = {
    "nurseCharting": ("Respiratory Rate", 22),
    "respiratoryCharting": ("PEEP", 8),
    "intakeOutput": ("Urine", 70),
}


@pytest.mark.parametrize("known_at", ["storetime", "charttime"])
def test_charting_of_eicu_counts_from_its_entry(tmp_path, known_at):
    entered = {2879: True, 2880: known_at == "charttime", "": True}
    rows = {
        table: [f"1,{60 * hour},{entry},{label},{value}" for hour, entry in enumerate(entered, 40)]
        for table, (label, value) in _CHARTED.items()
    }
    values = _eicu(tmp_path / "raw", known_at, lab=["1,30,sodium,140,mmol/L,45"], **rows)
    for key in ("respiratory_rate", "peep", "urine_output"):
        assert {entry: (key, hour) in values for hour, entry in enumerate(entered, 40)} == entered
