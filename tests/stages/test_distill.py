"""`clinragen distill`: one command, kept and resumed stage by stage; preflight reports all errors at once."""

from __future__ import annotations

import json
import shutil

import pytest

from clinragen.stages.distill import Chain, split_overrides
from clinragen.stages.run_dir import Request

SETTINGS = ("--set", "stage.precision=32-true", "--set", "stage.epochs=1")


@pytest.fixture
def chain(runs, tmp_path):
    """The stages as `distill` would have left them after the second."""
    for stage in ("notes", "series"):
        shutil.copytree(getattr(runs, stage), tmp_path / "chain" / stage)
    return tmp_path / "chain"


def distill(hospital, chain, *more):
    return (
        "clinragen",
        "distill",
        "--cohort",
        hospital.cohort,
        "--model",
        hospital.model,
        "--out",
        chain,
        *SETTINGS,
        *more,
    )


def test_finished_stages_are_kept_and_the_rest_is_trained(hospital, runs, command, chain, capsys):
    before = {stage: (chain / stage / "manifest.json").stat().st_mtime_ns for stage in ("notes", "series")}
    assert command(*distill(hospital, chain)) == 0
    assert capsys.readouterr().err.count("finished before, kept") == 2
    assert {stage: (chain / stage / "manifest.json").stat().st_mtime_ns for stage in before} == before
    made, expected = (json.loads((f / "multimodal" / "manifest.json").read_text()) for f in (chain, runs.root))
    assert made["model_sha256"] == expected["model_sha256"]


def test_a_stage_finished_with_other_settings_is_refused(hospital, command, chain, capsys):
    assert command(*distill(hospital, chain, "--set", "series.stage.label_weight=3")) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert "series" in said[-1]
    assert "other data or settings" in said[-1]
    assert not (chain / "multimodal").exists()


def test_a_group_that_is_none_is_named(hospital, command, chain, capsys):
    assert command(*distill(hospital, chain, "--set", "seris.stage.epochs=3")) == 2
    assert "did you mean 'series'?" in capsys.readouterr().err


def test_preflight_tells_every_mistake_at_once_and_writes_nothing(hospital, command, capsys, tmp_path):
    cohort = shutil.copytree(hospital.cohort, tmp_path / "cohort")
    (cohort / "labels.parquet").unlink()
    shutil.rmtree(cohort / "rationales")
    given = ("clinragen", "train", "notes", "--cohort", cohort, "--model", "tinny", "--graph", tmp_path / "no")
    assert command(*given, "--out", tmp_path / "out", "--preflight") == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("  ")]  # what is begun
    assert all(line.startswith("error: ") for line in lines)
    for part in ("labels.parquet", "clinragen teach", "did you mean 'tiny'", str(tmp_path / "no")):
        assert sum(part in line for line in lines) == 1, part
    assert not (tmp_path / "out").exists()


def test_preflight_tells_the_plan_and_trains_nothing(hospital, command, capsys, tmp_path):
    given = ("clinragen", "train", "notes", "--cohort", hospital.cohort, "--model", hospital.model, *SETTINGS)
    assert command(*given, "--out", tmp_path / "out", "--preflight") == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "plan: 4 steps of up to 16 stays" in told
    assert "GiB of disk" in told
    assert not (tmp_path / "out").exists()


def test_a_disk_that_is_too_small_is_told_before_any_work(hospital, command, capsys, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("clinragen.stages.rehearsal.shutil.disk_usage", lambda path: usage._replace(free=1000))
    given = ("clinragen", "train", "notes", "--cohort", hospital.cohort, "--model", hospital.model, *SETTINGS)
    assert command(*given, "--out", tmp_path / "out") == 2
    assert "make room" in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_chain_may_end_with_refining(tmp_path):
    common, single = split_overrides(["stage.seed=2", "model.max_caption_tokens=99", "refine.stage.refine.samples=9"])
    base = Request("notes", tmp_path / "cohort", tmp_path / "chain", overrides=common)
    assert [each.stage for each in Chain(base, None, single).requests()] == ["notes", "series", "multimodal"]
    last = Chain(base, None, single, refined=True).requests()[-1]
    assert (last.stage, last.parent, last.out) == ("refine", base.out / "multimodal", base.out / "refine")
    assert last.overrides == ("stage.seed=2", "stage.refine.samples=9")
