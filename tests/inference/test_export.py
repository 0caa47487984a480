"""`clinragen export`: the folder is self-contained, gives the same logits, and has a complete card."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM

import clinragen
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.evaluation.inputs import graph_of, load_predictions
from clinragen.inference.export import _card, export
from clinragen.inference.predict import TrainedModel, score
from clinragen.model.pretrained import base_weights

pytestmark = pytest.mark.slow  # what its fixtures make takes seconds

SETTINGS = ("--set", "stage.precision=32-true", "--set", "stage.epochs=1")


@pytest.fixture(scope="module")
def adapted(hospital, llama, command, tmp_path_factory):
    """A run of the first stage with adapters on a pre-trained language model, and the folder of that model."""
    root = tmp_path_factory.mktemp("adapted")
    shutil.copytree(llama, root / "base")
    settings = root / "model.yaml"
    settings.write_text(
        f"language_model: {{architecture: causal, name: {root / 'base'}, lora: {{rank: 2, alpha: 64, dropout: 0}}}}\n"
        "series: {patch_hours: 12, d_model: 16, layers: 1, heads: 2, ffn: 16}\n"
        "attention: {heads: 2, prompts: 4, neighbours: 16}\n"
        "max_note_tokens: 64\nmax_target_tokens: 128\nlearning_rate: 0.05\n"
    )
    train = ("clinragen", "train", "notes", "--cohort", hospital.cohort, "--model", settings)
    assert command(*train, "--out", root / "run", *SETTINGS) == 0
    return root


def logits(run, cohort):
    trained = TrainedModel.load(run)
    return trained, score(trained.model, trained.dataset(cohort, "validation"), trained.manifest.inputs)[0]


def test_adapters_alone_are_saved_and_merged_on_export(adapted, hospital, tmp_path):
    cohort = Cohort.load(hospital.cohort)
    saved = (adapted / "run" / "model" / "model.safetensors").stat().st_size
    trained, before = logits(adapted / "run", cohort)
    names = [name for name in trained.model.weights() if name.startswith("language_model.")]
    assert names
    assert all(".lora_" in name for name in names)
    assert any(trained.model.state_dict()[name].abs().sum() > 0 for name in names if ".lora_B" in name)
    export(adapted / "run", tmp_path / "out", title="A student")
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > saved
    (adapted / "base").rename(adapted / "moved")  # the export needs it no more
    exported, after = logits(tmp_path / "out", cohort)
    (adapted / "moved").rename(adapted / "base")
    assert not any(".lora_" in name for name in exported.model.state_dict())
    torch.testing.assert_close(torch.from_numpy(after), torch.from_numpy(before), atol=1e-4, rtol=1e-4)
    assert str(adapted) not in (tmp_path / "out" / "clinragen.json").read_text()


def test_runs_with_adapters_share_the_weights_below_and_predict_the_same(adapted, runs, hospital, capsys):
    cohort, run = Cohort.load(hospital.cohort), adapted / "run"
    first, before = logits(run, cohort)
    capsys.readouterr()
    second = clinragen.load(run, sharing=first)
    assert second.language_model.shared_bytes == sum(
        w.nbytes for w in base_weights(first.language_model.model).values()
    )
    assert second.device == first.device
    scored = score(second.model, second.dataset(cohort, "validation"), second.manifest.inputs)[0]
    assert scored.tobytes() == before.tobytes()
    assert "shares" not in capsys.readouterr().err
    assert clinragen.load(runs.multimodal, sharing=first).language_model.shared_bytes == 0
    assert "shares no weights" in capsys.readouterr().err
    first.model.to("meta")  # a device that no model runs on
    with pytest.raises(UserError, match="a model on meta can share its weights only there"):
        clinragen.load(run, device="cpu", sharing=first.model)


def test_adapters_for_other_weights_are_refused(adapted, hospital, command, capsys, tmp_path):
    model = LlamaForCausalLM.from_pretrained(adapted / "base")
    kept = (adapted / "base" / "model.safetensors").read_bytes()
    with torch.no_grad():
        next(model.parameters()).add_(0.1)
    model.save_pretrained(adapted / "base")
    given = ("clinragen", "predict", "--model", adapted / "run", "--cohort", hospital.cohort, "--out", tmp_path / "out")
    assert command(*given) == 2
    (adapted / "base" / "model.safetensors").write_bytes(kept)
    lines = capsys.readouterr().err.strip().splitlines()
    assert "trained on other weights" in lines[-1]


def test_the_card_and_the_files(runs, hospital, command, tmp_path):
    out = tmp_path / "student"
    assert command("clinragen", "export", "--model", runs.multimodal, "--out", out) == 0
    suffixes = {path.suffix for path in out.rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".md", ".parquet", ".txt", ".jinja"}
    card = (out / "README.md").read_text()
    for part in (
        "Not for clinical use",
        "admission",
        "notes → series → multimodal",
        "evidence",
        "macro_auroc",
        "Limits",
    ):
        assert part in card, part
    assert str(hospital.root) not in card + (out / "manifest.json").read_text()
    assert json.loads((out / "config.json").read_text())["model_type"] == "clinragen"
    first = TrainedModel.load(runs.multimodal).model.state_dict()
    assert all(torch.equal(tensor, first[name]) for name, tensor in TrainedModel.load(out).model.state_dict().items())
    assert command("clinragen", "export", "--model", runs.multimodal, "--out", out) == 2  # not overwritten by accident


def test_one_file_predicts_like_the_run(runs, hospital, command, tmp_path, capsys):
    out, predictions = tmp_path / "student.zip", tmp_path / "predictions"
    assert command("clinragen", "export", "--model", runs.multimodal, "--out", out) == 0
    assert command("clinragen", "predict", "--model", out, "--cohort", hospital.cohort, "--out", predictions) == 0
    rows, before = (load_predictions(folder) for folder in (predictions, runs.predictions))
    assert rows.system.probabilities.tobytes() == before.system.probabilities.tobytes()
    assert rows.note_rationales == before.note_rationales
    assert rows.manifest.model == str(out)
    options = ("--predictions", predictions, "--cohort", hospital.cohort)
    assert command("clinragen", "evaluate", *options, "--out", tmp_path / "evaluation", "--replicates", 2) == 0
    assert command("clinragen", "report", *options, "--out", tmp_path / "report") == 0
    assert graph_of(rows, None).manifest == graph_of(before, None).manifest
    out.write_bytes(out.read_bytes()[:-100])
    capsys.readouterr()
    assert command("clinragen", "predict", "--model", out, "--cohort", hospital.cohort, "--out", tmp_path / "p") == 2
    assert "student.zip is damaged: copy it anew" in capsys.readouterr().err
    assert command("clinragen", "report", *options, "--out", tmp_path / "again") == 0  # the curated core in its place


def test_the_card_says_how_much_sites_differ_without_their_names(runs):
    def score(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.1, "high": value + 0.05}

    metrics = ("macro_auroc", "micro_auroc", "thresholded_micro_f1")
    rows = [
        {"name": name, "stays": 50, "patients": 40, "labels": 9, "scores": dict.fromkeys(metrics, score(value))}
        for name, value in (("St Mary", 0.6), ("St Luke", 0.8))
    ]
    claims = {"claims": 3, "supported": score(0.9)}
    evaluation: Any = {
        "cohort": {"stays": 100, "patients": 80},
        "systems": {"model": {"scores": {"macro_auroc": score(0.7)}}},
        "claims": {kind: {"all": claims} for kind in ("note", "series")},
        "coverage": {"listed": 2, "grounded": 1, "share": score(0.5)},
        "sites": {
            "clock": "none",
            "fewest": 20,
            "tables": [{"by": "hospital", "unknown": 0, "small": 1, "rows": rows}],
        },
    }
    card = _card(TrainedModel.load(runs.multimodal), evaluation, "student", False)
    assert "| macro_auroc | 0.700 | 0.600 to 0.750 |\n\n- By hospital, of 2 with at least 20 stays: macro AUROC" in card
    assert "macro AUROC from .600 to .800; " in card
    assert "St " not in card
    older = _card(TrainedModel.load(runs.multimodal), {**evaluation, "sites": None}, "student", False)
    assert "By hospital" not in older
