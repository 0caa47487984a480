"""Damaged input of every kind: it is named with file, line and reason, or stops with one line; good rows stay good."""

from __future__ import annotations

import errno
import gzip
import shutil

import pytest

from clinragen.errors import UserError
from mimic_prep import canonical
from mimic_prep.cli import main

_AT = "2151-03-01 11:00:00"  # in the window of stay 100, in an hour without good rows
_CHART, _LAB = "icu/chartevents.csv", "hosp/labevents.csv"
_STAYS, _PATIENTS, _ADMISSIONS = "icu/icustays.csv", "hosp/patients.csv", "hosp/admissions.csv"
_DIAGNOSES, _DRUGS, _NOTES = "hosp/diagnoses_icd.csv", "hosp/prescriptions.csv", "note/discharge.csv"


def _chart(**cells: str) -> bytes:
    row = {
        "subject_id": "1", "hadm_id": "10", "stay_id": "100", "charttime": _AT, "itemid": "220045", "value": "77",
        "valuenum": "77", "valueuom": "bpm", "warning": "0",
    }  # fmt: skip
    return ",".join((row | cells).values()).encode()


_TIME = "charttime is not a time"
_QUARANTINED = {  # a row put in as line 3 of a table -> the reason under which it is quarantined
    "few fields": (_CHART, b"1,10,100," + _AT.encode() + b",220045,77", "expected 9 fields, found 6"),
    "many fields": (_CHART, _chart() + b",more", "expected 9 fields, found 10"),
    "two rows in one line": (_CHART, _chart() + _chart(), "expected 9 fields, found 17"),
    "semicolons": (_CHART, _chart().replace(b",", b";"), "expected 9 fields, found 1"),
    "tabs": (_CHART, _chart().replace(b",", b"\t"), "expected 9 fields, found 1"),
    "text in place of a row": (_CHART, b"-- 1000 rows selected --", "expected 9 fields, found 1"),
    "header again": (_CHART, b"subject_id,hadm_id,stay_id,charttime,itemid,value,valuenum,valueuom,warning", "stay_id"),
    "word as stay": (_CHART, _chart(stay_id="hundred"), "stay_id is not a whole number"),
    "fraction as stay": (_CHART, _chart(stay_id="100.5"), "stay_id is not a whole number"),
    "huge stay": (_CHART, _chart(stay_id="9" * 30), "stay_id is not a whole number"),
    "word as item": (_CHART, _chart(itemid="HR"), "itemid is not a whole number"),
    "no item": (_CHART, _chart(itemid=""), "no item"),
    "blank line": (_CHART, b"", "no item"),
    "only separators": (_CHART, b"," * 8, "no item"),
    "no time": (_CHART, _chart(charttime=""), "no time"),
    "month 13": (_CHART, _chart(charttime="2151-13-01 11:00:00"), _TIME),
    "30 February": (_CHART, _chart(charttime="2151-02-30 11:00:00"), _TIME),
    "hour 25": (_CHART, _chart(charttime="2151-03-01 25:00:00"), _TIME),
    "day first": (_CHART, _chart(charttime="01/03/2151 11:00"), _TIME),
    "word as time": (_CHART, _chart(charttime="noon"), _TIME),
    "cut time": (_CHART, _chart(charttime="2151-03-01 1"), _TIME),
    "no value": (_CHART, _chart(value="", valuenum=""), "no numeric value"),
    "infinite value": (_CHART, _chart(valuenum="inf"), "no numeric value"),
    "value beyond floats": (_CHART, _chart(valuenum="1e400"), "no numeric value"),
    "NaN value": (_CHART, _chart(valuenum="NaN"), "no numeric value"),
    "word as value": (_CHART, _chart(valuenum="eighty"), "valuenum is not a number"),
    "value with unit": (_CHART, _chart(valuenum="77bpm"), "valuenum is not a number"),
    "decimal comma": (_CHART, _chart(valuenum='"77,5"'), "valuenum is not a number"),
    "hexadecimal value": (_CHART, _chart(valuenum="0x4d"), "valuenum is not a number"),
    "comparison as value": (_CHART, _chart(valuenum=">77"), "valuenum is not a number"),
    "value too large": (_CHART, _chart(valuenum="7700"), "implausible heart_rate"),
    "negative value": (_CHART, _chart(valuenum="-7"), "implausible heart_rate"),
    "value in a wrong unit": (_CHART, _chart(itemid="226512", valuenum="70000", valueuom="kg"), "implausible weight"),
    "unit of another quantity": (_CHART, _chart(itemid="226512", valueuom="mmHg"), "unit of another kind of variable"),
    "words nobody knows": (_CHART, _chart(itemid="223951", value="see note", valuenum=""), "no numeric value"),
    "open quote": (_CHART, _chart(valueuom='"bpm'), "unbalanced quotes"),
    "NUL byte": (_CHART, _chart(valueuom="b\0pm"), "holds a NUL byte"),
    "laboratory text for a value": (_LAB, b"9,1,,50912," + _AT.encode() + b",___,,mg/dL", "no numeric value"),
    "laboratory value too large": (_LAB, b"9,1,,50912," + _AT.encode() + b",1,9e9,mg/dL", "implausible creatinine"),
    "laboratory row without time": (_LAB, b"9,1,,50912,,1,1,mg/dL", "no time"),
    "laboratory patient is a word": (_LAB, b"9,one,,50912," + _AT.encode() + b",1,1,mg/dL", "subject_id is not"),
    "stay without id": (_STAYS, b"1,10,,MICU,MICU,2151-03-01 08:00:00,2151-03-05 08:00:00,1", "no stay_id"),
    "stay without patient": (_STAYS, b",10,500,MICU,MICU,2151-03-01 08:00:00,2151-03-05 08:00:00,1", "no subject_id"),
    "impossible date": (_STAYS, b"1,10,500,MICU,MICU,2151-99-01 08:00:00,2151-03-05 08:00:00,1", "intime is"),
    "patient without id": (_PATIENTS, b",F,70,2150", "no subject_id"),
    "age is a word": (_PATIENTS, b"8,F,old,2150", "anchor_age is not a number"),
    "admission without id": (_ADMISSIONS, b"1,,2151-03-01 06:00:00,2151-03-09 12:00:00,EW EMER.,ED", "no hadm_id"),
    "diagnosis without code": (_DIAGNOSES, b"1,10,2,,10", "no code"),
    "diagnosis without version": (_DIAGNOSES, b"1,10,2,J189,", "no version"),
    "diagnosis version is a word": (_DIAGNOSES, b"1,10,2,J189,ten", "icd_version is not a whole number"),
    "impossible prescription": (_DRUGS, b"1,10,2151-02-31 07:00:00,,MAIN,Digoxin", "starttime is not a time"),
}  # fmt: skip


