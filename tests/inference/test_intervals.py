"""The interval of a probability holds what another calibration would give, as often as it says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clinragen.errors import UserError
from clinragen.inference.calibrate import Calibration, fit_calibration

NAMES = ["shock", "pneumonia", "septicemia"]
OFFSETS = np.array([-1.0, -3.0, 0.5])


def draw(random: np.random.Generator, stays: int = 250) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true calibration has slope 0.8 and these offsets."""
    logits = random.normal(0, 2, (stays, len(NAMES)))
    labels = random.random(logits.shape) < 1 / (1 + np.exp(-(0.8 * logits + OFFSETS)))
    return logits, labels.astype(np.float32)


def test_intervals_hold_the_true_probability_as_often_as_they_say():
    random, ladder = np.random.default_rng(0), np.tile(np.linspace(-5, 5, 11)[:, None], 3)
    true = 1 / (1 + np.exp(-(0.8 * ladder + OFFSETS)))
    held = []
    for _ in range(60):
        ends = fit_calibration(*draw(random), NAMES).intervals(ladder)
        held.append((ends[..., 0] <= true) & (true <= ends[..., 1]))
    assert 0.92 <= np.mean(held) <= 0.99
    assert (np.mean(held, axis=(0, 1)) > 0.86).all()  # of each label


def test_an_interval_is_around_its_probability_and_rises_with_it():
    logits, labels = draw(np.random.default_rng(1))
    fitted = fit_calibration(logits, labels, NAMES)
    ladder = np.tile(np.linspace(-4, 4, 50)[:, None], 3)
    probabilities, ends = fitted.probabilities(ladder), fitted.intervals(ladder)
    assert ((ends[..., 0] >= 0) & (ends[..., 0] < probabilities)).all()
    assert ((probabilities < ends[..., 1]) & (ends[..., 1] <= 1)).all()
    assert (np.diff(ends, axis=0) > 0).all()


def widths(fitted: Calibration) -> np.ndarray:
    ends = fitted.intervals(np.zeros((1, 3)))
    return (np.log(ends / (1 - ends)) @ [-1, 1])[0]


def test_fewer_stays_fewer_positives_and_patients_with_many_stays_widen_it():
    logits, labels = draw(np.random.default_rng(2), 400)
    few, many = fit_calibration(logits[:100], labels[:100], NAMES), fit_calibration(logits, labels, NAMES)
    assert (widths(few) > 1.5 * widths(many)).all()
    labels[:, 1] = 0
    assert widths(fit_calibration(logits, labels, NAMES))[1] > 2 * widths(many)[1]
    twice = np.repeat(logits[:200], 2, axis=0), np.repeat(labels[:200], 2, axis=0)
    alone = fit_calibration(*twice, NAMES)
    owned = fit_calibration(*twice, NAMES, patients=np.repeat(np.arange(200), 2))
    assert widths(owned) == pytest.approx(np.sqrt(2) * widths(alone))
    assert owned.probabilities(logits).tolist() == alone.probabilities(logits).tolist()


def test_what_does_not_count_says_nothing():
    logits, labels = draw(np.random.default_rng(3), 200)
    counts = np.arange(200)[:, None] < [200, 50, 200]
    other = np.where(counts, labels, 1 - labels)
    one, two = (fit_calibration(logits, given, NAMES, counts) for given in (labels, other))
    assert one.variance == two.variance
    assert widths(one)[1] > 1.5 * widths(fit_calibration(logits, labels, NAMES))[1]


def test_a_moved_calibration_has_the_intervals_of_the_logits_that_lack_the_shift():
    logits, labels = draw(np.random.default_rng(4))
    fitted, shift = fit_calibration(logits, labels, NAMES), np.array([0.5, -1.0, 2.0])
    np.testing.assert_allclose(fitted.moved(shift).intervals(logits - shift), fitted.intervals(logits), rtol=1e-6)


def test_they_survive_json_and_a_model_without_them_gives_none():
    logits, labels = draw(np.random.default_rng(5))
    stored = json.loads(json.dumps(fit_calibration(logits, labels, NAMES).to_json()))
    assert Calibration.from_json(stored, NAMES).intervals(logits) is not None
    del stored["variance"]
    assert Calibration.from_json(stored, NAMES).intervals(logits) is None
    assert Calibration.from_json(stored, NAMES).moved(np.ones(3)).intervals(logits) is None


@pytest.mark.parametrize(
    "damage", [5, [], {}, {"slope": "a"}, {"offsets": [1.0]}, {"both": [0.0] * 4}, {"offsets": [float("nan")] * 3}]
)
def test_damaged_variances_are_refused(damage):
    stored = fit_calibration(*draw(np.random.default_rng(6)), NAMES).to_json()
    stored["variance"] = stored["variance"] | damage if damage and isinstance(damage, dict) else damage
    with pytest.raises(UserError, match=r"calibration\.json: `variance` is"):
        Calibration.from_json(stored, NAMES)
