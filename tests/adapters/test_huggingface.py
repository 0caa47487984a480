"""A cohort as a Hugging Face dataset: the rows say what the cohort says, and the card says how to read them."""

from __future__ import annotations

import json
import stat
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.adapters.huggingface import Columns, export_cohort, features
from clinragen.artifacts import write_json, write_table
from clinragen.catalog import phenotypes
from clinragen.cohort.folder import Cohort
from clinragen.schema import NOTES, SERIES, SPLITS, STAYS, CohortPaths, labels_schema

START = datetime(2150, 1, 1, 8, 13)
TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, list[tuple]]:
    """Rows of the tables of a cohort of a few stays, some without note, measurement, sex or label."""
    ids = draw(st.lists(st.integers(1, 10**12), min_size=1, max_size=5, unique=True))
    stays, series, notes, labels = [], [], [], []
    for stay in sorted(ids):
        begins = START + timedelta(milliseconds=draw(st.integers(0, 10**10)))
        hours = draw(st.sampled_from([0.5, 24.0, 48.0, 171.25]))
        ends, prediction = begins + timedelta(days=30), begins + timedelta(hours=hours)
        age, sex = draw(st.floats(18, 91, width=32)), draw(st.sampled_from(["F", "M", None]))
        stays.append((stay, stay // 2, stay + 1, begins, ends, prediction, age, sex, draw(st.sampled_from(SPLITS))))
        for hour in sorted(draw(st.sets(st.integers(0, 200), max_size=4))):
            value = draw(st.floats(-1e6, 1e6, width=32))
            series.append((stay, float(hour), draw(st.sampled_from(["heart_rate", "ph"])), value))
        for number in range(draw(st.integers(0, 2))):
            time = draw(st.sampled_from([None, begins - timedelta(days=2), begins + timedelta(minutes=7)]))
            notes.append((stay, f"n{number}", "digest", "chief_complaint", time, draw(TEXT)))
        labels.append((stay, *(draw(st.booleans()) for _ in phenotypes())))
    return {"stays": stays, "series": series, "notes": notes, "labels": labels}


def cohort_of(root: Path, rows: dict[str, list[tuple]]) -> Cohort:
    paths = CohortPaths(root)
    for name, schema in (
        ("stays", STAYS),
        ("series", SERIES),
        ("notes", NOTES),
        ("labels", labels_schema([*phenotypes()])),
    ):
        columns = list(zip(*rows[name], strict=True)) or [[] for _ in schema.names]
        arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
        write_table(getattr(paths, name), pa.Table.from_arrays(arrays, schema=schema))
    write_json(paths.manifest, {"schema_version": 1, "source": "synthetic"})
    return Cohort.load(root)


def rows_of(folder: Path) -> pl.DataFrame:
    parts = [
        pl.read_parquet(folder / f"{split}.parquet").with_columns(split=pl.lit(split))
        for split in SPLITS
        if (folder / f"{split}.parquet").exists()
    ]
    return pl.concat(parts).sort("stay_id")


@settings(max_examples=25, deadline=None)
@given(rows=tables())
def test_what_comes_back_is_the_cohort(rows: dict[str, list[tuple]]) -> None:
    with TemporaryDirectory() as scratch:
        cohort = cohort_of(Path(scratch) / "cohort", rows)
        counts = export_cohort(cohort, Path(scratch) / "out", Columns(ids=True, dates=True))
        back = rows_of(Path(scratch) / "out")
        assert sum(counts.values()) == back.height
        stays = cohort.stays.drop("outtime")
        assert back.select(stays.columns).equals(stays)
        labels = back.select("stay_id", "labels").unnest("labels")
        assert labels.equals(cohort.labels)
        names = [[cohort.label_set[key].name for key, on in row.items() if on] for row in back["labels"].to_list()]
        assert back["diagnoses"].to_list() == names
        notes = back.select("stay_id", "notes").explode("notes").drop_nulls("notes").unnest("notes")
        assert notes.select(NOTES.names).equals(cohort.notes)
        measured = back.select("stay_id", "series").unnest("series").explode("hour", "variable", "value").drop_nulls()
        until = dict(zip(back["stay_id"], back["prediction_hour"], strict=True))
        assert measured.rows() == [row for row in cohort.series.rows() if row[1] < until[row[0]]]


def test_no_measurement_at_or_after_the_prediction_time_is_written(tmp_path: Path) -> None:
    stay = (1, 1, 1, START, START + timedelta(days=3), START + timedelta(hours=24), 60.0, "F", "train")
    series = [(1, hour, "heart_rate", hour) for hour in (0.0, 23.0, 24.0, 25.0, 60.0)]
    labels = [(1, *(False for _ in phenotypes()))]
    cohort = cohort_of(tmp_path / "cohort", {"stays": [stay], "series": series, "notes": [], "labels": labels})
    export_cohort(cohort, tmp_path / "out")
    (row,) = pq.read_table(tmp_path / "out" / "train.parquet").to_pylist()
    assert row["series"]["hour"] == row["series"]["value"] == [0.0, 23.0]
    assert not {"stay_id", "subject_id", "hadm_id", "intime", "prediction_time"} & set(row)
    meds = pytest.importorskip("meds")
    from clinragen.adapters.meds import export_cohort as export_events

    export_events(cohort, tmp_path / "meds")
    events = pl.read_parquet(tmp_path / "meds" / meds.data_subdirectory / "**" / "*.parquet")
    assert events.filter(pl.col("code").str.starts_with("VARIABLE"))["numeric_value"].to_list() == [0.0, 23.0]


def test_the_card_says_what_the_files_hold(hospital, command, tmp_path: Path) -> None:
    out = tmp_path / "rows"
    call = ("clinragen", "export-cohort", "--cohort", hospital.cohort, "--to", "huggingface", "--out")
    assert command(*call, out, "--teacher", "evidence") == 0
    card = (out / "README.md").read_text(encoding="utf-8")
    _, header, text = card.split("---\n", 2)
    described = yaml.safe_load(header)
    files = described["configs"][0]["data_files"]
    assert [entry["split"] for entry in files] == ["train", "validation", "test"]
    for entry in files:
        schema = pq.read_schema(out / entry["path"])
        assert features(schema) == described["dataset_info"]["features"]
        assert {field.name for field in schema if f"`{field.name}`" not in text} == set()
    assert "Do not upload" in text
    assert str(tmp_path) not in card
    assert str(hospital.root) not in card
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600}
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


def test_the_rationales_are_those_of_the_teacher(hospital, tmp_path: Path) -> None:
    cohort = Cohort.load(hospital.cohort)
    export_cohort(cohort, tmp_path / "rows", Columns(ids=True, teacher="evidence"))
    back = rows_of(tmp_path / "rows").select("stay_id", "rationales").unnest("rationales")
    for kind in ("note", "series"):
        texts = cohort.rationales("evidence").filter(pl.col("kind") == kind).sort("stay_id")
        assert back[kind].to_list() == texts["text"].to_list()


def test_the_library_opens_it_without_code(hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialled) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    cohort = Cohort.load(hospital.cohort)
    export_cohort(cohort, tmp_path / "rows", Columns(ids=True))
    for source in ({"path": str(tmp_path / "rows")}, {"path": "parquet", "data_dir": str(tmp_path / "rows")}):
        opened = datasets.load_dataset(**source, cache_dir=str(tmp_path / "cache"))
        assert {split: rows["stay_id"] for split, rows in opened.items()} == {
            split: cohort.split(split).tolist() for split in SPLITS
        }
    assert dialled == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--to", "meds", "--with-ids"), "--with-ids belongs to --to huggingface"),
        (("--to", "pyhealth", "--teacher", "evidence"), "--teacher belongs to --to huggingface"),
        (("--to", "huggingface", "--teacher", "evidense"), "clinragen teach --teacher evidense"),
        (("--to", "hugingface"), "did you mean 'huggingface'"),
    ],
)
def test_a_wrong_option_is_one_line_and_writes_nothing(options, told, hospital, command, tmp_path, capsys) -> None:
    call = ("clinragen", "export-cohort", "--cohort", hospital.cohort, "--out", tmp_path / "out")
    assert command(*call, *options) == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert told in error
    assert list(tmp_path.iterdir()) == []


def test_only_an_export_is_replaced(hospital, command, tmp_path, capsys) -> None:
    call = ("clinragen", "export-cohort", "--cohort", hospital.cohort, "--to", "huggingface", "--out", tmp_path / "out")
    assert command(*call, "--json") == 0
    before = (tmp_path / "out" / "train.parquet").read_bytes()
    shown = json.loads(capsys.readouterr().out)
    assert shown["stays"] == dict(Cohort.load(hospital.cohort).stays.group_by("split").len().iter_rows())
    assert command(*call) == 2
    assert command(*call, "--overwrite") == 0
    assert (tmp_path / "out" / "train.parquet").read_bytes() == before
    (tmp_path / "out" / "thesis.docx").write_text("years of work")
    assert command(*call, "--overwrite") == 2
    assert (tmp_path / "out" / "thesis.docx").read_text() == "years of work"
