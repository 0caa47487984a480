"""A hospital as MEDS events gives the cohort that its MIMIC-IV tables give; other vocabularies are configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mimic_prep.cli import main

_SCHEMA = {
    "subject_id": pl.Int64, "time": pl.Datetime("us"), "code": pl.String, "numeric_value": pl.Float32,
    "hadm_id": pl.Int64, "icustay_id": pl.Int64,
}  # fmt: skip


def _events(tables: dict[str, list[dict[str, Any]]]) -> pl.DataFrame:
    """The codes of MIMIC-IV's MEDS conversion."""
    rows: list[tuple[Any, ...]] = []
    ends = {row["hadm_id"]: row["dischtime"] for row in tables["hosp/admissions"]}
    owner = {row["stay_id"]: row["subject_id"] for row in tables["icu/icustays"]}
    for row in tables["hosp/patients"]:
        rows.append((row["subject_id"], None, f"GENDER//{row['gender']}", None, None, None))
        birth = f"{row['anchor_year'] - row['anchor_age']}-01-01 00:00:00"
        rows.append((row["subject_id"], birth, "MEDS_BIRTH", None, None, None))
    for row in tables["hosp/admissions"]:
        ids = (row["hadm_id"], None)
        start = f"HOSPITAL_ADMISSION//{row['admission_type']}//{row['admission_location']}"
        rows.append((row["subject_id"], row["admittime"], start, None, *ids))
        rows.append((row["subject_id"], row["dischtime"], "HOSPITAL_DISCHARGE//HOME", None, *ids))
    for row in tables["icu/icustays"]:
        ids = (row["hadm_id"], row["stay_id"])
        rows.append((row["subject_id"], row["intime"], f"ICU_ADMISSION//{row['first_careunit']}", None, *ids))
        rows.append((row["subject_id"], row["outtime"], f"ICU_DISCHARGE//{row['last_careunit']}", None, *ids))
    for row in tables["hosp/diagnoses_icd"]:
        code = f"DIAGNOSIS//ICD//{row['icd_version']}//{row['icd_code']}"
        rows.append((row["subject_id"], ends[row["hadm_id"]], code, None, row["hadm_id"], None))
    for row in tables["hosp/prescriptions"]:
        rows.append(
            (row["subject_id"], row["starttime"], f"MEDICATION//START//{row['drug']}", None, row["hadm_id"], None)
        )
    for table, name, value in (
        ("icu/chartevents", "LAB", "valuenum"),
        ("hosp/labevents", "LAB", "valuenum"),
        ("icu/outputevents", "SUBJECT_FLUID_OUTPUT", "value"),
    ):
        for row in tables[table]:
            subject = row.get("subject_id") or owner[row["stay_id"]]
            code = f"{name}//{row['itemid']}//{row['valueuom']}"
            rows.append((subject, row["charttime"], code, float(row[value]), None, row.get("stay_id")))
    rows.append((1, "2151-03-01 09:00:00", "TRANSFER_TO//ward", None, None, None))
    frame = pl.DataFrame(rows, schema={**_SCHEMA, "time": pl.String}, orient="row")
    times = pl.col("time").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us")
    return frame.with_columns(times).sort("subject_id", "time", maintain_order=True)


def _write(events: pl.DataFrame, root: Path) -> Path:
    for subject, part in events.group_by("subject_id"):
        path = root / "data" / "train" / f"{subject[0]}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_parquet(path)
    return root


@pytest.fixture
def without_notes(hospital):
    hospital.tables["note/discharge"] = []
    drugs = hospital.tables["hosp/prescriptions"]
    hospital.tables["hosp/prescriptions"] = [row for row in drugs if row["drug_type"] == "MAIN"]
    return hospital


def _cohort(root: Path) -> dict[str, pl.DataFrame]:
    return {name: pl.read_parquet(root / f"{name}.parquet") for name in ("stays", "series", "notes", "labels")}


def test_meds_and_mimic_give_the_same_cohort(without_notes, prepared, tmp_path: Path, capsys) -> None:
    expected = _cohort(prepared(without_notes).root)
    raw = _write(_events(without_notes.tables), tmp_path / "meds")
    assert main(["meds", "--raw", str(raw), "--out", str(tmp_path / "cohort")]) == 0
    found = _cohort(tmp_path / "cohort")
    for name in ("series", "labels", "notes"):
        assert found[name].equals(expected[name]), name
    assert found["stays"].drop("age").equals(expected["stays"].drop("age"))
    assert ((found["stays"]["age"] - expected["stays"]["age"]).abs() <= 1).all()
    manifest = pl.read_json(tmp_path / "cohort" / "manifest.json")["meds"][0]
    assert manifest["events"]["out_of_scope"] == {"code not used": 1}
    assert len(manifest["shards"]) == 3
    capsys.readouterr()