@pytest.fixture
def raw(hospital, tmp_path):
    return hospital.write(tmp_path / "raw", packed=False)


def _insert(path, row: bytes) -> None:
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([*lines[:2], row, *lines[2:]]))


def _same_tables(first, second) -> bool:
    names = ("stays", "series", "notes", "labels")
    return all((first.root / f"{n}.parquet").read_bytes() == (second.root / f"{n}.parquet").read_bytes() for n in names)


@pytest.mark.parametrize(("table", "row", "reason"), _QUARANTINED.values(), ids=_QUARANTINED)
def test_a_bad_row_is_quarantined_alone(raw, prepared, good, table, row, reason):
    _insert(raw / table, row)
    cohort = prepared(raw)
    # prescriptions are read twice: for the digest, and for the orders
    assert {(file.removesuffix(" (orders)"), line) for file, line, _ in cohort.quarantine.rows()} == {(table, 3)}
    assert reason in cohort.quarantine["reason"][0]
    assert _same_tables(cohort, good)
    count = cohort.manifest["tables"][table]
    assert count["read"] == count["kept"] + sum(count["out_of_scope"].values()) + 1


_COUNTED = {  # a sound row that nobody asked for -> where it is counted
    "unknown item": (_CHART, _chart(itemid="1"), "item not used"),
    "orphan stay": (_CHART, _chart(stay_id="999"), "stay not in the cohort"),
    "no stay": (_CHART, _chart(stay_id=""), "no stay_id"),
    "before the stay": (_CHART, _chart(charttime="2151-03-01 07:59:59"), "outside the window"),
    "in the year 1": (_CHART, _chart(charttime="0001-01-01 00:00:00"), "outside the window"),
    "in the year 9999": (_CHART, _chart(charttime="9999-12-31 23:59:59"), "outside the window"),
    "orphan patient": (_LAB, b"9,77,,50912," + _AT.encode() + b",1,1,mg/dL", "patient not in the cohort"),
    "no patient": (_LAB, b"9,,,50912," + _AT.encode() + b",1,1,mg/dL", "no subject_id"),
    "orphan diagnosis": (_DIAGNOSES, b"77,770,1,J189,10", "patient not in the cohort"),
    "orphan note": (_NOTES, b"9-DS-1,77,770,DS,1,2151-03-09 00:00:00,,Pneumonia", "admission not in the cohort"),
}


