"""Faults in the middle of training end with one clear line, and nothing that was finished is lost."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest
import torch

SETTINGS = ("--set", "stage.precision=32-true", "--set", "stage.epochs=2", "--set", "stage.checkpoint_steps=1")


class Stopped(Exception):
    """Stands for a kill: nothing of the run's own code handles it."""


@pytest.fixture
def train(hospital, command, capsys, tmp_path):
    """``train(...)``: exit code and lines of a first stage in ``tmp_path / "out"``."""

    def run(*more: object, cohort: Path | None = None) -> tuple[int, list[str]]:
        capsys.readouterr()
        given = ("--cohort", cohort or hospital.cohort, "--out", tmp_path / "out", "--model", hospital.model)
        code = command("clinragen", "train", "notes", *given, *SETTINGS, *more)
        return code, capsys.readouterr().err.strip().splitlines()

    return run


@pytest.fixture
def interrupted(train, tmp_path, monkeypatch) -> Path:
    """An unfinished run: it was stopped after its third step."""
    from clinragen.stages.progress import StageProgress

    steps = []

    def stop(self, epoch):
        steps.append(epoch)
        if len(steps) == 4:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(StageProgress, "step", stop)
        with pytest.raises(Stopped):
            train()
    return tmp_path / "out"


def test_a_cut_checkpoint_is_named(train, interrupted):
    state = interrupted / "resume" / "state.safetensors"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    code, lines = train()
    assert code == 2
    assert "state.safetensors is damaged" in lines[-1]
    assert "--overwrite" in lines[-1]


def test_a_cohort_that_vanished_or_changed_is_named(train, interrupted, hospital, tmp_path):
    code, lines = train(cohort=tmp_path / "gone")
    assert (code, len(lines)) == (2, 1)
    assert "gone" in lines[0]
    other = shutil.copytree(hospital.cohort, tmp_path / "other")
    (other / "manifest.json").write_text((other / "manifest.json").read_text().replace("}", ' , "more": 1}', 1))
    code, lines = train(cohort=other)
    assert code == 2
    assert lines[-1].startswith("error: ")


def test_a_full_disk_in_the_middle_leaves_the_last_checkpoint(train, interrupted, monkeypatch):
    from clinragen.stages import checkpoint

    before = (interrupted / "resume" / "state.safetensors").read_bytes()

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        code, lines = train()
    assert code == 2
    assert "No space left on device" in lines[-1]
    assert (interrupted / "resume" / "state.safetensors").read_bytes() == before
    assert not list((interrupted / "resume").glob(".*"))
    code, lines = train()
    assert code == 0


def test_what_killed_writers_left_is_swept_away(train, interrupted):
    (interrupted / ".model.0123.tmp").mkdir()
    (interrupted / ".curve.png.4567.tmp").write_bytes(b"half")
    assert train()[0] == 0
    assert not list(interrupted.rglob(".*"))


def test_a_loss_that_is_not_finite_stops_with_the_stays(train, monkeypatch):
    from clinragen.stages.module import StageModule

    score = StageModule.score

    def broken(self, batch):
        scored = score(self, batch)
        return scored._replace(loss=scored.loss * torch.nan) if self.training else scored

    monkeypatch.setattr(StageModule, "score", broken)
    code, lines = train()
    assert code == 2
    told = " ".join(lines)
    assert "the loss is not finite in epoch 1, step 1, at stays [" in told


def test_a_target_of_which_nothing_fits_is_an_error(train):
    code, lines = train("--set", "stage.targets=[note]", "--set", "model.max_target_tokens=2")
    assert code == 2
    assert "nothing of its target fits" in lines[-1]
