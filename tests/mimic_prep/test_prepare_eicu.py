"""eICU: minutes in place of times, wide tables, names in place of item ids, text from coded entries."""

from __future__ import annotations

import copy

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinragen.errors import UserError
from mimic_prep import protocol
from mimic_prep.ingest import RawTables
from mimic_prep.pipeline import prepare
from mimic_prep.releases.eicu.reader import EicuReader

_PATIENT = (
    "patientunitstayid,patienthealthsystemstayid,gender,age,hospitaladmittime24,hospitaladmitoffset,"
    "hospitaldischargeyear,hospitaldischargeoffset,unittype,unitadmitsource,unitstaytype,unitdischargeoffset,uniquepid"
)
_ENTRY = "notes/Progress Notes/Past History/Organ Systems/Pulmonary/COPD/"
_TABLES = {
    "patient": [
        _PATIENT,
        "1,7,Female,> 89,23:36:00,-8,2015,9000,MICU,Emergency Department,admit,5000,002-1039",
        "2,7,Female,> 89,23:36:00,-6000,2015,3000,MICU,Floor,readmit,2880,002-1039",
        "3,8,Male,50,10:00:00,-10,2014,900,SDU,Floor,stepdown/other,700,003-2",
        "4,9,,17,10:00:00,-10,2014,900,MICU,Floor,admit,700,003-5",
    ],
    "diagnosis": [
        "patientunitstayid,icd9code",
        '1,"486, J18.9"',
        '2,"E87.1"',
        '2,"250.13, E10.1"',
        "1,",
        '3,"584.9"',
    ],
    "lab": [
        "patientunitstayid,labresultoffset,labname,labresult,labmeasurenamesystem",
        "1,30,creatinine,1.5,mg/dL",
        "1,30,ionized calcium,4.8,mg/dL",
        "1,-5,creatinine,9,mg/dL",
        "2,30,sodium,140,mmol/L",
    ],
    "vitalPeriodic": [
        "patientunitstayid,observationoffset,temperature,heartrate,sao2",
        "1,5,37.2,80,97",
        "1,10,,82,",
        "1,15,,500,",
    ],
    "nurseCharting": [
        "patientunitstayid,nursingchartoffset,nursingchartcelltypevalname,nursingchartvalue",
        "1,70,Temperature (F),100.4",
        "1,70,GCS Total,15",
        "1,70,GCS Total,Unable to score due to medication",
        "1,70,Pain Goal,0",
    ],
    "pastHistory": [
        "patientunitstayid,pasthistoryenteredoffset,pasthistorypath",
        f"1,12,{_ENTRY}COPD - severe",
        "1,12,notes/Progress Notes/Past History/Past History Obtain Options/Performed",
        f"1,2880,{_ENTRY}COPD - moderate",
    ],
    "admissionDx": [
        "patientunitstayid,admitdxenteredoffset,admitdxpath",
        '1,20,"admission diagnosis|All Diagnosis|Non-operative|Diagnosis|Respiratory|Emphysema/bronchitis"',
        "1,20,admission diagnosis|Elective|Yes",
    ],
    "medication": [
        "patientunitstayid,drugorderoffset,drugname,drugordercancelled",
        "1,5,ASPIRIN,No",
        "1,5,HEPARIN,Yes",
        "1,2880,LATE,No",
    ],
}


def _write(tables: dict[str, list[str]], folder) -> None:
    folder.mkdir(exist_ok=True)
    for name, lines in tables.items():
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def cohort(tmp_path):
    """Prepare tables into a folder; a function that reads one file of the cohort."""
    count = iter(range(10_000))

    def run(tables: dict[str, list[str]] = _TABLES, *settings: str):
        number = next(count)
        raw, out = tmp_path / f"raw{number}", tmp_path / f"cohort{number}"
        _write(tables, raw)
        prepare(EicuReader(), RawTables(raw, "eICU", 1), out, protocol.load("admission", list(settings)))
        return lambda name: pl.read_parquet(out / f"{name}.parquet")

    return run


def _values(series: pl.DataFrame, stay: int) -> dict[tuple[str, float], float]:
    rows = series.filter(stay_id=stay).select("variable", "hour", "value").rows()
    return {(variable, hour): round(value, 2) for variable, hour, value in rows}


def test_values_of_long_and_wide_tables(cohort):
    read = cohort()
    assert _values(read("series"), 1) == {
        ("creatinine", 0.0): 1.5,
        ("ionized_calcium", 0.0): 1.2,
        ("temperature", 0.0): 37.2,
        ("heart_rate", 0.0): 82,
        ("spo2", 0.0): 97,
        ("temperature", 1.0): 38,
        ("gcs_total", 1.0): 15,
    }
    reasons = read("quarantine").select("file", "line", "reason").rows()
    assert ("vitalPeriodic.csv", 4, "implausible heart_rate") in reasons
    assert ("nurseCharting.csv", 4, "no numeric value") in reasons


