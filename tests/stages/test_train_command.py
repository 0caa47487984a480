"""`clinragen train`: what it refuses, what it writes, and that an interrupted run ends like an uninterrupted one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from clinragen.stages.run_dir import alone_in

NOTES = ("--set", "stage.precision=32-true", "--set", "stage.batch_size=4")


def test_a_run_folder_says_how_it_came_about(runs, hospital):
    manifest = json.loads((runs.multimodal / "manifest.json").read_text())
    assert manifest["stage"] == "multimodal"
    assert manifest["inputs"] == ["note", "series"]
    assert manifest["parent_stages"] == ["notes", "series"]
    assert manifest["parent"] == str(runs.series)
    assert manifest["stays"]["train"] > manifest["stays"]["validation"] > 0
    assert manifest["protocol"]
    assert (runs.multimodal / "config.yaml").is_file()
    assert (runs.multimodal / "metrics.csv").is_file()
    assert not (runs.multimodal / "resume").exists()
    suffixes = {path.suffix for path in runs.multimodal.rglob("*") if path.is_file()}
    assert not suffixes & {".ckpt", ".pt", ".pkl", ".bin"}


def test_training_again_gives_the_same_weights(runs, hospital, command, tmp_path):
    again = tmp_path / "again"
    settings = ("--set", "stage.precision=32-true", "--set", "stage.epochs=1")
    train = ("clinragen", "train", "notes", "--cohort", hospital.cohort, "--model", hospital.model)
    assert command(*train, "--out", again, *settings) == 0
    for name in ("model/model.safetensors", "model/clinragen.json", "model/calibration.json"):
        assert (again / name).read_bytes() == (runs.notes / name).read_bytes(), name


def refused(command, capsys, *arguments: object, says: str, out: Path | None = None) -> None:
    """Exit code 2, one line on standard error, and no change under ``out``."""
    before = sorted(out.rglob("*")) if out and out.exists() else []
    capsys.readouterr()
    assert command("clinragen", "train", *arguments) == 2
    lines = [line for line in capsys.readouterr().err.strip("\n").splitlines() if not line.startswith("  ")]  # phases
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert says in lines[0], lines[0]
    assert (sorted(out.rglob("*")) if out and out.exists() else []) == before


def test_a_wrong_parent_is_refused(runs, hospital, command, capsys, tmp_path):
    out = tmp_path / "out"
    given = ("--cohort", hospital.cohort, "--out", out)
    refused(command, capsys, "series", *given, "--parent", runs.series, says="expected 'notes'", out=out)
    refused(command, capsys, "multimodal", *given, "--parent", runs.notes, says="expected 'series'", out=out)
    refused(command, capsys, "series", *given, says="--parent", out=out)
    refused(command, capsys, "notes", *given, "--parent", runs.notes, says="has no parent", out=out)
    refused(command, capsys, "series", *given, "--parent", tmp_path / "nowhere", says="nowhere", out=out)


def test_a_finished_run_is_not_overwritten_by_accident(runs, hospital, command, capsys, tmp_path):
    out = Path(shutil.copytree(runs.series, tmp_path / "series"))
    given = ("series", "--cohort", hospital.cohort, "--out", out, "--parent", runs.notes)
    refused(command, capsys, *given, says="--overwrite", out=out)
    settings = ("--set", "stage.precision=32-true", "--set", "stage.epochs=1")
    assert command("clinragen", "train", *given, *settings, "--overwrite") == 0
    assert json.loads((out / "manifest.json").read_text())["stage"] == "series"


def test_overwrite_does_not_drop_a_finished_run_for_a_run_that_cannot_start(runs, hospital, command, capsys, tmp_path):
    out = Path(shutil.copytree(runs.series, tmp_path / "series"))
    given = ("series", "--cohort", hospital.cohort, "--out", out, "--parent", runs.notes, "--overwrite")
    refused(command, capsys, *given, "--teacher", "nobody", says="nobody", out=out)
    assert (out / "model" / "model.safetensors").is_file()


def test_a_folder_of_something_else_is_left_alone(runs, hospital, command, capsys, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for flags in ((), ("--overwrite",)):
        given = ("notes", "--cohort", hospital.cohort, "--out", tmp_path, "--model", hospital.model)
        refused(command, capsys, *given, *flags, says="left alone", out=tmp_path)


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("stage.nope=1", "nope"),
        ("model.nope=1", "nope"),
        ("model.series.nope=1", "nope"),
        ("nope=1", "stage.KEY=VALUE"),
        ("stage.epochs", "key=value"),
        ("stage.epochs=many", "epochs"),
        ("stage.epochs=0", "epochs"),
        ("stage.inputs=[smell]", "smell"),
        ("stage.frozen=[brain]", "brain"),
        ("stage.monitor=luck", "luck"),
        ("model.language_model.architecture=abacus", "abacus"),
        ("model.target_order=backwards", "backwards"),
        ("model.max_note_tokens=5000", "max_note_tokens"),
        ("model.attention.heads=7", "heads"),
        ("model.series.heads=5", "heads"),
        ("model.hours=0", "hours"),
    ],
)
def test_settings_that_cannot_be_are_named(hospital, command, capsys, tmp_path, setting, says):
    out = tmp_path / "out"
    given = ("notes", "--cohort", hospital.cohort, "--out", out, "--model", hospital.model, "--set", setting)
    refused(command, capsys, *given, says=says, out=out)


def test_the_shape_of_a_parent_cannot_be_changed(runs, hospital, command, capsys, tmp_path):
    given = ("series", "--cohort", hospital.cohort, "--out", tmp_path / "out", "--parent", runs.notes)
    refused(command, capsys, *given, "--set", "model.hours=12", says="model.hours", out=tmp_path / "out")


def test_unknown_presets_list_the_choices(hospital, command, capsys, tmp_path):
    given = ("notes", "--cohort", hospital.cohort, "--out", tmp_path / "out", "--model", "tinny")
    refused(command, capsys, *given, says="did you mean 'tiny'?", out=tmp_path / "out")
    refused(command, capsys, "note", *given[1:], says="notes", out=tmp_path / "out")


def test_killed_and_resumed_equals_uninterrupted(hospital, command, capsys, tmp_path):
    """In the middle of an epoch, with dropout: the resumed steps must meet the same stays and the same chance."""
    train = ["train", "notes", "--cohort", hospital.cohort, "--model", hospital.model, *NOTES]
    epochs = ["--set", "stage.epochs=2", "--set", "stage.checkpoint_steps=1"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    arguments = [str(a) for a in (*train, *epochs, "--out", broken)]
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; from clinragen.cli import main; main()", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    checkpoint = broken / "resume" / "state.safetensors"
    deadline = time.monotonic() + 240
    while not checkpoint.exists() and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert checkpoint.exists()
    assert not (broken / "manifest.json").exists()
    assert command("clinragen", *train, *epochs, "--set", "stage.seed=5", "--out", broken) == 2
    assert "other data or settings" in capsys.readouterr().err

    assert command("clinragen", *train, *epochs, "--out", broken) == 0
    assert "resuming" in capsys.readouterr().err
    assert command("clinragen", *train, *epochs, "--out", whole) == 0
    expected, got = (load_file(run / "model" / "model.safetensors") for run in (whole, broken))
    assert expected.keys() == got.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(got[name], tensor, atol=1e-6, rtol=0, msg=name)
    assert not (broken / "resume").exists()
    assert (broken / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


def test_a_run_does_not_train_in_the_folder_of_one_that_is_training(hospital, command, capsys, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with alone_in(out):
        assert (
            command("clinragen", "train", "notes", "--cohort", hospital.cohort, "--model", hospital.model, "--out", out)
            == 2
        )
    assert "is being written by another run" in capsys.readouterr().err
    assert not (out / "resume" / "state.safetensors").exists()


def test_half_precision_trains_and_stays_near_full_precision(hospital, runs, command, tmp_path):
    train = ("clinragen", "train", "notes", "--cohort", hospital.cohort, "--model", hospital.model)
    settings = ("--set", "stage.precision=bf16-mixed", "--set", "stage.epochs=1")
    assert command(*train, "--out", tmp_path / "half", *settings) == 0
    half, full = (json.loads((run / "manifest.json").read_text()) for run in (tmp_path / "half", runs.notes))
    assert abs(half["best"]["loss"] - full["best"]["loss"]) < 0.05 * full["best"]["loss"]
    assert half["model_sha256"] != full["model_sha256"]


def test_gradient_checkpointing_changes_no_weight(hospital, runs, command, tmp_path, monkeypatch):
    """In a stage that trains the language model, and in one where gradients only pass through it."""
    from clinragen.model import pretrained

    calls = []
    checkpoint = pretrained.checkpoint
    monkeypatch.setattr(pretrained, "checkpoint", lambda *a, **k: (calls.append(1), checkpoint(*a, **k))[1])
    train = ("--cohort", hospital.cohort, "--set", "stage.precision=32-true", "--set", "stage.epochs=1")
    first = ("--model", hospital.model, "--set", "model.language_model.gradient_checkpointing=true")
    for stage, begins in (("notes", first), ("series", ("--parent", tmp_path / "notes"))):
        calls.clear()
        assert command("clinragen", "train", stage, *train, *begins, "--out", tmp_path / stage) == 0
        assert calls
        expected, got = (load_file(run / stage / "model" / "model.safetensors") for run in (runs.root, tmp_path))
        for name, tensor in expected.items():
            if ".linear_probes." not in name:  # fitted after training, to a tolerance of its own
                torch.testing.assert_close(got[name], tensor, atol=1e-6, rtol=0, msg=name)