@pytest.mark.parametrize(("table", "row", "reason"), _COUNTED.values(), ids=_COUNTED)
def test_a_row_nobody_asked_for_is_counted(raw, prepared, good, table, row, reason):
    if table == _NOTES:
        with (raw / table).open("ab") as file:
            file.write(row + b"\n")
    else:
        _insert(raw / table, row)
    cohort = prepared(raw)
    before = good.manifest["tables"][table]["out_of_scope"].get(reason, 0)
    assert cohort.manifest["tables"][table]["out_of_scope"][reason] == before + 1
    assert cohort.quarantine.height == 0
    assert _same_tables(cohort, good)


_STAY = b"%d,%d,%d,MICU,MICU,%s,%s,1"
_EXCLUDED = {  # a stay that cannot be used -> the reason under which it is excluded
    "stay twice": (1, 10, 100, b"2151-03-01 08:00:00", b"2151-03-05 08:00:00", "stay id seen before"),
    "stay of nobody": (77, 10, 500, b"2151-03-01 08:00:00", b"2151-03-05 08:00:00", "patient not in the patient table"),
    "no admission": (1, 99, 500, b"2151-03-01 08:00:00", b"2151-03-05 08:00:00", "admission not in"),
    "out before in": (1, 10, 500, b"2151-03-05 08:00:00", b"2151-03-01 08:00:00", "discharge not after admission"),
    "out as in": (1, 10, 500, b"2151-03-05 08:00:00", b"2151-03-05 08:00:00", "discharge not after admission"),
    "no end": (1, 10, 500, b"2151-03-05 08:00:00", b"", "no time of admission or discharge"),
    "no begin": (1, 10, 500, b"", b"2151-03-05 08:00:00", "no time of admission or discharge"),
    "a stay of centuries": (1, 10, 500, b"2151-03-07 08:00:00", b"9999-03-05 08:00:00", "impossibly long stay"),
    "before birth": (1, 10, 500, b"1951-03-01 08:00:00", b"1951-03-05 08:00:00", "age unknown"),
}  # fmt: skip


@pytest.mark.parametrize("case", _EXCLUDED.values(), ids=_EXCLUDED)
def test_an_impossible_stay_is_excluded_under_its_reason(raw, prepared, good, case):
    *cells, reason = case
    _insert(raw / _STAYS, _STAY % tuple(cells))
    cohort = prepared(raw)
    excluded = {step["reason"]: step["stays"] for step in cohort.manifest["attrition"]["excluded"]}
    assert sum(stays for name, stays in excluded.items() if name.startswith(reason)) == 1
    assert _same_tables(cohort, good)


_HARMLESS = {
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "no newline at the end": lambda data: data.rstrip(b"\n"),
    "upper-case header": lambda data: data.split(b"\n")[0].upper() + data[data.index(b"\n") :],
    "quoted header": lambda data: b'"' + data.split(b"\n")[0].replace(b",", b'","') + b'"' + data[data.index(b"\n") :],
    "spaces in the header": lambda data: data.split(b"\n")[0].replace(b",", b" , ") + data[data.index(b"\n") :],
    "an extra column": lambda data: b"\n".join(line + b",x" if line else line for line in data.split(b"\n")),
    "columns the other way": lambda data: b"\n".join(b",".join(line.split(b",")[::-1]) for line in data.split(b"\n")),
    "every row twice": lambda data: data + data[data.index(b"\n") + 1 :],
    "numbers with .0": lambda data: data.replace(b",220045,", b",220045.0,"),
    "times with T": lambda data: data.replace(b"-01 0", b"-01T0"),
    "an old encoding": lambda data: data.decode().encode("cp1252"),
}


