"""Scores by hospital, network and period: a planted difference is told, and few stays are not scored alone."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from small_hospital import make_cohort, make_predictions

from clinragen.artifacts import write_table
from clinragen.cohort.folder import Cohort
from clinragen.evaluation import sites
from clinragen.evaluation.diagnosis import METRICS, System, bootstrap
from clinragen.evaluation.inputs import load_predictions, load_truth
from clinragen.evaluation.stored import load_evaluation
from clinragen.schema import SITES, CohortPaths

_ODD = "<b>odd</b>"


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """A cohort whose test stays were in two large hospitals, a small one, and nobody knows where; and predictions."""
    root = tmp_path_factory.mktemp("placed")
    cohort = make_cohort(root / "cohort", stays=160)
    stays = Cohort.load(cohort).stays
    rank = (pl.col("split") == "test").cum_sum() - 1
    named = stays.select(
        "stay_id",
        hospital=pl.when(pl.col("split") != "test").then(pl.lit("elsewhere"))
        .when(rank < 3).then(pl.lit(_ODD)).when(rank == 3).then(None)
        .when(rank < 40).then(pl.lit("north")).otherwise(pl.lit("south")),
        network=pl.lit("one"),
        period=pl.when(pl.col("stay_id") % 2 == 0).then(pl.lit("2014")).otherwise(pl.lit("2015")),
    )  # fmt: skip
    write_table(CohortPaths(cohort).sites, named.to_arrow().cast(SITES))
    return cohort, make_predictions(root / "predictions", cohort)


def _summary(placed, change=lambda probabilities, gold, names: probabilities, replicates: int = 40):
    cohort, folder = placed
    predictions = load_predictions(folder)
    truth = load_truth(predictions, Cohort.load(cohort))
    names = truth.stays.select("stay_id").join(truth.cohort.sites, on="stay_id", how="left", maintain_order="left")
    system = predictions.system
    changed = replace(system, probabilities=change(system.probabilities.copy(), truth.gold, names["hospital"]))
    return sites.summarize(replace(predictions, system=changed), truth, replicates), truth, changed, names


def test_a_hospital_where_the_model_fails_is_told(placed):
    def fail_in_the_south(probabilities, gold, names):
        south = (names == "south").fill_null(False).to_numpy()
        return np.where(south[:, None], 0.5 - 0.4 * (gold - 0.5), 0.5 + 0.4 * (gold - 0.5))

    part, *_ = _summary(placed, fail_in_the_south)
    table = part["tables"][0]
    auroc = {row["name"]: row["scores"] and row["scores"]["macro_auroc"]["value"] for row in table["rows"]}
    assert auroc == {"north": 1.0, "south": 0.0, None: None}


def test_a_row_is_the_score_of_its_stays_alone_with_patients_resampled(placed):
    part, truth, system, names = _summary(placed)
    table, periods = part["tables"]
    assert (table["by"], table["unknown"], table["small"]) == ("hospital", 1, 1)
    assert [row["name"] for row in periods["rows"]] == ["2014", "2015"]
    north = (names["hospital"] == "north").fill_null(False).to_numpy()
    alone = System(system.probabilities[north], system.thresholds, system.written[north])
    patients = truth.stays["subject_id"].to_numpy()[north]
    scored = bootstrap(truth.gold[north], {"m": alone}, patients, 40)["m"]
    row = next(row for row in table["rows"] if row["name"] == "north")
    assert (row["stays"], row["patients"]) == (north.sum(), len(set(patients)))
    position = METRICS.index("thresholded_micro_f1")
    assert row["scores"]["thresholded_micro_f1"]["value"] == pytest.approx(scored.value[position])
    assert row["scores"]["thresholded_micro_f1"]["low"] == pytest.approx(
        np.nanquantile(scored.replicates[:, position], 0.025)
    )
    assert sum(row["stays"] for row in table["rows"]) + table["unknown"] == len(truth.gold)


def test_without_several_sites_there_is_no_table(placed):
    cohort, folder = placed
    predictions = load_predictions(folder)
    truth = load_truth(predictions, Cohort.load(cohort))
    truth.cohort.__dict__["sites"] = truth.cohort.sites.with_columns(hospital=pl.lit("one"), period=None)
    assert sites.summarize(predictions, truth) is None


@pytest.mark.slow
def test_command_and_report_show_them(placed, tmp_path, command, capsys):
    cohort, folder = placed
    given = ("--predictions", folder, "--cohort", cohort)
    evaluated = ("--no-controls", "--replicates", 20, "--out", tmp_path / "evaluation")
    assert command("clinragen", "evaluate", *given, *evaluated) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "By hospital" in printed
    assert (
        "1 hospital with fewer than 20 stays has no figures of its own. Of 1 stay the hospital is not known." in printed
    )
    path = tmp_path / "evaluation" / "evaluation.json"
    rows = load_evaluation(path)["sites"]["tables"][0]["rows"]
    assert command("clinragen", "report", *given, "--evaluation", path, "--out", tmp_path / "site") == 0
    page = (tmp_path / "site" / "index.html").read_text()
    assert "<summary>By hospital</summary>" in page
    assert f'<th scope="row">north</th><td>{rows[1]["stays"]}</td>' in page or (
        f'<th scope="row">north</th><td>{rows[0]["stays"]}</td>' in page
    )
    older = {key: value for key, value in json.loads(path.read_text()).items() if key != "sites"}
    path.write_text(json.dumps(older))
    assert "sites" not in load_evaluation(path)
