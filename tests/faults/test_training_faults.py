"""Faults in the middle of training end with one clear line, and nothing that was finished is lost."""

from __future__ import annotations

import itertools
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

SETTINGS = ("--set", "stage.precision=32-true", "--set", "stage.epochs=2", "--set", "stage.checkpoint_steps=1")


class Stopped(BaseException):
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


def told(lines: list[str]) -> str:
    """What was said in the end, as one line."""
    last = max(number for number, line in enumerate(lines) if line.startswith(("error: ", "  resuming", "stage ")))
    return " ".join(" ".join(lines[last:]).split())


@contextmanager
def stopped_after(steps: int) -> Iterator[None]:
    """Training stops dead in the step after so many."""
    from clinragen.stages.progress import StageProgress

    done = itertools.count(1)

    def stop(self, epoch):
        if next(done) > steps:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageProgress, "step", stop)
        yield


@pytest.fixture
def interrupted(train, tmp_path) -> Path:
    """An unfinished run: it was stopped after its third step."""
    with stopped_after(3), pytest.raises(Stopped):
        train()
    return tmp_path / "out"


@pytest.fixture
def little_room():
    """``with little_room():`` no file can grow beyond 100 kB, which the system refuses as it does on a full disk."""

    @contextmanager
    def limited() -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


def test_a_cut_checkpoint_is_named(train, interrupted):
    state = interrupted / "resume" / "state.safetensors"
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    code, lines = train()
    assert code == 2
    assert "state.safetensors is damaged" in lines[-1]
    assert "--overwrite" in lines[-1]


def test_a_cohort_that_vanished_or_changed_is_named(train, interrupted, hospital, tmp_path):
    code, lines = train(cohort=tmp_path / "gone")
    [line] = [line for line in lines if line.startswith("error: ")]  # phases may be announced before it
    assert code == 2
    assert "gone" in line
    other = shutil.copytree(hospital.cohort, tmp_path / "other")
    (other / "manifest.json").write_text((other / "manifest.json").read_text().replace("}", ' , "more": 1}', 1))
    code, lines = train(cohort=other)
    assert code == 2
    assert lines[-1].startswith("error: ")


@pytest.mark.parametrize("freshness", ["none", "validation"])
def test_a_cohort_that_vanishes_in_the_middle_is_not_missed(train, hospital, tmp_path, monkeypatch, freshness):
    """All that a run needs was read before it trains."""
    from clinragen.stages.progress import StageProgress

    cohort = Path(shutil.copytree(hospital.cohort, tmp_path / "cohort"))
    monkeypatch.setattr(StageProgress, "step", lambda self, epoch: shutil.rmtree(cohort, ignore_errors=True))
    code, lines = train("--set", f"stage.freshness={freshness}", cohort=cohort)
    assert not cohort.exists()
    assert code == 0, lines[-1]


def test_a_parent_that_was_cut_is_named(runs, hospital, command, capsys, tmp_path):
    parent = Path(shutil.copytree(runs.notes, tmp_path / "notes"))
    weights = parent / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    given = ("clinragen", "train", "series", "--cohort", hospital.cohort, "--parent", parent, "--out", tmp_path / "out")
    capsys.readouterr()
    assert command(*given) == 2
    (line,) = [text for text in capsys.readouterr().err.splitlines() if not text.startswith("  ")]
    assert str(weights) in line
    assert not (tmp_path / "out").exists()


def test_a_full_disk_in_the_middle_leaves_the_last_checkpoint(train, interrupted, little_room):
    before = (interrupted / "resume" / "state.safetensors").read_bytes()
    with little_room():
        code, lines = train()
    assert code == 2
    assert f"{interrupted} has no room left" in told(lines)
    assert (interrupted / "resume" / "state.safetensors").read_bytes() == before
    assert not list((interrupted / "resume").glob(".*"))
    assert train()[0] == 0


def test_a_disk_that_is_full_when_the_model_is_written_costs_no_training(train, tmp_path, little_room, monkeypatch):
    from clinragen.stages import calibration

    out, fit, room = tmp_path / "out", calibration.fit_linear_probes, little_room()

    def late(*given, **options):
        room.__enter__()
        return fit(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(calibration, "fit_linear_probes", late)
        code, lines = train()
    room.__exit__(None, None, None)
    assert code == 2
    assert "has no room left" in told(lines)
    assert not (out / "manifest.json").exists()
    assert not list(out.rglob(".*"))
    code, lines = train()
    assert code == 0
    assert "resuming the unfinished run at step 8 of 8" in told(lines)


def test_adapters_of_an_unfinished_run_are_not_put_beside_other_weights(hospital, llama, command, capsys, tmp_path):
    from transformers import LlamaForCausalLM

    base = Path(shutil.copytree(llama, tmp_path / "base"))
    settings = tmp_path / "model.yaml"
    small = hospital.model.read_text().partition("\nseries:")[2]
    settings.write_text(f"language_model: {{architecture: causal, name: {base}, lora: {{rank: 2}}}}\nseries:{small}")
    given = ("clinragen", "train", "notes", "--cohort", hospital.cohort, "--out", tmp_path / "out", *SETTINGS)
    given += ("--model", settings)
    with stopped_after(3), pytest.raises(Stopped):
        command(*given)
    model = LlamaForCausalLM.from_pretrained(base)
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    model.save_pretrained(base)
    capsys.readouterr()
    assert command(*given) == 2
    assert "holds an unfinished run of other data or settings" in told(capsys.readouterr().err.splitlines())


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
