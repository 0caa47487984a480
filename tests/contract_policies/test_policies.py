"""Policies that learn to write menus: their forms keep or break promises as they say, and they learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clinragen.contract_policies import writers
from clinragen.contract_policies.actions import FORMS, isotonic
from clinragen.contract_policies.batch import ProblemBatch
from clinragen.contract_policies.writers import POLICIES, STEPS, pool, train
from clinragen.contracts.comparison import outcome, row
from clinragen.contracts.instances import random_problem
from clinragen.contracts.optimum import best_frequencies, optimum, payments
from clinragen.errors import UserError

SEEDS = st.integers(0, 2**32 - 1)
TYPES = 8


@pytest.fixture
def few_problems(monkeypatch):
    """A small pool to learn from."""
    monkeypatch.setattr(writers, "_POOL", 500)


def undecided(problem, frequencies, rewards):
    """Whether rounding to single precision decides what a type takes: two offers, or the best and none, are level."""
    utilities = rewards[None, :] - problem.costs[:, None] * frequencies[None, :]
    best = np.sort(np.hstack([utilities, np.zeros((len(utilities), 1))]), axis=1)[:, -2:]
    return bool((np.diff(best) < 1e-5 * problem.worth).any())


def problems_of(seed: int, count: int = 6):
    rng = np.random.default_rng(seed)
    return [random_problem(rng, (2, TYPES)) for _ in range(count)]


@given(SEEDS)
@example(53)  # a type for which the dearest offer and none are level
@settings(max_examples=30, deadline=None)
def test_the_tensors_value_menus_as_the_exact_arithmetic_does(seed):
    problems = problems_of(seed)
    batch = ProblemBatch.of(problems, TYPES)
    generator = torch.Generator().manual_seed(seed % 1000)
    for form in FORMS.values():
        action = 1.5 * torch.randn(len(problems), form.width(TYPES), generator=generator)
        frequencies, rewards = (part.double().numpy() for part in form.menu(batch, action))
        gained = form.reward(batch, action).tolist()
        for one, frequency, reward, value in zip(problems, frequencies, rewards, gained, strict=True):
            count = len(one.costs)
            scaled = frequency[:count] * one.largest_frequency
            if form.by_formula:  # in full precision, so that no rounding makes a type prefer another's item
                scaled = np.maximum.accumulate(scaled)
            rewards_of = payments(one.costs, scaled) if form.by_formula else reward[:count] * one.worth
            if not form.by_formula and undecided(one, scaled, rewards_of):
                continue
            result = outcome(one, scaled, rewards_of)
            assert value == pytest.approx(result.value / one.worth, abs=2e-4)
            assert result.value <= optimum(one) + 1e-6 * one.worth


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_no_structured_action_breaks_a_promise_or_a_bound(seed):
    problems = problems_of(seed)
    batch = ProblemBatch.of(problems, TYPES)
    action = 4 * torch.randn(len(problems), TYPES, generator=torch.Generator().manual_seed(seed % 1000))
    frequencies, _ = FORMS["structured"].menu(batch, action)
    assert frequencies.min() >= 0
    assert frequencies.max() <= 1
    for one, row_of in zip(problems, frequencies.double().numpy(), strict=True):
        scaled = np.maximum.accumulate(row_of[: len(one.costs)]) * one.largest_frequency
        result = outcome(one, scaled, payments(one.costs, scaled))
        assert (result.refusing, result.tempted) == (0, 0)


def test_the_optimum_is_within_reach_of_both_forms():
    problems = problems_of(7)
    batch = ProblemBatch.of(problems, TYPES)
    best = np.ones((len(problems), TYPES))
    for number, one in enumerate(problems):
        best[number, : len(one.costs)] = best_frequencies(one) / one.largest_frequency
    frequencies = torch.tensor(best, dtype=torch.float32)
    target = torch.tensor([optimum(one) / one.worth for one in problems], dtype=torch.float32)
    actions = torch.atanh((2 * frequencies - 1) / 1.1)
    assert torch.allclose(FORMS["structured"].reward(batch, actions), target, atol=1e-4)
    more = 2e-5 * torch.arange(1, TYPES + 1)  # so that no rounding makes a type prefer the item before
    rewards = batch.payments(frequencies) / batch.costs[:, :1] + more
    assert rewards.max() <= 1.001
    raw = torch.cat([actions, torch.atanh((2 * rewards - 1) / 1.1)], 1)
    assert torch.allclose(FORMS["raw"].reward(batch, raw), target, atol=2e-3)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9))
@settings(deadline=None)
def test_isotonic_is_the_nearest_sequence_that_does_not_decrease(values):
    from sklearn.isotonic import IsotonicRegression

    reference = IsotonicRegression().fit_transform(np.arange(len(values)), values)
    np.testing.assert_allclose(isotonic(torch.tensor([values]))[0].numpy(), reference, atol=1e-5)


@pytest.mark.parametrize("name", POLICIES)
def test_the_same_seed_gives_the_same_menus(name, few_problems):
    held = problems_of(5)
    first, second = (train(name, pool((2, TYPES), seed=0), 0, steps=2)(held) for _ in range(2))
    other = train(name, pool((2, TYPES), seed=0), 1, steps=2)(held)
    for menu, again, different in zip(first, second, other, strict=True):
        np.testing.assert_array_equal(menu, again)
        assert not np.array_equal(menu, different)


@pytest.mark.parametrize(("name", "steps"), [("diffusion, structured", 60), ("PPO, structured", 6)])
def test_a_structured_policy_learns_and_keeps_promises(name, steps, few_problems):
    problems = pool((3, 3), seed=0)
    held = [random_problem(np.random.default_rng(seed), (3, 3)) for seed in range(60)]
    before, after = (row(name, held[0], held, train(name, problems, 0, steps=count)) for count in (1, steps))
    assert after.regrets.mean() < 0.7 * before.regrets.mean()
    assert before.broken == after.broken == (0, 0)


def test_raw_menus_of_an_untrained_policy_break_promises(few_problems):
    held = problems_of(3, 40)
    write = train("PPO, raw", pool((2, TYPES), seed=0), 0, steps=1)
    assert row("PPO, raw", held[0], held, write).broken[1] > 0.9


def test_more_types_than_a_policy_was_made_for_are_refused():
    with pytest.raises(UserError, match="has 9 types: these policies were made for at most 8"):
        ProblemBatch.of([random_problem(np.random.default_rng(0), (9, 9))], 8)


def test_compare_trains_them_on_demand(command, capsys, few_problems):
    words = ("contract", "compare", "--problems", 20, "--learned", "--training-steps", 2, "--json")
    assert command("clinragen", *words) == 0
    rows = {line["name"]: line for line in json.loads(capsys.readouterr().out)}
    assert set(POLICIES) == set(STEPS)
    assert set(POLICIES) < set(rows)
    assert all(rows[name]["mean_regret"] > 0 for name in POLICIES)
    assert rows["diffusion, structured"]["broken_ic"] == 0
    assert command("clinragen", "contract", "compare", "--learned", "--training-steps", 0) == 2
    assert "training steps 0: expected 1 or more" in capsys.readouterr().err
