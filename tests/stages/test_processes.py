"""Two processes, other batches and a token budget end with the weights of one process."""

from __future__ import annotations

import os
import subprocess
import sys

import torch
from safetensors.torch import load_file

MAIN = "from clinragen.cli import main\nif __name__ == '__main__':\n    main()\n"


def test_two_processes_equal_one(hospital, taught, command, tmp_path):
    """The step has eight stays either way; 57 stays leave a step of one, in which a process has nothing to read.

    The teacher's log-probabilities are learnt from, too, of which some stays have none.
    """
    (tmp_path / "program.py").write_text(MAIN)
    given = ["train", "notes", "--cohort", taught, "--model", hospital.model]
    given += ["--teacher", "llm", "--set", "stage.token_weight=0.5"]
    given += ["--set", "stage.precision=32-true", "--set", "stage.epochs=1"]
    given += ["--set", "model.language_model.scratch.dropout=0.0", "--set", "model.head.dropout=0"]
    pair = ["--trainer", "ddp", "--set", "trainer.accelerator=cpu", "--set", "stage.batch_size=4"]
    pair += [
        "--set",
        "stage.tokens=20",
    ]  # one stay in a forward pass, so that one process validates twice, the other once
    arguments = [str(value) for value in (*given, *pair, "--out", tmp_path / "two")]
    done = subprocess.run(
        [sys.executable, str(tmp_path / "program.py"), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    single = ["--set", "stage.batch_size=2", "--set", "stage.accumulate=4", "--set", "stage.tokens=300"]
    assert command("clinragen", *given, *single, "--out", tmp_path / "one") == 0
    one, two = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("one", "two"))
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        if ".linear." not in name:  # fitted after training, to a tolerance of its own
            torch.testing.assert_close(two[name], tensor, atol=1e-5, rtol=0, msg=name)
