from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from clinragen.errors import UserError
from clinragen.inference.calibrate import (
    Calibration,
    LabelCounts,
    _best_threshold,
    _held_out,
    fit_calibration,
    set_threshold,
)
from clinragen.schema import SETS_HOLD

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


def brute_force(labels: np.ndarray, probabilities: np.ndarray, cuts: np.ndarray) -> tuple[float, float]:
    """The lowest cut with the best F1, and that F1, counted one stay at a time."""
    best = (0.0, -1.0)
    for cut in cuts:
        hits = sum(bool(label) and p >= cut for label, p in zip(labels, probabilities, strict=True))
        called = sum(p >= cut for p in probabilities)
        f1 = 2 * hits / (called + sum(map(bool, labels)))
        if f1 > best[1]:
            best = (float(cut), f1)
    return best


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.2, 2))
def test_the_common_threshold_has_the_best_f1_of_the_grid(seed, slope):
    logits, labels = draw(seed, stays=12, slope=slope)  # too few for a threshold of a label's own
    fitted = fit_calibration(logits, labels, NAMES)
    grid = np.round(np.linspace(0.05, 0.80, 76), 2)
    cut, _ = brute_force(labels.ravel(), fitted.probabilities(logits).ravel(), grid)
    assert fitted.thresholds == pytest.approx([cut] * 3, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_no_cut_at_all_is_much_better_than_the_one_chosen(seed):
    labels = np.random.default_rng(seed).random(300) < 0.3
    probabilities = np.clip(np.random.default_rng(seed + 9).normal(0.25 + 0.3 * labels, 0.15), 0.01, 0.99)
    chosen = _best_threshold(labels.astype(np.float32), probabilities)
    _, best = brute_force(labels, probabilities, np.unique(probabilities))
    _, ours = brute_force(labels, probabilities, np.array([chosen]))
    assert best - 0.02 <= ours <= best


def test_the_lowest_of_equal_cuts_is_chosen_and_the_grid_ends_at_080():
    labels = np.array([0, 0, 1, 1])
    assert _best_threshold(labels, np.array([0.1, 0.2, 0.6, 0.7])) == pytest.approx(0.21)
    assert _best_threshold(labels, np.array([0.85, 0.9, 0.95, 0.99])) == pytest.approx(0.05)
    assert _best_threshold(np.array([0, 0, 0, 1]), np.array([0.1, 0.79, 0.795, 0.9])) == pytest.approx(0.80)
    assert _best_threshold(labels, np.array([0.01, 0.02, 0.03, 0.05])) == pytest.approx(0.05)
    assert _best_threshold(np.zeros(4), np.array([0.1, 0.2, 0.3, 0.9])) == pytest.approx(0.05)


def test_a_probability_at_the_cut_is_called():
    cut = np.linspace(0.05, 0.8, 76)[30]
    assert _best_threshold(np.array([0, 1]), np.array([0.34, cut])) == cut


@pytest.mark.parametrize(("positives", "own"), [(19, False), (20, True)])
def test_a_label_has_a_threshold_of_its_own_from_twenty_positives_on(positives, own):
    random = np.random.default_rng(5)
    labels = np.zeros((80, 2), dtype=np.float32)
    labels[:positives, 0], labels[:40, 1] = 1, 1
    logits = random.normal(0, 1, (80, 2)) + np.array([3.0, 0.4]) * labels
    fitted = fit_calibration(logits, labels, ["rare", "common"])
    probabilities = fitted.probabilities(logits)
    together = _best_threshold(labels.ravel(), probabilities.ravel())
    alone = [_best_threshold(labels[:, column], probabilities[:, column]) for column in range(2)]
    assert abs(alone[0] - together) > 0.02
    assert fitted.thresholds == pytest.approx(
        [(together + alone[0]) / 2 if own else together, (together + alone[1]) / 2]
    )


def test_without_training_stays_it_is_the_logistic_regression_of_the_validation_stays():
    logits, labels = draw(3, stays=600)
    fitted = fit_calibration(logits, labels, NAMES)
    rows = [
        [logits[stay, label], *(float(label == other) for other in range(3))]
        for stay in range(600)
        for label in range(3)
    ]
    reference = LogisticRegression(C=1e6, max_iter=2000, fit_intercept=False).fit(rows, labels.ravel().astype(int))
    assert fitted.slope == pytest.approx(reference.coef_[0, 0], rel=5e-3)
    assert fitted.offsets == pytest.approx(list(reference.coef_[0, 1:]), rel=0.02, abs=0.01)
    assert fitted.labels == NAMES


def test_the_mean_probability_of_a_label_is_its_rate_counted_on_training_stays_too():
    logits, labels = draw(5, stays=100)
    labels[:, 2] = 0  # none among the validation stays
    counts = np.ones(labels.shape, dtype=bool)
    counts[60:, 0] = False
    training = LabelCounts(np.array([300.0, 5.0, 20.0]), np.array([900, 1000, 1000]))
    fitted = fit_calibration(logits, labels, NAMES, counts, training=training)
    positive, eligible = (labels * counts).sum(0) + training.positive, counts.sum(0) + training.eligible
    common = positive.sum() / eligible.sum()
    means = (fitted.probabilities(logits) * counts).sum(0) / counts.sum(0)
    assert means == pytest.approx((positive + common) / (eligible + 1), abs=1e-4)
    assert means[2] == pytest.approx(0.018, abs=0.002)


def test_how_common_a_label_is_in_training_moves_no_slope_and_no_order_within_a_label():
    logits, labels = draw(6, stays=300)
    alone = fit_calibration(logits, labels, NAMES)
    same = LabelCounts(labels.sum(0) * 50, np.full(3, 300 * 50))
    assert fit_calibration(logits, labels, NAMES, training=same).slope == pytest.approx(alone.slope, rel=0.01)
    rarer = fit_calibration(logits, labels, NAMES, training=LabelCounts(np.zeros(3), np.full(3, 3000)))
    assert (rarer.probabilities(logits) < alone.probabilities(logits)).all()
    assert rarer.slope > 0.5 * alone.slope


def test_a_label_that_no_validation_stay_could_have_has_its_rate_in_training():
    logits, labels = draw(7, stays=50)
    counts = np.ones(labels.shape, dtype=bool)
    counts[:, 1] = False
    training = LabelCounts(np.array([10.0, 30.0, 10.0]), np.full(3, 100))
    fitted = fit_calibration(logits, labels, NAMES, counts, training=training)
    assert fitted.probabilities(np.zeros((1, 3)))[0, 1] == pytest.approx(0.3, abs=0.01)


def test_a_score_that_says_nothing_keeps_its_order():
    logits, labels = draw(1)
    fitted = fit_calibration(-logits, labels, NAMES)
    assert fitted.slope == 1e-3


def test_probabilities_are_the_logistic_of_the_scaled_logit():
    fitted = Calibration(NAMES, 0.5, [0.0, 1.0, -2.0], [0.5] * 3)
    assert fitted.probabilities(np.array([[2.0, -2.0, 0.0]]))[0] == pytest.approx([0.7310586, 0.5, 0.1192029])


def test_a_belief_is_above_a_half_where_the_label_is_called():
    fitted = Calibration(NAMES, 1.0, [0.0] * 3, [0.2, 0.5, 0.75])
    beliefs = fitted.beliefs(np.array([[0.2, 0.5, 0.75], [0.5, 0.25, 0.9], [0.19, 0.51, 0.74]]))
    assert beliefs[0] == pytest.approx([0.5, 0.5, 0.5])
    assert beliefs[1] == pytest.approx([0.8, 0.25, 0.75])  # odds 1 * 4, 1/3 * 1, 9 / 3
    assert (beliefs[2] > 0.5).tolist() == [False, True, False]


def test_a_belief_is_never_certain():
    fitted = Calibration(NAMES, 1.0, [0.0] * 3, [0.5] * 3)
    beliefs = fitted.beliefs(np.array([[0.0, 1.0, 1 - 1e-12]]))
    assert beliefs[0] == pytest.approx([1e-6, 1 - 1e-6, 1 - 1e-6], rel=1e-9)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_names_the_label_and_the_row(value):
    logits = np.zeros((4, 3))
    logits[2, 1] = value
    with pytest.raises(UserError, match=r"score of pneumonia is not finite \(row 2\)"):
        Calibration(NAMES, 1.0, [0.0] * 3, [0.5] * 3).probabilities(logits)


GOOD = {"labels": NAMES, "slope": 1.5, "offsets": [0.0, 1, -2.0], "thresholds": [0.2, 0.3, 0.4]}


def test_what_was_stored_comes_back():
    assert Calibration.from_json(GOOD, NAMES) == Calibration(NAMES, 1.5, [0.0, 1, -2.0], [0.2, 0.3, 0.4])
    assert Calibration(NAMES, 1.5, [0.0, 1, -2.0], [0.2, 0.3, 0.4]).to_json() == GOOD | {
        "possible": None,
        "variance": None,
    }


@pytest.mark.parametrize(
    "change",
    [
        *({"slope": value} for value in (None, "1.5", True)),
        *({"offsets": value} for value in (None, 1.0, [0.0, 1.0], [0.0, 1.0, "2"], "abc")),
        *({"thresholds": value} for value in (None, [0.2, 0.3], [0.2] * 4, [0.2, True, 0.4], {"a": 1, "b": 2, "c": 3})),
    ],
    ids=str,
)
def test_numbers_that_are_missing_or_no_numbers_are_refused(change):
    with pytest.raises(UserError, match="an offset and a threshold for each label"):
        Calibration.from_json(GOOD | change, NAMES)
    with pytest.raises(UserError, match="an offset and a threshold for each label"):
        Calibration.from_json({key: value for key, value in GOOD.items() if key not in change}, NAMES)


@pytest.mark.parametrize("value", [0, 1, -0.1, 1.5])
def test_a_threshold_outside_zero_and_one_is_refused_by_name(value):
    with pytest.raises(UserError, match="threshold of pneumonia does not lie"):
        Calibration.from_json(GOOD | {"thresholds": [0.2, value, 0.4]}, NAMES)


def test_a_split_of_positives_alone_is_refused_too():
    with pytest.raises(UserError, match="calibration needs more stays"):
        fit_calibration(np.zeros((5, 3)), np.ones((5, 3)), NAMES)


def held(probabilities: np.ndarray, labels: np.ndarray, least: float) -> np.ndarray:
    """The share of each stay's labels that are at or above a threshold, of stays that have any."""
    some = labels.any(1)
    return ((probabilities >= least) & labels)[some].sum(1) / labels[some].sum(1)


def draw_probabilities(random: np.random.Generator, stays: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are wrong, as a model's on another hospital may be, and labels."""
    true = random.beta(0.4, 1.6, (stays, 6))
    labels = random.random(true.shape) < true
    labels[random.random(stays) < 0.3] = False  # as on real wards, where many have none of the labels
    return true**2, labels


@pytest.mark.parametrize("stays", [15, 40, 200])
def test_sets_hold_what_they_promise_of_new_stays_whatever_the_probabilities(stays):
    random = np.random.default_rng(stays)
    shares = []
    for _ in range(400):
        least = set_threshold(*draw_probabilities(random, stays))
        shares.append(held(*draw_probabilities(random, 200), least).mean())
    assert np.mean(shares) >= SETS_HOLD - 0.005  # the promise is about the mean over both draws
    assert np.mean(shares) <= SETS_HOLD + 2 / stays + 0.01  # and not much more is kept than that takes


@given(st.integers(0, 10_000), st.integers(1, 60))
def test_the_set_threshold_is_the_largest_that_keeps_the_promise(seed, stays):
    probabilities, labels = draw_probabilities(np.random.default_rng(seed), stays)

    def risk(least: float) -> float:
        return ((1 - held(probabilities, labels, least)).sum() + 1) / (labels.any(1).sum() + 1)

    least = set_threshold(probabilities, labels)
    larger = sorted(value for value in probabilities[labels] if value > least)
    assert least == 0.0 or risk(least) <= 1 - SETS_HOLD + 1e-9
    if larger:
        assert risk(larger[0]) > 1 - SETS_HOLD


def test_what_does_not_count_forms_no_set_and_few_stays_keep_every_label():
    probabilities, labels = draw_probabilities(np.random.default_rng(1), 300)
    counts = np.ones_like(labels)
    counts[:, 3:] = False
    assert set_threshold(probabilities, labels, counts) == set_threshold(probabilities, labels & counts)
    assert set_threshold(probabilities[:5], labels[:5]) == 0.0
    assert set_threshold(probabilities, np.zeros_like(labels)) == 0.0


def test_a_set_threshold_that_is_no_probability_is_refused():
    stored = fit_calibration(*draw(1), NAMES).to_json()
    assert 0 <= stored["possible"] <= 1
    assert Calibration.from_json({**stored, "possible": None}, NAMES).possible is None
    for wrong in (1.5, -0.1, "a", [0.1]):
        with pytest.raises(UserError, match="`possible` is no probability"):
            Calibration.from_json({**stored, "possible": wrong}, NAMES)


def test_a_moved_calibration_reads_logits_that_lack_the_shift_alike():
    logits, labels = draw(3)
    fitted, shift = fit_calibration(logits, labels, NAMES), np.array([0.5, -1.0, 2.0])
    np.testing.assert_allclose(
        fitted.moved(shift).probabilities(logits - shift), fitted.probabilities(logits), rtol=1e-6
    )
    assert fitted.moved(shift).thresholds == fitted.thresholds


def test_a_fold_whose_others_have_no_positive_is_read_by_what_was_fitted_to_all():
    logits, labels = draw(4, stays=40)
    labels[1:] = 0  # the only positives are those of the first stay
    counts = np.ones(labels.shape, dtype=bool)
    found, whole = _held_out(logits, labels, NAMES, counts, None), fit_calibration(logits, labels, NAMES)
    np.testing.assert_allclose(found[:4], whole.probabilities(logits)[:4])
    assert not np.allclose(found[4:], whole.probabilities(logits)[4:])
