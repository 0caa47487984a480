from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinragen.errors import UserError
from clinragen.inference.calibrate import Calibration, fit_calibration

NAMES = ["shock", "pneumonia", "septicemia"]


def draw(seed: int, stays: int = 200, slope: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true probability of a label is sigmoid(slope * logit - 1)."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (stays, len(NAMES)))
    labels = random.random(logits.shape) < 1 / (1 + np.exp(1 - slope * logits))
    labels[0] = True
    return logits.astype(np.float32), labels.astype(np.float32)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(-1, 3), st.integers(3, 60))
def test_probabilities_rise_with_the_logit_and_thresholds_are_probabilities(seed, slope, stays):
    fitted = fit_calibration(*draw(seed, stays, slope), NAMES)
    ladder = np.tile(np.linspace(-8, 8, 50)[:, None], (1, len(NAMES)))
    probabilities = fitted.probabilities(ladder)
    assert (np.diff(probabilities, axis=0) >= 0).all()
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert all(0 < threshold < 1 for threshold in fitted.thresholds)


def test_known_miscalibration_is_undone():
    logits, labels = draw(0, stays=4000, slope=0.4)
    fitted = fit_calibration(logits, labels, NAMES)
    assert fitted.slope == pytest.approx(0.4, abs=0.05)
    assert fitted.offsets == pytest.approx([-1] * 3, abs=0.15)
    assert fitted.probabilities(logits).mean(0) == pytest.approx(labels.mean(0), abs=0.02)


def test_extreme_logits_do_not_overflow():
    fitted = Calibration(NAMES, 1.0, [0.0] * 3, [0.5] * 3)
    with np.errstate(over="raise", invalid="raise"):
        probabilities = fitted.probabilities(np.array([[-1000.0, 0.0, 1000.0]]))
    assert probabilities.tolist() == [[0.0, 0.5, 1.0]]


def test_it_survives_json_and_another_label_set_is_refused():
    fitted = fit_calibration(*draw(1), NAMES)
    stored = json.loads(json.dumps(fitted.to_json()))
    assert Calibration.from_json(stored, NAMES) == fitted
    with pytest.raises(UserError, match="another label set"):
        Calibration.from_json(stored, NAMES[::-1])


def test_a_split_without_a_positive_is_refused():
    with pytest.raises(UserError, match="no positive"):
        fit_calibration(np.zeros((5, 3)), np.zeros((5, 3)), NAMES)
