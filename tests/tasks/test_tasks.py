"""Tasks: eligibility, labels, and null labels, which are never counted."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest

from clinragen import tasks
from clinragen.errors import UserError
from clinragen.evaluation.diagnosis import METRICS, Scorer, System, bootstrap, calibration_curve, prevalence_guess
from clinragen.evaluation.ranking import Ranking
from clinragen.inference.calibrate import fit_calibration
from clinragen.schema import CohortPaths

START = dt.datetime(2150, 1, 1)


class Stays:
    """As much of a cohort as labels of tasks are made of."""

    def __init__(self, root, stays, outcomes):
        def hours(count):
            return None if count is None else START + dt.timedelta(hours=count)

        self.paths = CohortPaths(root)
        rows = [(i, START, hours(left), hours(24)) for i, (left, _, _) in enumerate(stays)]
        times = pl.Datetime("ms")
        schema = {"stay_id": pl.Int64, "intime": times, "outtime": times, "prediction_time": times}
        self.stays = pl.DataFrame(rows, schema=schema, orient="row")
        if outcomes:
            self.paths.outcomes.touch()
            ends = [(i, died, hours(death)) for i, (_, died, death) in enumerate(stays)]
            known = {"stay_id": pl.Int64, "died_in_hospital": pl.Boolean, "death_time": times}
            self.outcomes = pl.DataFrame(ends, schema=known, orient="row")


#: ICU discharge in hours, death in hospital, its hour -> mortality, long stay; the prediction is made at hour 24
CASES = [
    ((30, True, 200), True, False),
    ((30, False, None), False, False),
    ((24, False, None), None, None),  # left as the prediction is made
    ((20, True, 90), None, None),  # left before, and died later
    ((30, True, 24), None, None),  # dead by then
    ((30, True, None), True, False),  # the hour of death is not known, but the patient was in the ICU
    ((30, None, None), None, False),  # whether the patient died is not known
    ((None, False, None), None, None),  # the end of the stay is not known
    ((168, False, None), False, False),  # seven days, and no more
    ((168.5, False, None), False, True),
]


@pytest.mark.parametrize(("name", "column"), [("mortality", 1), ("length_of_stay_over_7_days", 2)])
def test_labels_are_true_false_or_null(tmp_path, name, column):
    cohort = Stays(tmp_path, [case[0] for case in CASES], outcomes=True)
    table = tasks.load(name).table(cohort)
    assert table["stay_id"].to_list() == list(range(len(CASES)))
    assert table[:, 1].to_list() == [case[column] for case in CASES]


def test_labels_as_arrays_keep_the_order_that_is_asked_for(tmp_path):
    cohort = Stays(tmp_path, [case[0] for case in CASES], outcomes=True)
    present, eligible = tasks.load("mortality").labels(cohort, np.array([9, 0, 2]))
    assert present[:, 0].tolist() == [False, True, False]
    assert eligible[:, 0].tolist() == [True, True, False]


def test_a_split_without_an_eligible_stay_is_one_clear_line(tmp_path):
    task, cohort = tasks.load("mortality"), Stays(tmp_path, [case[0] for case in CASES], outcomes=True)
    with pytest.raises(UserError, match=r"no validation stay is eligible for task 'mortality' \(in-hospital death\)"):
        task.check(cohort, task.labels(cohort, np.array([2, 3])), "validation")
    assert task.check(cohort, task.labels(cohort, np.array([0, 2])), "validation") == []


def test_every_file_of_the_package_is_a_task():
    assert tasks.names()[0] == tasks.DEFAULT == "diagnosis"
    assert {"mortality", "length_of_stay_over_7_days"} < set(tasks.names())
    for name in tasks.names():
        assert tasks.load(name).name == name
    with pytest.raises(UserError, match="did you mean 'mortality'"):
        tasks.load("mortalty")


def _drawn(stays=400, labels=3, seed=0):
    random = np.random.default_rng(seed)
    gold = random.random((stays, labels)) < 0.3
    probabilities = (0.35 * gold + 0.6 * random.random((stays, labels))).clip(0.01, 0.99)
    return gold, probabilities, random.random((stays, labels)) < 0.6


def test_scores_are_those_of_the_eligible_stays_alone():
    gold, probabilities, eligible = _drawn(labels=1)
    rows = eligible[:, 0]
    written = probabilities > 0.4
    system = System(probabilities, np.array([0.5]), written)
    alone = System(probabilities[rows], np.array([0.5]), written[rows])
    masked, area = Scorer(gold & eligible, system, eligible).vector(np.ones(len(gold)))
    expected, expected_area = Scorer(gold[rows], alone).vector(np.ones(rows.sum()))
    assert masked == pytest.approx(expected)
    assert area == pytest.approx(expected_area)
    assert calibration_curve(gold, probabilities, eligible=eligible) == calibration_curve(
        gold[rows], probabilities[rows]
    )
    guess = prevalence_guess(gold & eligible, 2, eligible)
    assert guess.probabilities[0, 0] == pytest.approx(gold[rows].mean())


@pytest.mark.parametrize("seed", range(3))
def test_what_a_null_label_would_have_been_changes_no_score(seed):
    gold, probabilities, eligible = _drawn(seed=seed)
    patients = np.arange(len(gold)) // 2
    scored = []
    for flipped in (gold & eligible, gold | ~eligible):
        systems = {"model": System(probabilities, np.full(3, 0.5), probabilities > 0.4)}
        scored.append(bootstrap(flipped, systems, patients, 5, 0, eligible)["model"])
    assert len(scored[0].value) == len(METRICS)
    assert scored[0].value == pytest.approx(scored[1].value)
    assert scored[0].replicates == pytest.approx(scored[1].replicates)


def test_each_label_is_ranked_on_its_own_stays():
    gold, probabilities, eligible = _drawn()
    areas = Ranking(gold, probabilities, eligible)(np.ones(len(gold)))
    for label in range(3):
        rows = eligible[:, label]
        alone = Ranking(gold[rows, label : label + 1], probabilities[rows, label : label + 1])(np.ones(rows.sum()))
        assert [areas[0][label], areas[1][label]] == pytest.approx([alone[0][0], alone[1][0]])


def test_calibration_reads_eligible_pairs_alone():
    gold, probabilities, eligible = _drawn()
    logits = np.log(probabilities / (1 - probabilities))
    names = ["a", "b", "c"]
    one, other = (fit_calibration(logits, labels, names, eligible) for labels in (gold & eligible, gold | ~eligible))
    assert one == other
    assert one != fit_calibration(logits, gold & eligible, names)
