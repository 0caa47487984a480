"""The stage ``refine``: from samples to a student that writes better, with the probabilities of its parent."""

from __future__ import annotations

import json
import re

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from clinragen.cohort.folder import Cohort
from clinragen.inference.predict import TrainedModel
from clinragen.model.language_model import train_tokenizer
from clinragen.stages import samples
from clinragen.stages.config import RefineConfig, resolve
from clinragen.stages.preferences import Judge, PreferenceDataset, collate_pairs, prefer
from clinragen.stages.refine import refer
from clinragen.stages.refine_objective import RefineModule
from clinragen.stages.samples import Sample
from clinragen.verification.reward import Reward

FEW = ("--set", "stage.precision=32-true", "--set", "stage.refine.stays=12", "--set", "stage.refine.validation_stays=3")
SHORT = (*FEW, "--set", "stage.refine.samples=3", "--set", "stage.epochs=1", "--set", "stage.batch_size=4")
#: a student of one epoch says nothing that is sound; preferences are there nevertheless, where little is asked for
ANY = ("--set", "stage.refine.least_gap=0.1", "--set", "stage.refine.least_reward=-1000")
SETTINGS = (*SHORT, "--set", "stage.refine.method=dpo", *ANY)


@pytest.fixture(scope="module")
def refine(runs, hospital, command):
    def run(out, *settings):
        given = ("--parent", runs.multimodal, "--cohort", hospital.cohort, "--out", out)
        return command("clinragen", "train", "refine", *given, *SETTINGS, *settings)

    return run


