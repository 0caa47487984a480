"""A causal model reads padded stays without an attention mask; Hugging Face's own pass with a mask is the reference."""

from __future__ import annotations

import pytest
import torch

from clinragen.data.batch import IGNORED
from clinragen.model.clinragen import ClinRaGen

from .conftest import make_model

LENGTHS = [(1, 5), (3, 40), (17, 1), (60, 23)]  # tokens of note and target


@pytest.fixture(scope="module")
def causal() -> ClinRaGen:
    return make_model("llama")


def test_states_losses_and_gradients_are_those_of_the_masked_pass(causal, make_stay, batch_of):
    batch = batch_of(causal, *(make_stay(causal, *pair, seed) for seed, pair in enumerate(LENGTHS)))
    lm = causal.language_model
    context = lm.context(None, batch.note_ids, batch.note_mask)
    reading = lm.read(context, batch.target_ids)
    reading.nll.sum().backward()
    gradients = {name: weight.grad.clone() for name, weight in lm.named_parameters() if weight.grad is not None}
    causal.zero_grad()

    scored = batch.target_ids != IGNORED
    padded = lm.model.get_input_embeddings()(batch.target_ids.clamp_min(0))
    mask = torch.cat([context.mask, scored], dim=1)
    context = lm.context(None, batch.note_ids, batch.note_mask)
    output = lm.model(
        inputs_embeds=torch.cat([context.embeddings, padded], dim=1),
        attention_mask=mask.long(),
        position_ids=(mask.long().cumsum(1) - 1).clamp_min(0),
        output_hidden_states=True,
    )
    length = context.mask.shape[1]
    losses = torch.nn.functional.cross_entropy(
        output.logits[:, length - 1 : -1].transpose(1, 2), batch.target_ids, ignore_index=IGNORED, reduction="none"
    )
    expected = losses.sum(1) / scored.sum(1)
    expected.sum().backward()

    torch.testing.assert_close(reading.nll, expected, atol=1e-5, rtol=1e-5)
    states = output.hidden_states[-1][:, :length][context.mask]
    torch.testing.assert_close(reading.states[context.mask], states, atol=1e-5, rtol=1e-4)
    assert gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, lm.get_parameter(name).grad, atol=1e-5, rtol=1e-4)
    causal.zero_grad()
