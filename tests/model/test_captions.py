"""Captions: the language model reads the series in words when it writes; the label head never does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import LogitsProcessorList

BOTH = ["note", "series"]


@pytest.fixture
def captioned(model, make_stay, batch_of, monkeypatch):
    """A model that reads captions, and two stays with captions of different lengths."""
    monkeypatch.setattr(model.config, "max_caption_tokens", 16)
    stays = [replace(make_stay(model, 9 + seed, 7, seed), caption_ids=[5 + seed] * (4 + 3 * seed)) for seed in (1, 2)]
    return model, stays, lambda *stays: batch_of(model, *stays)


@torch.inference_mode()
def test_what_is_written_depends_on_the_caption_and_the_logits_do_not(captioned):
    model, stays, batch = captioned
    read = model(batch(*stays), BOTH)
    other = model(batch(*(replace(stay, caption_ids=[9, 8, 7]) for stay in stays)), BOTH)
    unread = model(batch(*stays), BOTH, targets=False)
    assert (read.nll - other.nll).abs().min() > 1e-4
    assert torch.allclose(read.logits, other.logits, atol=1e-5)
    assert torch.allclose(read.logits, unread.logits, atol=1e-5)


@torch.inference_mode()
def test_a_caption_is_read_alike_alone_and_in_a_batch(captioned):
    model, stays, batch = captioned
    together = model(batch(*stays), BOTH)
    for row, stay in enumerate(stays):
        alone = model(batch(stay), BOTH)
        assert torch.allclose(alone.nll[0], together.nll[row], atol=1e-5)
        assert torch.allclose(alone.logits[0], together.logits[row], atol=1e-5)


@torch.inference_mode()
def test_a_model_of_notes_reads_none(captioned):
    model, stays, batch = captioned
    told, bare = (model(batch(*rows), ["note"]).nll for rows in (stays, [replace(s, caption_ids=[]) for s in stays]))
    assert torch.equal(told, bare)


@torch.inference_mode()
def test_generation_goes_by_the_probabilities_that_training_sees(captioned):
    model, stays, batch = captioned
    first = int(model.generate(batch(stays[0]), BOTH, LogitsProcessorList(), 1)[0, 0])
    losses = model(batch(*(replace(stays[0], target_ids=[token]) for token in range(len(model.tokenizer)))), BOTH).nll
    assert int(losses.argmin()) == first
