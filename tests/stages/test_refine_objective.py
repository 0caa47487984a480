"""The losses of the stage ``refine`` against a computation by hand."""

from __future__ import annotations

import math

import pytest
import torch

from clinragen.stages.refine_objective import divergence, dpo, margin


def test_preference_loss_by_hand():
    log_probs = torch.tensor([[-10.0, -12.0], [-30.0, -20.0], [-5.0, -5.0]])
    reference = torch.tensor([[-11.0, -11.0], [-30.0, -20.0], [-7.0, -4.0]])
    assert margin(log_probs, reference).tolist() == [2.0, 0.0, 3.0]
    expected = [math.log(1 + math.exp(-0.5 * gained)) for gained in (2.0, 0.0, 3.0)]
    assert dpo(log_probs, reference, 0.5).tolist() == pytest.approx(expected)


def test_its_gradient_raises_the_better_and_lowers_the_worse_and_fades():
    def gradient(gained):
        log_probs = torch.tensor([[-10.0 + gained, -10.0]], requires_grad=True)
        dpo(log_probs, torch.full((1, 2), -10.0), 0.5).sum().backward()
        return log_probs.grad[0].tolist()

    better, worse = gradient(0.0)
    assert better == pytest.approx(-0.25)  # beta times one half
    assert worse == -better
    assert abs(gradient(9.0)[0]) < abs(better) / 20


def test_divergence_is_nothing_where_nothing_changed():
    logits = torch.tensor([[0.3, -2.0], [4.0, 0.0]])
    assert divergence(logits, logits).tolist() == pytest.approx([0, 0], abs=1e-6)
    p, q = 0.5, 1 / (1 + math.exp(-1))
    by_hand = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
    assert float(divergence(torch.tensor([[1.0]]), torch.tensor([[0.0]]))) == pytest.approx(by_hand)
