"""Treatments as variables: rates that last, in the unit of their variable, and of which nothing later tells."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from clinragen import added_variables, catalog
from mimic_prep import protocol
from mimic_prep.accounting import RowFilter
from mimic_prep.doses import factor
from mimic_prep.ingest import RawTables
from mimic_prep.intervals import IntervalRules, Spreader
from mimic_prep.mimic import MimicReader
from mimic_prep.pipeline import prepare
from mimic_prep.releases.clif.reader import ClifReader
from mimic_prep.releases.eicu.reader import EicuReader
from mimic_prep.releases.mimic_iii.tables import MIMIC3
from mimic_prep.releases.mimic_iv.tables import INPUTEVENTS, MIMIC4, PROCEDUREEVENTS
from mimic_prep.stay_index import StayIndex
from mimic_prep.tables import EventTable

_MINUTE, _HOUR = 60, 3600
_PREDICTION = 10  # hours; the window ends in the middle of nothing in particular
_START = pl.datetime(2150, 1, 1)
_NOREPINEPHRINE, _SALINE, _VENTILATOR = 221906, 225158, 225792


@pytest.fixture(autouse=True)
def treatments(only_shipped_variables):
    added = added_variables.load(["treatments"])
    with catalog.only(added.variables, added.spellings, added.digest):
        yield


@pytest.mark.parametrize(
    ("unit", "canonical", "expected"),
    [
        ("mcg/kg/min", "mcg/kg/min", (1, 0)),
        ("mcgkgmin", "mcg/kg/min", (1, 0)),
        ("mcg/min", "mcg/kg/min", (1, -1)),
        ("mg/hr", "mcg/kg/min", (1000 / 60, -1)),
        ("MG/KG/HOUR", "mcg/kg/min", (1000 / 60, 0)),
        ("ng/kg/min", "mcg/kg/min", (0.001, 0)),
        ("Umin", "units/min", (1, 0)),
        ("units/hour", "units/min", (1 / 60, 0)),
        ("units/kg/hr", "units/min", (1 / 60, 1)),
        ("mL/hour", "mcg/kg/min", "volume"),
        ("ml/hr", "units/min", "volume"),
        ("", "mcg/kg/min", "no unit"),
        (None, "mcg/kg/min", "no unit"),
        ("units/min", "mcg/kg/min", "alien"),
        ("mcg/min", "units/min", "alien"),
        ("mEq/min", "mcg/kg/min", "alien"),
        ("tablets", "mcg/kg/min", "alien"),
    ],
)
def test_a_rate_is_converted_or_says_why_not(unit, canonical, expected):
    read = factor(unit, canonical)
    if isinstance(expected, str):
        assert read == expected
    else:
        assert read == (pytest.approx(expected[0]), expected[1])


def index() -> StayIndex:
    start = pl.select(_START).item()
    return StayIndex(
        pl.DataFrame({"stay_id": [1], "subject_id": [1], "intime": [start], "window_start": [start]}).with_columns(
            prediction_time=pl.col("intime") + pl.duration(hours=_PREDICTION)
        )
    )


def series(rows: list[dict], blocks: int = 1, known_at: bool = True) -> dict[tuple[str, int], float]:
    """(variable, hour) -> value of intervals given in minutes from the start of the stay, read in some blocks."""
    source = EventTable(PROCEDUREEVENTS if "rate" not in rows[0] else INPUTEVENTS, key="stay_id", interval=True)
    rules = IntervalRules(source, "mimic4", index(), by_entry=known_at)
    parts = []
    for number in range(blocks):
        frame = pl.DataFrame(rows[number::blocks], infer_schema_length=None)
        if not frame.height:
            continue
        times = [(_START + pl.duration(minutes=pl.col(name))).alias(name) for name in ("time", "end", "known")]
        frame = frame.with_columns(*times, stay_id=pl.lit(1), line=pl.int_range(pl.len()))
        row_filter = RowFilter(frame)
        rules(row_filter)
        parts.append(row_filter.frame)
    hours, _ = Spreader()(pl.concat(parts))
    keys = list(catalog.variables())
    return {(keys[row["variable"]], row["second"] // _HOUR): row["value"] for row in hours.iter_rows(named=True)}


def drug(start: int, end: int, rate: float, known: int | None = None, item: int = _NOREPINEPHRINE) -> dict:
    """One row of inputevents: minutes, and a rate in mcg/kg/min."""
    return {
        "item": item, "time": start, "end": end, "known": start if known is None else known, "rate": rate,
        "rate_unit": "mcg/kg/min", "amount": 1.0, "amount_unit": "mg", "weight": 80.0, "status": "FinishedRunning",
    }  # fmt: skip


def fluid(start: int, end: int, volume: float, rate: float | None = None, known: int | None = None) -> dict:
    row = drug(start, end, 0.0, known, _SALINE) | {"rate": rate, "amount": volume, "amount_unit": "ml"}
    return row | {"rate_unit": None if rate is None else "mL/hour"}


def test_the_rate_of_an_hour_is_that_at_its_end_and_0_when_it_ended():
    rows = [drug(30, 150, 0.1), drug(150, 250, 0.2)]
    expected = {0: 0.1, 1: 0.1, 2: 0.2, 3: 0.2, 4: 0.0}
    assert series(rows) == {("norepinephrine_rate", hour): pytest.approx(rate) for hour, rate in expected.items()}
    two_pumps = [drug(0, 240, 0.1), drug(60, 90, 0.5)]
    assert [series(two_pumps)["norepinephrine_rate", hour] for hour in range(5)] == [0.1, 0.1, 0.1, 0.1, 0.0]


def test_what_runs_at_the_prediction_time_counts_until_then():
    assert {hour for _, hour in series([drug(480, 2000, 0.1, known=2000)])} == {8, 9}
    assert series([drug(480, 2000, 0.1, known=2000)]) == series([drug(480, 601, 0.1, known=5000)])
    assert series([drug(0, 60, 0.1), drug(120, 500, 0.1, known=700)]).keys() == series([drug(0, 60, 0.1)]).keys()
    assert ("norepinephrine_rate", 3) in series([drug(120, 500, 0.1, known=700)], known_at=False)


def test_volumes_are_shared_out_and_one_that_ends_later_needs_a_rate():
    given = series([fluid(30, 150, 120.0)])
    assert given == {("fluids_in", 0): 30, ("fluids_in", 1): 60, ("fluids_in", 2): 30}
    assert series([fluid(10, 10, 500.0)]) == {("fluids_in", 0): 500}  # a bolus
    running = series([fluid(0, 6, 1.0), fluid(540, 900, 600.0), fluid(560, 900, 600.0, rate=90.0)])
    assert running == {("fluids_in", 0): 1, ("fluids_in", 9): 60}  # 40 minutes at 90 mL/h; the other is not known
    assert math.isclose(sum(series([fluid(7, 433, 977.0)]).values()), 977.0, abs_tol=0.01)


def test_a_ventilator_is_a_flag():
    def on(start: int, end: int) -> dict:
        return {"item": _VENTILATOR, "time": start, "end": end, "known": end, "status": "FinishedRunning"}

    rows = [on(0, 100), on(50, 130), on(570, 4000)]
    assert series(rows) == {("invasive_ventilation", hour): value for hour, value in
                            {0: 1, 1: 1, 2: 0, 9: 1}.items()}  # fmt: skip


_ROW = st.builds(
    lambda start, length, rate: (start, start + length, rate),
    st.integers(0, 560), st.integers(1, 700), st.sampled_from([0.05, 0.1, 0.25]),
)  # fmt: skip


@given(st.lists(_ROW, min_size=1, max_size=6), st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_rows_in_any_order_blocks_and_pieces_give_the_same(rows, random, blocks):
    whole = [drug(start, end, rate) for start, end, rate in rows] + [fluid(a, b, 60.0, rate=30.0) for a, b, _ in rows]
    pieces = []
    for row in whole:
        cut = random.randint(row["time"], row["end"])
        ends = (
            [(row["time"], row["end"])] if cut in (row["time"], row["end"]) else [(row["time"], cut), (cut, row["end"])]
        )
        pieces += [row | {"time": start, "end": end, "known": row["known"]} for start, end in ends]
    # a row that is there twice, as far as can be seen at the prediction time, counts once
    assume(all(len(rows) == len({_seen(row) for row in rows}) for rows in (whole, pieces)))
    random.shuffle(pieces)
    assert series(pieces, blocks) == pytest.approx(series(whole), abs=1e-4)


def _seen(row: dict) -> tuple:
    return row["item"], row["time"], min(row["end"], _PREDICTION * 60), row["rate"]


@given(st.lists(_ROW, min_size=1, max_size=6), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_nothing_after_the_prediction_time_changes_anything(rows, random):
    before = [drug(start, end, rate, known=end) for start, end, rate in rows]
    before += [fluid(start, end, 60.0, known=end) for start, end, _ in rows]
    limit = _PREDICTION * 60
    after = []
    for row in before:
        later = {name: random.randint(limit, 9000) for name in ("end", "known") if row[name] >= limit}
        if "end" in later and row["item"] == _SALINE:
            later["amount"] = random.random() * 1000
        after.append(row | later)
    after += [drug(random.randint(limit, 2000), 3000, 0.5), fluid(limit, limit + 60, 500.0)]
    random.shuffle(after)
    assert series(after) == series(before)


def test_mimic_iv_is_read_with_units_and_a_count_of_what_is_left_out(hospital, tmp_path):
    def row(start: str, end: str, item: int, rate: object, unit: str, **others: object) -> dict:
        cells = {"stay_id": 100, "starttime": f"2151-03-01 {start}", "endtime": f"2151-03-01 {end}", "storetime": "",
                 "itemid": item, "rate": rate, "rateuom": unit, "amount": 1, "amountuom": "mg", "patientweight": 80,
                 "statusdescription": "FinishedRunning"}  # fmt: skip
        return cells | others

    hospital.tables["icu/inputevents"] = [
        row("09:00:00", "11:00:00", _NOREPINEPHRINE, 8, "mcg/min"),
        row("10:30:00", "11:00:00", 222315, 2.4, "units/hour"),
        row("12:00:00", "12:30:00", _NOREPINEPHRINE, 8, "mcg/min", patientweight=""),
        row("12:00:00", "12:30:00", _NOREPINEPHRINE, 8, "mL/hour"),
        row("12:00:00", "12:30:00", _NOREPINEPHRINE, 8, "doses"),
        row("12:00:00", "12:30:00", _NOREPINEPHRINE, 0.1, "mcg/kg/min", statusdescription="Rewritten"),
        row("12:00:00", "11:30:00", _NOREPINEPHRINE, 0.1, "mcg/kg/min"),
        row("13:00:00", "14:00:00", _SALINE, "", "", amount=100, amountuom="ml"),
        row("13:00:00", "14:00:00", 999, 1, "mg/hour"),
    ]
    hospital.tables["icu/procedureevents"] = [
        {"stay_id": 100, "starttime": "2151-03-01 08:30:00", "endtime": "2151-03-04 08:30:00", "storetime": "",
         "itemid": _VENTILATOR, "statusdescription": "FinishedRunning"}
    ]  # fmt: skip
    raw = RawTables(hospital.write(tmp_path / "raw"), "MIMIC-IV", 1)
    manifest = prepare(MimicReader(MIMIC4), raw, tmp_path / "cohort", protocol.load("admission"))
    mine = pl.read_parquet(tmp_path / "cohort" / "series.parquet").filter(stay_id=100)
    values = {(name, hour): value for name, hour, value in mine.select("variable", "hour", "value").iter_rows()}
    assert [values["norepinephrine_rate", hour] for hour in (1.0, 2.0, 3.0)] == [
        pytest.approx(0.1),
        pytest.approx(0.1),
        0,
    ]
    assert values["vasopressin_rate", 2.0] == pytest.approx(0.04)
    assert values["vasopressor_dose", 2.0] == pytest.approx(0.2)
    assert values["vasopressor_dose", 1.0] == pytest.approx(0.1)
    assert values["fluids_in", 5.0] == 100
    assert [values.get(("invasive_ventilation", float(hour))) for hour in (0, 47, 48)] == [1, 1, None]
    counts = manifest["tables"]["icu/inputevents.csv.gz"]
    assert counts["quarantined"] == {"ends before it starts": 1, "unit of a rate that is not known for its drug": 1}
    assert counts["out_of_scope"] == {
        "item not used": 1, "rewritten or cancelled": 1, "rate as a volume, of an unknown concentration: left out": 1,
        "rate without the weight that its unit needs: left out": 1,
    }  # fmt: skip


def test_without_the_option_no_rates_are_read():
    def lasting(reader):
        paths = (source.table.path for source in reader.events)
        return [path for path in paths if "input" in path.lower() or "procedure" in path]

    with catalog.only({}, {}, ""):
        assert lasting(MimicReader(MIMIC4)) == lasting(MimicReader(MIMIC3)) == []
        assert len(EicuReader().events) == 8
        assert len(ClifReader().events) == 4
    assert lasting(MimicReader(MIMIC4)) == ["icu/inputevents", "icu/procedureevents"]


def test_eicu_names_drug_and_unit_in_one_text(tmp_path):
    tables = {
        "patient": "patientunitstayid,patienthealthsystemstayid,gender,age,hospitaladmittime24,hospitaladmitoffset,"
        "hospitaldischargeyear,hospitaldischargeoffset,unittype,unitadmitsource,unitstaytype,unitdischargeoffset,"
        "uniquepid,admissionweight\n1,7,Female,60,23:36:00,-8,2015,9000,MICU,Floor,admit,5000,002-1039,50\n",
        "diagnosis": 'patientunitstayid,icd9code\n1,"486, J18.9"\n',
        "lab": "patientunitstayid,labresultoffset,labname,labresult\n1,30,creatinine,1.5\n",
        "infusiondrug": "patientunitstayid,infusionoffset,drugname,drugrate,patientweight\n"
        "1,10,Norepinephrine (mcg/min),5,\n1,70,norepinephrine STD 4 mg (mcg/kg/min),.2,\n"
        "1,130,Norepinephrine (ml/hr),0,\n1,140,Norepinephrine (),7,\n1,150,Levophed (mcg/min),8,80\n"
        "1,190,Vasopressin (units/hr),OFF,\n1,200,Dobutamine (bags/day),7,\n1,210,Heparin (units/hr),7,\n",
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    manifest = prepare(EicuReader(), RawTables(tmp_path, "eICU", 1), tmp_path / "cohort", protocol.load("admission"))
    rows = pl.read_parquet(tmp_path / "cohort" / "series.parquet").filter(pl.col("variable").str.ends_with("_rate"))
    values = {
        (name, hour): round(value, 4) for name, hour, value in rows.select("variable", "hour", "value").iter_rows()
    }
    assert values == {
        ("norepinephrine_rate", 0.0): 0.1, ("norepinephrine_rate", 1.0): 0.2, ("norepinephrine_rate", 2.0): 0.1,
        ("vasopressin_rate", 3.0): 0.0,
    }  # fmt: skip
    counts = manifest["tables"]["infusiondrug.csv"]
    assert counts["quarantined"] == {"unit of a rate that is not known for its drug": 1}
    assert counts["out_of_scope"] == {
        "drug not used": 1, "rate without a unit: left out": 1,
        "rate as a volume, of an unknown concentration: left out": 1,
    }  # fmt: skip


def test_carevue_charts_rates_at_points_in_time_and_when_they_stop(tmp_path):
    tables = {
        "ICUSTAYS": "SUBJECT_ID,HADM_ID,ICUSTAY_ID,FIRST_CAREUNIT,INTIME,OUTTIME\n"
        "1,10,100,MICU,2151-03-01 08:00:00,2151-03-05 08:00:00\n",
        "PATIENTS": "SUBJECT_ID,GENDER,DOB\n1,M,2081-03-01 00:00:00\n",
        "ADMISSIONS": "SUBJECT_ID,HADM_ID,ADMITTIME,DISCHTIME\n1,10,2151-03-01 06:00:00,2151-03-09 12:00:00\n",
        "DIAGNOSES_ICD": "SUBJECT_ID,HADM_ID,ICD9_CODE\n1,10,486\n",
        "CHARTEVENTS": "ICUSTAY_ID,ITEMID,CHARTTIME,VALUE,VALUENUM,VALUEUOM\n100,211,2151-03-01 08:30:00,80,80,BPM\n"
        "100,720,2151-03-01 09:30:00,Assist Control,,\n100,720,2151-03-01 09:40:00,CPAP,,\n",
        "LABEVENTS": "SUBJECT_ID,ITEMID,CHARTTIME,VALUE,VALUENUM,VALUEUOM\n1,1,2151-03-01 08:30:00,80,80,BPM\n",
        "INPUTEVENTS_CV": "ICUSTAY_ID,CHARTTIME,ITEMID,AMOUNT,AMOUNTUOM,RATE,RATEUOM,STORETIME,STOPPED\n"
        "100,2151-03-01 09:00:00,30120,,,0.1,mcgkgmin,2151-03-01 09:05:00,\n"
        "100,2151-03-01 10:00:00,30120,,,,,2151-03-01 10:05:00,Stopped\n"
        "100,2151-03-01 11:00:00,30120,,,0.3,mcgkgmin,2151-03-09 09:05:00,\n"
        "100,2151-03-01 09:00:00,30018,100,ml,,,2151-03-01 09:05:00,\n"
        "100,2151-03-01 09:30:00,30021,50,ml,,,2151-03-01 09:35:00,\n"
        "100,2151-03-01 09:40:00,30021,,,,,2151-03-01 09:45:00,\n",
    }
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    raw = RawTables(tmp_path, "MIMIC-III", 1)
    manifest = prepare(MimicReader(MIMIC3), raw, tmp_path / "cohort", protocol.load("admission"))
    rows = pl.read_parquet(tmp_path / "cohort" / "series.parquet").filter(pl.col("variable") != "heart_rate")
    values = {
        (name, hour): round(value, 4) for name, hour, value in rows.select("variable", "hour", "value").iter_rows()
    }
    assert values == {
        ("norepinephrine_rate", 1.0): 0.1, ("norepinephrine_rate", 2.0): 0.0,
        ("vasopressor_dose", 1.0): 0.1, ("vasopressor_dose", 2.0): 0.0, ("fluids_in", 1.0): 150.0,
        ("invasive_ventilation", 1.0): 1.0,
    }  # fmt: skip
    counts = manifest["tables"]["INPUTEVENTS_CV.csv"]
    assert counts["out_of_scope"] == {"not known by the prediction time": 1, "row without a volume": 1}


_CELL = "flowsheet|Flowsheet Cell Labels|I&O|"


def _eicu(
    folder, *cells: str, head: str = "intakeoutputoffset,intaketotal,cellpath,celllabel,cellvaluenumeric"
) -> dict:
    """The fluids of a stay by hour, and the counts of the two parts of intakeOutput; a cell lacks the stay's id."""
    tables = {
        "patient": "patientunitstayid,patienthealthsystemstayid,gender,age,hospitaladmittime24,hospitaladmitoffset,"
        "hospitaldischargeyear,hospitaldischargeoffset,unittype,unitadmitsource,unitstaytype,unitdischargeoffset,"
        "uniquepid\n1,7,Female,60,23:36:00,-8,2015,9000,MICU,Floor,admit,5000,002-1039\n",
        "diagnosis": 'patientunitstayid,icd9code\n1,"486, J18.9"\n',
        "lab": "patientunitstayid,labresultoffset,labname,labresult\n1,30,creatinine,1.5\n",
        "intakeoutput": f"patientunitstayid,{head}\n" + "".join(f"1,{cell}\n" for cell in cells),
    }
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text)
    manifest = prepare(EicuReader(), RawTables(folder, "eICU", 1), folder / "cohort", protocol.load("admission"))
    rows = pl.read_parquet(folder / "cohort" / "series.parquet").filter(pl.col("variable") != "creatinine")
    values = {(name, hour): value for name, hour, value in rows.select("variable", "hour", "value").iter_rows()}
    return {"values": values, "counts": manifest["tables"].get("intakeoutput.csv (fluids)")}


