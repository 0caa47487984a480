"""The changes of sites as one: order changes no byte, one site changes nothing, poison is bounded, Flower agrees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clinragen.errors import UserError
from clinragen.federation.aggregation import RULES, Rule, aggregate
from clinragen.federation.update import Update, apply, change, norm


def updates(sites: int, seed: int = 0, size: int = 40) -> list[Update]:
    """Changes that agree but for noise."""
    draw = np.random.default_rng(seed)
    common = draw.normal(size=size)
    return [
        Update(
            f"site-{index:03}",
            {"bias": draw.normal(size=3), "weights": (common + 0.5 * draw.normal(size=size)).reshape(4, -1)},
            int(draw.integers(9, 250)),
            float(draw.integers(0, 2000)),
        )
        for index in range(sites)
    ]


def flat(tensors) -> np.ndarray:
    return np.concatenate([tensors[name].ravel() for name in sorted(tensors)])


@pytest.mark.parametrize("name", RULES)
@given(seed=st.integers(0, 2**31), sites=st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_the_order_of_arrival_changes_no_byte(name, seed, sites):
    sent = updates(sites, seed)
    shuffled = [sent[index] for index in np.random.default_rng(seed).permutation(sites)]
    rule = Rule(name, half_life_hours=500)
    one, other = aggregate(sent, rule), aggregate(shuffled, rule)
    assert flat(one.tensors).tobytes() == flat(other.tensors).tobytes()
    assert (one.weights, one.scales) == (other.weights, other.scales)


@pytest.mark.parametrize("name", RULES)
@given(seed=st.integers(0, 2**31))
@example(seed=3840)  # a weight that shrinks by more than 2**29
@settings(max_examples=25, deadline=None)
def test_a_single_site_keeps_what_it_trained_to_the_bit(name, seed):
    draw = np.random.default_rng(seed)
    before = {
        "weights": draw.normal(size=(5, 7)).astype(np.float32),
        "fixed": np.arange(3),
        "mean": draw.normal(size=2),
    }
    scale = 10.0 ** draw.uniform(-6, 3, size=(5, 7))
    trained = np.where(draw.random((5, 7)) > 0.2, draw.normal(size=(5, 7)) * scale, 0).astype(np.float32)
    # a float64 holds the difference of two float32 exactly where neither is 2**29 times the other
    trained[np.abs(trained) < np.abs(before["weights"]) * np.float32(2.0**-28)] = 0
    after = {"weights": trained}
    combined = aggregate([Update("a", change(before, after), 17)], Rule(name))
    model = apply(before, combined.tensors)
    assert model["weights"].tobytes() == after["weights"].tobytes()
    assert model["fixed"] is before["fixed"]
    assert model["mean"] is before["mean"]


@pytest.mark.parametrize(
    "poison",
    [
        pytest.param(lambda tensor: -10 * tensor, id="minus ten times"),
        pytest.param(lambda tensor: -tensor, id="signs flipped"),
        pytest.param(lambda tensor: 1e9 * tensor, id="scaled"),
        pytest.param(lambda tensor: np.full_like(tensor, 3e4), id="colluding"),
    ],
)
def test_three_poisoned_sites_of_28_move_the_default_little(poison):
    sent = updates(28)
    bad = [Update(each.site, {n: poison(t) for n, t in each.tensors.items()}, 10**6) for each in sent[::10]]
    mixed = bad + [each for index, each in enumerate(sent) if index % 10]
    clean = flat(aggregate(sent, Rule()).tensors)

    def away(name: str) -> float:
        other = flat(aggregate(mixed, Rule(name)).tensors)
        return float(np.linalg.norm(other - clean) / np.linalg.norm(clean))

    assert away("clipped_mean") < 0.9
    assert away("median") < 0.5
    assert away("trimmed_mean") < 0.5
    assert away("mean") > 1.5


def test_no_change_counts_as_longer_than_the_median_of_all():
    sent = updates(9)
    sent[4] = Update(sent[4].site, {name: 50 * tensor for name, tensor in sent[4].tensors.items()}, 20)
    combined = aggregate(sent, Rule())
    middle = float(np.median([norm(each.tensors) for each in sent]))
    for each in sent:
        assert norm(each.tensors) * combined.scales[each.site] <= middle * (1 + 1e-12)
    assert norm(combined.tensors) <= middle * (1 + 1e-12)


def test_one_forged_count_does_not_dominate():
    sent = updates(10)
    forged = [Update(each.site, each.tensors, 10**9 if each.site == "site-003" else 50) for each in sent]
    assert aggregate(forged, Rule(count_cap=5)).weights["site-003"] == pytest.approx(5 / 14)
    assert aggregate(forged, Rule("mean")).weights["site-003"] > 0.99


def test_fresher_data_weigh_more_by_half_lives_and_unknown_ages_as_the_oldest():
    tensors = {"weights": np.ones(2)}
    sent = [Update("a", tensors, 10, 0.0), Update("b", tensors, 10, 24.0), Update("c", tensors, 10)]
    weights = aggregate(sent, Rule("mean", half_life_hours=24)).weights
    assert weights == pytest.approx({"a": 0.5, "b": 0.25, "c": 0.25})


def test_the_trimmed_mean_leaves_out_both_ends():
    sent = [Update(str(index), {"w": np.array([value])}, 1) for index, value in enumerate([1.0, 2.0, 3.0, 1e9])]
    assert aggregate(sent, Rule("trimmed_mean", trim=0.3)).tensors["w"] == pytest.approx([2.5])
    assert aggregate(sent, Rule("trimmed_mean", trim=0.0)).tensors["w"] == pytest.approx([2.5e8 + 1.5])
    assert aggregate(sent, Rule("median")).tensors["w"] == pytest.approx([2.5])
    three = sent[1:]  # a fifth of three is none, and one at each end is left out all the same
    assert aggregate(three, Rule("trimmed_mean")).tensors["w"] == pytest.approx([3.0])
    assert aggregate(three[:2], Rule("trimmed_mean")).tensors["w"] == pytest.approx([2.5])


def test_the_mean_is_what_flower_aggregates(monkeypatch):
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "0")
    flower = pytest.importorskip("flwr.server.strategy.aggregate")
    sent = updates(11)
    before = {
        name: np.random.default_rng(1).normal(size=t.shape).astype(np.float32) for name, t in sent[0].tensors.items()
    }
    models = [apply(before, each.tensors) for each in sent]
    theirs = flower.aggregate([([m["bias"], m["weights"]], each.count) for m, each in zip(models, sent, strict=True)])
    ours = apply(before, aggregate(sent, Rule("mean")).tensors)
    for name, array in zip(("bias", "weights"), theirs, strict=True):
        assert np.abs(ours[name] - array).max() < 1e-6


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Rule(count_cap=0.5), "rule.count_cap is 0.5"),
        (Rule("trimmed_mean", trim=0.5), "rule.trim is 0.5"),
        (Rule(half_life_hours=0), "rule.half_life_hours is 0"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule, says):
    with pytest.raises(UserError, match=says):
        aggregate(updates(3), rule)


def test_two_updates_of_one_site_are_no_round():
    with pytest.raises(UserError, match="2 updates of 1 sites"):
        aggregate([updates(1)[0], updates(1)[0]], Rule())


def test_a_change_of_another_shape_or_type_is_none():
    before = {"w": np.zeros(2, np.float32)}
    for after in ({"w": np.zeros(3, np.float32)}, {"w": np.zeros(2)}, {"v": np.zeros(2, np.float32)}):
        with pytest.raises(UserError, match="training gave tensor"):
            change(before, after)