def test_tables_of_the_full_release(cohort):
    """Columns and spellings of eICU 2.0: https://eicu-crd.mit.edu/eicutables/"""
    tables = copy.deepcopy(_TABLES)
    tables["patient"] = [
        line + cells
        for line, cells in zip(
            tables["patient"], (",admissionheight,admissionweight", ",170.2,80.5", ",,", ",900,", ",1,1"), strict=True
        )
    ]
    tables["nurseCharting"] = [
        "nursingchartid,patientunitstayid,nursingchartoffset,nursingchartentryoffset,nursingchartcelltypecat,"
        "nursingchartcelltypevallabel,nursingchartcelltypevalname,nursingchartvalue",
        "1,1,130,131,Vital Signs,MAP (mmHg),Value,71",
        "2,1,130,131,Other Vital Signs and Infusions,Score (Glasgow Coma Scale),Value,14",
        "3,1,130,131,Other Vital Signs and Infusions,Sedation Scale,Value,-2",
        "4,1,130,131,Scores,Glasgow coma score,Motor,6",
    ]
    tables["respiratoryCharting"] = [
        "respchartid,patientunitstayid,respchartoffset,respchartentryoffset,respcharttypecat,respchartvaluelabel,"
        "respchartvalue",
        "1,1,190,190,respFlowSettings,FiO2,40%",
        "2,1,190,190,respFlowSettings,PEEP,8",
        "3,1,190,190,respFlowPtVentData,Plateau Pressure,22",
        "4,1,190,190,respFlowCareData,Tidal Volume Observed (VT),0.45",
        "5,1,190,190,respFlowSettings,RT Vent On/Off,Continued",
    ]
    path = "flowsheet|Flowsheet Cell Labels|I&O|Output (ml)|Urine"
    tables["intakeOutput"] = [
        "intakeoutputid,patientunitstayid,intakeoutputoffset,cellpath,celllabel,cellvaluenumeric,cellvaluetext",
        f"1,1,250,{path},Urine,100,100",
        f"2,1,260,{path},Foley,50,50",
        "3,1,260,flowsheet|Flowsheet Cell Labels|I&O|Intake (ml)|Crystalloids,Crystalloids,500,500",
    ]
    read = cohort(tables)
    charted = {pair: value for pair, value in _values(read("series"), 1).items() if pair[1] >= 2}
    assert charted == {
        ("mean_bp", 2.0): 71, ("gcs_total", 2.0): 14, ("gcs_motor", 2.0): 6, ("fio2", 3.0): 40, ("peep", 3.0): 8,
        ("plateau_pressure", 3.0): 22, ("tidal_volume", 3.0): 450, ("urine_output", 4.0): 150,
    }  # fmt: skip
    body = {pair: value for pair, value in _values(read("series"), 1).items() if pair[0] in ("height", "weight")}
    assert body == {("height", 0.0): 170.2, ("weight", 0.0): 80.5}


def test_height_and_weight_alone_make_no_series(cohort):
    tables = {name: rows for name, rows in _TABLES.items() if name != "vitalPeriodic"}
    tables["patient"] = [
        f"{line},{cell}" for line, cell in zip(_TABLES["patient"], ("admissionheight", 170, 171, 1, 1), strict=True)
    ]
    tables["lab"] = _TABLES["lab"][:3]  # of stay 1 only
    read = cohort(tables)
    assert read("stays")["stay_id"].to_list() == [1]
    assert read("series")["stay_id"].unique().to_list() == [1]


def test_stays_of_a_hospital_stay_lie_rightly_in_time(cohort):
    stays = cohort()("stays").sort("stay_id")
    assert stays["stay_id"].to_list() == [1, 2]  # no step-down unit, no child
    assert stays["subject_id"].to_list() == [2_000_001_039] * 2
    assert (stays["intime"][1] - stays["intime"][0]).total_seconds() == 5992 * 60
    assert str(stays["intime"][0]) == "2015-01-01 23:44:00"
    assert stays["age"].to_list() == [91, 91]


def test_diagnoses_in_both_code_systems(cohort):
    labels = {row["stay_id"]: row for row in cohort()("labels").to_dicts()}
    assert [key for key, value in labels[1].items() if value is True] == ["pneumonia"]
    assert [key for key, value in labels[2].items() if value is True] == [
        "diabetes_with_complications", "fluid_electrolyte_disorders",
    ]  # fmt: skip


def test_text_from_entries_before_the_prediction_time(cohort):
    text = dict(cohort()("notes").filter(stay_id=1).select("section", "text").rows())
    assert text == {
        "admission_digest": "A more than 89-year-old woman, admitted to the MICU from: emergency department.",
        "past_medical_history": "COPD: COPD - severe.",
        "medications": "ASPIRIN.",
    }


