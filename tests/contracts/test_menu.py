"""Menus in exact numbers: rounding keeps every promise, a broken promise is named, and files are read as written."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.contracts.holders import choose, honest, simulate
from clinragen.contracts.instances import random_problem
from clinragen.contracts.menu import Item, Menu, as_decimal, exact, in_floats, read_menu, rounded_menu
from clinragen.contracts.optimum import best_frequencies, payments
from clinragen.contracts.promises import best_items, violations
from clinragen.errors import UserError

SEEDS = st.integers(0, 2**32 - 1)
SMALL = st.integers(0, 6).map(lambda tenths: Fraction(tenths, 10))


def menu_of(*rows: tuple[object, object, object]) -> Menu:
    """A menu of (cost, frequency, reward)."""
    return Menu(tuple(Item(f"t{n}", *(Fraction(str(value)) for value in row)) for n, row in enumerate(rows)))


def broken_pairs(menu: Menu) -> set[tuple[str, str | None]]:
    """Every pair, one by one."""
    pairs: set[tuple[str, str | None]] = set()
    for item in menu.items:
        if item.utility(item.cost) < 0:
            pairs.add((item.name, None))
        pairs |= {(item.name, one.name) for one in menu.items if one.utility(item.cost) > item.utility(item.cost)}
    return pairs


@given(st.lists(st.tuples(SMALL, SMALL, SMALL), min_size=1, max_size=7))
@settings(max_examples=300, deadline=None)
def test_a_menu_is_broken_where_a_check_of_each_pair_says_so(rows):
    menu = menu_of(*rows)
    pairs = broken_pairs(menu)
    broken = violations(menu)
    assert {(one.item.name, one.other.name if one.other else None) for one in broken} <= pairs
    assert {one.item.name for one in broken} == {name for name, _ in pairs}
    for item, best in zip(menu.items, best_items(menu), strict=True):
        assert best.utility(item.cost) == max(one.utility(item.cost) for one in menu.items)


@given(SEEDS, st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_rounding_keeps_every_promise_and_favours_the_holder(seed, frequency_decimals, reward_decimals):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, (1, 9))
    costs = problem.costs.round(int(rng.integers(0, 6)))
    types = [(str(n), *row) for n, row in enumerate(zip(costs.tolist(), problem.shares.tolist(), strict=True))]
    frequencies = best_frequencies(problem)
    decimals = (frequency_decimals, reward_decimals)
    menu = rounded_menu(types, frequencies.tolist(), decimals, problem.largest_frequency)
    assert not broken_pairs(menu)
    written, rewards = in_floats(menu)
    step = 10.0**-frequency_decimals
    assert np.abs(written - frequencies).max() <= step
    assert written.max() <= problem.largest_frequency
    formula = payments(costs, written)
    digits = max(len(as_decimal(item.reward).partition(".")[2]) for item in menu.items)
    surplus = rewards - formula
    assert surplus.min() >= -1e-9 * max(1.0, formula.max())
    assert surplus.max() <= len(types) * 10.0 ** -max(digits, reward_decimals) + 1e-9 * max(1.0, formula.max())


def test_a_thousand_types_keep_their_promises():
    problem = random_problem(np.random.default_rng(1), (1000, 1000))
    types = [(str(n), cost, 0.001) for n, cost in enumerate(problem.costs.tolist())]
    menu = rounded_menu(types, best_frequencies(problem).tolist(), (4, 2), problem.largest_frequency)
    assert not violations(menu)
    items = list(menu.items)
    items[400] = Item("400", items[400].cost, items[400].frequency, items[400].reward + 1)
    broken = violations(Menu(tuple(items)))
    assert broken
    assert {one.other.name for one in broken if one.other} == {"400"}


def test_rewards_have_more_decimals_where_fewer_would_break_a_promise():
    types = [("a", 1.02, 0.5), ("b", 1.01, 0.5)]
    menu = rounded_menu(types, [0.3, 0.9], (1, 1), 1.0)
    assert [as_decimal(item.reward) for item in menu.items] == ["0.31", "0.92"]  # 0.306, 0.306 + 0.606, rounded up
    assert not broken_pairs(menu)
    coarse = menu_of(("1.02", "0.3", "0.4"), ("1.01", "0.9", "1.1"))  # each rounded up by itself to one decimal
    assert broken_pairs(coarse) == {("t0", "t1")}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([(2, 1, "1.99")], "IR: 't0' (cost 2) loses 0.01"),
        ([(2, 1, 2), (1, 2, "2.99")], "IC: 't1' (cost 1) would take the item of 't0' and gain 0.01 more"),
        ([(2, 1, 2), (1, 2, "4.01")], "IC: 't0' (cost 2) would take the item of 't1' and gain 0.01 more"),
    ],
)
def test_a_broken_promise_names_the_types(rows, says):
    assert [str(one).startswith(says) for one in violations(menu_of(*rows))] == [True]


def test_numbers_that_floats_cannot_hold_decide():
    """A reward that is short by 1e-20 breaks IR, although it is the same float."""
    assert not violations(menu_of(("0.1", "0.3", "0.03")))
    assert float(Fraction("0.02999999999999999999")) == 0.03
    assert violations(menu_of(("0.1", "0.3", "0.02999999999999999999")))


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_misreporting_never_pays_and_who_costs_more_refuses(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, (2, 9))
    rows = zip(problem.costs.tolist(), problem.shares.tolist(), strict=True)
    types = [(str(n), *row) for n, row in enumerate(rows)]
    menu = rounded_menu(types, best_frequencies(problem).tolist(), (3, 2), problem.largest_frequency)
    result = simulate(menu, 400, rng, misreporting=0.7, outside=0.1)
    assert result.holders == 400
    assert result.misreported > 150
    assert result.paid == 0
    assert result.largest_gain is not None
    assert result.largest_gain <= 0
    assert result.refused >= 0
    above = choose(menu, menu.items[0].cost * 100)
    assert above.item is None or above.item.frequency == 0
    for item in menu.items:
        assert choose(menu, item.cost).utility == item.utility(item.cost)
        assert honest(menu, item.cost).cost == item.cost


def test_misreporting_pays_where_a_menu_breaks_ic():
    menu = menu_of((3, 1, 3), (2, 2, 4), (1, 3, 5))  # the second type has 0 of its item, and 1 of the first
    result = simulate(menu, 500, np.random.default_rng(0), outside=0.0)
    assert result.paid > 20
    assert result.largest_gain == 1


def test_who_costs_more_than_all_types_has_no_honest_report_and_refuses():
    menu = menu_of((3, 1, 3), (1, 2, 4))
    assert honest(menu, Fraction(4)) is None
    assert choose(menu, Fraction(4)).item is None
    assert honest(menu, Fraction(2)).cost == 3


def test_a_menu_is_read_as_it_was_written(tmp_path):
    menu = menu_of(("0.3", "0.12345678901234567891", "7"), ("0.1", "2", "7.5"))
    (tmp_path / "menu.json").write_text(json.dumps(menu.as_json()))
    assert read_menu(tmp_path / "menu.json") == menu
    (tmp_path / "menu.yaml").write_text("items: [{type: a, cost: 0.1, frequency: 3, reward: 0.3}]")
    assert read_menu(tmp_path / "menu.yaml").items[0].utility(exact("0.1")) == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("items: []", "expected 'items:' with one or more"),
        ("items: [3]", "items[0]: expected a mapping"),
        ("items: [{cost: 1, reward: 2}]", "items[0]: frequency is missing"),
        ("items: [{cost: 1, frequency: 2, reward: many}]", "items[0]: reward many: expected a decimal number"),
        ("items: [{cost: .nan, frequency: 2, reward: 1}]", "items[0]: cost nan: expected a decimal number"),
        ("items: [{cost: 1e999999, frequency: 2, reward: 1}]", "expected a decimal number"),
        ("items: [{cost: true, frequency: 2, reward: 1}]", "items[0]: cost True: expected a decimal number"),
        ("items: [{cost: -1, frequency: 2, reward: 1}]", "items[0]: cost -1: expected 0 or more"),
        ("items: [{cost: 1, frequency: 2, reward: 1, reword: 1}]", "unknown key 'reword'"),
        (
            "items: [{type: a, cost: 1, frequency: 2, reward: 1}, {type: a, cost: 2, frequency: 2, reward: 1}]",
            "two items are for type 'a'",
        ),
    ],
)
def test_a_malformed_menu_is_one_line(text, says, tmp_path):
    (tmp_path / "menu.yaml").write_text(text)
    with pytest.raises(UserError) as refused:
        read_menu(tmp_path / "menu.yaml")
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
