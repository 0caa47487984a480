"""Runs that must be equal are equal, and what is said to rest does rest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from clinragen.data.cohort import Cohort
from clinragen.data.dataset import StayDataset, collate
from clinragen.inference.predict import TrainedModel
from clinragen.stages.module import StageModule, macro_auroc
from clinragen.stages.plan import resolve


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


def gradients(trained: TrainedModel, stays: list, batches: list[slice], frozen: str = "") -> dict[str, torch.Tensor]:
    """Gradients after the batches, as Lightning accumulates them (each loss over the number of batches)."""
    stage = resolve("multimodal", trained.model.config, "evidence", []).stage
    stage.frozen = [frozen] if frozen else []
    module = StageModule(trained.model.eval(), stage, total_steps=1)
    module.log_dict = lambda *args, **kwargs: None  # type: ignore[method-assign, assignment]
    trained.model.zero_grad()
    for part in batches:
        batch = collate(stays[part], trained.model.tokenizer.pad_token_id)
        (module.training_step(batch, 0) / len(batches)).backward()
    return {name: p.grad.clone() for name, p in trained.model.named_parameters() if p.grad is not None}


def test_accumulating_eight_batches_of_one_is_one_batch_of_eight(trained, stays):
    whole = gradients(trained, stays, [slice(0, 8)])
    pieces = gradients(trained, stays, [slice(row, row + 1) for row in range(8)])
    assert whole.keys() == pieces.keys()
    for name, expected in whole.items():
        torch.testing.assert_close(pieces[name], expected, atol=1e-6, rtol=1e-3, msg=name)


@pytest.mark.parametrize("frozen", ["language_model", "series_encoder", "concept_attention", "head"])
def test_frozen_parts_get_no_gradient_and_all_others_do(trained, stays, frozen):
    names = set(gradients(trained, stays, [slice(0, 8)], frozen))
    assert not any(name.startswith(frozen) for name in names)
    parts = {"language_model", "series_encoder", "concept_attention", "head"} - {frozen}
    assert {name.partition(".")[0] for name in names} == parts


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


def test_the_learning_rate_rises_then_falls(trained):
    stage = resolve("multimodal", trained.model.config, "evidence", []).stage
    configured = StageModule(trained.model, stage, total_steps=100).configure_optimizers()
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(100):
        rates.append(max(group["lr"] for group in optimizer.param_groups))
        optimizer.step()
        scheduler.step()
    peak = rates.index(max(rates))
    assert 5 <= peak <= 12
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] < 0.1 * max(rates)
    covered = sum(len(group["params"]) for group in optimizer.param_groups)
    assert covered == sum(1 for parameter in trained.model.parameters() if parameter.requires_grad)


def test_macro_auroc_leaves_out_phenotypes_of_one_class():
    labels = torch.tensor([[0, 1, 0], [1, 1, 0], [0, 1, 0]]).numpy()
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.9, 0.2, 0.1], [0.3, 0.3, 0.3]]).numpy()
    assert macro_auroc(labels, scores) == 1.0
    assert macro_auroc(labels[:, 1:], scores[:, 1:]) == 0.5