def test_stays_and_admissions_without_ids_are_found_by_time(without_notes, tmp_path: Path, capsys) -> None:
    events = _events(without_notes.tables)
    named, bare = tmp_path / "named", tmp_path / "bare"
    _write(events, tmp_path / "a")
    _write(events.drop("hadm_id", "icustay_id"), tmp_path / "b")
    assert main(["meds", "--raw", str(tmp_path / "a"), "--out", str(named)]) == 0
    assert main(["meds", "--raw", str(tmp_path / "b"), "--out", str(bare)]) == 0
    first, second = _cohort(named), _cohort(bare)
    keys = ["subject_id", "intime"]
    pairs = first["stays"].join(second["stays"], on=keys, suffix="_made").select("stay_id", "stay_id_made")
    assert pairs.height == first["stays"].height == second["stays"].height
    for name in ("series", "labels"):
        moved = first[name].join(pairs, on="stay_id").drop("stay_id").rename({"stay_id_made": "stay_id"})
        assert moved.select(second[name].columns).sort(pl.all()).equals(second[name].sort(pl.all())), name
    capsys.readouterr()


def test_a_shard_without_intensive_care_adds_no_stay(without_notes, tmp_path: Path, capsys) -> None:
    events = _events(without_notes.tables)
    wards = events.filter(~((pl.col("subject_id") == 1) & pl.col("code").str.starts_with("ICU_")))
    assert main(["meds", "--raw", str(_write(wards, tmp_path / "meds")), "--out", str(tmp_path / "cohort")]) == 0
    assert _cohort(tmp_path / "cohort")["stays"]["subject_id"].unique().to_list() == [2]
    capsys.readouterr()


def test_loinc_icd_and_own_codes(tmp_path: Path, capsys) -> None:
    own = tmp_path / "codes.yaml"
    own.write_text(
        "admission_start: ['^Visit/IP$']\nadmission_end: ['^Visit/end$']\nbirth: ['^MEDS_BIRTH$']\n"
        "diagnosis: ['^ICD(?P<version>10)CM/(?P<code>.+)$']\n"
        "measurement: ['^LOINC/(?P<loinc>[0-9-]+)(?:/(?P<unit>.+))?$']\n"
    )
    rows = [
        (7, "1950-01-01 00:00:00", "MEDS_BIRTH", None),
        (7, "2020-01-01 08:00:00", "Visit/IP", None),
        (7, "2020-01-01 09:30:00", "LOINC/8867-4", 88.0),
        (7, "2020-01-01 10:30:00", "LOINC/8310-5/degF", 100.4),
        (7, "2020-01-01 11:00:00", "LOINC/2160-0/mg/dL", 1.5),
        (7, "2020-01-05 08:00:00", "ICD10CM/J18.9", None),
        (7, "2020-01-05 08:00:00", "Visit/end", None),
    ]
    frame = pl.DataFrame(rows, schema=["subject_id", "time", "code", "numeric_value"], orient="row")
    frame = frame.with_columns(pl.col("time").str.to_datetime(time_unit="us"))
    raw = _write(frame, tmp_path / "meds")
    assert main(["meds", "--raw", str(raw), "--out", str(tmp_path / "cohort"), "--codes", str(own)]) == 0
    found = _cohort(tmp_path / "cohort")
    values = {row["variable"]: round(row["value"], 2) for row in found["series"].iter_rows(named=True)}
    assert values == {"heart_rate": 88.0, "temperature": 38.0, "creatinine": 1.5}
    assert found["labels"]["pneumonia"].to_list() == [True]
    assert main(["meds", "--raw", str(raw), "--out", str(tmp_path / "other")]) == 2
    assert "--codes" in capsys.readouterr().err


def test_what_is_no_meds_dataset_is_refused(tmp_path: Path, capsys) -> None:
    (tmp_path / "empty").mkdir()
    out = str(tmp_path / "cohort")
    assert main(["meds", "--raw", str(tmp_path / "empty"), "--out", out]) == 2
    (tmp_path / "bad" / "data").mkdir(parents=True)
    pl.DataFrame({"subject_id": [1]}).write_parquet(tmp_path / "bad" / "data" / "0.parquet")
    assert main(["meds", "--raw", str(tmp_path / "bad"), "--out", out]) == 2
    (tmp_path / "bad" / "data" / "0.parquet").write_bytes(b"junk")
    assert main(["meds", "--raw", str(tmp_path / "bad"), "--out", out]) == 2
    codes = tmp_path / "codes.yaml"
    codes.write_text("birth: ['(']")
    assert main(["meds", "--raw", str(tmp_path / "bad"), "--out", out, "--codes", str(codes)]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert "holds no .parquet file" in errors[0]
    assert "column 'time'" in errors[1]
    assert "cannot be read as Parquet" in errors[2]
    assert "no regular expression" in errors[3]
    assert not (tmp_path / "cohort").exists()
