"""A stage is any YAML file: what it reads, writes and freezes, and which stage it continues."""

from __future__ import annotations

import json

import pytest

from clinragen.errors import UserError
from clinragen.stages.config import resolve, stage_name


@pytest.fixture
def stage(tmp_path):
    path = tmp_path / "list_alone.yaml"
    path.write_text("parent: notes\ninputs: [note]\ntargets: [diagnoses]\nfrozen: [language_model]\nepochs: 1\n")
    return path


def test_a_file_is_resolved_like_a_shipped_stage(stage):
    config = resolve(str(stage), "tiny", "evidence", ["stage.batch_size=4"])
    assert config.stage_name == "list_alone"
    assert (config.stage.parent, config.stage.inputs, config.stage.targets) == ("notes", ["note"], ["diagnoses"])
    assert (config.stage.frozen, config.stage.epochs, config.stage.batch_size) == (["language_model"], 1, 4)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("input: [note]\ntargets: [note]\n", r"unknown key 'input': did you mean 'inputs'\?"),
        (
            "inputs: [notes]\ntargets: [note]\n",
            r"inputs\[0\] 'notes' is unknown.*did you mean 'note'",
        ),
        ("inputs: [note]\ntargets: []\n", "must each name at least one"),
        ("inputs: [note]\ntargets: [note]\nfrozen: [heads]\n", "did you mean 'head'"),
    ],
)
def test_a_mistake_in_it_is_named(stage, text, says):
    stage.write_text(text)
    with pytest.raises(UserError, match=says):
        resolve(str(stage), "tiny", "evidence", [])


def test_names_of_stages(tmp_path):
    with pytest.raises(UserError, match="did you mean 'notes'"):
        stage_name("nots")
    with pytest.raises(UserError, match="call the file otherwise"):
        stage_name(str(tmp_path / "pretrain.yaml"))


def test_it_trains_from_its_parent(stage, runs, hospital, command, tmp_path, capsys):
    given = ("--cohort", hospital.cohort, "--out", tmp_path / "run")
    assert command("clinragen", "train", stage, *given) == 2
    assert "continues stage 'notes'" in capsys.readouterr().err
    assert command("clinragen", "train", stage, *given, "--parent", runs.notes) == 0
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert (manifest["stage"], manifest["targets"], manifest["parent_stages"]) == (
        "list_alone",
        ["diagnoses"],
        ["notes"],
    )
