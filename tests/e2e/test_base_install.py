"""What `pip install clinragen` without extras can do: prepare, audit, build the graph, let the teacher write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from clinragen.errors import TRAINING_PACKAGES

# A process in which the packages of the extra `train` are not installed.
PROGRAM = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {set(TRAINING_PACKAGES)!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
if sys.argv[0] == "clinragen":
    from clinragen.cli import main
else:
    from mimic_prep.cli import main
main()
"""


def run(*command: object) -> subprocess.CompletedProcess[str]:
    """A console command in such a process."""
    words = [str(word) for word in command]
    return subprocess.run([sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False)


def test_data_are_prepared_and_taught_without_the_training_packages(hospital, tmp_path: Path) -> None:
    cohort, graph = tmp_path / "cohort", tmp_path / "graph"
    for command in (
        ("mimic-prep", "mimic-iv", "--raw", hospital.raw, "--out", cohort),
        ("mimic-prep", "audit", "--cohort", cohort),
        ("clinragen", "graph", "build", "--out", graph),
        ("clinragen", "teach", "--cohort", cohort, "--graph", graph),
    ):
        done = run(*command)
        assert done.returncode == 0, done.stderr
    for name in ("series.parquet", "labels.parquet", "rationales/evidence.parquet"):
        assert (cohort / name).read_bytes() == (hospital.cohort / name).read_bytes()


@pytest.mark.parametrize("command", ["train", "predict", "evaluate"])
def test_what_needs_them_says_how_to_install_them(command: str, hospital, runs, tmp_path: Path) -> None:
    options = {
        "train": ("notes", "--model", "tiny", "--cohort", hospital.cohort),
        "predict": ("--model", runs.multimodal, "--cohort", hospital.cohort),
        "evaluate": ("--predictions", runs.predictions, "--cohort", hospital.cohort),
    }
    done = run("clinragen", command, *options[command], "--out", tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: this command needs packages that are not installed:")
    assert "[train]" in done.stderr
    assert list(tmp_path.iterdir()) == []
