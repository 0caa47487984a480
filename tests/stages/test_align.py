"""Stage `align`: note and series of a stay are found from each other, each read without the other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from clinragen.cohort.folder import Cohort
from clinragen.inference.aligned import vectors
from clinragen.inference.predict import TrainedModel

pytestmark = pytest.mark.slow  # what its fixtures make takes seconds

EXACT = ("--set", "stage.precision=32-true", "--set", "stage.batch_size=16", "--set", "stage.align.prototypes=8")


@pytest.fixture(scope="module")
def align(hospital, command):
    def run(out: Path, *settings: object, cohort: Path = hospital.cohort) -> int:
        given = ("--cohort", cohort, "--model", hospital.model, "--out", out)
        return command("clinragen", "train", "align", *given, *EXACT, *settings)

    return run


@pytest.fixture(scope="module")
def aligned(align, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("aligned") / "run"
    assert align(out, "--set", "stage.epochs=6") == 0
    return out


def test_training_stays_are_found_from_each_other(aligned, hospital):
    rows = pl.read_csv(aligned / "metrics.csv")
    assert {"train/instance", "train/token", "train/prototype", "validation/recall_at_10"} <= set(rows.columns)
    assert rows["train/instance"][-1] < rows["train/instance"][0]
    trained = TrainedModel.load(aligned)
    read = vectors(trained, trained.dataset(Cohort.load(hospital.cohort), "train"))
    similar = read.note @ read.series.T
    nearer = (similar > similar.diagonal()[:, None]).sum(1)
    assert nearer.mean() < 0.35 * len(similar)  # by chance half of them are nearer
    assert np.allclose(np.linalg.norm(read.note, axis=1), 1, atol=1e-5)


def test_neither_modality_knows_the_other(aligned, hospital, restamp, tmp_path):
    changed = tmp_path / "cohort"
    shutil.copytree(hospital.cohort, changed)
    series = pl.read_parquet(changed / "series.parquet").with_columns(pl.col("value") * 1.5)
    series.write_parquet(changed / "series.parquet")
    restamp(changed)
    trained = TrainedModel.load(aligned)
    before, after = (
        vectors(trained, trained.dataset(Cohort.load(folder), "test")) for folder in (hospital.cohort, changed)
    )
    assert np.array_equal(before.note, after.note)
    assert not np.allclose(before.series, after.series)


def test_a_stage_starts_from_it(aligned, hospital, command, tmp_path):
    given = ("--cohort", hospital.cohort, "--parent", aligned, "--set", "stage.parent=align", "--set", "stage.epochs=1")
    assert command("clinragen", "train", "multimodal", *given, "--out", tmp_path / "run") == 0
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["parent_stages"] == ["align"]


def test_the_language_model_learns_to_write_of_the_series_beside(align, hospital, tmp_path):
    written = ("--set", "stage.align.caption=1", "--set", "stage.targets=[series]", "--set", "stage.epochs=4")
    assert align(tmp_path / "run", *written) == 0
    rows = pl.read_csv(tmp_path / "run" / "metrics.csv")
    assert rows["train/caption"][-1] < rows["train/caption"][0]
    assert rows["train/instance"][-1] < rows["train/instance"][0]


def test_linear_parts_alone_train_nothing_of_the_student(align, hospital, tmp_path):
    only = ("--set", "stage.align.network=false", "--set", "stage.align.token=0", "--set", "stage.epochs=2")
    assert align(tmp_path / "run", *only) == 0
    trained = TrainedModel.load(tmp_path / "run")
    read = vectors(trained, trained.dataset(Cohort.load(hospital.cohort), "test"))
    assert np.isfinite(read.note).all()
    assert np.isfinite(read.series).all()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("stage.batch_size=4",), "align.batch_size is 4"),
        (("stage.inputs=[note]",), "both note and series"),
        (("stage.align.network=false",), "no tokens to align"),
        (("stage.align.token=0", "stage.align.instance=0", "stage.align.prototype=0"), "nothing would be learned"),
        (("stage.align.temperature=0",), "temperature is 0"),
        (("stage.align.caption=1",), "stage.targets=[series]"),
    ],
)
def test_what_cannot_work_is_refused_before_training(align, tmp_path, capsys, settings, said):
    assert align(tmp_path / "run", *(part for setting in settings for part in ("--set", setting))) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_notes_that_are_all_the_same_are_refused(align, hospital, restamp, tmp_path, capsys):
    cohort = tmp_path / "cohort"
    shutil.copytree(hospital.cohort, cohort)
    pl.read_parquet(cohort / "notes.parquet").with_columns(text=pl.lit("Seen.")).write_parquet(cohort / "notes.parquet")
    restamp(cohort)
    assert align(tmp_path / "run", cohort=cohort) == 2
    assert "different notes" in capsys.readouterr().err


def test_a_run_without_alignment_says_so(runs, hospital):
    trained = TrainedModel.load(runs.multimodal)
    with pytest.raises(Exception, match="clinragen train align"):
        vectors(trained, trained.dataset(Cohort.load(hospital.cohort), "test"))
