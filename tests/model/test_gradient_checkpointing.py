"""Gradient checkpointing changes memory, but no result."""

from __future__ import annotations

import json
from copy import deepcopy

import pytest
import torch

from clinragen.model.clinragen import ClinRaGen

PARTS = {"language_model", "series_encoder", "concept_attention", "head"}


@pytest.fixture
def checkpointed(model, tmp_path) -> ClinRaGen:
    """The same model, saved and loaded with the setting on."""
    model.save_pretrained(tmp_path)
    described = json.loads((tmp_path / "clinragen.json").read_text())
    described["config"]["language_model"]["gradient_checkpointing"] = True
    (tmp_path / "clinragen.json").write_text(json.dumps(described))
    return ClinRaGen.from_pretrained(tmp_path)


def step(model: ClinRaGen, batch, rests: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor], int]:
    """Loss of a batch with dropout, gradients by name, and the bytes kept for the backward pass."""
    model.train()
    if rests:
        model.language_model.eval().requires_grad_(False)
    kept = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.nbytes)
        return tensor

    torch.manual_seed(7)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(batch, ["note", "series"])
    loss = output.nll.sum() + output.logits.square().mean()
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, sum(kept)


@pytest.mark.parametrize("rests", [False, True], ids=["trained", "resting"])
def test_loss_and_every_gradient_are_the_same_and_less_is_kept(model, checkpointed, make_stay, batch_of, rests):
    """With dropout; and where the language model rests, gradients still reach the prompts through it."""
    batch = batch_of(model, *(make_stay(model, 40, 30, seed) for seed in range(3)))
    loss, gradients, kept = step(deepcopy(model), batch, rests)
    again, recomputed, less = step(checkpointed, batch, rests)
    torch.testing.assert_close(again, loss, atol=1e-6, rtol=1e-6)
    assert recomputed.keys() == gradients.keys()
    for name, expected in gradients.items():
        torch.testing.assert_close(recomputed[name], expected, atol=1e-6, rtol=1e-5, msg=name)
    assert {name.partition(".")[0] for name in recomputed} == PARTS - ({"language_model"} if rests else set())
    assert any(gradient.abs().max() > 0 for name, gradient in recomputed.items() if name.startswith("series_encoder"))
    assert less < kept
