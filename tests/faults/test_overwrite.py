"""``--overwrite`` with the name of something precious: every command refuses at once and touches nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def work(hospital, runs, tmp_path_factory) -> Path:
    """A project folder as a user has it: raw tables, cohort, model, predictions, and things of the user's own."""
    root = tmp_path_factory.mktemp("home") / "project"  # beside it must appear nothing
    root.mkdir()
    for name, folder in (("cohort", hospital.cohort), ("run", runs.multimodal), ("predictions", runs.predictions)):
        shutil.copytree(folder, root / name)
    (root / "raw").symlink_to(hospital.raw)
    (root / "mine").mkdir()
    (root / "mine" / "thesis.docx").write_text("years of work")
    (root / "empty_manifest").mkdir()
    (root / "empty_manifest" / "manifest.json").write_text("{}")
    (root / "link").symlink_to(root / "mine")
    (root / "file").write_text("mine")
    return root


COMMANDS = {
    "graph build": ("clinragen", "graph", "build"),
    "graph draw": ("clinragen", "graph", "draw", "pneumonia"),
    "train": ("clinragen", "train", "notes", "--cohort", "cohort"),
    "distill": ("clinragen", "distill", "--cohort", "cohort"),
    "predict": ("clinragen", "predict", "--model", "run", "--cohort", "cohort"),
    "explain": ("clinragen", "explain", "--model", "run", "--cohort", "cohort", "--limit", "1"),
    "evaluate": ("clinragen", "evaluate", "--predictions", "predictions", "--cohort", "cohort", "--no-controls"),
    "report": ("clinragen", "report", "--predictions", "predictions", "--cohort", "cohort"),
    "export": ("clinragen", "export", "--model", "run"),
    "demo": ("clinragen", "demo", "--patients", "50"),
    "synthesize": ("mimic-prep", "synthesize", "--patients", "3"),
    "mimic-iv": ("mimic-prep", "mimic-iv", "--raw", "raw"),
    "audit": ("mimic-prep", "audit", "cohort"),
}
#: what each command may replace, because it wrote it
OWN = {"cohort": "mimic-iv", "run": "train", "predictions": "predict"}
PLACES = ("cohort", "run", "predictions", "mine", "empty_manifest", "link", "file", ".", "..", "file/below", "raw")


def state(root: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with its size and time of change."""
    found = ((path, path.lstat()) for path in sorted(root.rglob("*")) if not path.is_dir())
    return {str(path.relative_to(root)): (status.st_size, status.st_mtime_ns) for path, status in found}


#: a folder of the user's own may hold the runs that `distill` makes, and the two files that `evaluate` writes
SHARED = {("distill", "mine"), *(("evaluate", place) for place in ("predictions", "mine", "empty_manifest", ".", ".."))}
FAIR = {*((command, place) for place, command in OWN.items()), *SHARED}
PAIRS = [(name, place) for name in COMMANDS for place in PLACES if (name, place) not in FAIR]


@pytest.mark.parametrize(("name", "place"), PAIRS)
def test_nothing_precious_is_replaced(name, place, work, command, monkeypatch, capsys):
    monkeypatch.chdir(work)
    before = state(work)
    program, *arguments = COMMANDS[name]
    assert command(program, *arguments, "--out", place, "--overwrite") == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1].startswith("error: ")
    assert state(work) == before
    assert [path.name for path in work.parent.iterdir() if path.name.startswith(".")] == []
