"""A student learns nothing from a null label."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clinragen.data.targets import TargetFormat
from clinragen.model.language_model import train_tokenizer
from clinragen.stages.ensemble import fuse
from clinragen.stages.logistic import Features, fit_logistic
from clinragen.stages.module import aurocs, positive_weights
from clinragen.tasks import ListWording


def test_the_linear_fit_is_that_of_the_eligible_stays_alone():
    random = np.random.default_rng(0)
    read = random.normal(size=(300, 5)).astype(np.float32)
    gold = (read[:, :2] + random.normal(size=(300, 2)) > 0.5).astype(np.float32)
    eligible = random.random((300, 2)) < 0.5
    masked = fit_logistic(Features(read), gold, 1.0, counts=eligible)
    turned = fit_logistic(Features(read), np.where(eligible, gold, 1 - gold), 1.0, counts=eligible)
    assert np.array_equal(masked, turned)
    for label in range(2):
        rows = eligible[:, label]
        alone = fit_logistic(Features(read[rows]), gold[rows, label : label + 1], 1.0)
        assert masked[:, label] == pytest.approx(alone[:, 0], abs=5e-3)


def test_the_gains_are_those_of_the_eligible_pairs():
    random = np.random.default_rng(1)
    gold = (random.random((200, 2)) < 0.4).astype(float)
    parts = np.stack([gold + random.normal(size=gold.shape), random.normal(size=gold.shape)])
    eligible = random.random(gold.shape) < 0.5
    assert np.array_equal(fuse(parts, gold, eligible), fuse(parts, np.where(eligible, gold, 1 - gold), eligible))


def test_class_weights_and_areas_leave_null_labels_out():
    labels = np.array([[True], [False], [False], [True]])
    eligible = np.array([[True], [True], [True], [False]])
    assert positive_weights(labels, "balanced", eligible) == torch.tensor([2.0])
    known = np.where(eligible, labels, np.nan)
    assert aurocs(known, np.array([[0.9], [0.1], [0.2], [0.0]])).tolist() == [1.0]


def test_a_target_without_a_known_list_ends_before_it_and_is_left_open():
    wording = ListWording("Outcome", "discharged alive")
    texts = [wording.marker, wording.nothing, "in-hospital death", "Note rationale: fever."]
    tokenizer = train_tokenizer(texts * 20, 300)
    target = TargetFormat(tokenizer, ("in-hospital death",), ("note", "series", "diagnoses"), wording)
    known = tokenizer.decode(target.encode("fever.", "none.", [True], 100).ids)
    assert "Outcome: in-hospital death." in known
    assert "Outcome: discharged alive." in tokenizer.decode(target.encode("fever.", "none.", [False], 100).ids)
    unknown = target.encode("fever.", "none.", [False], 100, eligible=False).ids
    assert "Outcome" not in tokenizer.decode(unknown)
    assert tokenizer.eos_token_id not in unknown
