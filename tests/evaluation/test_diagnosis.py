import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_fscore_support, roc_auc_score

from clinragen.evaluation.diagnosis import (
    METRICS,
    Scorer,
    System,
    agreement,
    bootstrap,
    calibration_curve,
    interval,
    patient_bootstrap,
    prevalence_guess,
)
from clinragen.evaluation.ranking import Ranking


@st.composite
def problems(draw):
    """Gold labels, scores with ties, sample weights with zeros."""
    n, labels = draw(st.integers(2, 30)), draw(st.integers(1, 5))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    gold = generator.random((n, labels)) < draw(st.floats(0.05, 0.95))
    scores = np.round(generator.random((n, labels)), draw(st.integers(0, 3)))
    return gold, scores, generator.integers(0, 4, n).astype(float)


@given(problems())
@settings(max_examples=150, deadline=None)
def test_areas_equal_scikit_learn(problem):
    gold, scores, weights = problem
    auroc, auprc = Ranking(gold, scores)(weights)
    for label in range(gold.shape[1]):
        kept = weights > 0
        if len(set(gold[kept, label])) < 2:
            assert np.isnan(auroc[label])
            assert np.isnan(auprc[label])
            continue
        arguments = gold[:, label], scores[:, label]
        assert auroc[label] == pytest.approx(roc_auc_score(*arguments, sample_weight=weights))
        assert auprc[label] == pytest.approx(average_precision_score(*arguments, sample_weight=weights))


@given(problems())
@settings(max_examples=80, deadline=None)
def test_agreement_equals_scikit_learn(problem):
    gold, scores, _ = problem
    said = scores > 0.5
    found = agreement(gold, said)
    if gold.shape[1] == 1:  # scikit-learn reads a single column as a binary problem, not as one label
        gold, said = np.hstack([gold, gold]), np.hstack([said, said])
        found = agreement(gold, said)
    expected = precision_recall_fscore_support(gold, said, average=None, zero_division=0)
    for name, values in zip(("precision", "recall", "f1"), expected[:3], strict=True):
        np.testing.assert_allclose(found[name], values)
    micro = precision_recall_fscore_support(gold, said, average="micro", zero_division=0)
    np.testing.assert_allclose(found["micro"], [float(value) for value in micro[:3]])


@given(problems())
@settings(max_examples=60, deadline=None)
def test_weights_equal_repeated_samples(problem):
    gold, scores, weights = problem
    if not weights.any():
        return
    rows = np.repeat(np.arange(len(gold)), weights.astype(int))
    thresholds = np.full(gold.shape[1], 0.5)
    weighted, _ = Scorer(gold, System(scores, thresholds, scores > 0.3)).vector(weights)
    repeated, _ = Scorer(gold[rows], System(scores[rows], thresholds, scores[rows] > 0.3)).vector(np.ones(len(rows)))
    np.testing.assert_allclose(weighted, repeated, atol=1e-12)


def test_order_of_stays_changes_nothing():
    generator = np.random.default_rng(3)
    gold, scores = generator.random((40, 4)) < 0.3, generator.random((40, 4))
    order = generator.permutation(40)
    thresholds = np.full(4, 0.5)
    first, _ = Scorer(gold, System(scores, thresholds)).vector(np.ones(40))
    second, _ = Scorer(gold[order], System(scores[order], thresholds)).vector(np.ones(40))
    np.testing.assert_allclose(first, second)


def test_label_without_both_classes_is_left_out_of_the_macro_area():
    gold = np.array([[1, 0], [0, 0], [1, 0]], bool)
    scores = np.array([[0.9, 0.2], [0.1, 0.3], [0.8, 0.1]])
    values, auroc = Scorer(gold, System(scores, np.full(2, 0.5))).vector(np.ones(3))
    assert np.isnan(auroc[1])
    assert values[METRICS.index("macro_auroc")] == 1.0


def test_calibration_error_is_the_mean_gap_of_the_curve():
    generator = np.random.default_rng(0)
    probabilities = generator.random((500, 3))
    gold = generator.random((500, 3)) < probabilities**2
    curve = calibration_curve(gold, probabilities)
    by_curve = sum(b["count"] * abs(b["probability"] - b["observed"]) for b in curve) / gold.size
    values, _ = Scorer(gold, System(probabilities, np.full(3, 0.5))).vector(np.ones(500))
    assert values[METRICS.index("ece")] == pytest.approx(by_curve)
    assert values[METRICS.index("brier")] == pytest.approx(((probabilities - gold) ** 2).mean())


def test_probabilities_that_are_true_shares_are_calibrated():
    generator = np.random.default_rng(1)
    probabilities = generator.random((20_000, 2))
    gold = generator.random((20_000, 2)) < probabilities
    values, _ = Scorer(gold, System(probabilities, np.full(2, 0.5))).vector(np.ones(20_000))
    assert values[METRICS.index("ece")] < 0.01


def test_bootstrap_draws_patients_whole_and_repeats():
    patients = np.array([7, 7, 9, 4, 4, 4])
    first = list(patient_bootstrap(patients, 50, seed=5))
    for weights, again in zip(first, patient_bootstrap(patients, 50, seed=5), strict=True):
        np.testing.assert_array_equal(weights, again)
        assert weights[0] == weights[1]
        assert weights[3] == weights[4] == weights[5]
        assert weights[0] + weights[2] + weights[3] == 3
    assert any((a != b).any() for a, b in zip(first, patient_bootstrap(patients, 50, seed=6), strict=True))


def test_more_patients_narrow_the_interval():
    generator = np.random.default_rng(0)
    widths = []
    for n in (60, 600):
        gold = generator.random((n, 3)) < 0.4
        scores = np.clip(0.3 * gold + 0.7 * generator.random((n, 3)), 0, 1)
        systems = {"model": System(scores, np.full(3, 0.5))}
        result = bootstrap(gold, systems, np.arange(n), replicates=200)["model"]
        found = interval(result.value[0], result.replicates[:, 0])
        assert found["low"] <= found["value"] <= found["high"]
        widths.append(found["high"] - found["low"])
    assert widths[1] < widths[0] / 2


def test_score_without_any_defined_replicate_has_no_interval():
    assert interval(0.5, np.array([np.nan])) == {"value": 0.5, "low": None, "high": None}
    assert interval(float("nan"), np.array([0.5])) == {"value": None, "low": None, "high": None}


def test_prevalence_guess_is_chance_and_writes_the_best_fixed_list():
    generator = np.random.default_rng(2)
    gold = generator.random((400, 4)) < np.array([0.7, 0.5, 0.05, 0.01])
    guess = prevalence_guess(gold, 400)
    values, auroc = Scorer(gold, guess).vector(np.ones(400))
    np.testing.assert_allclose(auroc, 0.5)
    assert guess.written is not None
    assert guess.written[0].tolist() == [True, True, False, False]
    np.testing.assert_array_equal(guess.written, guess.thresholded)
    best = max(
        agreement(gold, np.tile(np.arange(4) < k, (400, 1)))["micro"][2]
        for k in range(1, 5)  # the columns are sorted by prevalence
    )
    assert values[METRICS.index("written_micro_f1")] == pytest.approx(best)
