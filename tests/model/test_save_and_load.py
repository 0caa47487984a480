"""Saving and loading a model preserves its numbers; nothing loads that does not fit exactly."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from clinragen.errors import UserError
from clinragen.model.clinragen import ClinRaGen


@pytest.fixture(scope="session")
def saved(model: ClinRaGen, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def test_loading_gives_identical_numbers(model, saved, make_stay, batch_of):
    batch = batch_of(model, make_stay(model, 9, 7, 0), make_stay(model, 4, 12, 1))
    loaded = ClinRaGen.from_pretrained(saved)
    with torch.inference_mode():
        expected, got = (m(batch, ["note", "series"], explain=True) for m in (model, loaded))
    for name in ("logits", "nll", "concept_weights"):
        assert torch.equal(getattr(expected, name), getattr(got, name))
    assert loaded.tokenizer("Creatinine 3.2", add_special_tokens=False) == model.tokenizer(
        "Creatinine 3.2", add_special_tokens=False
    )


def test_saving_twice_gives_the_same_bytes(saved, tmp_path):
    ClinRaGen.from_pretrained(saved).save_pretrained(tmp_path / "again")
    for name in ("model.safetensors", "clinragen.json", "language_model/tokenizer.json"):
        assert (tmp_path / "again" / name).read_bytes() == (saved / name).read_bytes(), name


def _expect_one_line(folder: Path, *words: str) -> None:
    with pytest.raises(UserError) as caught:
        ClinRaGen.from_pretrained(folder)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_weights_that_do_not_fit_are_refused(copy, change):
    weights = load_file(copy / "model.safetensors")
    if change == "missing":
        del weights["head.out_bias"]
    elif change == "extra":
        weights["head.surplus"] = torch.zeros(3)
    else:
        weights["head.out_bias"] = torch.zeros(3)
    save_file(weights, copy / "model.safetensors")
    _expect_one_line(copy, "model.safetensors", "train anew")


def test_cut_off_weights_are_refused(copy):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    _expect_one_line(copy, "model.safetensors")


def test_absent_weights_are_refused(copy):
    (copy / "model.safetensors").unlink()
    _expect_one_line(copy, "model.safetensors", "not found")


@pytest.mark.parametrize("change", ["renamed", "dropped", "reordered"])
def test_labels_that_were_changed_are_refused(copy, change):
    path = copy / "clinragen.json"
    described = json.loads(path.read_text())
    labels = list(described["labels"].items())
    if change == "renamed":
        labels[0] = ("gout", "gout")
    elif change == "dropped":
        labels.pop()
    else:
        labels.reverse()
    path.write_text(json.dumps(described | {"labels": dict(labels)}))
    _expect_one_line(copy, "labels and label_set differ")


@pytest.mark.parametrize("key", ["statistics", "concepts", "labels", "config"])
def test_a_damaged_description_is_refused(copy, key):
    path = copy / "clinragen.json"
    described = json.loads(path.read_text())
    del described[key]
    path.write_text(json.dumps(described))
    _expect_one_line(copy, "clinragen.json", key)


def test_another_format_version_is_refused(copy):
    path = copy / "clinragen.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 99}))
    _expect_one_line(copy, "99")


def test_absent_tokenizer_is_refused(copy):
    shutil.rmtree(copy / "language_model")
    _expect_one_line(copy, "language_model")


def test_a_model_of_the_release_before_is_read(model, copy, capsys):
    """Written with the names of then, it loads without a hint and is saved with those of today."""
    path = copy / "clinragen.json"
    today = path.read_text()
    described = json.loads(today)
    attention, head = described["config"]["attention"], described["config"]["head"]
    attention["graph_path"], attention["prior"] = attention.pop("knowledge_prior"), attention.pop("graph_bias")
    head["linear"] = head.pop("linear_probes")
    path.write_text(json.dumps(described))
    weights = {
        name.replace("head.knowledge_prior.", "head.graph_path.").replace("head.linear_probes.", "head.linear."): tensor
        for name, tensor in load_file(copy / "model.safetensors").items()
    }
    assert {"head.graph_path.direct", "head.linear.gains"} <= weights.keys()
    save_file(weights, copy / "model.safetensors")
    loaded = ClinRaGen.from_pretrained(copy)
    for name, tensor in model.weights().items():
        assert torch.equal(loaded.weights()[name], tensor), name
    assert capsys.readouterr().err == ""
    loaded.save_pretrained(copy / "again")
    assert (copy / "again" / "clinragen.json").read_text() == today