@pytest.fixture(scope="module")
def refined(refine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refined") / "refine"
    assert refine(folder) == 0
    return folder


def test_it_writes_a_run_that_predicts_with_the_probabilities_of_its_parent(refined, runs, hospital, command, tmp_path):
    manifest = json.loads((refined / "manifest.json").read_text())
    assert manifest["stage"] == "refine"
    assert manifest["parent_stages"] == ["notes", "series", "multimodal"]
    assert manifest["refined"]["train_stays"] == 12
    assert manifest["refined"]["train_best_reward"] >= manifest["refined"]["train_reward"]
    given = ("predict", "--model", refined, "--cohort", hospital.cohort, "--decoding", "free")
    assert command("clinragen", *given, "--out", tmp_path / "after") == 0
    before, after = (pl.read_parquet(f / "predictions.parquet") for f in (runs.predictions, tmp_path / "after"))
    assert before["probabilities"].to_list() == after["probabilities"].to_list()
    assert manifest["refined"]["moved"] == 0
    weights = [load_file(run / "model" / "model.safetensors") for run in (runs.multimodal, refined)]
    changed = {name for name, tensor in weights[0].items() if not tensor.equal(weights[1][name])}
    assert changed
    assert all(re.match(r"language_model\.model\.(model\.)?(decoder|lm_head)", name) for name in changed)


def test_its_samples_are_kept_and_are_those_of_the_stays(refined):
    lines = [json.loads(line) for line in (refined / "samples.jsonl").read_text().splitlines()]
    assert len(lines) == 3 * (12 + 3)
    assert len({(line["stay_id"], line["number"]) for line in lines}) == len(lines)
    assert len({line["series"] for line in lines}) > len(lines) / 3


def test_a_killed_run_draws_only_what_is_missing_and_ends_alike(refined, refine, monkeypatch, tmp_path, capsys):
    drawn, real = [], samples._group

    def group(*arguments):
        drawn.append(arguments)
        if len(drawn) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(samples, "_group", group)
    assert refine(tmp_path / "run") == 130
    assert len((tmp_path / "run" / "samples.jsonl").read_text().splitlines()) == 3 * samples.GROUP
    assert refine(tmp_path / "run", "--set", "stage.refine.beta=0.2") == 2  # another run must not continue it
    assert "unfinished run of other data or settings" in capsys.readouterr().err
    assert refine(tmp_path / "run") == 0
    assert len(drawn) == 4  # two groups of training stays and one of validation stays, one of them twice
    assert (tmp_path / "run" / "samples.jsonl").read_bytes() == (refined / "samples.jsonl").read_bytes()
    weights = [load_file(run / "model" / "model.safetensors") for run in (refined, tmp_path / "run")]
    assert all(tensor.equal(weights[1][name]) for name, tensor in weights[0].items())


def test_a_finished_run_is_kept_and_mistakes_are_told(refined, refine, tmp_path, capsys):
    assert refine(refined, "--finish") == 0
    assert "finished before, kept" in capsys.readouterr().err
    for setting, told in (
        ("stage.refine.samples=1", "preferences need two samples"),
        ("stage.refine.method=ppo", "choose from: rft, dpo, both"),
        ("stage.refine.top_p=0", "at most 1"),
        ("stage.parent=null", "set stage.parent"),
        ("trainer.devices=2", "one process"),
    ):
        assert refine(tmp_path / "none", "--set", setting) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_samples_that_teach_nothing_are_told(refine, tmp_path, capsys):
    assert refine(tmp_path / "run", "--set", "stage.refine.method=rft", "--set", "stage.refine.mend=false") == 2
    assert "worth learning" in capsys.readouterr().err


def test_the_first_step_starts_from_the_parent(runs, hospital):
    trained = TrainedModel.load(runs.multimodal, "cpu")
    config = resolve("refine", trained.model.config, "evidence", ["stage.precision=32-true"])
    dataset = trained.dataset(Cohort.load(hospital.cohort), "train", limit=3)
    target, labels = trained.model.target_format(["note", "series", "diagnoses"]), list(trained.model.labels)
    drawn = [[Sample("", int(stay), n, [], "fever", f"lactate {n}") for n in range(2)] for stay in dataset.stay_ids]
    judge = Judge(dataset, trained.model.graph, 1)
    judge.reward = lambda text, *rest: Reward(float(text.endswith("1")), True)  # type: ignore[method-assign]
    judged = prefer(drawn, judge, ["note", "series"], 0.5, mend=False)
    assert [one.best["series"] for one in judged.preferences] == ["lactate 1"] * 3
    assert [one.worst["series"] for one in judged.preferences] == ["lactate 0"] * 3
    assert [one.worst["note"] for one in judged.preferences] == ["fever"] * 3
    assert [one.gap for one in judged.preferences] == [1.0] * 3
    judge.reward = lambda text, *rest: Reward(float(text.endswith("1")) - 1, False)  # type: ignore[method-assign]
    assert prefer(drawn, judge, ["note", "series"], 0.5, mend=False).preferences == []  # the best earns nothing
    pairs = PreferenceDataset(dataset, judged.preferences, target, labels)
    objective = RefineModule(trained.model, config.stage, RefineConfig())
    refer(objective, [pairs], config, trained.device)
    scored = objective.score(collate_pairs([pairs[row] for row in range(3)], trained.model.tokenizer.pad_token_id))
    assert scored.parts["dpo"].tolist() == pytest.approx([np.log(2)] * 3, abs=1e-4)
    assert scored.parts["drift"].tolist() == pytest.approx([0] * 3, abs=1e-5)
    assert (scored.parts["rft"] > 0).all()


@pytest.fixture(scope="module")
def gemma(tmp_path_factory):
    """A folder with a Gemma 3 of random weights."""
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    folder = tmp_path_factory.mktemp("gemma")
    tokenizer = train_tokenizer(["creatinine 1.2 mg/dL; sepsis. Note rationale: none of the listed"] * 9, 300)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"vocab_size": len(tokenizer), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1}
    Gemma3ForCausalLM(Gemma3TextConfig(**shape, **special, num_key_value_heads=1, head_dim=16)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama with adapters", "gemma 3"])
def test_causal_students_read_captions_and_are_refined(kind, request, hospital, command, tmp_path):
    adapted = kind == "llama with adapters"
    folder = request.getfixturevalue("llama" if adapted else "gemma")
    small = ("max_note_tokens=48", "max_target_tokens=40", "max_caption_tokens=48", "learning_rate=0.01")
    settings = ["stage.parent=null", "stage.epochs=1", "stage.precision=32-true", *(f"model.{one}" for one in small)]
    settings += ["model.language_model.lora.rank=4"] * adapted
    options = [part for setting in settings for part in ("--set", setting)]
    cohort, parent, out = ("--cohort", hospital.cohort), tmp_path / "multimodal", tmp_path / "refine"
    assert command("clinragen", "train", "multimodal", *cohort, "--model", folder, *options, "--out", parent) == 0
    assert command("clinragen", "train", "refine", *cohort, "--parent", parent, *SETTINGS, "--out", out) == 0
    refined = json.loads((out / "manifest.json").read_text())["refined"]
    assert 0 <= refined["moved"] < 0.05
    given = ("predict", "--model", out, *cohort, "--decoding", "free")
    assert command("clinragen", *given, "--out", tmp_path / "free") in (0, 1)  # 1: it may write nothing that is read
    written = pl.read_parquet(tmp_path / "free" / "predictions.parquet")
    assert written["stay_id"].to_list() == Cohort.load(hospital.cohort).split("test").tolist()
    weights = [load_file(run / "model" / "model.safetensors") for run in (parent, out)]
    changed = {name for name, tensor in weights[0].items() if not tensor.equal(weights[1][name])}
    assert changed
    assert all(name.startswith("language_model.") and (not adapted or ".lora_" in name) for name in changed)
