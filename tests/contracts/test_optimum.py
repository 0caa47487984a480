"""The best menu is best: beside a general solver, beside other menus, and by what it promises."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slsqp import solve_by_slsqp

from clinragen.contracts.curve import FreshnessCurve
from clinragen.contracts.instances import random_problem
from clinragen.contracts.optimum import best_frequencies, optimum, payments, pooled, virtual_costs
from clinragen.contracts.problem import Problem
from clinragen.contracts.rules import RULES

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("seed", range(12))
def test_a_general_solver_of_all_pairs_does_no_better_and_no_worse(seed):
    problem = random_problem(np.random.default_rng(seed))
    assert solve_by_slsqp(problem) == pytest.approx(optimum(problem), abs=1e-6 * problem.worth)


def test_the_problems_of_that_test_share_items_leave_types_out_and_reach_the_largest_frequency():
    problems = [random_problem(np.random.default_rng(seed)) for seed in range(40)]
    menus = [(one, best_frequencies(one)) for one in problems]
    inner = [f for one, f in menus if ((np.diff(f) == 0) & (f[1:] > 0) & (f[1:] < one.largest_frequency)).any()]
    assert len(inner) > 10
    assert any(f[0] == 0 for _, f in menus)
    assert any(f[-1] == one.largest_frequency for one, f in menus)


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_no_rule_and_no_change_of_the_menu_gains_more(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, (1, 9))
    best, limit = best_frequencies(problem), optimum(problem)
    others = [rule(problem, rng) for rule in RULES.values()]
    shift = rng.normal(scale=0.05 * problem.largest_frequency, size=len(best))
    others.append(np.sort(np.clip(best + shift, 0, problem.largest_frequency)))
    for frequencies in others:
        assert np.all(np.diff(frequencies) >= 0)
        assert problem.value(frequencies, payments(problem.costs, frequencies)) <= limit + 1e-9 * problem.worth


@given(SEEDS)
@settings(max_examples=60, deadline=None)
def test_types_accept_are_honest_and_the_costliest_is_paid_its_cost(seed):
    problem = random_problem(np.random.default_rng(seed), (2, 9))
    frequencies = best_frequencies(problem)
    rewards = payments(problem.costs, frequencies)
    utilities = rewards[None, :] - problem.costs[:, None] * frequencies[None, :]
    assert frequencies.min() >= 0
    assert frequencies.max() <= problem.largest_frequency
    assert np.diag(utilities).min() >= -1e-9 * problem.worth
    assert (utilities - np.diag(utilities)[:, None]).max() <= 1e-9 * problem.worth
    assert utilities[0, 0] == pytest.approx(0, abs=1e-9 * problem.worth)


@given(st.floats(0.1, 10), st.floats(0, 2), st.sampled_from(["periodic", "random"]), st.floats(0.01, 5))
def test_the_best_frequency_of_a_price_is_where_the_slope_is_the_price(largest, delay, updates, price):
    curve = FreshnessCurve(largest, delay, updates)
    best = curve.best_frequency(price)
    if best == 0:
        assert curve.slope(0.0) <= price * (1 + 1e-9)
    else:
        assert curve.slope(best) == pytest.approx(price, rel=1e-6)
    for other in (best * 0.9, best * 1.1, best + 0.1):
        assert curve.log_gain(other) - price * other <= curve.log_gain(best) - price * best + 1e-12


def test_freshness_of_delay_cycles_and_kind_of_updates():
    assert FreshnessCurve(1.0).age(2.0) == 0.25  # half of a cycle of a half
    assert FreshnessCurve(1.0, updates="random").age(2.0) == 0.5
    assert FreshnessCurve(1.0, delay=3.0).age(2.0) == 3.25
    assert FreshnessCurve(1.0).gain(0.0) == 0
    assert FreshnessCurve(1.0).best_frequency(0.0) == np.inf


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0.1, 5)), min_size=1, max_size=12))
def test_pooling_is_isotonic_regression(rows):
    from sklearn.isotonic import IsotonicRegression

    prices, weights = np.array(rows).T
    ours = pooled(prices, weights)
    isotonic = IsotonicRegression(increasing=False)
    reference = isotonic.fit_transform(np.arange(len(prices)), prices, sample_weight=weights)
    np.testing.assert_allclose(ours, reference, atol=1e-9)


def test_equal_costs_receive_equal_items():
    curve = FreshnessCurve(2.0)
    split = Problem(np.array([3.0, 2.0, 2.0, 1.0]), np.array([0.3, 0.1, 0.2, 0.4]), 9.0, curve, 8.0)
    merged = Problem(np.array([3.0, 2.0, 1.0]), np.array([0.3, 0.3, 0.4]), 9.0, curve, 8.0)
    first, second = best_frequencies(split), best_frequencies(merged)
    assert first[1] == first[2] == pytest.approx(second[1])
    assert optimum(split) == pytest.approx(optimum(merged))


def test_units_of_money_and_time_do_not_matter():
    one = random_problem(np.random.default_rng(3))
    factor = 30.0  # days for months
    slower = FreshnessCurve(one.curve.largest_age * factor, one.curve.delay * factor, one.curve.updates)
    other = Problem(one.costs * 7 * factor, one.shares, one.worth * 7, slower, one.largest_frequency / factor)
    np.testing.assert_allclose(best_frequencies(other) * factor, best_frequencies(one))
    assert optimum(other) == pytest.approx(optimum(one) * 7)


def test_the_virtual_cost_is_what_one_more_update_costs_in_all():
    problem = random_problem(np.random.default_rng(5))
    frequencies = best_frequencies(problem)
    paid = problem.shares @ payments(problem.costs, frequencies)
    for kind, cost in enumerate(virtual_costs(problem.costs, problem.shares)):
        more = frequencies + np.eye(len(frequencies))[kind]
        assert problem.shares @ payments(problem.costs, more) - paid == pytest.approx(cost)


def test_a_thousand_types_in_50_ms():
    problem = random_problem(np.random.default_rng(0), (1000, 1000))
    spans = []
    for _ in range(5):
        start = time.perf_counter()
        best_frequencies(problem)
        spans.append(time.perf_counter() - start)
    assert min(spans) < 0.05
