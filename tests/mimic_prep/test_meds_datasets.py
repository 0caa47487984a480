"""MEDS datasets in the vocabulary of MIMIC-IV's conversion before and since 2026; their splits, files and errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mimic_prep.cli import main
from mimic_prep.releases.meds import convert, meds_dataset
from mimic_prep.releases.meds.layout import drawn_times
from mimic_prep.releases.meds.vocabulary import Vocabulary, load_codes

SCHEMA = {
    "subject_id": pl.Int64, "time": pl.String, "code": pl.String, "numeric_value": pl.Float32,
    "text_value": pl.String, "hadm_id": pl.Int64, "icustay_id": pl.Int64,
}  # fmt: skip


def patient(subject: int, *events: tuple[Any, ...], day: str = "2150-01-02") -> list[tuple[Any, ...]]:
    """One patient's stay of three days from midnight of ``day``; ``events`` are (time, code[, number[, text]])."""
    hadm, stay = subject * 10, subject * 100
    rows: list[tuple[Any, ...]] = [
        (subject, None, "GENDER//F", None, None, None, None),
        (subject, "2090-05-05 00:00:00", "MEDS_BIRTH", None, None, None, None),
        (subject, f"{day[:8]}01 20:00:00", "HOSPITAL_ADMISSION//EW EMER.//EMERGENCY ROOM", None, None, hadm, None),
        (subject, f"{day} 00:00:00", "ICU_ADMISSION//MICU", None, None, hadm, stay),
        (subject, f"{day} 00:05:00", "LAB//220045//bpm", 80.0, None, hadm, stay),
    ]
    for time, code, *cells in events:
        number, text = [*cells, None, None][:2]
        rows.append((subject, f"{day} {time}" if len(time) < 10 else time, code, number, text, hadm, None))
    rows += [
        (subject, f"{day[:8]}05 00:00:00", "ICU_DISCHARGE//MICU", None, None, hadm, stay),
        (subject, f"{day[:8]}09 00:00:00", "HOSPITAL_DISCHARGE//HOME", None, None, hadm, None),
        (subject, f"{day[:8]}09 00:00:00", "DIAGNOSIS//ICD//9//5849", None, None, hadm, None),
    ]
    return rows