def test_fluids_of_eicu_are_volumes_of_cells_and_no_totals(tmp_path):
    intake, generic = f"{_CELL}Intake (ml)|", f"{_CELL}Intake (ml)|Generic Intake (ml)|"
    made = _eicu(
        tmp_path,
        f"60,500,{intake}Crystalloids (ml)|NS ,NS ,100",
        f"60,500,{intake}Crystalloids (ml)|LR,LR,100",  # another cell of the same minute, with the same volume
        f"60,500,{intake}Blood Products (ml)|pRBCs,pRBCs,250",
        f"70,550,{generic}D51/2NS IVF,D51/2NS IVF,50",
        f"130,600,{generic}Volume (mL)-0.9 %  sodium chloride infusion,x,40",
        f"130,600,{generic}IV Total,IV Total,9000",
        f"130,600,{intake}Crystalloids (ml)|24 hr total,24 hr total,9000",
        f"130,600,{generic}P.O.,P.O.,120",
        f"130,600,{intake}Crystalloids (ml)|TPN,TPN,80",
        f"130,600,{intake}Nutrition (ml)|Enteral formula,x,80",
        f"130,600,{generic}Bolus,Bolus,80",
        f"130,600,{_CELL}Output (ml)|Urine,Urine,70",
        f"130,600,{intake}Colloids (ml)|5% Albumin,x,-5",
    )
    assert made["values"] == {("fluids_in", 1.0): 500, ("fluids_in", 2.0): 40, ("urine_output", 2.0): 70}
    assert made["counts"]["out_of_scope"] == {
        "total of other cells": 2,
        "intake that is not by vein, or food": 3,
        "no intake of a variable in use": 2,
    }
    assert made["counts"]["quarantined"] == {"implausible fluids_in": 1}


def test_a_volume_of_eicu_that_was_corrected_or_entered_late_counts_as_it_was_known(tmp_path):
    head = "intakeoutputoffset,intakeoutputentryoffset,cellpath,celllabel,cellvaluenumeric"
    cell = f"{_CELL}Intake (ml)|Crystalloids (ml)|"
    made = _eicu(
        tmp_path,
        f"60,61,{cell}NS,NS,100",
        f"60,90,{cell}NS,NS,150",  # a correction of the same cell
        f"60,61,{cell}LR,LR,10",  # another cell, which was entered before it
        f"120,9000,{cell}NS,NS,70",
        head=head,
    )
    assert made["values"] == {("fluids_in", 1.0): 160}
    assert made["counts"]["out_of_scope"] == {"not known by the prediction time": 1}


def test_intake_is_read_only_where_a_variable_asks_for_it(tmp_path):
    with catalog.only({}, {}, ""):
        made = _eicu(tmp_path, f"60,500,{_CELL}Intake (ml)|Crystalloids (ml)|NS ,NS ,100")
    assert made == {"values": {}, "counts": None}
