"""What an evaluation says of the intervals of probabilities, and of the stays that the model abstains on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from once import built_once  # noqa: F401 (a fixture)
from small_hospital import KEYS, make_predictions

from clinragen.abstention import REASONS, kind_of, reason
from clinragen.cohort.folder import Cohort
from clinragen.errors import UserError
from clinragen.evaluation import abstention, intervals
from clinragen.evaluation.diagnosis import System, bootstrap
from clinragen.evaluation.inputs import Predictions, Truth, load_predictions
from clinragen.evaluation.stored import load_evaluation

STAYS, LABELS = 2400, 4


def predicted(width: float, wrong: float, seed: int = 0) -> tuple[Predictions, np.ndarray]:
    """Predictions whose logits are off by ``wrong``, with intervals that reach ``width`` to either side, and labels."""
    random = np.random.default_rng(seed)
    logits = random.normal(-1, 1.5, (STAYS, LABELS))
    gold = random.random(logits.shape) < 1 / (1 + np.exp(-logits))
    shown = logits + wrong * random.choice([-1, 1], LABELS)
    chances, low, high = (1 / (1 + np.exp(-each)) for each in (shown, shown - width, shown + width))
    system = System(chances, np.full(LABELS, 0.5))
    held = Predictions(
        root=None, manifest=None, labels=None, stay_ids=np.arange(STAYS), system=system, parsed=np.ones(STAYS, bool),
        note_rationales=[], series_rationales=[], concepts=[], intervals=np.stack([low, high], axis=-1),
    )  # fmt: skip
    return held, gold


def summary(width: float, wrong: float, seed: int = 0):
    held, gold = predicted(width, wrong, seed)
    return intervals.summarize(held, gold, np.ones_like(gold), np.arange(STAYS), replicates=50)


def test_intervals_that_are_right_are_said_to_be_and_too_narrow_ones_are_not():
    narrow = [summary(0.02, 0.4, seed) for seed in range(4)]
    wide = [summary(0.9, 0.4, seed) for seed in range(4)]
    assert np.mean([one["inside"]["value"] for one in wide]) > 0.95
    assert np.mean([one["within_error"]["value"] for one in wide]) > 0.95
    assert np.mean([one["inside"]["value"] for one in narrow]) < 0.2
    assert np.mean([one["within_error"]["value"] for one in narrow]) < 0.3
    assert narrow[0]["width"] < 0.01 < wide[0]["width"]


def test_true_probabilities_lie_within_the_error_and_inside_as_often_as_expected():
    drawn = [summary(0.15, 0.0, seed) for seed in range(12)]
    within, inside, expected = (
        np.mean([one[name]["value"] if isinstance(one[name], dict) else one[name] for one in drawn])
        for name in ("within_error", "inside", "expected_inside")
    )
    assert within >= 0.93
    assert inside >= expected - 0.05  # these intervals allow for an error that is not there
    assert drawn[0]["bins"] == LABELS * 3


def test_pairs_that_do_not_count_change_nothing():
    held, gold = predicted(0.2, 0.1)
    eligible = np.random.default_rng(1).random(gold.shape) < 0.6
    one, other = (
        intervals.summarize(held, labels, eligible, np.arange(STAYS), replicates=20)
        for labels in (gold, np.where(eligible, gold, ~gold))
    )
    assert one == other
    assert sum(part["count"] for part in one["curve"]) == eligible.sum()
    assert intervals.summarize(replace(held, intervals=None), gold, eligible, np.arange(STAYS)) is None


@pytest.fixture
def with_intervals(cohort, tmp_path):
    """Predictions whose first stay is abstained on for two reasons, with an interval around each probability."""
    folder = make_predictions(tmp_path / "predictions", cohort)
    path = folder / "predictions.parquet"
    table = pl.read_parquet(path)
    ends = [{key: [max(0.0, p - 0.1), min(1.0, p + 0.1)] for key, p in row.items()} for row in table["probabilities"]]
    given = [[REASONS["no note"], reason("extreme values", share=0.4, limit=0.1)], *[[]] * (len(table) - 1)]
    columns = pq.read_table(path)
    columns = columns.append_column("interval", pa.array(ends, pa.struct([(k, pa.list_(pa.float64())) for k in KEYS])))
    pq.write_table(columns.append_column("abstains", pa.array(given, pa.list_(pa.string()))), path)
    return folder


def test_the_evaluation_counts_reasons_and_scores_what_is_answered(with_intervals, cohort, tmp_path, command, capsys):
    given = ("--predictions", with_intervals, "--cohort", cohort, "--out", tmp_path / "evaluation")
    assert command("clinragen", "evaluate", *given, "--no-controls", "--replicates", 30) == 0
    printed = " ".join(capsys.readouterr().out.split())
    evaluation = load_evaluation(tmp_path / "evaluation" / "evaluation.json")
    abstained, stays = evaluation["abstention"], evaluation["cohort"]["stays"]
    assert abstained["stays"] == 1
    assert {row["reason"]: row["stays"] for row in abstained["reasons"]} == {"no note": 1, "extreme values": 1}
    assert f"The model abstains on 1 of {stays} stays (extreme values 1, no note 1)" in printed
    assert "Intervals of probabilities (95%" in printed
    held = load_predictions(with_intervals)
    labels = Cohort.load(cohort).label_matrix(held.stay_ids)[:, [list(KEYS).index(key) for key in held.labels]]
    alone = System(held.system.probabilities[1:], held.system.thresholds, held.system.written[1:])
    value = bootstrap(labels[1:].astype(bool), {"m": alone}, np.arange(stays - 1), 1)["m"].value[0]
    assert abstained["answered"]["macro_auroc"]["value"] == pytest.approx(value)


def test_stays_that_are_all_abstained_on_have_no_scores(with_intervals, cohort):
    held = load_predictions(with_intervals)
    count = len(held.stay_ids)
    truth = Truth(None, None, np.zeros((count, len(KEYS)), bool), None, None, None)
    told = abstention.summarize(replace(held, abstains=[["the moon is full"]] * count), truth)
    assert told == {"stays": count, "reasons": [{"reason": "other", "stays": count}], "answered": None}
    none = abstention.summarize(replace(held, abstains=[[]] * count), truth)
    assert none == {"stays": 0, "reasons": [], "answered": None}
    assert abstention.summarize(replace(held, abstains=[]), truth) is None


def test_every_reason_that_can_be_stated_has_its_kind():
    numbers = {"count": 3, "total": 10, "limit": 0.61, "share": 0.4, "distance": 7.25}
    for kind, sentence in REASONS.items():
        assert kind_of(sentence.format(**numbers)) == kind


@pytest.mark.parametrize(
    "ends",
    [[0.9, 1.0], [0.0, 0.01], [0.6, 0.4], [-0.5, 1.0], [0.0, 1.5], [0.5], [0.1, 0.5, 0.9], [None, 1.0], None,
     [float("nan"), 1.0]],
)  # fmt: skip
def test_an_interval_that_is_none_is_refused(with_intervals, ends):
    path = with_intervals / "predictions.parquet"
    table = pq.read_table(path)
    rows = [{key: [0.0, 1.0] for key in KEYS} for _ in range(len(table))]
    position, kind = table.column_names.index("interval"), table.schema.field("interval").type
    pq.write_table(table.set_column(position, "interval", pa.array(rows, kind)), path)
    assert load_predictions(with_intervals).intervals.shape == (len(rows), len(KEYS), 2)
    rows[2] = {**rows[2], KEYS[1]: ends}
    pq.write_table(table.set_column(position, "interval", pa.array(rows, kind)), path)
    with pytest.raises(UserError, match=f"row 2, interval, {KEYS[1]}: expected for each label a low and a high end"):
        load_predictions(with_intervals)
