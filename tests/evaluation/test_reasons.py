"""Measures of the reasons that rationales give, each at its extremes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from whole_graph import GRAPH

from clinragen.errors import UserError
from clinragen.evaluation import reasons
from clinragen.evaluation.diagnosis import System
from clinragen.evaluation.reasons import Weighed, cited_concepts, load_causes, strangers, summarize
from clinragen.verification.claims import Checked, Verdict
from clinragen.verification.grounds import grounded_diagnoses

LABELS = ["septicemia", "shock"]
TEXT = "high lactate points to shock; fever points to septicemia."


def series(variable: str, value: float, start: int = 0, verdict: Verdict = Verdict.SUPPORTED) -> Checked:
    return Checked(start, start + 4, "series", variable, verdict, measured=((variable, 3.0, value),))


def diagnosis(key: str, start: int, *, negated: bool = False) -> Checked:
    return Checked(start, start + 4, "diagnosis", f"phenotype:{key}", Verdict.SUPPORTED, negated=negated)


SHOCK = [series("lactate", 4.2), diagnosis("shock", 23)]
SEPSIS = [Checked(30, 35, "finding", "symptom:fever", Verdict.SUPPORTED), diagnosis("septicemia", 46)]


def case(claims: list[list[Checked]], called: list[list[int]], gold: list[list[int]] | None = None) -> tuple[Any, ...]:
    """Predictions, truth and claims of stays of one patient each."""
    probabilities = np.array(called) * 0.8 + 0.1
    written = np.array(called, dtype=bool)
    predictions = SimpleNamespace(
        labels=dict.fromkeys(LABELS),
        stay_ids=np.arange(len(claims)),
        system=System(probabilities, np.full(len(LABELS), 0.5), written),
        rationales=lambda row: {"note": TEXT, "series": ""},
    )
    stays = pl.DataFrame({"subject_id": np.arange(len(claims))})
    truth = SimpleNamespace(stays=stays, gold=np.array(gold if gold is not None else called, dtype=bool))
    return predictions, truth, [{"note": of_stay, "series": []} for of_stay in claims]


def measured(
    claims: list[list[Checked]],
    called: list[list[int]],
    gold: list[list[int]] | None = None,
    borrowed: list[list[Checked]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    predictions, truth, own = case(claims, called, gold)
    other = own if borrowed is None else [{"note": of_stay, "series": []} for of_stay in borrowed]
    return summarize(predictions, truth, own, other, replicates=20, **more)


@pytest.mark.parametrize(
    ("called", "expected"),
    [([1, 1], 1.0), ([0, 1], 0.5), ([0, 0], 0.0)],
    ids=["argues for what is called", "argues for one more", "argues for what is not called"],
)
def test_consistency_is_the_overlap_of_what_is_argued_for_and_what_is_called(called, expected):
    assert measured([[*SHOCK, *SEPSIS]], [called])["consistency"]["value"] == expected


def test_a_diagnosis_that_is_denied_is_not_argued_for():
    denied = [diagnosis("shock", 23, negated=True)]
    assert measured([denied], [[0, 1]])["consistency"]["value"] == 0.0
    assert measured([denied], [[0, 0]])["consistency"]["value"] is None  # nothing argued for and nothing called


def test_specificity_is_one_where_only_the_own_rationale_holds_and_one_half_where_all_say_the_same():
    refuted = [series("lactate", 4.2, verdict=Verdict.CONTRADICTED)]
    assert measured([SHOCK], [[0, 1]], borrowed=[refuted])["specificity"]["value"] == 1.0
    assert measured([refuted], [[0, 1]], borrowed=[SHOCK])["specificity"]["value"] == 0.0
    assert measured([SHOCK], [[0, 1]], borrowed=[SHOCK])["specificity"]["value"] == 0.5
    assert measured([[]], [[0, 1]], borrowed=[[]])["specificity"]["value"] == 0.5  # nothing claimed


CAUSES = {(0, "shock"): {"finding:lactate:high"}, (0, "septicemia"): {"finding:wbc:high"}, (1, "shock"): set()}


@pytest.mark.parametrize(
    ("claims", "gold", "expected"),
    [
        (SHOCK, [0, 1], (1, 1, 1.0)),
        ([series("lactate", 0.4), diagnosis("shock", 23)], [0, 1], (0, 1, 0.0)),  # low, but high is the cause
        ([*SHOCK, *SEPSIS], [1, 1], (1, 2, 0.5)),
        ([diagnosis("shock", 23)], [0, 1], (0, 1, 0.0)),  # named without a ground
        ([*SHOCK, *SEPSIS], [0, 0], (0, 0, None)),  # no true positive
    ],
)
def test_cause_recall_counts_true_positives_for_which_a_true_cause_is_cited(claims, gold, expected):
    causes = measured([claims], [[1, 1]], [gold], causes=CAUSES)["causes"]
    assert (causes["named"], causes["true_positives"], causes["recall"]["value"]) == expected


def test_conditions_that_show_nowhere_are_counted_apart():
    causes = measured([[], SHOCK], [[0, 0], [0, 1]], causes=CAUSES)["causes"]
    assert (causes["true_positives"], causes["show_nowhere"]) == (0, 1)


def worth(*rows: tuple[float, ...]) -> dict[str, Any]:
    weighed = [Weighed(0, "shock", *row) for row in rows]
    return measured([SHOCK], [[0, 1]], weighed=weighed)["worth"]


def test_worth_at_its_extremes():
    whole = worth((1.0, 0.8, 0.0, 0.8, 0.8))  # salience, full, without, without random, only
    assert [whole[name]["value"] for name in ("salience", "comprehensiveness", "random", "sufficiency")] == [
        1.0,
        0.8,
        0.0,
        1.0,
    ]
    assert whole["more_than_random"]["value"] == 1.0
    assert whole["times_random"]["value"] is None  # random evidence is worth nothing
    nothing = worth((0.0, 0.8, 0.8, 0.4, 0.0))
    assert [nothing[name]["value"] for name in ("salience", "comprehensiveness", "sufficiency")] == [0.0, 0.0, 0.0]
    assert nothing["random"]["value"] == pytest.approx(0.4)
    assert nothing["more_than_random"]["value"] == nothing["times_random"]["value"] == 0.0


def test_evidence_that_leaves_a_higher_probability_keeps_no_more_than_all_of_it():
    assert worth((1.0, 0.5, 0.1, 0.5, 0.9))["sufficiency"]["value"] == 1.0


def test_diagnoses_without_other_evidence_are_left_out_of_the_comparison():
    nan = float("nan")
    mixed = worth((0.5, 0.8, 0.2, nan, 0.8), (nan, 0.8, 0.6, 0.7, 0.8))
    assert mixed["times_random"]["value"] == pytest.approx(2.0)
    assert mixed["salience"]["value"] == 0.5
    assert mixed["comprehensiveness"]["value"] == pytest.approx(0.4)


def test_a_side_of_the_range_is_read_from_the_telling_measurements():
    assert cited_concepts(series("sodium", 120.0)) == {"finding:sodium:low"}
    assert cited_concepts(series("sodium", 140.0)) == set()
    assert cited_concepts(SEPSIS[0]) == {"symptom:fever"}


def test_grounds_are_the_supported_claims_of_the_clauses_that_argue_for_a_diagnosis():
    refuted = series("lactate", 4.2, verdict=Verdict.CONTRADICTED)
    cited = grounded_diagnoses([(TEXT, [*SHOCK, refuted, *SEPSIS])])
    assert cited == {"shock": SHOCK[:1], "septicemia": SEPSIS[:1]}


def test_a_stranger_is_of_another_patient_and_rather_of_the_same_diagnosis():
    predictions, truth, _ = case([[]] * 4, [[1, 0], [1, 0], [0, 1], [0, 1]])
    assert strangers(predictions, truth) == [1, 0, 3, 2]
    truth.stays = pl.DataFrame({"subject_id": [1, 1, 2, 2]})
    chosen = strangers(predictions, truth)
    assert all({0, 1}.isdisjoint({row}) == (stay < 2) for stay, row in enumerate(chosen))
    truth.stays = pl.DataFrame({"subject_id": [1] * 4})
    assert strangers(predictions, truth) == [0, 1, 2, 3]


def test_causes_are_findings_that_the_condition_moved_and_concepts_of_its_terms(tmp_path: Path):
    graph = GRAPH
    with pytest.raises(UserError, match=r"conditions\.parquet not found.*mimic-prep synthesize"):
        load_causes(tmp_path, graph)
    rows = {
        "stay_id": [1, 1, 1],
        "condition": ["shock", "gout", "pneumonia"],
        "is_phenotype": [True, False, True],
        "coded": [True, True, False],
        "variables": [["lactate:high"], [], []],
        "terms": [["cough"], ["rash"], ["rash"]],
    }
    pl.DataFrame(rows).write_parquet(tmp_path / reasons.CONDITIONS)
    assert load_causes(tmp_path, graph) == {(1, "shock"): {"finding:lactate:high", "symptom:cough"}}
    pl.DataFrame(rows).drop("terms").write_parquet(tmp_path / reasons.CONDITIONS)
    with pytest.raises(UserError, match="columns missing: terms"):
        load_causes(tmp_path, graph)


def test_a_diagnosis_that_is_argued_against_is_not_argued_for():
    against = Checked(23, 28, "rebuttal", "phenotype:shock", Verdict.SUPPORTED)
    assert measured([[*SEPSIS, SHOCK[0], against]], [[1, 0]])["consistency"]["value"] == 1.0
    assert measured([[against]], [[0, 1]])["consistency"]["value"] == 0.0
    assert measured([[against]], [[0, 0]])["consistency"]["value"] is None
