"""``mimic-prep check-release``: names the release, counts rows, compares hashes, and says what to fix."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.errors import UserError
from mimic_prep.cli import main
from mimic_prep.file_scan import RowCounter
from mimic_prep.release import Release
from mimic_prep.release_check import check_release
from mimic_prep.releases import recognised, releases


def _problems(root: Path, **options) -> dict[str, list[str]]:
    return {table.table: table.problems for table in check_release(root, **options).tables if table.problems}


def test_sound_tables_are_ready(hospital, tmp_path: Path, capsys) -> None:
    raw = hospital.write(tmp_path / "raw")
    found = check_release(raw)
    assert (found.release, found.version, found.sound) == ("MIMIC-IV", None, True)
    rows = {table.table: table.rows for table in found.tables if table.file}
    assert rows == {path.rsplit("/")[-1]: len(table) for path, table in hospital.tables.items() if table}
    assert main(["check-release", "--raw", str(raw)]) == 0
    assert main(["check-release", "--raw", str(raw), "--quick"]) == 0
    assert "ready to prepare" in capsys.readouterr().out


def test_each_release_is_told(tmp_path: Path, hospital) -> None:
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "ICUSTAYS.csv").write_text("ROW_ID,SUBJECT_ID,HADM_ID,ICUSTAY_ID\n")
    (tmp_path / "eicu").mkdir()
    (tmp_path / "eicu" / "patient.csv").write_text("patientunitstayid,uniquepid\n")
    assert recognised(tmp_path / "three").name == "MIMIC-III"
    assert recognised(tmp_path / "eicu").name == "eICU"
    assert recognised(hospital.write(tmp_path / "four")).name == "MIMIC-IV"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.csv").write_text("a,b\n")
    with pytest.raises(UserError, match="no known release"):
        recognised(tmp_path / "other")


def test_a_missing_table_and_column_are_told(hospital, tmp_path: Path, capsys) -> None:
    for row in hospital.tables["hosp/patients"]:
        del row["anchor_age"]
    raw = hospital.write(tmp_path / "raw")
    (raw / "hosp" / "labevents.csv.gz").unlink()
    found = _problems(raw)
    assert found["patients"] == ["columns missing: anchor_age"]
    assert "not found" in found["labevents"][0]
    assert main(["check-release", "--raw", str(raw)]) == 2
    assert "fix this first" in capsys.readouterr().out


def test_a_cut_or_corrupt_file_is_told(hospital, tmp_path: Path) -> None:
    raw = hospital.write(tmp_path / "raw")
    path = raw / "hosp" / "admissions.csv.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    assert _problems(raw) == {"admissions": ["cut off or corrupt: download it again"]}
    path.write_bytes(whole[:40] + bytes(byte ^ 0xFF for byte in whole[40:60]) + whole[60:])
    assert "cut off or corrupt: download it again" in _problems(raw)["admissions"]
    path.write_bytes(whole + gzip.compress(b"1,2\n") + b"\0" * 10)  # further members are part of the file
    assert _problems(raw) == {}


def test_published_hashes_are_compared(hospital, tmp_path: Path) -> None:
    raw = hospital.write(tmp_path / "raw")
    stays = (raw / "icu" / "icustays.csv.gz").read_bytes()
    lines = [f"{hashlib.sha256(stays).hexdigest()} icu/icustays.csv.gz", f"{'0' * 64}  hosp/patients.csv.gz"]
    (raw / "SHA256SUMS.txt").write_text("\n".join(lines))
    found = {table.table: table.sha256 for table in check_release(raw).tables if table.sha256}
    assert found == {"icustays": "ok", "patients": "wrong"}
    assert list(_problems(raw)) == ["patients"]


def test_row_counts_of_a_known_version_are_compared(hospital, tmp_path: Path) -> None:
    first = hospital.tables["icu/icustays"][0]
    hospital.tables["icu/icustays"] = [{**first, "stay_id": number} for number in range(140)]
    found = check_release(hospital.write(tmp_path / "raw"))
    assert found.version == "demo 2.2"
    assert next(table for table in found.tables if table.table == "patients").problems == ["100 rows expected"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.text("a,\n\"' ", max_size=6), min_size=2, max_size=2), max_size=8),
    st.integers(1, 7),
    st.booleans(),
)
def test_rows_are_counted_as_csv_counts_them(rows: list[list[str]], size: int, ends: bool) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["h", "i"], *rows])
    data = text.getvalue().encode()
    counter = RowCounter(multiline=True)
    data = data if ends else data.removesuffix(b"\n")
    for start in range(0, len(data), size):
        counter.add(data[start : start + size])
    assert counter.rows == len(rows)


def test_a_meds_dataset_is_told(tmp_path: Path, capsys) -> None:
    events = pl.DataFrame({"subject_id": [1], "time": [None], "code": ["GENDER//F"]})
    (tmp_path / "data" / "train").mkdir(parents=True)
    events.write_parquet(tmp_path / "data" / "train" / "0.parquet")
    assert main(["check-release", "--raw", str(tmp_path)]) == 0
    events.drop("code").write_parquet(tmp_path / "data" / "train" / "1.parquet")
    (tmp_path / "data" / "train" / "2.parquet").write_bytes(b"x")
    found = check_release(tmp_path)
    assert [table.problems for table in found.tables] == [[], ["columns missing: code"], ["not readable as Parquet"]]
    assert main(["check-release", "--raw", str(tmp_path)]) == 2
    capsys.readouterr()


@pytest.mark.parametrize("release", releases().values(), ids=lambda release: release.command)
def test_published_row_counts_name_tables_that_are_read(release: Release) -> None:
    tables = {table.name for table in release.tables()}
    for published in release.versions:
        assert set(published.rows) <= tables
        assert published.marker in published.rows


def test_the_sets_of_the_challenge_are_counted(tmp_path: Path, capsys) -> None:
    (tmp_path / "set-a").mkdir()
    (tmp_path / "set-a" / "1.txt").write_text("Time,Parameter,Value\n")
    rows = {"RecordID": [1, 1], "Minute": [0, 1], "Parameter": ["HR", "HR"], "Value": [1.0, 2.0]}
    pl.DataFrame(rows).write_parquet(tmp_path / "set-b.parquet")
    assert [(table.table, table.file, table.rows) for table in check_release(tmp_path).tables] == [
        ("set-a", "set-a", 1), ("set-b", "set-b.parquet", 2), ("set-c", "", None),
    ]  # fmt: skip
    pl.DataFrame(rows).drop("Value").write_parquet(tmp_path / "set-b.parquet")
    assert _problems(tmp_path) == {"set-b": ["columns missing: Value"]}
    capsys.readouterr()
