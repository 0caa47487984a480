"""Paired comparison of predictions, and classical baselines as predictions."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_hospital import make_cohort, make_predictions

import clinragen
from clinragen.cli import dispatch
from clinragen.errors import UserError
from clinragen.evaluation.comparison import compared, holm, significance
from clinragen.evaluation.diagnosis import System

PS = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=30)


def systems(seed=0, n=200, labels=4, gain=1.5):
    """Gold labels of patients with two stays each, and two systems that share their noise."""
    generator = np.random.default_rng(seed)
    gold = generator.random((n, labels)) < 0.3
    noise = generator.standard_normal((n, labels))
    thresholds = np.full(labels, 0.5)
    parts = {
        name: System(1 / (1 + np.exp(-(signal * gold - 1 + noise))), thresholds)
        for name, signal in (("weak", 0.5), ("strong", 0.5 + gain))
    }
    return gold, parts, np.repeat(np.arange(n // 2), 2)


def test_better_system_leads_and_a_system_equals_itself():
    gold, parts, patients = systems()
    names = {f"l{i}": f"label {i}" for i in range(4)}
    _, rows = compared(gold, {**parts, "again": parts["weak"]}, patients, names, replicates=200)
    lead = rows["strong"]["differences"]["macro_auroc"]
    assert lead["difference"]["low"] > 0
    assert lead["p"] < 0.02
    assert all(row["difference"]["value"] > 0 for row in rows["strong"]["labels"].values())
    same = rows["again"]["differences"]
    assert {row["p"] for row in same.values() if row["difference"]["value"] is not None} == {1.0}
    assert same["brier"]["difference"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_difference_is_paired():
    """The shared noise falls out: the interval of the difference is narrower than that of either score."""
    gold, parts, patients = systems(gain=0.1)
    _, rows = compared(gold, parts, patients, {f"l{i}": "" for i in range(4)}, replicates=200)

    def width(score):
        return score["high"] - score["low"]

    lead = rows["strong"]["differences"]["macro_auroc"]["difference"]
    assert width(lead) < 0.5 * width(rows["weak"]["scores"]["macro_auroc"])


def test_label_with_one_class_has_no_difference_and_is_not_counted():
    gold, parts, patients = systems()
    gold[:, 0] = False
    _, rows = compared(gold, parts, patients, {f"l{i}": "" for i in range(4)}, replicates=100)
    labels = rows["strong"]["labels"]
    assert labels["l0"]["p"] is labels["l0"]["p_holm"] is labels["l0"]["difference"]["value"] is None
    assert labels["l1"]["p_holm"] <= 3 * labels["l1"]["p"] + 1e-12


@given(PS)
def test_holm_never_makes_a_p_value_smaller_and_keeps_their_order(values):
    corrected = holm(values)
    pairs = [(p, q) for p, q in zip(values, corrected, strict=True) if p is not None]
    assert [q is None for q in corrected] == [p is None for p in values]
    assert all(p <= q <= max(p, min(1, p * len(pairs))) + 1e-12 for p, q in pairs)
    assert [q for _, q in sorted(pairs)] == sorted(q for _, q in pairs)


def test_no_difference_is_significant_in_one_of_twenty_random_pairs_by_the_definition():
    """Replicates around zero are not significant, and those on one side are as far as their number allows."""
    assert significance(np.linspace(-1, 1, 999)) > 0.9
    assert significance(np.linspace(0.1, 1, 999)) == pytest.approx(2 / 1000)
    assert significance(np.array([np.nan])) is None


def test_command_tells_scores_labels_and_left_out_stays(cohort, predictions, tmp_path, capsys):
    weaker = make_predictions(tmp_path / "weaker", cohort, seed=5, signal=0.5)
    table = pq.read_table(weaker / "predictions.parquet")
    pq.write_table(table.slice(1), weaker / "predictions.parquet")
    out = tmp_path / "comparison.json"
    words = ["compare", str(weaker), str(predictions), "--cohort", str(cohort), "--replicates", "100"]
    assert not dispatch([*words, "--out", str(out)])
    shown = capsys.readouterr().out
    assert "1 stays were not predicted by all and are left out" in shown
    assert "acute renal failure" in shown
    written = json.loads(out.read_text())
    assert list(written["systems"]) == ["observed", "weaker"]
    assert written["left_out"] == 1
    with pytest.raises(UserError, match="overwrite"):
        dispatch([*words, "--out", str(out)])
    assert not dispatch([*words, "--json"])
    assert json.loads(capsys.readouterr().out)["cohort"]["stays"] == len(table) - 1


def test_labels_in_another_order_give_the_same_scores(cohort, predictions, tmp_path):
    turned = shutil.copytree(predictions, tmp_path / "turned")
    manifest = json.loads((turned / "manifest.json").read_text())
    manifest["labels"] = manifest["labels"][::-1]
    (turned / "manifest.json").write_text(json.dumps(manifest))
    compared = clinragen.compare([predictions, turned], cohort, replicates=10)
    assert compared.difference("macro_auroc") == compared.difference("brier") == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda cohort, tmp: [make_predictions(tmp / "one", cohort)], "two or more"),
        (
            lambda cohort, tmp: [
                make_predictions(tmp / "one", cohort),
                make_predictions(tmp / "two", cohort, split="validation"),
            ],
            "no stay in common",
        ),
        (
            lambda cohort, tmp: [
                make_predictions(tmp / "one", cohort),
                make_predictions(tmp / "two", make_cohort(tmp / "other", stays=30, seed=3)),
            ],
            "another cohort",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(cohort, tmp_path, make, message):
    with pytest.raises(UserError, match=message):
        clinragen.compare(make(cohort, tmp_path), cohort, replicates=10)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """Enough stays to learn from."""
    return make_cohort(tmp_path_factory.mktemp("baseline") / "cohort", stays=160)


@pytest.mark.parametrize("reads", ["note", "series", "both"])
def test_baseline_learns_what_it_reads_and_is_compared(hospital, tmp_path, reads):
    """The note names the labels; some push the series. What it predicts is no more than chance with labels permuted."""
    predicted = clinragen.baseline(hospital, tmp_path / "baseline", reads, progress=False)
    guess = make_predictions(tmp_path / "guess", hospital, signal=0.0)
    lead = clinragen.compare([guess, predicted], hospital, replicates=50).difference("macro_auroc")
    assert lead > {"note": 0.3, "series": 0.02, "both": 0.2}[reads]
    evaluated = clinragen.evaluate(predicted, hospital, tmp_path / "evaluation", no_controls=True, replicates=20)
    assert evaluated.values["predictions"]["remarks"]


def test_baseline_of_test_stays_reads_no_test_label(hospital, tmp_path):
    first = clinragen.baseline(hospital, tmp_path / "first", "note", progress=False)
    changed = shutil.copytree(hospital, tmp_path / "changed")
    table = pq.read_table(changed / "labels.parquet").to_pandas()
    stays = pq.read_table(changed / "stays.parquet").to_pandas()
    test = table["stay_id"].isin(stays.loc[stays["split"] == "test", "stay_id"])
    columns = [name for name in table if name != "stay_id"]
    table.loc[test, columns] = ~table.loc[test, columns]
    pq.write_table(pq.read_table(changed / "labels.parquet").from_pandas(table), changed / "labels.parquet")
    second = clinragen.baseline(changed, tmp_path / "second", "note", progress=False)
    assert np.array_equal(first.system.probabilities, second.system.probabilities)


def test_baseline_says_what_is_missing(hospital, tmp_path):
    silent = shutil.copytree(hospital, tmp_path / "silent")
    notes = pq.read_table(silent / "notes.parquet")
    pq.write_table(notes.slice(0, 0), silent / "notes.parquet")
    with pytest.raises(UserError, match="use --reads series"):
        clinragen.baseline(silent, tmp_path / "out", "note", progress=False)
    with pytest.raises(UserError, match="reads"):
        clinragen.baseline(hospital, tmp_path / "out", "notes", progress=False)
    assert not (tmp_path / "out").exists()
