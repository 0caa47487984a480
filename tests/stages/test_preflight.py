"""Preflight: missing data is reported before training, and errors of the command before torch is loaded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from clinragen.schema import CohortPaths
from clinragen.stages import preflight
from clinragen.stages.run_dir import Request

HEAVY = ("torch", "transformers", "lightning_fabric", "sklearn", "scipy", "matplotlib")


@pytest.fixture
def cohort(hospital, tmp_path) -> Path:
    """A copy of the cohort to change."""
    return Path(shutil.copytree(hospital.cohort, tmp_path / "cohort"))


@pytest.fixture
def check(hospital, restamp, cohort, tmp_path):
    """``check(change, stage=...)``: errors and remarks of a first stage on the changed cohort."""

    def run(change: Callable[[CohortPaths], object], stage: str = "notes") -> tuple[str, list[str]]:
        change(CohortPaths(cohort))
        restamp(cohort)
        said: list[str] = []
        request = Request(stage, cohort, tmp_path / "out", model=str(hospital.model))
        try:
            preflight.check(request, say=said.append)
        except preflight.UserError as error:
            return str(error), said
        return "", said

    return run


def rewrite(path: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    change(pl.read_parquet(path)).write_parquet(path)


def labels(split: str, value: bool) -> Callable[[CohortPaths], None]:
    """Set all labels of a split."""

    def change(paths: CohortPaths) -> None:
        ids = pl.read_parquet(paths.stays).filter(pl.col("split") == split)["stay_id"].implode()
        flat = pl.when(pl.col("stay_id").is_in(ids)).then(value).otherwise(pl.all().exclude("stay_id"))
        rewrite(paths.labels, lambda table: table.with_columns(flat.name.keep()))

    return change


def texts(keep: int, text: str = "") -> Callable[[CohortPaths], None]:
    """Leave notes to the first stays alone."""

    def change(paths: CohortPaths) -> None:
        noted = pl.read_parquet(paths.stays).sort("stay_id")["stay_id"].head(keep).implode()
        read = pl.when(pl.col("stay_id").is_in(noted)).then("text").otherwise(pl.lit(text))
        rewrite(paths.notes, lambda table: table.with_columns(read.alias("text")))

    return change


def series(paths: CohortPaths) -> None:
    """No training stay is measured."""
    ids = pl.read_parquet(paths.stays).filter(pl.col("split") == "train")["stay_id"].implode()
    rewrite(paths.series, lambda table: table.filter(~pl.col("stay_id").is_in(ids)))


@pytest.mark.parametrize(
    ("change", "stage", "says"),
    [
        (labels("train", False), "notes", "no train stay has any of the 25 diagnoses"),
        (labels("validation", False), "notes", "no validation stay has any of the 25 diagnoses"),
        (texts(0), "notes", "no training stay has any text, and stage 'notes' reads notes"),
        (texts(0, " \n\t"), "notes", "no training stay has any text"),
        (lambda paths: rewrite(paths.notes, lambda table: table.head(0)), "notes", "no training stay has any text"),
        (series, "notes", "no variable is measured in any training stay"),
        (series, "pretrain", "no variable is measured in any training stay"),
    ],
)
def test_a_cohort_without_what_a_stage_needs_is_refused(check, change, stage, says):
    error, said = check(change, stage)
    assert says in error
    assert "\n" not in error
    assert said == []  # one line is enough


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (texts(10), "only "),
        (lambda paths: rewrite(paths.labels, lambda t: t.with_columns(shock=False, copd=False)), "diagnoses have no"),
        (lambda paths: None, "has only 57 train and 3 validation stays"),
    ],
)
def test_a_cohort_with_too_little_is_trained_on_with_a_note(check, change, says):
    error, said = check(change)
    assert error == ""
    assert any(says in remark for remark in said)


def test_the_series_stage_does_not_ask_for_notes(check, runs, cohort, restamp, tmp_path):
    texts(0)(CohortPaths(cohort))
    restamp(cohort)
    request = Request("series", cohort, tmp_path / "out", parent=runs.notes)
    preflight.check(request)


def test_a_stage_refuses_a_cohort_with_hours_that_its_parent_does_not_read(runs, cohort, hospital, command, capsys):
    path = cohort / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["protocol"]["window"] = {"kind": "whole", "hours": None}
    path.write_text(json.dumps(manifest))
    out = cohort.parent / "out"
    assert command("clinragen", "train", "series", "--cohort", cohort, "--parent", runs.notes, "--out", out) == 2
    assert "holds the whole stay of each stay, and the model reads the first 48 hours" in capsys.readouterr().err
    assert command("clinragen", "predict", "--model", runs.notes, "--cohort", cohort, "--out", out) == 2
    assert "the model reads the first 48 hours" in capsys.readouterr().err
    given = ("--cohort", hospital.cohort, "--model", hospital.model, "--set", "model.hours=24", "--out", out)
    assert command("clinragen", "train", "notes", *given) == 2
    assert "model.hours is 24" in capsys.readouterr().err


def test_mistakes_are_told_without_loading_what_they_do_not_need(hospital, runs, tmp_path):
    """All in one process, which must not have loaded torch or anything like it at the end."""
    out, run, cohort = tmp_path / "out", runs.multimodal, hospital.cohort
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    (damaged / "model" / "model.safetensors").unlink()
    listed = tmp_path / "listed"
    shutil.copytree(run, listed)
    (listed / "manifest.json").write_text(
        json.dumps(json.loads((run / "manifest.json").read_text()) | {"inputs": ["smell"]})
    )
    other = tmp_path / "other"
    shutil.copytree(run, other)
    (other / "model" / "clinragen.json").write_text(
        json.dumps(json.loads((run / "model" / "clinragen.json").read_text()) | {"statistics": {"hours": "many"}})
    )
    mistakes = {
        ("predict", "--model", tmp_path / "nowhere", "--cohort", cohort, "--out", out): "nowhere is not a folder",
        ("predict", "--model", run, "--cohort", tmp_path / "nowhere", "--out", out): "nowhere is not a folder",
        ("predict", "--model", run, "--cohort", cohort, "--out", runs.predictions): "already exists",
        ("predict", "--model", run, "--cohort", cohort, "--out", out, "--split", "tset"): "did you mean 'test'",
        ("predict", "--model", run, "--cohort", cohort, "--out", out, "--series-input", "x"): "unknown series input",
        ("predict", "--model", run, "--cohort", cohort, "--out", out, "--decoding", "fre"): "did you mean 'free'",
        ("predict", "--model", damaged, "--cohort", cohort, "--out", out): "model.safetensors not found",
        ("predict", "--model", listed, "--cohort", cohort, "--out", out): "inputs[0]: expected one of note, series",
        ("predict", "--model", other, "--cohort", cohort, "--out", out): "clinragen.json",
        ("explain", "--model", tmp_path / "nowhere", "--cohort", cohort, "--stay", 1): "nowhere is not a folder",
        ("explain", "--model", run, "--cohort", cohort, "--stay", 1): "stay 1 is not in",
        ("explain", "--model", run, "--cohort", cohort, "--out", out, "--diagnosis", "gout"): "gout",
        ("export", "--model", tmp_path / "nowhere", "--out", out): "nowhere is not a folder",
        ("export", "--model", run, "--out", out, "--evaluation", tmp_path / "no.json"): "no.json not found",
        ("train", "notes", "--cohort", tmp_path / "nowhere", "--out", out): "nowhere is not a folder",
        ("train", "series", "--cohort", cohort, "--out", out, "--parent", tmp_path / "nowhere"): "nowhere",
        ("train", "notes", "--cohort", cohort, "--out", out, "--set", "stage.epochs=0"): "epochs is 0",
        ("train", "notes", "--cohort", cohort, "--out", out, "--pretrained", run): "expected 'pretrain'",
        ("train", "pretrain", "--cohort", cohort, "--out", out, "--parent", run): "starts from nothing",
        ("distill", "--cohort", tmp_path / "nowhere", "--out", out): "nowhere is not a folder",
        ("evaluate", "--predictions", tmp_path / "nowhere", "--cohort", cohort): "nowhere",
        ("report", "--predictions", tmp_path / "nowhere", "--cohort", cohort, "--out", out): "nowhere",
    }
    program = (
        "import json, sys\nfrom clinragen import cli\nfrom clinragen.errors import exit_code\n"
        "for given in json.load(sys.stdin):\n"
        "    code = exit_code(cli.dispatch, given)\n    print(f'exit {code}', file=sys.stderr)\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([[str(part) for part in given] for given in mistakes]),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "400"},
    )
    told = [part.strip() for part in done.stderr.split("exit 2\n")]
    assert len(told) == len(mistakes) + 1, done.stderr
    for (given, says), said in zip(mistakes.items(), told, strict=False):
        (error,) = [line for line in said.splitlines() if line.startswith("error: ")]
        assert says in error, (given, error)
    assert done.stdout.strip() == ""
    assert not out.exists()


def test_a_model_writes_no_rationale_of_what_it_does_not_read(runs, hospital, command, capsys, tmp_path):
    """Stage `notes` learns series rationales as text; asked for one without a series it could only make it up."""
    out = tmp_path / "out"
    given = ("clinragen", "predict", "--model", runs.notes, "--cohort", hospital.cohort, "--limit", 3, "--out", out)
    assert command(*given) == 0
    assert "note: the model reads no series: it writes no rationale of it" in capsys.readouterr().err
    rows = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert all(row["parsed"] and row["note_rationale"] and not row["series_rationale"] for row in rows)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["remarks"] == ["the model reads no series: it writes no rationale of it"]
    assert manifest["parsed"] == 3


@pytest.fixture
def run(runs, tmp_path) -> Callable[..., Path]:
    """``run(**manifest)``: the last run with other entries in its manifest."""

    def make(**entries: object) -> Path:
        folder = Path(shutil.copytree(runs.multimodal, tmp_path / "run"))
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | entries))
        return folder

    return make


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"stage": "pretrain"}, "has only a series encoder: a student starts from it"),
        ({"inputs": ["note"], "targets": ["series"]}, "of which it reads nothing (it reads note)"),
        ({"inputs": []}, "inputs: expected at least one"),
        ({"targets": "note"}, "targets: expected a list, found a text"),
        ({"inputs": {"note": 1}}, "inputs: expected a list, found a mapping"),
        ({"stage": 3}, "stage: expected a text, found 3"),
        ({"model_sha256": None}, "model_sha256: expected a text, found nothing"),
    ],
)
def test_a_run_that_cannot_predict_says_so_in_one_line(run, hospital, command, capsys, tmp_path, entries, says):
    given = ("--cohort", hospital.cohort, "--out", tmp_path / "out")
    assert command("clinragen", "predict", "--model", run(**entries), *given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_predictions_of_another_source_carry_a_note(run, hospital):
    from clinragen.cohort.folder import Cohort
    from clinragen.inference.finished import FinishedRun

    cohort = Cohort.load(hospital.cohort)
    assert FinishedRun.open(run(source="eicu 2.0")).remarks(cohort) == [
        f"the model was trained on eicu 2.0, {hospital.cohort} is of {cohort.manifest['source']}: its probabilities "
        "are not calibrated there"
    ]


@pytest.mark.parametrize(
    "setting",
    [
        "stage.epochs=1000000000", "stage.batch_size=10000000000000", "stage.workers=100000", "stage.seed=-1",
        "stage.seed=99999999999999999999", "stage.weight_decay=-1", "stage.weight_decay=.nan", "stage.warmup=7",
        "stage.label_weight=.inf", "stage.clip=-2", "stage.checkpoint_minutes=.nan", "stage.masked=.nan",
        "trainer.devices=1000000", "trainer.num_nodes=0", "stage.accumulate=0.5",
    ],
)  # fmt: skip
def test_settings_out_of_all_proportion_are_one_line(hospital, setting, tmp_path):
    request = Request("notes", hospital.cohort, tmp_path / "out", str(hospital.model), overrides=(setting,))
    with pytest.raises(preflight.UserError, match=setting.partition("=")[0].partition(".")[2]):
        preflight.check(request)
