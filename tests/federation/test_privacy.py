"""Noise and masks of a site: drawn from its secret, and worth what is told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from clinragen.errors import UserError
from clinragen.federation import privacy, secure
from clinragen.federation.manifest import Federation, Member
from clinragen.federation.update import norm as length

SECRET = b"s" * 32


def gaussian_delta(noise: float, epsilon: float) -> float:
    """Of the Gaussian mechanism, in closed form (Balle & Wang 2018)."""
    shift = 1 / (2 * noise)
    return norm.cdf(shift - epsilon * noise) - math.exp(epsilon) * norm.cdf(-shift - epsilon * noise)


@pytest.mark.parametrize(("noise", "releases"), [(1.0, 1), (2.7, 20), (5.0, 3)])
def test_epsilon_is_that_of_the_gaussian_mechanism(noise, releases):
    epsilon = privacy.epsilon(releases / noise**2, 1e-5)
    assert gaussian_delta(noise / releases**0.5, epsilon) == pytest.approx(1e-5, rel=0.02)
    assert privacy.epsilon(0, 1e-5) == 0


def test_releases_of_different_noise_add_up_as_dp_accounting_composes_them():
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    events = [dp_accounting.GaussianDpEvent(noise) for noise in (2.0, 3.0, 3.0, 10.0)]
    composed = PLDAccountant().compose(dp_accounting.ComposedDpEvent(events)).get_epsilon(1e-5)
    assert privacy.epsilon(1 / 4 + 2 / 9 + 1 / 100, 1e-5) == pytest.approx(composed, rel=0.01)


def test_noise_is_the_least_that_keeps_to_the_budget():
    noise = privacy.noise_for(4.0, 20, 1e-5)
    assert privacy.epsilon(20 / noise**2, 1e-5) <= 4.0
    assert privacy.epsilon(20 / (noise * 0.99) ** 2, 1e-5) > 4.0
    with pytest.raises(UserError, match="too little for 10000 releases"):
        privacy.noise_for(1e-7, 10_000, 1e-5)


def test_noise_is_normal_the_same_for_the_same_numbers_and_another_for_others():
    exact = {"a": np.zeros((50, 40)), "b": np.zeros(2000)}
    deviations = {"a": 2.0, "b": 2.0}
    noised = privacy.noisy(exact, deviations, SECRET, ["f", "1"])
    assert kstest(noised["a"].ravel() / 2.0, "norm").pvalue > 1e-3
    again = privacy.noisy(exact, deviations, SECRET, ["f", "1"])
    assert all(noised[name].tobytes() == again[name].tobytes() for name in exact)
    moved = {**exact, "b": np.ones(2000)}
    others = [
        privacy.noisy(moved, deviations, SECRET, ["f", "1"]),
        privacy.noisy(exact, deviations, SECRET, ["f", "2"]),
        privacy.noisy(exact, deviations, b"t" * 32, ["f", "1"]),
    ]
    assert all((other["a"] != noised["a"]).all() for other in others)
    assert abs(np.corrcoef(noised["a"].ravel(), others[0]["a"].ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(noised["a"].ravel(), noised["b"])[0, 1]) < 0.1


@given(st.integers(0, 2**31), st.floats(0.01, 10))
@settings(max_examples=30, deadline=None)
def test_no_patient_adds_more_than_the_clip(seed, longest):
    rows = {name: np.random.default_rng(seed).normal(size=(6, *shape)) for name, shape in (("a", (3, 2)), ("b", (2,)))}
    total = privacy.clipped_sum(rows, longest)
    without = privacy.clipped_sum({name: array[1:] for name, array in rows.items()}, longest)
    assert length({name: total[name] - without[name] for name in rows}) <= longest * (1 + 1e-9)
    assert length(privacy.clipped({name: array[0] for name, array in rows.items()}, longest)) <= longest * (1 + 1e-9)


def test_what_is_within_the_clip_stays_as_it_is():
    rows = {"a": np.array([[0.3, 0.0], [30.0, 40.0]])}
    assert privacy.clipped_sum(rows, 5.0)["a"] == pytest.approx([3.3, 4.0])
    assert privacy.clipped({"a": rows["a"][0]}, 5.0)["a"] == pytest.approx([0.3, 0.0])


@given(st.integers(2, 5), st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_masks_cancel_in_the_sum_of_all_and_in_no_smaller_one(sites, seed):
    draw = np.random.default_rng(seed)
    secrets = [bytes([index]) * 32 for index in range(sites)]
    members = [Member(f"s{i}", "k", 10, secure.agreement_key(secret)) for i, secret in enumerate(secrets)]
    federation = Federation("f", "k", members, "series", {}, [], rule=None)  # type: ignore[arg-type]
    federation.__dict__["id"] = "f" * 64
    tensors = [{"x": draw.normal(size=7), "n": draw.integers(0, 300, 3)} for _ in members]
    sent = [
        secure.masked(each, "training", federation, member, secret, "1")
        for each, member, secret in zip(tensors, members, secrets, strict=True)
    ]
    total = secure.unmasked_sum(sent, "training", frozenset(["n"]))
    assert total["x"] == pytest.approx(sum(each["x"] for each in tensors), abs=1e-9)
    assert total["n"].tolist() == sum(each["n"] for each in tensors).tolist()
    partial = secure.unmasked_sum(sent[1:], "training", frozenset(["n"]))
    assert (np.abs(partial["n"]) > 10**6).any()


def test_numbers_too_large_for_masks_do_not_leave():
    members = [Member(name, "k", 10, secure.agreement_key(name.encode() * 32)) for name in "ab"]
    federation = Federation("f", "k", members, "series", {}, [], rule=None)  # type: ignore[arg-type]
    federation.__dict__["id"] = "f" * 64
    with pytest.raises(UserError, match="too large for secure aggregation, so nothing leaves"):
        secure.masked({"x": np.array([1e9])}, "training", federation, members[0], b"a" * 32, "1")
