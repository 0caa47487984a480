"""Arguments for and against a diagnosis: how they are read, and what they are held against."""

from __future__ import annotations

import numpy as np
import pytest
from whole_graph import GRAPH

from clinragen.chart.measurements import Measurements
from clinragen.verification.arguments import examples, way_of
from clinragen.verification.claims import Verdict
from clinragen.verification.grounds import grounded_diagnoses, marked_diagnoses
from clinragen.verification.notes import NoteReader
from clinragen.verification.rationale import Verifier
from clinragen.verification.rebuttals import rebutted_diagnoses

VERIFIER = Verifier(GRAPH)
READER = NoteReader(GRAPH)
HPI = [("history_of_present_illness", "An 84-year-old woman with cough. No fever. Denies dyspnea.")]


@pytest.mark.parametrize(("sentence", "argued"), examples(), ids=[sentence for sentence, _ in examples()])
def test_an_example_argues_as_its_entry_says(sentence, argued):
    signs = {"for": "+", "adds": "(+)", "against": "-"}
    read = [
        f"{signs[way]} {GRAPH.name(mention.concept)}"
        for mention in READER.mentions(sentence)
        if (way := way_of(sentence, mention.start)) and mention.concept.startswith("phenotype:")
    ]
    assert ", ".join(read) == argued


def rebuttal(text: str, kind: str = "note", wbc: float | None = None) -> str:
    chart = {} if wbc is None else {"wbc": Measurements(np.array([1.0, 9.0]), np.array([wbc, wbc]))}
    claims = VERIFIER.check(text, kind, HPI, chart, [])
    (claim,) = [claim for claim in claims if claim.kind == "rebuttal"]
    return claim.standing


def test_a_rebuttal_holds_where_something_is_stated_that_the_chart_bears_out_and_that_does_not_speak_for_it():
    assert rebuttal("Against pneumonia: no fever.") == "supported"
    assert rebuttal("Against pneumonia: normal white blood cell count.", "series", 7.0) == "supported"
    assert rebuttal("No fever; cough argues against pneumonia.") == "contradicted"  # cough speaks for it
    assert rebuttal("Against pneumonia: high white blood cell count.", "series", 19.0) == "contradicted"
    assert rebuttal("The course argues against pneumonia.") == "not in the chart"
    assert rebuttal("Against pneumonia: no chills.") == "not in the chart"  # the note does not say
    assert rebuttal("Against pneumonia: normal white blood cell count.", "series", 19.0) == "contradicted"  # it is high


def test_a_rebuttal_argues_for_nothing_and_is_told_from_a_statement_of_absence():
    text = "Cough points to pneumonia; against septicemia: no fever; the notes do not show shock."
    claims = VERIFIER.check(text, "note", HPI, {}, ["pneumonia"])
    assert list(grounded_diagnoses([(text, claims)])) == ["pneumonia"]
    assert {key: [claim.about for claim in stated] for key, stated in rebutted_diagnoses([(text, claims)]).items()} == {
        "septicemia": ["finding:temperature:high"]
    }
    assert marked_diagnoses(claims) == {"shock"}


def test_what_stands_against_a_listed_diagnosis_does_not_affirm_or_deny_it():
    text = "Cough points to pneumonia; against pneumonia: no fever."
    claims = VERIFIER.check(text, "note", HPI, {}, ["pneumonia"])
    assert {claim.verdict for claim in claims} == {Verdict.SUPPORTED}
    assert list(grounded_diagnoses([(text, claims)])) == ["pneumonia"]


@pytest.mark.parametrize(
    ("stated", "standing"),
    [
        ("an age of 84 years", "supported"),
        ("84 years of age", "supported"),
        ("an age of 85 years", "contradicted"),
        ("an age of 48 years", "contradicted"),
        ("an age above 89 years", "contradicted"),
    ],
)
def test_an_age_is_held_against_the_first_of_the_note_to_the_year(stated, standing):
    text = f"Based on the medical notes, {stated} suggests essential hypertension."
    claims = VERIFIER.check(text, "note", HPI, {}, ["essential_hypertension"])
    (age,) = [claim for claim in claims if claim.about.startswith("circumstance:")]
    assert age.standing == standing
    assert ("essential_hypertension" in grounded_diagnoses([(text, claims)])) == (standing == "supported")
    if age.places:
        section, _, start, end = age.places[0]
        assert HPI[section][1][start:end] == "An 84-year-old woman with cough"


def test_an_age_that_the_note_does_not_give_is_not_in_the_chart():
    text = "An age of 84 years suggests essential hypertension."
    claims = VERIFIER.check(text, "note", [("plan", "Cough. Mother died aged.")], {}, ["essential_hypertension"])
    assert [claim.standing for claim in claims if claim.about.startswith("circumstance:")] == ["not in the chart"]


@pytest.mark.parametrize(
    ("note", "stated", "standing"),
    [
        ("First intensive care unit: Cardiac Vascular Intensive Care Unit (CVICU).", "a cardiac unit", "supported"),
        ("First intensive care unit: Surgical Intensive Care Unit (SICU).", "a cardiac unit", "not in the chart"),
        ("admitted to the CCU-CTICU from: emergency department.", "a cardiac unit", "supported"),
        (
            "First intensive care unit: Medical/Surgical Intensive Care Unit (MICU/SICU).",
            "a surgical unit",
            "not in the chart",
        ),
        ("First intensive care unit: Trauma SICU (TSICU).", "a surgical unit", "supported"),
    ],
)
def test_a_place_of_treatment_is_held_against_the_note(note, stated, standing):
    text = f"Admission to {stated} suggests coronary atherosclerosis."
    claims = VERIFIER.check(text, "note", [("admission_digest", note)], {}, ["coronary_atherosclerosis"])
    assert [claim.standing for claim in claims if claim.about.startswith("circumstance:")] == [standing]


def test_a_diagnosis_that_is_argued_against_by_its_name_states_no_measurement():
    chart = {
        name: Measurements(np.array([1.0]), np.array([value]))
        for name, value in (("creatinine", 1.0), ("lactate", 4.0))
    }
    text = "Lab test shows high lactate of about 4.0 mmol/L, pointing to shock; "
    text += "against essential hypertension: normal creatinine."
    claims = VERIFIER.check(text, "series", [], chart, ["shock"])
    assert [claim.about for claim in claims if claim.kind == "series"] == ["lactate", "creatinine"]
    assert {claim.verdict for claim in claims} <= {Verdict.SUPPORTED, Verdict.CONTRADICTED}
    assert [claim.about for claim in claims if claim.kind == "rebuttal"] == ["phenotype:essential_hypertension"]


@pytest.mark.parametrize(
    "name", ["diabetes with complications", "fluid and electrolyte disorders", "hypertension with complications"]
)
def test_words_within_the_name_of_a_diagnosis_part_nothing(name):
    chart = {"creatinine": Measurements(np.array([1.0]), np.array([1.0]))}
    claims = VERIFIER.check(f"Lab test shows; against {name}: normal creatinine.", "series", [], chart, [])
    assert [(claim.kind, claim.standing) for claim in claims] == [("rebuttal", "supported"), ("series", "supported")]