def test_the_admission_diagnosis_is_read_only_when_asked_for(cohort):
    notes = cohort(_TABLES, "notes.also=[admission_diagnosis]")("notes").filter(stay_id=1)
    assert dict(notes.select("section", "text").rows())["admission_diagnosis"] == "Emphysema/bronchitis."
    assert notes.filter(pl.col("section") != "admission_diagnosis").equals(cohort()("notes").filter(stay_id=1))


def test_the_hourly_grid_stands_in_for_absent_tables_only(cohort, tmp_path):
    tables = {name: rows for name, rows in _TABLES.items() if name not in ("lab", "vitalPeriodic", "nurseCharting")}
    _write(tables, tmp_path / "raw0")
    grid = pl.DataFrame({"stay_id": [1, 2], "time": [0, 60], "hr": [70.0, 71.0], "crea": [1.0, None]})
    grid = grid.with_columns(pl.duration(minutes="time").alias("time"))
    grid.write_parquet(tmp_path / "raw0" / "hourly_dyn.parquet")
    assert _values(cohort(tables)("series"), 1) == {("heart_rate", 0.0): 70, ("creatinine", 0.0): 1}
    (tmp_path / "raw1").mkdir(exist_ok=True)
    grid.write_parquet(tmp_path / "raw1" / "hourly_dyn.parquet")
    assert _values(cohort()("series"), 1)["heart_rate", 0.0] == 82


def test_without_any_measurements_there_is_one_clear_error(cohort):
    tables = {name: rows for name, rows in _TABLES.items() if name not in ("lab", "vitalPeriodic", "nurseCharting")}
    with pytest.raises(UserError, match="no table of measurements found"):
        cohort(tables)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(offset=st.integers(2880, 6000), value=st.integers(1, 200))
def test_rows_from_the_prediction_time_on_change_nothing(cohort, offset, value):
    changed = copy.deepcopy(_TABLES)
    changed["lab"].append(f"1,{offset},creatinine,{value},mg/dL")
    changed["vitalPeriodic"].append(f"1,{offset},36,{value},90")
    changed["nurseCharting"].append(f"1,{offset},Heart Rate,{value}")
    changed["pastHistory"].append(f"1,{offset},{_ENTRY}other {value}")
    changed["medication"].append(f"1,{offset},DRUG {value},No")
    changed["diagnosis"].append("1,584.9")
    first, second = cohort(), cohort(changed)
    for name in ("stays", "series", "notes"):
        assert first(name).equals(second(name))


def test_whole_hospitals_and_networks_are_held_out(cohort):
    tables = copy.deepcopy(_TABLES)
    people = [
        f"{100 + n},{n},Male,50,10:00:00,-10,2014,9000,MICU,Floor,admit,5000,{n % 7:03d}-{n},{n % 20}"
        for n in range(120)
    ]
    tables["patient"] = [f"{_PATIENT},hospitalid", *people]
    tables["lab"] = [tables["lab"][0], *(f"{100 + n},30,creatinine,1.5,mg/dL" for n in range(120))]
    for by, number in (("hospital", 20), ("network", 7)):
        stays = cohort(tables, f"splits.by={by}", "splits.train=0.6", "splits.validation=0.2")("stays")
        site = (stays["stay_id"] - 100) % number
        assert stays.with_columns(site=site).group_by("site").agg(pl.col("split").n_unique())["split"].max() == 1
        assert set(stays["split"]) == {"train", "validation", "test"}
    read = cohort(tables, "splits.by=network", 'splits.held_out=["003"]')
    sites = read("stays").join(read("sites"), on="stay_id")
    assert (
        set(sites.filter(pl.col("split") == "test")["network"])
        == {"003"}
        == set(sites["network"]) - set(sites.filter(pl.col("split") != "test")["network"])
    )
    assert sites.filter(stay_id=104).select("hospital", "network", "period").rows() == [("4", "004", "2014")]
    with pytest.raises(UserError, match="eICU does not say the hospital of 2 of 2 stays"):
        cohort(_TABLES, "splits.by=hospital")


def test_treatments_are_read_by_system_and_class_until_the_prediction_time_and_without_their_disorder(cohort):
    path = "cardiovascular|shock|vasopressors|norepinephrine > 0.1 micrograms/kg/min"
    tables = _TABLES | {
        "treatment": [
            "patientunitstayid,treatmentoffset,treatmentstring",
            f"1,9,{path}",
            "1,9,renal|dialysis|hemodialysis",
        ]
    }
    notes = cohort(tables)("notes")
    text = notes.filter(stay_id=1, section="treatments")["text"].item()
    assert text == "cardiovascular: vasopressors: norepinephrine > 0.1 micrograms/kg/min; renal: hemodialysis."
    later = [
        *tables["treatment"],
        "1,2880,cardiovascular|arrhythmias|antiarrhythmics|class III antiarrhythmic|amiodarone",
    ]
    assert cohort(tables | {"treatment": later})("notes").equals(notes)
