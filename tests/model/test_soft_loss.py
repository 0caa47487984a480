"""The divergence from a teacher's probabilities: computed by hand, at its extremes, independent of the batch."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from clinragen.data.batch import IGNORED, SoftBatch
from clinragen.data.soft_targets import Soft
from clinragen.model.soft_loss import divergence

SCORED = torch.tensor([[True, True, False], [True, True, True]])


def one_place(probs: list[float], ids: list[int], place: int = 0) -> SoftBatch:
    """Soft targets at one place of the second of two stays."""
    return SoftBatch(
        torch.tensor([[IGNORED], [place]]),
        torch.tensor([[[0] * len(ids)], [ids]]),
        torch.tensor([[[0.0] * len(probs)], [probs]]),
    )


def test_it_is_what_a_hand_computes():
    student = torch.tensor([[0.25] * 4, [0.25] * 4, [0.25] * 4, [0.5, 0.25, 0.125, 0.125], [0.25] * 4])
    found = divergence(student.log(), SCORED, one_place([0.5, 0.25, 0.0], [1, 0, 3], place=1))
    expected = 0.5 * math.log(0.5 / 0.25) + 0.25 * math.log(0.25 / 0.5) + 0.25 * math.log(0.25 / 0.25)
    assert found.tolist() == pytest.approx([0, expected])


def test_places_of_a_stay_are_averaged():
    student = torch.tensor([[0.5, 0.5], [0.25, 0.75], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]).log()
    places = torch.tensor([[0, 1], [2, IGNORED]])
    soft = SoftBatch(places, torch.zeros(2, 2, 1, dtype=torch.long), torch.tensor([[[1.0], [1.0]], [[0.5], [0.0]]]))
    assert divergence(student, SCORED, soft).tolist() == pytest.approx([(math.log(2) + math.log(4)) / 2, 0])


@pytest.mark.parametrize("probs", [[1.0, 0.0], [0.5, 0.25], [1e-20, 0.9], [0.4, 0.6]])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1000.0])
def test_it_is_finite_with_finite_gradients_and_not_below_zero(probs, scale):
    logits = (scale * torch.randn(5, 7, generator=torch.Generator().manual_seed(1))).requires_grad_()
    found = divergence(logits.log_softmax(1), SCORED, one_place(probs, [2, 5], 2))
    found.sum().backward()
    assert found[1] > -1e-5
    assert torch.isfinite(found).all()
    assert torch.isfinite(logits.grad).all()


def test_following_its_gradient_reaches_the_teacher_the_unnamed_rest_included():
    logits = torch.randn(5, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    soft, seen = one_place([0.5, 0.2], [4, 1], 2), []
    optimizer = torch.optim.SGD([logits], lr=0.5)
    for _ in range(300):
        loss = divergence(logits.log_softmax(1), SCORED, soft).sum()
        seen.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(after <= before + 1e-6 for before, after in itertools.pairwise(seen))
    probs = logits.softmax(1)[4]
    assert seen[-1] < 1e-4 < seen[0]
    assert probs[[4, 1]].tolist() == pytest.approx([0.5, 0.2], abs=0.01)


def certain(ids: list[int]) -> Soft:
    """A teacher that is sure of every token."""
    count = len(ids)
    return Soft(np.arange(count), np.array(ids)[:, None], np.ones((count, 1), dtype=np.float32))


def unsure(ids: list[int], vocabulary: int, seed: int) -> Soft:
    """A teacher that is sure of nothing, at some places, with a few alternatives each."""
    random = np.random.default_rng(seed)
    places = np.flatnonzero(random.random(len(ids)) < 0.6)
    others = random.integers(0, vocabulary, (len(places), 1 + seed))
    probs = random.dirichlet(np.ones(3 + seed), len(places))[:, 1:].astype(np.float32)
    return Soft(places, np.column_stack([np.array(ids, dtype=np.int64)[places], others]), probs)


def test_of_a_teacher_that_is_sure_it_is_the_likelihood(model, make_stay, batch_of):
    stays = [make_stay(model, note, target, seed) for seed, (note, target) in enumerate([(5, 7), (9, 1), (2, 12)])]
    output = model(batch_of(model, *(replace(stay, soft=certain(stay.target_ids)) for stay in stays)), ["note"])
    torch.testing.assert_close(output.kl, output.nll)


def test_batch_mates_change_nothing(model, make_stay, batch_of):
    stays = [make_stay(model, 5 + seed, 4 * seed + 1, seed) for seed in range(4)]
    stays = [replace(stay, soft=unsure(stay.target_ids, len(model.tokenizer), stay.stay_id)) for stay in stays]
    stays.append(make_stay(model, 3, 30, 9))  # without
    with torch.inference_mode():
        together = model(batch_of(model, *stays), ["note"])
        mixed = model(batch_of(model, *stays[::-1]), ["note"])
        for row, stay in enumerate(stays[:-1]):
            alone = model(batch_of(model, stay), ["note"]).kl
            if alone is not None:
                torch.testing.assert_close(alone[0], together.kl[row], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mixed.kl.flip(0), together.kl, atol=1e-5, rtol=1e-4)
    assert (together.kl[1:4] > 0).all()
    assert together.kl[4] == 0
    assert model(batch_of(model, stays[-1]), ["note"]).kl is None
