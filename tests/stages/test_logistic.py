"""The solver of the linear probes reaches the optimum of a 64-bit reference for every shape of problem."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit

from clinragen.stages.logistic import ElasticNet, Features, fit_elastic_net, fit_logistic

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


def grouped(read: np.ndarray, labels: np.ndarray, weights: np.ndarray, penalty: float, net: ElasticNet) -> np.ndarray:
    """What an elastic net minimises, for each label."""
    scores = read @ weights[:-1] + weights[-1]
    lengths = np.linalg.norm(weights[:-1].reshape(-1, net.group, labels.shape[1]), axis=1)
    loss = (np.logaddexp(0, scores) - labels * scores).sum(0)
    return loss + penalty * (net.ridge * (weights[:-1] ** 2).sum(0) / 2 + net.lasso * net.group**0.5 * lengths.sum(0))


def proximal(read: np.ndarray, labels: np.ndarray, penalty: float, net: ElasticNet, steps: int = 4000) -> np.ndarray:
    """The minimum, slowly and in 64 bits: gradient steps, each shrinking whole groups."""
    wide = np.concatenate([read, np.ones((len(read), 1))], axis=1)
    weights, step = np.zeros((wide.shape[1], labels.shape[1])), 4 / np.linalg.norm(wide, 2) ** 2
    for _ in range(steps):
        slope = wide.T @ (expit(wide @ weights) - labels)
        weights = weights - step * slope
        inner = weights[:-1].reshape(-1, net.group, labels.shape[1]) / (1 + step * penalty * net.ridge)
        lengths = np.linalg.norm(inner, axis=1, keepdims=True)
        least = step * penalty * net.lasso * net.group**0.5
        weights[:-1] = (inner * np.maximum(0, 1 - least / np.maximum(lengths, 1e-12))).reshape(-1, labels.shape[1])
    return weights


@pytest.mark.parametrize("group", [1, 3])
def test_an_elastic_net_keeps_few_groups_and_is_near_its_minimum(group):
    chance = np.random.default_rng(group)
    read = chance.normal(size=(400, 24))
    truth = np.zeros((24, 2))
    truth[: 2 * group] = 1.5
    labels = (chance.random((400, 2)) < expit(read @ truth)).astype(float)
    net = ElasticNet(ridge=0.1, lasso=1.0, group=group)
    found, least = fit_elastic_net(Features(read), labels, 16.0, net), proximal(read, labels, 16.0, net)
    kept = found[:-1].reshape(-1, group, 2).any(axis=1)
    assert kept[:2].all()
    assert kept.mean() < 0.6
    ridge = fit_logistic(Features(read), labels, 16.0)
    excess, of_ridge = (
        grouped(read, labels, each, 16.0, net) - grouped(read, labels, least, 16.0, net) for each in (found, ridge)
    )
    assert (excess < 0.1 * of_ridge).all()
    assert np.abs(chances(read, found) - chances(read, least)).mean() < 0.02


def test_an_elastic_net_without_a_lasso_is_a_ridge():
    chance = np.random.default_rng(0)
    read = chance.normal(size=(200, 6))
    labels = (chance.random((200, 3)) < expit(read[:, :3])).astype(float)
    net = fit_elastic_net(Features(read), labels, 5.0, ElasticNet(ridge=1.0, lasso=0.0, group=2))
    assert np.allclose(net, fit_logistic(Features(read), labels, 5.0), atol=5e-3)


def test_an_elastic_net_of_a_label_without_positives_and_of_no_features_is_finite():
    read, labels = np.random.default_rng(1).normal(size=(100, 4)), np.zeros((100, 2))
    labels[:50, 0] = 1
    assert np.isfinite(fit_elastic_net(Features(read), labels, 1.0, ElasticNet(0.3, 0.5))).all()
    nothing = csr_matrix((100, 0), dtype=np.float32)
    assert fit_elastic_net(Features(nothing), labels, 1.0, ElasticNet(0.3, 0.5)).shape == (1, 2)


@pytest.mark.parametrize("shape", [np.asarray, csr_matrix])
def test_a_stay_that_counts_twice_is_like_two_stays(shape):
    read, labels = problem(4, 120, 5, 2, "plain")
    twice = np.random.default_rng(1).random(labels.shape) < 0.4
    weighed = fit_logistic(Features(shape(read)), labels, 2.0, counts=1.0 + twice)
    for label in range(labels.shape[1]):
        rows = np.concatenate([np.arange(len(read)), np.flatnonzero(twice[:, label])])
        repeated = fit_logistic(Features(shape(read[rows])), labels[rows, label : label + 1], 2.0)
        assert weighed[:, label] == pytest.approx(repeated[:, 0], abs=0.01)