@pytest.mark.parametrize("change", _HARMLESS.values(), ids=_HARMLESS)
@pytest.mark.parametrize("table", [_CHART, "icu/outputevents.csv"])
def test_a_harmless_difference_changes_nothing(raw, prepared, good, change, table):
    (raw / table).write_bytes(change((raw / table).read_bytes()))
    cohort = prepared(raw)
    assert cohort.quarantine.height == 0
    assert _same_tables(cohort, good)


def test_a_file_name_in_upper_case(raw, prepared, good):
    (raw / _CHART).rename(raw / "icu" / "CHARTEVENTS.CSV")
    assert _same_tables(prepared(raw), good)


@pytest.mark.parametrize("packed", [lambda a, b: a + b, lambda a, b: a + b + bytes(512)], ids=["members", "padding"])
def test_gzip_files_in_parts(raw, prepared, good, packed):
    data = (raw / _CHART).read_bytes()
    (raw / _CHART).unlink()
    half = len(data) // 2
    (raw / f"{_CHART}.gz").write_bytes(packed(gzip.compress(data[:half]), gzip.compress(data[half:])))
    assert _same_tables(prepared(raw), good)


def _replace(name: str, data: bytes):
    return lambda raw: (raw / name).write_bytes(data)


_STOPS = {
    "an empty file": (_replace(_CHART, b""), "is empty"),
    "blank lines only": (_replace(_CHART, b"\n\n\n"), "is empty"),
    "a header only": (_replace(_CHART, b"stay_id,charttime,itemid,valuenum\n"), "has no rows"),
    "a web page": (_replace(_CHART, b"<!DOCTYPE html>\n<title>403 Forbidden</title>\n"), "column 'stay_id' is missing"),
    "no header": (_replace(_CHART, _chart() + b"\n"), "column 'stay_id' is missing"),
    "a header in semicolons": (_replace(_CHART, b"stay_id;charttime;itemid;valuenum\n1;2;3;4\n"), "is missing"),
    "a binary file": (_replace(_CHART, bytes(range(256)) * 9), "is missing"),
    "UTF-16": (_replace(_CHART, "stay_id,charttime,itemid,valuenum\n1,2,3,4\n".encode("utf-16")), "is missing"),
    "a folder as a table": (lambda raw: ((raw / _CHART).unlink(), (raw / _CHART).mkdir()), "not found"),
    "no such table": (lambda raw: (raw / _STAYS).unlink(), "icustays.csv.gz (or .csv, .parquet) of MIMIC-IV not found"),
    "no such folder": (shutil.rmtree, "not found"),
    "a cut download": (_replace(f"{_CHART}.gz", gzip.compress(_chart() * 99)[:-9]), "is cut off or corrupt"),
    "not Parquet": (_replace("icu/chartevents.parquet", b"PAR1, not really"), "is not readable Parquet"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), _STOPS.values(), ids=_STOPS)
def test_a_broken_file_stops_with_one_line(raw, tmp_path, capsys, change, expected):
    if expected.startswith(("is cut", "is not readable")):
        (raw / _CHART).unlink()
    change(raw)
    assert main(["mimic-iv", "--raw", str(raw), "--out", str(tmp_path / "cohort")]) == 2
    line = capsys.readouterr().err.strip()
    assert expected in line
    assert len(line.splitlines()) == 1
    assert not (tmp_path / "cohort").exists()


@pytest.mark.parametrize("out", ["/proc/cohort", "file/cohort"])
def test_an_output_that_cannot_be_written(raw, tmp_path, capsys, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    assert main(["mimic-iv", "--raw", str(raw), "--out", out]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_full_disk(raw, tmp_path, capsys, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(canonical, "write_series", full)
    assert main(["mimic-iv", "--raw", str(raw), "--out", str(tmp_path / "cohort")]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "cohort").exists()
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.parametrize(("share", "stops"), [(0.1, True), (0.9, True), (1, False)])
def test_too_much_is_bad(raw, prepared, good, share, stops):
    with (raw / _CHART).open("ab") as file:
        file.write((_chart(valuenum="many") + b"\n") * 150)
    if stops:
        with pytest.raises(UserError, match="150 of 156 rows are bad, more than rules"):
            prepared(raw, rules__max_bad_share=share)
    else:
        cohort = prepared(raw, rules__max_bad_share=share)
        assert cohort.quarantine.height == 150
        assert _same_tables(cohort, good)
