"""User errors: exit code 2, one clear line, no traceback, no partial output."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from clinragen.schema import CohortPaths


@pytest.fixture
def refused(command, capsys, tmp_path) -> Callable[..., str]:
    """``refused(*command, says=...)``: the one line; nothing was written to ``tmp_path / "out"``."""

    def run(*arguments: object, says: str) -> str:
        capsys.readouterr()
        assert command(*arguments) == 2
        shown = capsys.readouterr()
        lines = [line for line in shown.err.strip("\n").splitlines() if not line.startswith("  ")]  # what is begun
        assert len(lines) == 1, shown.err
        assert lines[0].startswith("error: ")
        assert says in lines[0], lines[0]
        assert "Traceback" not in shown.err + shown.out
        leftovers = [path for path in tmp_path.iterdir() if path.name == "out" or path.name.startswith(".")]
        assert not leftovers
        return lines[0]

    return run


@pytest.fixture
def train(refused, hospital, tmp_path) -> Callable[..., str]:
    """``train(cohort, says=...)``: a first stage on that cohort is refused."""

    def run(cohort: Path, *more: object, says: str) -> str:
        given = ("--cohort", cohort, "--out", tmp_path / "out", "--model", hospital.model)
        return refused("clinragen", "train", "notes", *given, *more, says=says)

    return run


@pytest.fixture
def predict(refused, hospital, runs, tmp_path) -> Callable[..., str]:
    """``predict(model=..., cohort=..., says=...)`` is refused."""

    def run(*more: object, model: Path | None = None, cohort: Path | None = None, says: str) -> str:
        given = ("--model", model or runs.multimodal, "--cohort", cohort or hospital.cohort, "--out", tmp_path / "out")
        return refused("clinragen", "predict", *given, *more, says=says)

    return run


@pytest.fixture
def cohort(hospital, tmp_path) -> Path:
    """A copy of the cohort to damage."""
    return Path(shutil.copytree(hospital.cohort, tmp_path / "cohort"))


@pytest.fixture
def run(runs, tmp_path) -> Path:
    """A copy of the last run folder to damage."""
    return Path(shutil.copytree(runs.multimodal, tmp_path / "run"))


@pytest.fixture
def raw(hospital, tmp_path) -> Path:
    """A copy of the raw tables to damage."""
    return Path(shutil.copytree(hospital.raw, tmp_path / "raw"))


@pytest.fixture
def rewrite(restamp) -> Callable[[Path, Callable[[pl.DataFrame], pl.DataFrame]], None]:
    """``rewrite(path, change)``: another table of a cohort, as if it had been prepared so."""

    def make(path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        change(pl.read_parquet(path)).write_parquet(path)
        if (path.parent / "manifest.json").exists():
            restamp(path.parent)

    return make


def test_unknown_command(refused):
    assert "train" in refused("clinragen", "trian", says="did you mean 'train'?")


# ---- raw tables


def test_raw_folder_that_is_not_there(refused, tmp_path):
    refused("mimic-prep", "mimic-iv", "--raw", tmp_path / "nowhere", "--out", tmp_path / "out", says="nowhere")


def test_raw_table_missing(refused, raw, tmp_path):
    (raw / "icu" / "chartevents.csv.gz").unlink()
    refused("mimic-prep", "mimic-iv", "--raw", raw, "--out", tmp_path / "out", says="chartevents")


def test_raw_table_cut_off(refused, raw, tmp_path):
    path = raw / "icu" / "chartevents.csv.gz"
    path.write_bytes(path.read_bytes()[:-2000])
    refused("mimic-prep", "mimic-iv", "--raw", raw, "--out", tmp_path / "out", says="chartevents")


def test_raw_column_missing(refused, raw, tmp_path):
    path = raw / "hosp" / "patients.csv.gz"
    text = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress(text.replace("anchor_age", "age_anchor", 1).encode()))
    refused("mimic-prep", "mimic-iv", "--raw", raw, "--out", tmp_path / "out", says="anchor_age")


def test_raw_table_empty(refused, raw, tmp_path):
    (raw / "icu" / "icustays.csv.gz").write_bytes(gzip.compress(b""))
    refused("mimic-prep", "mimic-iv", "--raw", raw, "--out", tmp_path / "out", says="icustays")


# ---- cohort folders


def test_cohort_that_is_not_there(train, predict, tmp_path):
    train(tmp_path / "nowhere", says="nowhere")
    predict(cohort=tmp_path / "nowhere", says="nowhere")


@pytest.mark.parametrize("name", ["stays", "series", "notes", "labels", "manifest"])
def test_cohort_file_missing(train, cohort, name):
    path: Path = getattr(CohortPaths(cohort), name)
    path.unlink()
    train(cohort, says=path.name)


@pytest.mark.parametrize(
    ("name", "column"), [("stays", "split"), ("series", "value"), ("notes", "section"), ("labels", "shock")]
)
def test_cohort_column_missing(train, cohort, name, column, rewrite):
    path = getattr(CohortPaths(cohort), name)
    rewrite(path, lambda table: table.drop(column))
    assert path.name in train(cohort, says=f"'{column}'")


def test_cohort_column_of_another_type(train, cohort, rewrite):
    rewrite(CohortPaths(cohort).series, lambda table: table.with_columns(pl.col("value").cast(pl.String)))
    train(cohort, says="'value'")


@pytest.mark.parametrize("name", ["stays", "series", "notes", "labels"])
def test_cohort_table_cut_off(train, cohort, name):
    path = getattr(CohortPaths(cohort), name)
    path.write_bytes(path.read_bytes()[:-50])
    train(cohort, says=path.name)


@pytest.mark.parametrize(
    ("name", "says"), [("stays", "no stays"), ("series", "no variable"), ("labels", "labels.parquet")]
)
def test_cohort_table_empty(train, cohort, name, says, rewrite):
    rewrite(getattr(CohortPaths(cohort), name), lambda table: table.head(0))
    train(cohort, says=says)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_series_value_that_is_no_number(train, cohort, value, rewrite):
    rewrite(
        CohortPaths(cohort).series,
        lambda table: table.with_columns(
            value=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit(value, dtype=pl.Float32)).otherwise("value")
        ),
    )
    train(cohort, says="series.parquet")


@pytest.mark.parametrize("column", ["section", "kind", "note_id"])
def test_a_note_that_lacks_what_every_note_has(train, cohort, rewrite, column):
    first = pl.int_range(pl.len()) == 0
    rewrite(CohortPaths(cohort).notes, lambda table: table.with_columns(pl.when(~first).then(pl.col(column))))
    train(cohort, says=f"{column} is missing in 1 of")


def test_age_that_is_missing(train, cohort, rewrite):
    rewrite(CohortPaths(cohort).stays, lambda table: table.with_columns(age=pl.lit(None, dtype=pl.Float32)))
    train(cohort, says="age")


def test_series_of_an_unknown_variable(train, cohort, rewrite):
    rewrite(CohortPaths(cohort).series, lambda table: table.with_columns(variable=pl.lit("sodum")))
    train(cohort, says="did you mean 'sodium'?")


def test_series_of_an_unknown_stay(train, cohort, rewrite):
    rewrite(CohortPaths(cohort).series, lambda table: table.with_columns(pl.col("stay_id") + 1_000_000_000))
    train(cohort, says="not in stays.parquet")


def test_split_that_is_not_there(train, predict, cohort, rewrite):
    rewrite(CohortPaths(cohort).stays, lambda table: table.with_columns(split=pl.lit("train")))
    train(cohort, says="'validation'")
    predict(cohort=cohort, says="'test'")


def test_cohort_of_another_version(train, cohort):
    path = CohortPaths(cohort).manifest
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    train(cohort, says="99")


def test_cohort_manifest_that_is_no_json(train, cohort):
    CohortPaths(cohort).manifest.write_text('{"schema_version": 1,')
    train(cohort, says="manifest.json")


def test_cohort_without_rationales(train, cohort):
    shutil.rmtree(cohort / "rationales")
    train(cohort, says="clinragen teach")


def test_teacher_that_wrote_nothing_here(train, cohort):
    assert "evidence" in train(cohort, "--teacher", "gpt", says="gpt")


# ---- graphs, models, predictions


def test_graph_that_is_not_there(train, hospital, tmp_path):
    train(hospital.cohort, "--graph", tmp_path / "nowhere", says="nowhere")


def test_model_file_that_is_not_there(refused, hospital, tmp_path):
    given = ("--cohort", hospital.cohort, "--out", tmp_path / "out", "--model", tmp_path / "mine.yaml")
    refused("clinragen", "train", "notes", *given, says="mine.yaml")


@pytest.mark.parametrize("text", ["a: [1,", "- 1\n- 2\n", "series: {nope: 1}\n", "hours: often\n", ""])
def test_model_file_that_makes_no_sense(refused, hospital, tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    given = ("--cohort", hospital.cohort, "--out", tmp_path / "out", "--model", path)
    refused("clinragen", "train", "notes", *given, says="mine.yaml" if text else "language_model.name")


@pytest.mark.parametrize("architecture", ["seq2seq", "causal"])
def test_language_model_that_cannot_be_loaded(refused, hospital, tmp_path, architecture):
    folder, path = tmp_path / "lm", tmp_path / "mine.yaml"
    folder.mkdir()
    path.write_text(f"language_model: {{name: {folder}, architecture: {architecture}}}")
    given = ("--cohort", hospital.cohort, "--out", tmp_path / "out", "--model", path)
    refused("clinragen", "train", "notes", *given, says="language_model.name")


def test_run_that_is_not_there(predict, tmp_path):
    predict(model=tmp_path / "nowhere", says="nowhere")
    predict(model=tmp_path, says="manifest.json")


def test_run_of_another_label_set(predict, run):
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({key: manifest[key] for key in manifest if key != "files"}))
    path = run / "model" / "clinragen.json"
    described = json.loads(path.read_text())
    described["labels"]["gout"] = described["labels"].pop("shock")
    described.pop("label_set")  # as a model of an earlier release, which holds names alone
    path.write_text(json.dumps(described))
    assert "gout, shock" in predict(model=run, says="another label set")


def test_run_with_damaged_weights(predict, run):
    path = run / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    predict(model=run, says="model.safetensors")


def test_run_without_calibration(predict, run):
    (run / "model" / "calibration.json").unlink()
    predict(model=run, says="calibration.json")


def test_unfinished_run(predict, run):
    (run / "manifest.json").unlink()
    predict(model=run, says="a finished training run")


def test_the_folder_of_all_stages_names_the_last(predict, runs):
    predict(model=runs.root, says=f"name one, such as {runs.multimodal}")


def test_unknown_split_and_series_input(predict):
    predict("--split", "tset", says="did you mean 'test'?")
    predict("--series-input", "zerod", says="did you mean 'zeroed'?")


@pytest.mark.parametrize(("option", "value"), [("--batch-size", 0), ("--limit", 0), ("--limit", -3)])
def test_numbers_that_cannot_be(predict, option, value):
    predict(option, value, says="at least 1")


@pytest.mark.parametrize("command_name", ["evaluate", "report"])
def test_predictions_of_another_cohort(refused, runs, cohort, tmp_path, command_name):
    path = CohortPaths(cohort).manifest
    path.write_text(json.dumps(json.loads(path.read_text()) | {"source": "elsewhere"}))
    given = ("--predictions", runs.predictions, "--cohort", cohort, "--out", tmp_path / "out")
    refused("clinragen", command_name, *given, says="another cohort")


def test_predictions_are_not_overwritten_by_accident(command, capsys, runs, hospital):
    before = (runs.predictions / "predictions.jsonl").read_bytes()
    predict = ("clinragen", "predict", "--model", runs.multimodal, "--cohort", hospital.cohort)
    assert command(*predict, "--out", runs.predictions) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert (runs.predictions / "predictions.jsonl").read_bytes() == before
