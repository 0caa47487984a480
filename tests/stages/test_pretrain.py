"""The `pretrain` stage needs only series, and a new student gets its encoder exactly, for common variables."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
import torch

from clinragen.cohort.folder import Cohort
from clinragen.stages.build import new_model
from clinragen.stages.config import resolve
from clinragen.stages.pretrain import SHARED, PretrainedEncoder

pytestmark = pytest.mark.slow  # what its fixtures make takes seconds


@pytest.fixture(scope="module")
def unlabelled(hospital, restamp, tmp_path_factory) -> Path:
    """Stays and series alone, without one variable that the hospital charts."""
    folder = tmp_path_factory.mktemp("unlabelled")
    for name in ("stays.parquet", "manifest.json"):
        shutil.copy(hospital.cohort / name, folder / name)
    series = pl.read_parquet(hospital.cohort / "series.parquet").filter(pl.col("variable") != "heart_rate")
    series.write_parquet(folder / "series.parquet")
    restamp(folder)
    return folder


@pytest.fixture(scope="module")
def pretrained(unlabelled, hospital, command, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("pretrained") / "run"
    train = ("clinragen", "train", "pretrain", "--cohort", unlabelled, "--model", hospital.model)
    assert command(*train, "--set", "stage.epochs=20", "--set", "stage.batch_size=8", "--out", run) == 0
    return run


def test_it_learns_to_fill_in_what_is_hidden(pretrained):
    rows = pl.read_csv(pretrained / "metrics.csv")
    assert rows["validation/loss"][-1] < rows["validation/loss"][0]
    assert json.loads((pretrained / "manifest.json").read_text())["best"]["explained"] > 0
    assert (pretrained / "curve.png").stat().st_size > 5000


def test_a_new_student_takes_the_encoder_where_variables_agree(pretrained, hospital):
    encoder = PretrainedEncoder(pretrained)
    cohort = Cohort.load(hospital.cohort)
    config = resolve("notes", str(hospital.model), "evidence", [])
    torch.manual_seed(5)
    fresh = new_model(config, cohort, None)
    torch.manual_seed(5)
    model = new_model(config, cohort, None, encoder)
    names, known = model.statistics.variables, encoder.statistics.variables
    assert "heart_rate" in names
    assert "heart_rate" not in known
    both = [name for name in names if name in known]
    mine, theirs = [names.index(name) for name in both], [known.index(name) for name in both]
    for name, tensor in model.series_encoder.state_dict().items():
        given = encoder.weights[name]
        assert torch.equal(tensor, given) if name.startswith(SHARED) else torch.equal(tensor[mine], given[theirs])
    alone = names.index("heart_rate")
    assert torch.equal(model.series_encoder.identity[alone], fresh.series_encoder.identity[alone])
    assert model.statistics.centre[alone] == fresh.statistics.centre[alone]
    assert [model.statistics.centre[i] for i in mine] == [encoder.statistics.centre[i] for i in theirs]


def test_an_encoder_of_another_shape_or_stage_is_refused(pretrained, hospital, runs, command, capsys, tmp_path):
    given = ("clinragen", "train", "notes", "--cohort", hospital.cohort, "--model", hospital.model)
    for run, setting, says in (
        (pretrained, "model.series.d_model=8", "series.d_model 16, this model 8"),
        (runs.notes, "model.hours=48", "expected 'pretrain'"),
    ):
        out = tmp_path / "out"
        assert command(*given, "--pretrained", run, "--set", setting, "--out", out) == 2
        assert says in capsys.readouterr().err
        assert not out.exists()
