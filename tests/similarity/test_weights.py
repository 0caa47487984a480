"""Weights of the modalities: what does not help gets none."""

from __future__ import annotations

import numpy as np

from clinragen.similarity.hybrid import USUAL, Judged, fit_weights, jaccard

CHANCE = np.random.default_rng(4)


def judged(stays: int = 60, candidates: int = 50, *, helps: float = 1.0) -> list[Judged]:
    """Candidates whose overlap is what the first modality says, while the second says nothing."""
    drawn = []
    for _ in range(stays):
        overlap = CHANCE.random(candidates)
        noise = CHANCE.random((candidates, 2))
        drawn.append(Judged(np.stack([helps * overlap + 0.01 * noise[:, 0], noise[:, 1]], axis=1), overlap))
    return drawn


def test_a_modality_that_says_nothing_gets_no_weight():
    assert fit_weights(judged(), ["words", "diagnoses"], "diagnoses") == {"words": 1.0, "diagnoses": 0.0}
    assert fit_weights(judged(), ["diagnoses", "words"], "diagnoses")["words"] <= 0.02


def test_where_others_are_not_surely_better_the_usual_weights_are_kept():
    same = [Judged(np.tile(one.similarities[:, :1], 2), one.overlap) for one in judged()]
    usual = {"words": round(USUAL / (1 + USUAL), 6), "diagnoses": round(1 / (1 + USUAL), 6)}
    assert fit_weights(same, ["words", "diagnoses"], "diagnoses") == usual
    nothing = [Judged(CHANCE.random((50, 2)), CHANCE.random(50)) for _ in range(60)]
    assert fit_weights(nothing, ["words", "diagnoses"], "diagnoses") == usual


def test_similarities_that_tell_more_together_are_added():
    stays = []
    for _ in range(60):
        parts = CHANCE.random((50, 2))
        stays.append(Judged(parts, parts.mean(1)))
    weights = fit_weights(stays, ["words", "diagnoses"], "diagnoses")
    assert 0.3 < weights["words"] < 0.7


def test_stays_with_few_candidates_are_judged_by_those():
    short = [Judged(np.ones((2, 2)), np.array([0.5, 0.25])), Judged(np.zeros((0, 2)), np.zeros(0))]
    assert fit_weights(short, ["words", "concepts"], None) == {"words": 0.5, "concepts": 0.5}


def test_the_overlap_of_labels_is_theirs_in_common_of_all():
    labels = np.array([True, True, False])
    others = np.array([[True, False, False], [True, True, True], [False, False, True], [False, False, False]])
    assert jaccard(labels, others).round(4).tolist() == [0.5, 0.6667, 0.0, 0.0]
    assert jaccard(np.zeros(3, dtype=bool), others).tolist() == [0.0] * 4


def test_modalities_apart_are_varied_with_the_others_at_their_usual_weight():
    """Beside them the others keep the usual weights, and what helps is taken all the same."""
    stays = []
    for _ in range(60):
        parts = CHANCE.random((50, 3))
        stays.append(Judged(parts, parts[:, 1:].mean(1)))
    names = ["words", "embedding", "diagnoses"]
    weights = fit_weights(stays, names, "diagnoses", ["embedding"])
    assert 0.3 < weights["embedding"] < 0.7
    assert round(weights["words"] / weights["diagnoses"], 4) == USUAL
    assert fit_weights(stays, names, "diagnoses", ["aligned"]) == fit_weights(stays, names, "diagnoses")
