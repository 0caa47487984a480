"""Losses that bring note and series of a stay together: by hand, at their extremes, and what they must not compare."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from clinragen.model.alignment import (
    Side,
    assignment,
    contrast,
    overlap,
    prototype_contrast,
    ranks,
    token_contrast,
)


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_mean_cross_entropy_of_both_directions():
    similar, patients = drawn(0, 5, 5), torch.arange(5)
    target = torch.arange(5)
    expected = (
        F.cross_entropy(similar, target, reduction="none") + F.cross_entropy(similar.T, target, reduction="none")
    ) / 2
    assert torch.allclose(contrast(similar, patients), expected, atol=1e-6)


@given(st.integers(0, 10_000))
def test_stays_of_one_patient_are_never_held_against_each_other(seed):
    similar, patients = drawn(seed, 6, 6), torch.tensor([0, 0, 1, 2, 2, 2])
    changed = similar.clone()
    others = (patients[:, None] == patients) & ~torch.eye(6, dtype=torch.bool)
    changed[others] += 50
    assert torch.equal(contrast(similar, patients), contrast(changed, patients))
    notes, series = (F.normalize(drawn(seed + offset, 6, 3), dim=1) for offset in (1, 2))
    for nearer in ranks(notes, series, patients):
        assert bool((nearer <= torch.tensor([4, 4, 5, 3, 3, 3])).all())  # so many stays are of other patients


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_soft_targets_are_shares_that_go_to_other_patients_by_common_concepts(seed, share):
    affirmed = drawn(seed, 6, 2, 9) > 0.5
    patients = torch.tensor([0, 0, 1, 2, 3, 4])
    soft = overlap(affirmed, patients, share)
    assert torch.allclose(soft.sum(1), torch.ones(6), atol=1e-5)
    assert float(soft[0, 1]) == float(soft[1, 0]) == 0
    assert bool((soft.diagonal() >= 1 - share - 1e-5).all())
    common = (affirmed[:, 0].float() @ affirmed[:, 0].float().T) > 0
    assert not bool((soft[~common] > 0).logical_and(~torch.eye(6, dtype=torch.bool)[~common]).any())


def test_with_no_share_soft_targets_are_the_stays_alone():
    similar, patients = drawn(3, 4, 4), torch.tensor([0, 1, 2, 2])
    soft = overlap(drawn(4, 4, 2, 5) > 0, patients, 0.0)
    assert torch.allclose(contrast(similar, patients, soft), contrast(similar, patients))


@given(st.integers(0, 10_000))
def test_assignments_use_all_prototypes_alike(seed):
    scores = F.normalize(drawn(seed, 64, 8), dim=1)
    scores[:, 0] += 1  # the nearest of nearly all
    shares = assignment(scores)
    assert torch.allclose(shares.sum(1), torch.ones(64), atol=1e-4)
    assert float(shares.sum(0).max()) < 3 * 64 / 8


def test_modalities_that_agree_are_assigned_more_alike_than_strangers():
    note, prototypes = F.normalize(drawn(1, 32, 16), dim=1), drawn(2, 10, 16)
    alike = prototype_contrast(note, note, prototypes, 0.2).mean()
    strange = prototype_contrast(note, F.normalize(drawn(3, 32, 16), dim=1), prototypes, 0.2).mean()
    assert alike < strange


def test_a_token_finds_itself_where_the_other_modality_says_the_same_and_padding_counts_nowhere():
    tokens = F.normalize(torch.eye(4)[None].repeat(2, 1, 1), dim=2)
    mask = torch.ones(2, 4, dtype=torch.bool)
    one = Side(tokens[:, 0], tokens, mask)
    same = token_contrast(one, one, 0.1)
    strange = token_contrast(one, one._replace(tokens=tokens[:, :1].repeat(1, 4, 1)), 0.1)
    assert float(same.max()) < 0.01
    assert float(strange.min()) == pytest.approx(math.log(4), rel=0.01)  # all look at the same
    padded = one._replace(tokens=torch.cat([tokens, drawn(5, 2, 3, 4)], 1), mask=F.pad(mask, (0, 3), value=False))
    assert torch.allclose(token_contrast(padded, padded, 0.1), same, atol=1e-5)


def test_ranks_count_the_strangers_that_are_nearer():
    notes = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), dim=1)
    forth, back = ranks(notes, notes.flip(0), torch.arange(3))
    assert forth.tolist() == [1, 0, 1]
    assert back.tolist() == [1, 0, 1]
