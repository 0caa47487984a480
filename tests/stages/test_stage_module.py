"""Runs that must be equal are equal, and frozen parts do not change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from clinragen.cohort.folder import Cohort
from clinragen.data.dataset import StayDataset, collate
from clinragen.data.soft_targets import Soft
from clinragen.inference.predict import TrainedModel
from clinragen.stages.config import resolve
from clinragen.stages.loop import schedule
from clinragen.stages.module import StageModule, macro_auroc, positive_weights


@pytest.fixture
def trained(runs) -> TrainedModel:
    return TrainedModel.load(runs.multimodal)


@pytest.fixture
def stays(trained, hospital) -> list:
    data = trained.dataset(Cohort.load(hospital.cohort), "train", limit=8)
    with_targets = StayDataset(**{**{k: v for k, v in vars(data).items() if k in DATASET}, "teacher": "evidence"})
    return [with_targets[row] for row in range(8)]


DATASET = (
    *("cohort", "stay_ids", "tokenizer", "link", "statistics", "targets"),
    *("max_note_tokens", "max_target_tokens"),
)


def gradients(
    trained: TrainedModel, stays: list, batches: list[list[int]], frozen: str = "", settings: tuple[str, ...] = ()
) -> dict[str, torch.Tensor]:
    """Gradients of one optimiser step that reads its stays in those batches."""
    stage = resolve("multimodal", trained.model.config, "evidence", [*settings]).stage
    stage.frozen = [frozen] if frozen else []
    module = StageModule(trained.model.eval(), stage)
    trained.model.zero_grad()
    total = sum(map(len, batches))
    for rows in batches:
        batch = collate([stays[row] for row in rows], trained.model.tokenizer.pad_token_id)
        (module.score(batch).loss.sum() / total).backward()
    return {name: p.grad.clone() for name, p in trained.model.named_parameters() if p.grad is not None}


def sure(ids: list[int]) -> Soft:
    """Soft targets of a teacher that is sure of those tokens, the first of the target."""
    return Soft(np.arange(len(ids)), np.array(ids, dtype=np.int64)[:, None], np.ones((len(ids), 1), dtype=np.float32))


def test_a_teacher_that_is_sure_of_every_token_weighs_the_likelihood_anew(trained, stays):
    batch = [list(range(8))]
    soft = [replace(stay, soft=sure(stay.target_ids)) for stay in stays]
    off = gradients(trained, soft, batch)
    plain = gradients(trained, stays, batch)
    assert all(torch.equal(off[name], plain[name]) for name in plain)
    # nll + 1 * kl + 1 * bce, against twice (nll + 0.5 * bce)
    more = gradients(trained, soft, batch, settings=("stage.token_weight=1",))
    twice = gradients(trained, stays, batch, settings=("stage.label_weight=0.5",))
    for name, gradient in twice.items():
        torch.testing.assert_close(more[name], 2 * gradient, atol=1e-6, rtol=1e-3, msg=name)


@pytest.mark.parametrize(
    "batches", [[[row] for row in range(8)], [[0, 1, 2, 3, 4], [5, 6], [7]], [[7, 2, 4, 0, 1, 6, 3, 5]]]
)
def test_how_a_step_is_cut_and_ordered_changes_nothing(trained, stays, batches):
    """Ragged batches too: each stay weighs the same. Some have soft targets, one without neighbours that have any."""
    stays = [replace(stay, soft=sure(stay.target_ids[:row])) if row % 3 else stay for row, stay in enumerate(stays)]
    settings = ("stage.token_weight=0.5",)
    whole = gradients(trained, stays, [list(range(8))], settings=settings)
    pieces = gradients(trained, stays, batches, settings=settings)
    assert whole.keys() == pieces.keys()
    for name, expected in whole.items():
        torch.testing.assert_close(pieces[name], expected, atol=1e-6, rtol=1e-3, msg=name)


@pytest.mark.parametrize("frozen", ["language_model", "series_encoder", "concept_attention", "head"])
def test_frozen_parts_get_no_gradient_and_all_others_do(trained, stays, frozen):
    names = set(gradients(trained, stays, [list(range(8))], frozen))
    assert not any(name.startswith(frozen) for name in names)
    parts = {"language_model", "series_encoder", "concept_attention", "head"} - {frozen}
    assert {name.partition(".")[0] for name in names} == parts


@pytest.mark.parametrize(
    ("frozen", "part", "gradients_pass"),
    [
        (["series_encoder"], "series_encoder", False),
        (["language_model"], "language_model", True),
        (["series_encoder", "concept_attention", "language_model"], "language_model", False),
    ],
    ids=["encoder", "language model between", "everything before the head"],
)
def test_what_rests_keeps_no_graph_unless_gradients_pass_through_and_has_no_dropout(
    trained, stays, frozen, part, gradients_pass
):
    stage = resolve("multimodal", trained.model.config, "evidence", []).stage
    stage.frozen = frozen
    module = StageModule(trained.model, stage)
    given = []
    watched = (
        module.model.series_encoder if part == "series_encoder" else module.model.language_model.model.get_decoder()
    )
    watched.register_forward_hook(lambda rests, args, output: given.append(output))
    drawn = []
    for _ in range(2):
        module.train()
        module.freeze()
        batch = collate(stays, trained.model.tokenizer.pad_token_id)
        loss = module.score(batch).loss.sum()
        loss.backward()
        drawn.append(given[-1].tokens if part == "series_encoder" else given[-1].last_hidden_state)
    assert drawn[0].requires_grad == gradients_pass
    assert not any(child.training for child in watched.modules())
    if not gradients_pass:
        assert torch.equal(*drawn)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model" / "model.safetensors")


def test_the_series_stage_leaves_the_language_model_byte_equal(runs):
    before, after = weights(runs.notes), weights(runs.series)
    assert before.keys() == after.keys()
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"series_encoder", "concept_attention", "head"}


def test_the_multimodal_stage_trains_every_part(runs):
    before, after = weights(runs.series), weights(runs.multimodal)
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"language_model", "series_encoder", "concept_attention", "head"}


def test_the_learning_rate_rises_then_falls():
    rates = [schedule(step, 100, 0.1) for step in range(100)]
    peak = rates.index(max(rates))
    assert 5 <= peak <= 12
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert 0 < rates[-1] < 0.1 * max(rates)


def test_every_trained_weight_is_in_one_group_of_the_optimiser(trained):
    stage = resolve("multimodal", trained.model.config, "evidence", []).stage
    grouped = [id(p) for group in StageModule(trained.model, stage).groups() for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in trained.model.parameters() if p.requires_grad)


def test_rare_phenotypes_weigh_more_when_asked():
    labels = torch.tensor([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0], [0, 0, 1]]).bool().numpy()
    assert positive_weights(labels, "none") is None
    assert positive_weights(labels, "balanced").tolist() == [4, 4, 1]
    assert positive_weights(labels, "sqrt").tolist() == [2, 2, 1]


def test_macro_auroc_leaves_out_phenotypes_of_one_class():
    labels = torch.tensor([[0, 1, 0], [1, 1, 0], [0, 1, 0]]).numpy()
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.9, 0.2, 0.1], [0.3, 0.3, 0.3]]).numpy()
    assert macro_auroc(labels, scores) == 1.0
    assert macro_auroc(labels[:, 1:], scores[:, 1:]) == 0.5
