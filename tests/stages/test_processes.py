"""Two processes, other batches and a token budget end with the weights of one process, by DDP and by FSDP."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

MAIN = "from clinragen.cli import main\nif __name__ == '__main__':\n    main()\n"
SECOND_DIES = """import itertools, os
from clinragen.stages.progress import StageProgress
steps = itertools.count(1)
if os.environ.get("LOCAL_RANK") == "1":
    StageProgress.step = lambda self, epoch: next(steps) < 4 or os._exit(9)
"""
DROPOUT = ("language_model.scratch", "series", "attention", "head")


@pytest.fixture(scope="module")
def settings(hospital, taught) -> list[object]:
    """A stage that trains every part, from nothing, without chance.

    The teacher's log-probabilities are learnt from, too, of which some stays have none.
    """
    given = ["train", "multimodal", "--cohort", taught, "--model", hospital.model]
    given += ["--teacher", "llm", "--set", "stage.token_weight=0.5"]
    given += ["--set", "stage.parent=null", "--set", "stage.precision=32-true", "--set", "stage.epochs=2"]
    return given + [part for name in DROPOUT for part in ("--set", f"model.{name}.dropout=0")]


@pytest.fixture(scope="module")
def one(settings, command, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("one") / "run"
    single = ["--set", "stage.batch_size=2", "--set", "stage.accumulate=4", "--set", "stage.tokens=400"]
    assert command("clinragen", *settings, *single, "--out", out) == 0
    return out


@pytest.fixture
def pair(settings, tmp_path):
    """``pair(strategy)``: the exit code and the errors of two processes on the processor, in ``tmp_path / "two"``."""

    def run(strategy: str, program: str = "", *more: object) -> tuple[int, str]:
        (tmp_path / "program.py").write_text(program + MAIN)
        given = [*settings, "--trainer", strategy, "--set", "trainer.accelerator=cpu", "--set", "stage.batch_size=4"]
        # One stay in a forward pass, so that one process reads more of them than the other.
        given += ["--set", "stage.tokens=20", *more, "--out", tmp_path / "two"]
        done = subprocess.run(
            [sys.executable, str(tmp_path / "program.py"), *map(str, given)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=400,
        )
        return done.returncode, done.stderr[-2000:]

    return run


def same(one: Path, two: Path) -> None:
    expected, got = (load_file(run / "model" / "model.safetensors") for run in (one, two))
    assert expected.keys() == got.keys()
    for name, tensor in expected.items():
        if ".linear_probes." not in name:  # fitted after training, to a tolerance of its own
            torch.testing.assert_close(got[name], tensor, atol=1e-5, rtol=0, msg=name)
    rows, others = (pl.read_csv(run / "metrics.csv") for run in (one, two))
    for name in ("train/loss", "validation/loss", "validation/macro_auroc"):
        assert others[name].to_list() == pytest.approx(rows[name].to_list(), abs=1e-4), name


def test_two_processes_equal_one(one, pair, tmp_path):
    """The step has eight stays either way; 57 stays leave a step of one, in which a process has nothing to read."""
    code, errors = pair("ddp")
    assert code == 0, errors
    same(one, tmp_path / "two")


def test_two_processes_with_half_of_the_weights_each_equal_one_also_when_resumed(one, pair, tmp_path):
    code, errors = pair("fsdp", SECOND_DIES, "--set", "stage.checkpoint_steps=1")
    assert code == 2
    assert "error: another process of this run has ended" in errors
    assert "Traceback" not in errors
    assert (tmp_path / "two" / "resume" / "state.safetensors").exists()
    code, errors = pair("fsdp")
    assert code == 0, errors
    assert "resuming the unfinished run at step 3" in " ".join(errors.split())
    same(one, tmp_path / "two")