def frame(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """Rows as a table of events, in the order of patients and times."""
    events = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    times = pl.col("time").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us")
    return events.with_columns(times).sort("subject_id", "time", maintain_order=True)


def write(root: Path, shards: dict[str, list[tuple[Any, ...]]], splits: dict[int, str] | None = None) -> Path:
    """``shards``: name below ``data`` -> rows."""
    for name, rows in shards.items():
        path = root / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        frame(rows).write_parquet(path)
    if splits is not None:
        (root / "metadata").mkdir(exist_ok=True)
        table = {"subject_id": list(splits), "split": list(splits.values())}
        pl.DataFrame(table, schema={"subject_id": pl.Int64, "split": pl.String}).write_parquet(
            root / "metadata" / "subject_splits.parquet"
        )
    return root


class Prepared:
    """A cohort that ``mimic-prep meds`` wrote."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stays, self.series, self.notes = (
            pl.read_parquet(root / f"{name}.parquet") for name in ("stays", "series", "notes")
        )

    def values(self, variable: str) -> list[tuple[int, float, float]]:
        """(stay, hour, value) of a variable."""
        rows = self.series.filter(pl.col("variable") == variable).select("stay_id", "hour", "value").rows()
        return [(stay, hour, round(value, 3)) for stay, hour, value in rows]


def prepare(raw: Path, out: Path, *options: str) -> Prepared:
    """Run the command, which must succeed."""
    assert main(["meds", "--raw", str(raw), "--out", str(out), *options]) == 0
    return Prepared(out)


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return Vocabulary(load_codes("default"))


@pytest.mark.parametrize(
    ("code", "kind", "item", "unit"),
    [
        ("LAB//50912//mg/dL", "measurement", 50912, "mg/dL"),  # before 2026
        ("LAB//50912//UNK", "measurement", 50912, None),
        ("LAB//220045//bpm", "measurement", 220045, "bpm"),
        ("LAB//RESULT//50912//mg/dL", "result", 50912, "mg/dL"),  # since 2026
        ("LAB//RESULT//50912//UNK", "result", 50912, None),
        ("LAB//RESULT//50912", "result", 50912, None),
        ("LAB//RESULT//51265//K/uL", "result", 51265, "K/uL"),
        ("LAB//SPECIMEN_COLLECTED//50912", "specimen", 50912, None),
        ("LAB//SPECIMEN_COLLECTED//50912//STAT", "specimen", 50912, None),
        ("LAB//SPECIMEN_COLLECTED//50912//UNK", "specimen", 50912, None),
        ("LAB//RESULT//1//mg/dL", None, None, None),  # an item that no variable reads
        ("LAB//RESULT//haemoglobin//g/dL", None, None, None),
        ("SUBJECT_FLUID_OUTPUT//226559//mL", "measurement", 226559, "mL"),
    ],
)
def test_laboratory_codes(vocabulary, code, kind, item, unit):
    read = vocabulary.read(code)
    assert (read["kind"], read.get("item"), read.get("unit")) == (kind, item, unit)


@pytest.mark.parametrize(
    ("code", "drug"),
    [
        ("MEDICATION//START//Warfarin", "Warfarin"),
        ("MEDICATION//START//Warfarin//00056017270", "Warfarin"),
        ("MEDICATION//START//Warfarin//UNK", "Warfarin"),
        ("MEDICATION//START//Oxycodone-Acetaminophen 5/325", "Oxycodone-Acetaminophen 5/325"),
        ("MEDICATION//Aspirin//Administered", "Aspirin"),
        ("MEDICATION//Aspirin//Administered//00904404073", "Aspirin"),
        ("MEDICATION//Aspirin//Delayed Administered", "Aspirin"),
        ("MEDICATION//Fentanyl Patch//Removed Existing / Applied New", "Fentanyl Patch"),
        ("MEDICATION//Norepinephrine//Started", "Norepinephrine"),
        ("MEDICATION//Metoprolol", "Metoprolol"),
        ("MEDICATION//STOP//Warfarin", None),
        ("MEDICATION//STOP//Warfarin//00056017270", None),
        ("MEDICATION//Heparin//Not Given", None),
        ("MEDICATION//Heparin//Not Given//63323026201", None),
        ("MEDICATION//Insulin//Not Given per Sliding Scale", None),
        ("MEDICATION//Heparin//Hold Dose", None),
        ("MEDICATION//Heparin//Stopped", None),
        ("MEDICATION//Heparin//Stopped - Unscheduled", None),
        ("MEDICATION//Heparin//Delayed", None),
        ("MEDICATION//Heparin//Delayed Not Started", None),
        ("MEDICATION//Nicotine Patch//Removed", None),
        ("MEDICATION//Heparin//Infusion Reconciliation - Not Done", None),
        ("MEDICATION//Heparin//Refused", None),
        ("MEDICATION//Heparin//UNK", None),
        ("MEDICATION//UNK//Administered", None),
        ("MEDICATION//START//UNK//UNK", None),
    ],
)
def test_drugs_are_those_that_were_begun_or_given(vocabulary, code, drug):
    read = vocabulary.read(code)
    assert (read["kind"] == "drug", read.get("drug")) == (drug is not None, drug)


def test_both_vocabularies_give_the_same_values(tmp_path: Path, capsys) -> None:
    old = patient(1, ("01:00:00", "LAB//50912//mg/dL", 4.2, "4.2"), ("03:00:00", "LAB//50813//mmol/L", 6.0, "6.0"))
    new = patient(
        1,
        ("01:00:00", "LAB//SPECIMEN_COLLECTED//50912//STAT"),
        ("02:10:00", "LAB//RESULT//50912//mg/dL", 4.2, "4.2"),
        ("03:00:00", "LAB//SPECIMEN_COLLECTED//50813"),
        ("03:10:00", "LAB//RESULT//50813//mmol/L", 6.0, "6.0"),
    )
    first = prepare(write(tmp_path / "old", {"train/0.parquet": old}), tmp_path / "a")
    second = prepare(write(tmp_path / "new", {"train/0.parquet": new}), tmp_path / "b")
    for variable, value in (("creatinine", 4.2), ("lactate", 6.0)):
        assert [row[2] for row in first.values(variable)] == [row[2] for row in second.values(variable)] == [value]
    capsys.readouterr()


def test_a_result_known_after_the_prediction_time_is_not_read(tmp_path: Path, capsys) -> None:
    events = (
        ("2150-01-03 23:00:00", "LAB//SPECIMEN_COLLECTED//50912"),
        ("2150-01-04 00:30:00", "LAB//RESULT//50912//mg/dL", 9.9, "9.9"),
    )
    cohort = prepare(write(tmp_path / "raw", {"0.parquet": patient(1, *events)}), tmp_path / "out")
    assert cohort.values("creatinine") == []
    capsys.readouterr()


def _drawn(specimens: list[int], results: list[int]) -> list[int | None]:
    """Minutes at which the specimens of results were drawn."""
    start = pl.datetime(2150, 1, 1, time_unit="ms")

    def table(minutes: list[int]) -> pl.DataFrame:
        return pl.DataFrame({"minute": minutes}, schema={"minute": pl.Int64}).select(
            subject_id=pl.lit(1, pl.Int64), item=pl.lit(50912, pl.Int64),
            time=start + pl.duration(minutes=pl.col("minute")),
        )  # fmt: skip

    drawn = drawn_times(table(results), table(specimens))
    return drawn.select((pl.col("drawn") - start).dt.total_minutes()).to_series().to_list()


@pytest.mark.parametrize(
    ("specimens", "results", "drawn"),
    [
        ([0], [60], [0]),
        ([0, 30], [60, 90], [0, 30]),  # the next is drawn before the first result is there
        ([0, 120], [60, 180], [0, 120]),
        ([0, 120], [180], [120]),  # the first never had a result
        ([], [60], [None]),
        ([90], [60], [None]),  # drawn after it
        ([60], [60], [60]),
        ([0], [60, 90], [None, 0]),  # two results of one specimen: the later is the correction
        ([0], [60 * 24 * 9], [None]),  # nine days: not its specimen
        ([0, 10, 20], [25, 26, 27], [0, 10, 20]),
    ],
)
def test_the_specimen_of_a_result(specimens, results, drawn):
    assert _drawn(specimens, results) == drawn


def test_diagnoses_that_lost_their_zeros(tmp_path: Path, capsys) -> None:
    events = [("2150-01-09 00:00:00", "DIAGNOSIS//ICD//9//389")]
    cohort = prepare(write(tmp_path / "raw", {"0.parquet": patient(1, *events)}), tmp_path / "out")
    assert pl.read_parquet(cohort.root / "labels.parquet")["septicemia"].to_list() == [True]
    assert "leading zeros" in capsys.readouterr().out


def test_stopped_and_withheld_drugs_stand_in_no_digest(tmp_path: Path, capsys) -> None:
    at = "2150-01-01 21:00:00"
    events = (
        (at, "MEDICATION//START//Warfarin//00056017270"),
        (at, "MEDICATION//STOP//Metoprolol"),
        (at, "MEDICATION//Heparin//Not Given"),
        (at, "MEDICATION//Aspirin//Administered//UNK"),
    )
    cohort = prepare(write(tmp_path / "raw", {"0.parquet": patient(1, *events)}), tmp_path / "out")
    text = cohort.notes["text"][0]
    assert "Drugs ordered before intensive care: Aspirin, Warfarin." in text
    assert not any(word in text for word in ("STOP", "Heparin", "Metoprolol", "UNK"))
    capsys.readouterr()


def test_what_no_pattern_knows_is_told_by_the_heads_of_its_codes(tmp_path: Path, capsys) -> None:
    events = [("01:00:00", "LAB//OUTCOME//50912//mg/dL", 4.2)] * 3 + [("01:00:00", "TRANSFER_TO//ICU//MICU")]
    prepare(write(tmp_path / "raw", {"0.parquet": patient(1, *events)}), tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["meds"]["unknown_codes"] == {"LAB//OUTCOME": 3, "TRANSFER_TO//ICU": 1}
    [line] = [line for line in manifest["warnings"] if "no laboratory event" in line]
    assert "LAB//OUTCOME" in line
    shown = capsys.readouterr()
    assert "LAB//OUTCOME" in shown.out


def test_a_dataset_with_laboratory_rows_has_no_such_warning(tmp_path: Path, capsys) -> None:
    events = [("02:00:00", "LAB//RESULT//50912//mg/dL", 4.2)]
    prepare(write(tmp_path / "raw", {"0.parquet": patient(1, *events)}), tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert not [line for line in manifest["warnings"] if "laboratory" in line]
    capsys.readouterr()


@pytest.mark.parametrize(
    "change",
    [
        lambda events: events.with_columns(pl.col("time").dt.strftime("%Y-%m-%d %H:%M:%S")),  # times as text
        lambda events: events.with_columns(pl.col("time").dt.replace_time_zone("UTC")),
        lambda events: events.with_columns(pl.col("time").dt.cast_time_unit("ns")),
        lambda events: events.with_columns(pl.col("subject_id").cast(pl.String)),
        lambda events: events.with_columns(pl.col("hadm_id").cast(pl.Float64), pl.col("icustay_id").cast(pl.Float64)),
        lambda events: events.with_columns(pl.col("numeric_value").cast(pl.String)),
        lambda events: events.with_columns(pl.col("code").cast(pl.Categorical)),
    ],
)
def test_other_types_of_columns_change_nothing(tmp_path: Path, capsys, change) -> None:
    events = [("02:00:00", "LAB//RESULT//50912//mg/dL", 4.2), ("2150-01-01 21:00:00", "MEDICATION//START//Warfarin")]
    expected = prepare(write(tmp_path / "raw", {"0.parquet": patient(1, *events)}), tmp_path / "a")
    path = tmp_path / "raw" / "data" / "0.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    found = prepare(tmp_path / "raw", tmp_path / "b")
    assert found.stays.equals(expected.stays)
    assert found.series.equals(expected.series)
    assert found.notes.equals(expected.notes)
    capsys.readouterr()


def test_a_time_that_is_none_is_counted(tmp_path: Path, capsys) -> None:
    write(tmp_path / "raw", {"0.parquet": patient(1, ("02:00:00", "LAB//RESULT//50912//mg/dL", 4.2))})
    path = tmp_path / "raw" / "data" / "0.parquet"
    events = pl.read_parquet(path).with_columns(pl.col("time").dt.strftime("%Y-%m-%d %H:%M:%S"))
    late = pl.col("code").str.starts_with("LAB//RESULT")
    events.with_columns(time=pl.when(late).then(pl.lit("soon")).otherwise("time")).write_parquet(path)
    cohort = prepare(tmp_path / "raw", tmp_path / "out")
    manifest = json.loads((cohort.root / "manifest.json").read_text())
    assert manifest["meds"]["events"]["quarantined"] == {"time is not a time": 1}
    capsys.readouterr()


def test_the_scratch_folder_is_private_and_gone_afterwards(tmp_path: Path, capsys, monkeypatch) -> None:
    seen = []
    lay_out = meds_dataset.convert

    def watched(root, codes, out, *rest):
        seen.append((out.stat().st_mode & 0o777, out.parent))
        return lay_out(root, codes, out, *rest)

    monkeypatch.setattr(meds_dataset, "convert", watched)
    out = tmp_path / "cohorts" / "out"
    prepare(write(tmp_path / "raw", {"0.parquet": patient(1)}), out)
    assert [mode for mode, _ in seen] == [0o700]
    assert not [path for path in out.parent.iterdir() if "meds" in path.name]
    capsys.readouterr()


_SIX = {1: "train", 2: "train", 3: "train", 4: "tuning", 5: "held_out", 6: "held_out"}


def _rows(*subjects: int):
    return [row for subject in subjects for row in patient(subject)]


def _splits(cohort) -> dict[int, str]:
    return dict(cohort.stays.select("subject_id", "split").rows())


def test_the_dataset_s_own_splits_are_kept(tmp_path: Path, capsys) -> None:
    shards = {"train/0.parquet": _rows(1, 2, 3), "tuning/0.parquet": _rows(4), "held_out/0.parquet": _rows(5, 6)}
    cohort = prepare(write(tmp_path / "raw", shards, _SIX), tmp_path / "out")
    assert _splits(cohort) == {1: "train", 2: "train", 3: "train", 4: "validation", 5: "test", 6: "test"}
    manifest = json.loads((cohort.root / "manifest.json").read_text())
    assert "metadata/subject_splits.parquet" in manifest["inputs"]
    assert "metadata/subject_splits.parquet" in capsys.readouterr().out


@pytest.mark.parametrize(
    "names",
    [
        {"train": "TRAIN", "tuning": "Validation", "held_out": "test"},
        {"train": "train ", "tuning": "val", "held_out": "held-out"},
        {"train": "training", "tuning": "dev", "held_out": "testing"},
    ],
)
def test_other_names_of_the_three_splits(tmp_path: Path, capsys, names) -> None:
    splits = {subject: names[split] for subject, split in _SIX.items()}
    cohort = prepare(write(tmp_path / "raw", {"0.parquet": _rows(*_SIX)}, splits), tmp_path / "out")
    assert _splits(cohort) == {1: "train", 2: "train", 3: "train", 4: "validation", 5: "test", 6: "test"}
    capsys.readouterr()


def test_splits_can_be_drawn_anew(tmp_path: Path, capsys) -> None:
    splits = dict.fromkeys(_SIX, "train")
    raw = write(tmp_path / "raw", {"0.parquet": _rows(*_SIX)}, splits)
    drawn = prepare(raw, tmp_path / "drawn", "--set", "splits.dataset=false", "--set", "splits.train=0",
                    "--set", "splits.validation=0", "--set", "splits.test=1")  # fmt: skip
    assert set(_splits(drawn).values()) == {"test"}
    listed = tmp_path / "subjects.txt"
    listed.write_text("2\n")
    chosen = prepare(raw, tmp_path / "listed", "--set", f"splits.test_subjects={listed}")
    assert [subject for subject, split in _splits(chosen).items() if split == "test"] == [2]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda splits: splits.filter(pl.col("subject_id") != 4), "1 of 6 patients of the cohort"),
        (lambda splits: splits.with_columns(split=pl.lit("fold_3")), "unknown split 'fold_3'"),
        (lambda splits: pl.concat([splits, splits.head(1).with_columns(split=pl.lit("held_out"))]), "two splits"),
        (lambda splits: splits.with_columns(split=pl.lit(None, pl.String)), "no split"),
        (lambda splits: splits.rename({"split": "fold"}), "column 'split' is missing"),
        (lambda splits: splits.rename({"subject_id": "patient_id"}), "column 'subject_id' is missing"),
        (lambda splits: splits.with_columns(subject_id=pl.lit("a")), "subject_id"),
    ],
)
def test_splits_that_cannot_be_kept_are_refused_in_one_line(tmp_path: Path, capsys, change, expected) -> None:
    raw = write(tmp_path / "raw", {"0.parquet": _rows(*_SIX)}, _SIX)
    path = raw / "metadata" / "subject_splits.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    assert main(["meds", "--raw", str(raw), "--out", str(tmp_path / "out")]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert expected in line
    assert str(path) in line
    assert "splits.dataset=false" in line
    assert not (tmp_path / "out").exists()


def test_a_damaged_splits_file_is_not_an_absent_one(tmp_path: Path, capsys) -> None:
    raw = write(tmp_path / "raw", {"0.parquet": _rows(*_SIX)}, _SIX)
    (raw / "metadata" / "subject_splits.parquet").write_bytes(b"PAR1 cut off")
    assert main(["meds", "--raw", str(raw), "--out", str(tmp_path / "out")]) == 2
    assert "subject_splits.parquet" in capsys.readouterr().err


def test_the_same_split_twice_and_patients_not_in_the_cohort_are_fine(tmp_path: Path, capsys) -> None:
    raw = write(tmp_path / "raw", {"0.parquet": _rows(*_SIX)}, _SIX | {99: "held_out"})
    path = raw / "metadata" / "subject_splits.parquet"
    splits = pl.read_parquet(path)
    pl.concat([splits, splits]).write_parquet(path)
    assert _splits(prepare(raw, tmp_path / "out"))[4] == "validation"
    capsys.readouterr()


def test_a_patient_spread_over_files_is_put_together(tmp_path: Path, capsys) -> None:
    rows = _rows(1, 2)
    whole = prepare(write(tmp_path / "whole", {"0.parquet": rows}), tmp_path / "a")
    first = [row for row in rows if row[0] == 2 or not (row[2].startswith(("ICU_DIS", "LAB", "DIAG", "GENDER")))]
    second = [row for row in rows if row not in first]
    spread = write(tmp_path / "spread", {"train/0.parquet": first, "train/1.parquet": second})
    parts = prepare(spread, tmp_path / "b")
    for name in ("stays", "series", "notes", "labels"):
        one, other = (pl.read_parquet(root / f"{name}.parquet") for root in (whole.root, parts.root))
        assert one.equals(other), name
    manifest = json.loads((parts.root / "manifest.json").read_text())
    assert manifest["meds"]["events"]["read"] == len(rows)
    assert any(line.startswith("1 patient lies in several files") for line in manifest["warnings"])
    capsys.readouterr()


def test_every_patient_spread_over_files_is_read_in_bounded_batches(tmp_path: Path, capsys, monkeypatch) -> None:
    rows = _rows(*range(1, 8))
    whole = prepare(write(tmp_path / "whole", {"0.parquet": rows}), tmp_path / "a")
    monkeypatch.setattr(convert, "ROWS_AT_ONCE", 20)
    spread = write(tmp_path / "spread", {"a.parquet": rows[::2], "b.parquet": rows[1::2]})
    parts = prepare(spread, tmp_path / "b")
    for name in ("stays", "series", "notes", "labels"):
        one, other = (pl.read_parquet(root / f"{name}.parquet") for root in (whole.root, parts.root))
        assert one.equals(other), name
    capsys.readouterr()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row for row in _rows(1) if not row[2].startswith("LAB")], "no stay has a measurement"),
        ([row for row in _rows(1) if row[2] != "MEDS_BIRTH"], "age unknown: 1"),
        ([row for row in _rows(1) if not row[2].startswith("ICU_")][:3], "hadm"),
    ],
)
def test_errors_name_the_dataset_and_no_hidden_folder(tmp_path: Path, capsys, rows, expected) -> None:
    raw = write(tmp_path / "raw", {"0.parquet": rows})
    assert main(["meds", "--raw", str(raw), "--out", str(tmp_path / "out")]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert str(raw) in line
    assert ".meds" not in line
    assert "/tmp/" not in line.replace(str(tmp_path), "")


_SUBJECT = [
    (1, None, "GENDER//F", None, None, None, None),
    (1, "2090-05-05 00:00:00", "MEDS_BIRTH", None, None, None, None),
    (1, "2150-01-01 00:00:00", "HOSPITAL_ADMISSION//EW EMER.//ED", None, None, 10, None),
    (1, "2150-01-09 00:00:00", "HOSPITAL_DISCHARGE//HOME", None, None, 10, None),
]


@pytest.mark.parametrize(
    ("stays", "expected"),
    [
        # (start, end) of stays 101 and 102; None: no event tells
        ((("01", "05"), ("02", "03")), {101: ("01", "05"), 102: ("02", "03")}),  # one within the other
        ((("01", "04"), ("02", "06")), {101: ("01", "04"), 102: ("02", "06")}),
        ((("01", None), ("02", "03")), {102: ("02", "03")}),  # the end of another stay is not its own
    ],
)
def test_a_stay_ends_with_its_own_discharge(tmp_path: Path, capsys, stays, expected) -> None:
    rows = list(_SUBJECT)
    for stay, (start, end) in zip((101, 102), stays, strict=True):
        rows.append((1, f"2150-01-{start} 00:00:00", "ICU_ADMISSION//MICU", None, None, 10, stay))
        rows.append((1, f"2150-01-{start} 01:00:00", "LAB//220045//bpm", 80.0, None, 10, stay))
        if end:
            rows.append((1, f"2150-01-{end} 00:00:00", "ICU_DISCHARGE//MICU", None, None, 10, stay))
    raw = write(tmp_path / "raw", {"0.parquet": rows})
    cohort = prepare(raw, tmp_path / "out", "--set", "rules.require_series=false")
    days = cohort.stays.select("stay_id", pl.col("intime").dt.strftime("%d"), pl.col("outtime").dt.strftime("%d"))
    assert {stay: (start, end) for stay, start, end in days.rows()} == expected
    capsys.readouterr()


def test_a_discharge_without_an_id_ends_the_stay_before_it(tmp_path: Path, capsys) -> None:
    rows = [
        *_SUBJECT,
        (1, "2150-01-01 00:00:00", "ICU_ADMISSION//MICU", None, None, 10, 101),
        (1, "2150-01-01 01:00:00", "LAB//220045//bpm", 80.0, None, 10, 101),
        (1, "2150-01-03 00:00:00", "ICU_DISCHARGE//MICU", None, None, None, None),
    ]
    cohort = prepare(write(tmp_path / "raw", {"0.parquet": rows}), tmp_path / "out")
    assert cohort.stays["outtime"].dt.strftime("%d").to_list() == ["03"]
    capsys.readouterr()


def test_a_shard_without_rows_is_fine(tmp_path: Path, capsys) -> None:
    raw = write(tmp_path / "raw", {"0.parquet": _rows(1), "1.parquet": []})
    frame([]).write_parquet(raw / "data" / "2.parquet")
    assert prepare(raw, tmp_path / "out").stays.height == 1
    capsys.readouterr()


def test_what_a_value_is_of_and_when_it_was_known(tmp_path):
    """Texts beside values, specimen types, irrigation."""
    events = patient(
        1,
        ("01:10:00", "LAB//52033//UNK", None, "VEN."), ("01:10:00", "LAB//50821//mm Hg", 38.0, "38"),
        ("02:10:00", "LAB//52033//UNK", None, "ART."), ("02:10:00", "LAB//50821//mm Hg", 91.0, "91"),
        ("03:10:00", "LAB//51003//ng/mL", None, "<0.01"), ("03:10:00", "LAB//51275//sec", None, "GREATER THAN 150"),
        ("04:10:00", "LAB//223900//UNK", 1.0, "No Response-ETT"), ("05:10:00", "LAB//223900//UNK", 5.0, "Oriented"),
        ("06:10:00", "SUBJECT_FLUID_OUTPUT//227488//mL", 3000.0),
        ("06:10:00", "SUBJECT_FLUID_OUTPUT//227489//mL", 3250.0),
        ("2150-01-03 22:00:00", "LAB//RESULT//50971//mEq/L", 4.4),
        ("2150-01-04 00:30:00", "LAB//RESULT//50971//mEq/L", 6.4),
        ("2150-01-03 21:00:00", "LAB//SPECIMEN_COLLECTED//50971", None),
        ("2150-01-03 23:00:00", "LAB//SPECIMEN_COLLECTED//50971", None),
    )  # fmt: skip
    cohort = prepare(write(tmp_path / "meds", {"0.parquet": events}), tmp_path / "out")
    assert cohort.values("pao2") == [(100, 2.0, 91.0)]
    assert cohort.values("troponin_t") == [(100, 3.0, 0.01)]
    assert cohort.values("ptt") == [(100, 3.0, 150.0)]
    assert cohort.values("gcs_verbal") == [(100, 5.0, 5.0)]
    assert cohort.values("urine_output") == [(100, 6.0, 250.0)]
    assert cohort.values("potassium") == [(100, 45.0, 4.4)]  # the later one was reported after the prediction time


@pytest.mark.parametrize("column", ["storetime", "available_time"])
def test_a_column_that_tells_when_a_value_was_known_counts(tmp_path, column):
    events = frame(
        patient(
            1,
            ("01:10:00", "LAB//50971//mEq/L", 6.9), ("01:10:00", "LAB//50971//mEq/L", 4.1),
            ("2150-01-03 23:10:00", "LAB//50912//mg/dL", 2.2), ("2150-01-03 23:10:00", "LAB//51006//mg/dL", 30.0),
        )
    )  # fmt: skip
    known = {
        6.9: "2150-01-02 02:00:00", 4.1: "2150-01-02 03:00:00", 2.2: "2150-01-04 00:10:00", 30.0: "2150-01-03 23:30:00",
    }  # fmt: skip
    stored = [known.get(round(value, 1)) if value is not None else None for value in events["numeric_value"]]
    (tmp_path / "meds" / "data").mkdir(parents=True)
    events.with_columns(pl.Series(column, stored, dtype=pl.String)).write_parquet(tmp_path / "meds/data/0.parquet")
    cohort = prepare(tmp_path / "meds", tmp_path / "out")
    assert cohort.values("potassium") == [(100, 1.0, 4.1)]
    assert cohort.values("creatinine") == []
    assert cohort.values("bun") == [(100, 47.0, 30.0)]
