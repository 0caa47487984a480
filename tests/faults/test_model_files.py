"""A finished model with changed or invalid files is refused with the file's name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from clinragen.errors import UserError
from clinragen.inference.predict import TrainedModel


@pytest.fixture
def run(runs, tmp_path) -> Path:
    return Path(shutil.copytree(runs.multimodal, tmp_path / "run"))


@pytest.fixture
def unrecorded(run) -> Path:
    """A run whose manifest records no files: what they say must still make sense."""
    path = run / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["files"]
    path.write_text(json.dumps(manifest))
    return run


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


FILES = ("model.safetensors", "clinragen.json", "calibration.json", "language_model/config.json",
         "language_model/tokenizer.json", "graph/edges.parquet", "graph/manifest.json")  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_of_a_model_is_named(run, name):
    path = run / "model" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="changed since") as refused:
        TrainedModel.load(run)
    assert str(path) in str(refused.value)


def test_a_file_of_a_model_that_is_gone_is_named(run):
    (run / "model" / "language_model" / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"tokenizer\.json not found"):
        TrainedModel.load(run)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(unrecorded, value):
    path = unrecorded / "model" / "model.safetensors"
    weights = load_file(path)
    name = sorted(name for name, tensor in weights.items() if tensor.is_floating_point())[3]
    weights[name].view(-1)[-1] = value
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(UserError, match=f"{name} holds NaN or infinity"):
        TrainedModel.load(unrecorded)


def _set(*keys: Any, to: Any) -> Callable[[dict[str, Any]], object]:
    def change(described: dict[str, Any]) -> None:
        place: Any = described
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = to

    return change


DESCRIPTIONS = {
    "config a list": _set("config", to=[]),
    "labels a list": _set("labels", to=["shock"]),
    "labels null": _set("labels", to=None),
    "statistics null": _set("statistics", to=None),
    "statistics of other keys": _set("statistics", "more", to=1),
    "centre short": _set("statistics", "centre", to=[1.0]),
    "scale text": _set("statistics", "scale", to="wide"),
    "edges ragged": _set("statistics", "edges", to=[[[1.0]], [[1.0, 2.0]]]),
    "concepts a number": _set("concepts", to=7),
    "concepts without ids": _set("concepts", "token_ids", to=None),
    "concept edge far out": _set("concepts", "edges", to=[[10**9, 0, 0, 1.0]]),
    "lexicon of another length": _set("lexicon", "terms", to=["one"]),
    "width absurd": _set("config", "series", "d_model", to=10**12),
    "layers absurd": _set("config", "series", "layers", to=10**9),
    "heads none": _set("config", "attention", "heads", to=0),
    "heads that do not divide": _set("config", "attention", "heads", to=3),
    "prompts absurd": _set("config", "attention", "prompts", to=10**10),
    "learning rate infinite": _set("config", "learning_rate", to="inf"),
    "hours text": _set("config", "hours", to="two days"),
    "interpolation": _set("config", "language_model", "name", to="${oc.env:HOME}"),
    "unknown key": _set("config", "trust", to=True),
    "format": _set("format_version", to="2"),
}


@pytest.mark.parametrize("change", DESCRIPTIONS.values(), ids=DESCRIPTIONS.keys())
def test_a_description_that_cannot_be_is_refused(unrecorded, change):
    path = unrecorded / "model" / "clinragen.json"
    rewrite(path, change)
    with pytest.raises(UserError) as refused:
        TrainedModel.load(unrecorded)
    assert str(unrecorded) in str(refused.value) or "model.attention.heads is 3" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("slope", "steep"), ("slope", None), ("offsets", [0.0]), ("offsets", None), ("thresholds", [[0.5]] * 25),
        ("thresholds", [0.5] * 24 + [1.5]), ("thresholds", [0.5] * 24 + [0]), ("labels", []),
    ],
)  # fmt: skip
def test_a_calibration_that_cannot_be_is_refused(unrecorded, key, value):
    rewrite(unrecorded / "model" / "calibration.json", _set(key, to=value))
    with pytest.raises(UserError, match=r"calibration\.json"):
        TrainedModel.load(unrecorded)


@pytest.mark.parametrize(
    "recorded", [{"../../outside": {"sha256": "0"}}, {"/etc/passwd": {"sha256": "0"}}, {"model.safetensors": 7}]
)
def test_a_record_of_files_that_is_none_is_refused(run, recorded):
    rewrite(run / "manifest.json", _set("files", to=recorded))
    with pytest.raises(UserError):
        TrainedModel.load(run)


def test_scores_that_are_not_finite_are_an_error(run):
    trained = TrainedModel.load(run)
    logits = torch.zeros(2, len(trained.model.labels)).numpy()
    logits[1, 3] = float("nan")
    with pytest.raises(UserError, match="row 1"):
        trained.calibration.probabilities(logits)
