"""The solver of the linear probes reaches the optimum of a 64-bit reference for every shape of problem."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from clinragen.stages.logistic import Features, fit_logistic

STATED = 1e-3  # by which a probability may differ from that at the exact optimum


def reference(read: np.ndarray, labels: np.ndarray, penalty: float) -> np.ndarray:
    """Each label by itself, in 64 bits, by Newton's method to the end: [features + 1, L]."""
    columns = []
    wide = np.concatenate([read.astype(np.float64), np.ones((len(read), 1))], axis=1)
    ridge = np.full(wide.shape[1], penalty)
    ridge[-1] = 0
    for truth in labels.T.astype(float):
        truth = truth.copy()

        def objective(at: np.ndarray, truth: np.ndarray = truth) -> tuple[float, np.ndarray]:
            scores = wide @ at
            slope = expit(scores) - truth
            return (np.logaddexp(0, scores) - truth * scores).sum() + (
                ridge * at**2
            ).sum() / 2, wide.T @ slope + ridge * at

        def curvature(at: np.ndarray) -> np.ndarray:
            chance = expit(wide @ at)
            return wide.T @ (wide * (chance * (1 - chance))[:, None]) + np.diag(ridge)

        share = truth.mean().clip(0.5 / len(truth), 1 - 0.5 / len(truth))
        start = np.zeros(wide.shape[1])
        start[-1] = np.log(share / (1 - share))
        found = minimize(objective, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": 1e-8})
        columns.append(found.x)
    return np.stack(columns, axis=1)


def chances(read: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return expit(read @ weights[:-1] + weights[-1])


def problem(seed: int, stays: int, width: int, count: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    read = chance.normal(size=(stays, width))
    if kind == "filled":  # as bins that fill one after the other: nearly collinear, never negative, with a large mean
        read = np.clip(read[:, :1] * 2 - np.linspace(-2, 2, width) + 0.05 * read, 0, 1)
    elif kind == "sparse":
        read = np.where(chance.random(read.shape) < 0.1, np.abs(read), 0)
    elif kind == "scales":
        read = read * np.geomspace(1e-3, 30, width)
    truth = chance.normal(size=(width, count)) / np.sqrt(width)
    offset = chance.uniform(-3, 1, size=count)
    return read.astype(np.float32), chance.random((stays, count)) < expit(read @ truth + offset)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.integers(20, 300),
    st.integers(1, 30),
    st.integers(1, 5),
    st.sampled_from(["normal", "filled", "sparse", "scales"]),
    st.sampled_from([0.1, 1.0, 30.0, 1000.0]),
)
def test_probabilities_are_those_of_the_exact_optimum(seed, stays, width, count, kind, penalty):
    read, labels = problem(seed, stays, width, count, kind)
    both = labels.any(0) & ~labels.all(0)  # without a ridge on the intercept the optimum of the others lies at infinity
    labels = labels[:, both] if both.any() else np.arange(stays)[:, None] % 3 == 0
    expected = chances(read, reference(read, labels, penalty))
    for given_read in (read, csr_matrix(read)):
        found = fit_logistic(Features(given_read), labels, penalty)
        assert found.dtype == np.float32
        assert np.abs(chances(read, found) - expected).max() < STATED


@pytest.mark.parametrize("absent", [True, False])
def test_a_label_that_nobody_or_everybody_has_ends_where_its_share_is(absent):
    read, labels = problem(1, 200, 6, 3, "normal")
    labels[:, 1] = not absent
    found = chances(read, fit_logistic(Features(read), labels, 1.0))
    assert np.isfinite(found).all()
    assert (found[:, 1] < 0.05).all() if absent else (found[:, 1] > 0.95).all()


def test_a_warm_start_ends_at_the_same_optimum():
    read, labels = problem(2, 300, 20, 4, "filled")
    strong = fit_logistic(Features(read), labels, 1000.0)
    warm = fit_logistic(Features(read), labels, 3.0, strong)
    assert np.abs(chances(read, warm) - chances(read, reference(read, labels, 3.0))).max() < STATED


def test_labels_do_not_depend_on_the_company_and_progress_is_told():
    read, labels = problem(3, 300, 20, 4, "normal")
    told: list[int] = []
    together = fit_logistic(Features(read), labels, 1.0, done=told.append)
    assert told[-1] == 4
    assert told == sorted(told)
    for label in range(4):
        alone = fit_logistic(Features(read), labels[:, label : label + 1], 1.0)
        assert np.allclose(together[:, label], alone[:, 0], atol=2e-4)


def test_features_that_are_constant_or_absent_do_no_harm():
    read, labels = problem(4, 100, 3, 2, "normal")
    wide = np.concatenate([read, np.ones((100, 1)), np.zeros((100, 1))], axis=1).astype(np.float32)
    found = fit_logistic(Features(wide), labels, 1.0)
    assert np.abs(chances(wide, found) - chances(read, reference(read, labels, 1.0))).max() < STATED
    assert np.abs(found[3:5]).max() < 1e-4
    nothing = fit_logistic(Features(csr_matrix((100, 0), dtype=np.float32)), labels, 1.0)
    assert np.allclose(expit(nothing[-1]), labels.mean(0), atol=1e-3)
