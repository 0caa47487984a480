"""Scores by age, sex, stay length and care unit: a planted gap is told, and which labels a group has is not in it."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from small_hospital import make_cohort, make_predictions

from clinragen.cohort.folder import Cohort
from clinragen.evaluation import groups
from clinragen.evaluation.inputs import load_predictions, load_truth


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    root = tmp_path_factory.mktemp("groups")
    cohort = make_cohort(root / "cohort", stays=200)
    predictions = load_predictions(make_predictions(root / "predictions", cohort))
    return predictions, load_truth(predictions, Cohort.load(cohort))


def _tables(predictions, truth, replicates=40):
    part = groups.summarize(predictions, truth, replicates)
    return {table["by"]: {row["name"]: row for row in table["rows"]} for table in part["tables"]}


def _told(truth, right):
    """Probabilities that are right for some stays and wrong for the others."""
    return np.where(right[:, None], 0.5 + 0.4 * (truth.gold - 0.5), 0.5 - 0.4 * (truth.gold - 0.5))


def test_a_group_that_the_model_fails_is_told_by_its_gap(hospital):
    predictions, truth = hospital
    women = (truth.stays["sex"] == "F").fill_null(False).to_numpy()
    system = replace(predictions.system, probabilities=_told(truth, ~women))
    by = _tables(replace(predictions, system=system), truth)
    assert by["sex"]["female"]["scores"]["macro_auroc"]["value"] == 0
    assert by["sex"]["female"]["gaps"]["macro_auroc"] == {"value": -1, "low": -1, "high": -1}
    assert by["sex"]["male"]["gaps"]["macro_auroc"]["value"] == 1


def test_every_stay_is_in_one_group_or_unknown(hospital):
    predictions, truth = hospital
    part = groups.summarize(predictions, truth, 5)
    for table in part["tables"]:
        assert sum(row["stays"] for row in table["rows"]) + table["unknown"] == len(truth.gold)
    ages = truth.stays["age"]
    rows = {row["name"]: row["stays"] for row in part["tables"][0]["rows"]}
    assert rows["under 50"] == (ages < 50).sum()
    assert rows["65 to 79"] == ((ages >= 65) & (ages < 80)).sum()


def test_a_group_with_other_labels_has_no_gap_for_that(hospital):
    """A label on which all err, carried by men alone, is not in the gap of macro AUROC."""
    predictions, truth = hospital
    men = (truth.stays["sex"] == "M").fill_null(False).to_numpy()
    gold = truth.gold.copy()
    gold[~men, 0] = False
    probabilities = 0.5 + 0.4 * (gold - 0.5)
    probabilities[:, 0] = 1 - probabilities[:, 0]
    system = replace(predictions.system, probabilities=probabilities)
    by = _tables(replace(predictions, system=system), replace(truth, gold=gold))
    assert by["sex"]["male"]["scores"]["macro_auroc"]["value"] < 1
    assert by["sex"]["male"]["gaps"]["macro_auroc"]["value"] == 0


def test_few_stays_are_counted_and_not_scored(hospital):
    predictions, truth = hospital
    few = pl.Series(np.where(np.arange(len(truth.gold)) < groups.FEWEST - 1, 30.0, np.nan))
    few = few.fill_nan(None)
    lone = truth.stays.with_columns(age=pl.when(few.is_null()).then(70.0).otherwise(few))
    assert "age" not in _tables(predictions, replace(truth, stays=lone))
    missing = truth.stays.with_columns(age=pl.lit(None, pl.Float32), sex=pl.lit(None, pl.String))
    part = groups.summarize(predictions, replace(truth, stays=missing), 5)
    assert [table["by"] for table in part["tables"]] == ["length of stay"]


def test_care_units_are_scored_largest_first_and_small_ones_together(hospital):
    predictions, truth = hospital
    count = len(truth.stays)
    names = ["surgical"] * 30 + ["medical"] * (count - 55) + ["burns"] * 12 + ["neuro"] * 9 + [None] * 4
    cohort = replace(truth.cohort)
    ids = truth.stays.select("stay_id").with_columns(care_unit=pl.Series(names))
    cohort.__dict__["care_units"] = cohort.stays.join(ids, on="stay_id", how="left", maintain_order="left")["care_unit"]
    surgical = np.array(names) == "surgical"
    system = replace(predictions.system, probabilities=_told(truth, ~surgical))
    part = groups.summarize(replace(predictions, system=system), replace(truth, cohort=cohort), 40)
    [table] = [table for table in part["tables"] if table["by"] == "care unit"]
    sizes = [(row["name"], row["stays"]) for row in table["rows"]]
    assert sizes == [("medical", count - 55), ("surgical", 30), (groups.OTHER_UNITS, 21)]
    assert table["unknown"] == 4
    assert table["rows"][1]["gaps"]["macro_auroc"]["value"] == -1
    assert table["rows"][0]["gaps"]["macro_auroc"]["value"] > 0
