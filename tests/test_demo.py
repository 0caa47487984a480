"""The demo: what it types, and the quick way with a student that was trained before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from clinragen import demo
from clinragen.errors import UserError

QUIET = Console(quiet=True)


@pytest.fixture
def typed(monkeypatch) -> list[list[str]]:
    """The command lines that the demo would run, in place of running them."""
    lines: list[list[str]] = []

    def run(planned, out: Path, console: Console, *, overwrite: bool = False) -> None:
        lines.extend(command for _, command in planned)
        for _, command in planned:
            if command[1] == "export":
                out.mkdir(parents=True)
                Path(command[-1]).write_bytes(b"a student")

    monkeypatch.setattr(demo, "_run", run)
    monkeypatch.setattr("clinragen.inference.finished.FinishedRun.open", lambda student: None)
    return lines


def words(lines: list[list[str]]) -> list[str]:
    return [command[1] for command in lines]


def test_the_quick_way_trains_where_there_is_no_student_and_only_then(typed, tmp_path):
    out = tmp_path / "quick"
    assert demo.run_demo(out, None, None, QUIET, quick=True) == out
    quick = ["synthesize", "mimic-iv", "predict", "evaluate", "report"]
    long = ["synthesize", "mimic-iv", "graph", "teach", "train", "train", "train", "export"]
    assert words(typed) == long + quick
    typed.clear()
    demo.run_demo(out, None, None, QUIET, quick=True)
    assert words(typed) == quick
    assert typed[2][typed[2].index("--model") + 1] == str(tmp_path / "demo" / "student.zip")


def test_the_patients_of_the_quick_way_are_of_another_hospital(typed, tmp_path):
    demo.run_demo(tmp_path / "quick", None, None, QUIET, quick=True, seed=3)
    seeds = [command[command.index("--seed") + 1] for command in typed if "--seed" in command]
    assert seeds == ["3", "4"]


def test_both_ways_may_lie_beside_each_other_but_not_in_one_folder(tmp_path):
    with pytest.raises(UserError, match=r"student\.zip not found: run `clinragen demo --overwrite`, or name"):
        demo.run_demo(tmp_path / "demo", None, None, QUIET, quick=True)
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"weights": Path("student.zip")}, "--weights belongs to --quick"),
        ({"patients": 49}, "at least 50"),
        ({"quick": True, "patients": 49}, "at least 50"),
        ({"quick": True, "weights": Path("nowhere.zip")}, "nowhere.zip is not a folder"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(options, says, tmp_path):
    arguments = {"patients": None, **options}
    with pytest.raises(UserError, match=says):
        demo.run_demo(tmp_path / "out", None, console=QUIET, **arguments)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_quick_way_ends_in_a_report(runs, command, tmp_path, capsys):
    student, out = tmp_path / "student.zip", tmp_path / "quick"
    assert command("clinragen", "export", "--model", runs.multimodal, "--out", student) == 0
    capsys.readouterr()
    options = ("--quick", "--weights", student, "--patients", 60, "--out", out, "--json")
    assert command("clinragen", "demo", *options) == 0
    assert json.loads(capsys.readouterr().out)["report"] == str(out / "report" / "index.html")
    assert (out / "report" / "index.html").is_file()
    manifest = json.loads((out / "predictions" / "manifest.json").read_text())
    assert manifest["model"] == str(student)
