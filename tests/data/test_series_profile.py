"""Rows unlike those of training are far, although each of their numbers may be usual."""

from __future__ import annotations

import json

import numpy as np

from clinragen.data.series_profile import SeriesProfile, held_out_distances

VARIABLES, STAYS = 8, 400


def rows(random: np.random.Generator, stays: int = STAYS) -> np.ndarray:
    """Half of the variables are measured often, half seldom; all values follow one cause."""
    often = np.clip(np.linspace(0.95, 0.2, VARIABLES) + random.normal(0, 0.05, (stays, VARIABLES)), 0, 1)
    means = random.normal(0, 1, (stays, 1)) + random.normal(0, 0.3, (stays, VARIABLES))
    deviations = np.abs(random.normal(0.5, 0.1, (stays, VARIABLES)))
    made = np.concatenate([often, means, deviations], axis=1)
    made[random.random(made.shape) < 0.02] = np.nan
    return made


def test_new_rows_of_the_same_kind_are_as_near_as_held_out_ones_and_others_are_far():
    random = np.random.default_rng(0)
    training, new = rows(random), rows(random)
    profile, held_out = SeriesProfile.fit(training), held_out_distances(training, np.arange(STAYS))
    limit = np.quantile(held_out, 0.99)
    assert np.mean(profile.distances(new) > limit) <= 0.03
    order = random.permutation(VARIABLES)
    assert (profile.distances(new.reshape(STAYS, 3, VARIABLES)[:, :, order].reshape(STAYS, -1)) > limit).mean() > 0.95
    apart = new.copy()
    apart[:, VARIABLES : 2 * VARIABLES] = [1.5, -1.5] * (VARIABLES // 2)  # each is usual, all together never
    assert (profile.distances(apart) > np.median(profile.distances(new))).mean() > 0.9


def test_what_is_stored_says_the_same_and_holds_no_row():
    training = rows(np.random.default_rng(1))
    profile = SeriesProfile.fit(training)
    stored = json.loads(json.dumps(profile.to_json()))
    assert SeriesProfile.from_json(stored, VARIABLES) == profile
    assert len(stored["axes"]) < 3 * VARIABLES < STAYS
    assert SeriesProfile.from_json(stored, VARIABLES + 1) is None


def test_stays_of_one_patient_are_held_out_together():
    training = rows(np.random.default_rng(2), 60)
    twice = np.repeat(training, 2, axis=0)
    together = held_out_distances(twice, np.repeat(np.arange(60), 2))
    apart = held_out_distances(twice, np.arange(120))
    assert together.mean() > apart.mean()
