"""Results depend only on a stay's own data: not on the rest of the batch, padding, or unmeasured values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LogitsProcessorList

from clinragen.inference.decode import ReportGrammar

INPUTS = [["note"], ["series"], ["note", "series"]]
LENGTHS = [(1, 5), (3, 40), (17, 1), (60, 23)]


@pytest.mark.parametrize("inputs", INPUTS, ids="+".join)
def test_batch_mates_change_nothing(model, make_stay, batch_of, inputs):
    stays = [make_stay(model, note, target, seed) for seed, (note, target) in enumerate(LENGTHS)]
    with torch.inference_mode():
        together = model(batch_of(model, *stays), inputs, explain=True)
        for row, stay in enumerate(stays):
            alone = model(batch_of(model, stay), inputs, explain=True)
            torch.testing.assert_close(alone.logits[0], together.logits[row], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(alone.nll[0], together.nll[row], atol=1e-5, rtol=1e-4)
            if "series" in inputs:
                torch.testing.assert_close(
                    alone.concept_weights[0], together.concept_weights[row], atol=1e-5, rtol=1e-4
                )


def test_reports_do_not_depend_on_batch_mates(model, make_stay, batch_of):
    stays = [make_stay(model, note, target, seed) for seed, (note, target) in enumerate(LENGTHS)]
    target = model.target_format(("series", "diagnoses"))

    def reports(*chosen):
        grammar = ReportGrammar(target, 6, model.language_model.decoder_start)
        with torch.inference_mode():
            ids = model.generate(
                batch_of(model, *chosen), ["note", "series"], LogitsProcessorList([grammar]), grammar.longest
            )
        end = model.tokenizer.eos_token_id
        return [row[: row.index(end)] for row in (ids.tolist())]

    together = reports(*stays)
    assert [reports(stay)[0] for stay in stays] == together


@pytest.mark.parametrize("inputs", INPUTS, ids="+".join)
def test_a_stay_without_any_measurement_is_finite(model, make_stay, batch_of, inputs):
    stay = make_stay(model, 9, 7, 0)
    bare = replace(stay, values=np.zeros_like(stay.values), observed=np.zeros_like(stay.observed))
    model.train()
    output = model(batch_of(model, bare, stay), inputs)
    model.eval()
    assert torch.isfinite(output.logits).all()
    assert torch.isfinite(output.nll).all()
    (output.logits.sum() + output.nll.sum()).backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    model.zero_grad()


def test_the_series_reaches_the_text(model, make_stay, batch_of):
    """Prefix prompts are read by the language model: another series gives another likelihood of the same words."""
    stay = make_stay(model, 9, 7, 0)
    others = [make_stay(model, 9, 7, seed) for seed in range(1, 9)]
    batch = batch_of(model, *(replace(stay, values=other.values, observed=other.observed) for other in others))
    with torch.inference_mode():
        assert model(batch, ["note", "series"]).nll.std() > 1e-5
        assert model(batch, ["note"]).nll.std() < 2e-6


def test_every_input_reaches_the_label_head(model, make_stay, batch_of):
    stay, other = make_stay(model, 9, 7, 0), make_stay(model, 9, 7, 1)
    for inputs, changed in (
        (["note"], replace(stay, note_ids=other.note_ids)),
        (["note"], replace(stay, mentions=other.mentions)),
        (["series"], replace(stay, values=other.values, observed=other.observed)),
    ):
        with torch.inference_mode():
            logits = [model(batch_of(model, s), inputs).logits for s in (stay, changed)]
        assert (logits[0] - logits[1]).abs().max() > 1e-4


def test_the_likelihood_is_that_of_the_target_tokens_alone(model, make_stay, batch_of):
    """Scoring a prefix and then the whole agrees with the chain rule: no token is skipped, padded or shifted."""
    stay = make_stay(model, 9, 6, 0)
    whole = sum(
        (length + 1) * model(batch_of(model, replace(stay, target_ids=stay.target_ids[: length + 1])), ["note"]).nll
        - length
        * (model(batch_of(model, replace(stay, target_ids=stay.target_ids[:length])), ["note"]).nll if length else 0)
        for length in range(6)
    )
    expected = 6 * model(batch_of(model, stay), ["note"]).nll
    torch.testing.assert_close(whole, expected, atol=1e-3, rtol=1e-4)


def test_greedy_text_is_the_likeliest_by_the_same_model(model, make_stay, batch_of):
    """Generation and scoring see the same context: the first token written is the likeliest one when scored."""
    stay = make_stay(model, 9, 1, 0)
    with torch.inference_mode():
        first = model.generate(batch_of(model, stay), ["note", "series"], LogitsProcessorList(), 1)[0, 0].item()
        candidates = [replace(stay, target_ids=[token]) for token in range(len(model.tokenizer))]
        nll = model(batch_of(model, *candidates), ["note", "series"]).nll
    assert nll.argmin().item() == first
