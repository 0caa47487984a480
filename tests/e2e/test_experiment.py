"""The published experiment at toy size: every row of its table is filled, and what was interrupted goes on."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

from clinragen.config import CONFIG_ROOT, names
from clinragen.errors import UserError
from clinragen.experiment import plan, resolve
from clinragen.stages.config import STAGES

ELEVEN = {"diastolic_bp", "fio2", "glucose", "heart_rate", "mean_bp", "spo2", "respiratory_rate", "systolic_bp",
          "temperature", "weight", "ph"}  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published design with a language model that trains in a second."""
    paper = yaml.safe_load((CONFIG_ROOT / "model" / "paper.yaml").read_text())
    micro = yaml.safe_load((Path(__file__).parents[1] / "micro_model.yaml").read_text())
    small = {"d_model": 16, "layers": 1, "heads": 2, "ffn": 16, "identity": 4, "bins": 4}
    paper |= {"language_model": micro["language_model"], "max_note_tokens": 64, "max_target_tokens": 128}
    paper["series"] |= small
    path = tmp_path_factory.mktemp("model") / "toy.yaml"
    path.write_text(yaml.safe_dump(paper))
    return path


@pytest.fixture(scope="module")
def run(hospital, toy: Path, tmp_path_factory: pytest.TempPathFactory):
    """``run(*more)`` runs or continues the experiment; ``run.out`` is its folder."""
    from tests.conftest import call

    out = tmp_path_factory.mktemp("experiment") / "out"
    given = ("--raw", hospital.raw, "--out", out, "--model", toy, "--seeds", 0, "--set", "stage.epochs=1")

    def go(*more: object) -> int:
        return call("clinragen", "experiment", "paper_mimic4", *given, *more)

    go.out = out  # pyright: ignore[reportFunctionMemberAccess]
    return go


def test_one_command_fills_the_published_table(run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    stored = json.loads((run.out / "table.json").read_text())
    published = yaml.safe_load((CONFIG_ROOT / "experiment" / "paper_mimic4.yaml").read_text())["rows"]
    assert [row["title"] for row in stored["rows"]] == [row["title"] for row in published]
    printed = capsys.readouterr()
    shown, page = " ".join(printed.out.split()), (run.out / "table.md").read_text()
    assert "'variables=[diastolic_bp,fio2," in printed.err  # as it can be typed
    for row, theirs in zip(stored["rows"], published, strict=True):
        for score in ("micro_f1", "macro_f1"):
            assert row["published"][score] == theirs[score]
            (reached,) = row["reached"][score]
            assert 0 <= reached <= 1
            assert f"{theirs[score]:.3f}".lstrip("0") in page
        assert row["title"] in page
        assert row["title"] in shown
    series = pl.read_parquet(run.out / "cohort" / "series.parquet")
    assert set(series["variable"].unique()) <= ELEVEN
    assert "brief_hospital_course" in set(pl.read_parquet(run.out / "cohort" / "notes.parquet")["section"])


def test_what_is_there_is_not_run_again_and_what_is_missing_is(run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    before = {path: path.stat().st_mtime_ns for path in run.out.rglob("manifest.json")}
    lost = run.out / "seed0" / "full" / "notes-evaluation" / "evaluation.json"
    table = (run.out / "table.json").read_bytes()
    lost.unlink()
    capsys.readouterr()
    assert run() == 0
    ran = [line for line in capsys.readouterr().err.splitlines() if line.startswith("$ ")]
    assert len(ran) == 1
    assert lost.exists()
    assert {path: path.stat().st_mtime_ns for path in run.out.rglob("manifest.json")} == before
    assert (run.out / "table.json").read_bytes() == table


def test_other_options_do_not_mix_into_an_experiment_that_was_begun(run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert run("--set", "stage.label_weight=1") == 2
    assert "was begun by another command" in capsys.readouterr().err


@pytest.mark.parametrize("name", names("experiment"))
def test_every_parent_is_trained_before_and_every_product_made_once(name: str, tmp_path: Path) -> None:
    config = resolve(name)
    steps = plan(config, "RAW", tmp_path)
    products = [step.product for step in steps]
    assert len(set(products)) == len(products)
    for position, step in enumerate(steps):
        for option in ("--parent", "--model", "--predictions"):
            if option in step.command and (path := Path(step.command[step.command.index(option) + 1])).is_absolute():
                assert path / "manifest.json" in products[:position]
    trained = {step.command[2] for step in steps if step.command[1] == "train"}
    assert trained == set(STAGES)
    assert len(config.rows) == 5
    assert len(config.seeds) == 5


def test_a_dry_run_prints_commands_and_writes_nothing(tmp_path: Path, command, capsys) -> None:
    options = ("--raw", tmp_path / "raw", "--out", tmp_path / "out", "--dry-run")
    assert command("clinragen", "experiment", "paper_mimic3", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("mimic-prep mimic-iii --raw")
    assert sum(line.startswith("clinragen train") for line in lines) == 9 * 5
    assert not (tmp_path / "out").exists()


def test_mistakes_are_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("title: t\nrelease: mimic-iv\nvariants: {a: []}\nrows: [{title: x, variant: b, stage: notes}]\n")
    with pytest.raises(UserError, match=r"variant of row 'x'.*'b'"):
        resolve(str(path))
    path.write_text("title: t\nrelease: mimic-iv\nvariants: {a: []}\nrows: []\n")
    with pytest.raises(UserError, match="at least one row"):
        resolve(str(path))
    with pytest.raises(UserError, match="paper_mimic4"):
        resolve("paper_mimic5")
