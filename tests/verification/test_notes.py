"""Note and label claims: the same concept with the same negation, and no diagnosis outside the labels."""

import pytest
from whole_graph import GRAPH

from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.verification.claims import Verdict
from clinragen.verification.rationale import Verifier

VERIFIER = Verifier(GRAPH)
NOTE = [
    ("history_of_present_illness", "72F with dyspnea and orthopnea. Denies chest pain. No melena."),
    ("past_medical_history", "HFrEF\nCOPD"),
    ("family_history", "Father with stroke."),
]


@pytest.mark.parametrize(
    ("text", "concept", "verdict"),
    [
        ("The patient has dyspnea.", "symptom:dyspnea", Verdict.SUPPORTED),
        ("The patient has SOB.", "symptom:dyspnea", Verdict.SUPPORTED),
        ("The patient denies dyspnea.", "symptom:dyspnea", Verdict.CONTRADICTED),
        ("The patient has chest pain.", "symptom:chest_pain", Verdict.CONTRADICTED),
        ("There is no chest pain.", "symptom:chest_pain", Verdict.SUPPORTED),
        ("Melena was noted.", "symptom:melena", Verdict.CONTRADICTED),
        ("Hematemesis was noted.", "symptom:hematemesis", Verdict.NOT_IN_CHART),
        ("A history of heart failure.", "phenotype:congestive_heart_failure", Verdict.SUPPORTED),
        ("A history of stroke.", "phenotype:acute_cerebrovascular_disease", Verdict.NOT_IN_CHART),
    ],
)
def test_finding_claims(text, concept, verdict):
    found = {c.about: c.verdict for c in VERIFIER.check(text, "note", NOTE, {}, ["copd"]) if c.kind == "finding"}
    assert found == {concept: verdict}


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Orthopnea points to congestive heart failure.", Verdict.SUPPORTED),
        ("Orthopnea points to CHF.", Verdict.SUPPORTED),
        ("Orthopnea points to pneumonia.", Verdict.CONTRADICTED),
        ("The notes do not show shock.", Verdict.SUPPORTED),
        ("Nothing in the notes points to septicemia.", Verdict.SUPPORTED),
    ],
)
def test_diagnosis_claims(text, verdict):
    checked = VERIFIER.check(text, "note", NOTE, {}, ["congestive_heart_failure"])
    assert [claim.verdict for claim in checked if claim.kind == "diagnosis"] == [verdict]


def test_the_evidence_teacher_passes():
    gold = ["congestive_heart_failure", "copd", "shock"]
    text = EvidenceTeacher(GRAPH).note(5, NOTE, gold).text
    checked = VERIFIER.check(text, "note", NOTE, {}, gold)
    assert len(checked) >= 5
    assert {claim.verdict for claim in checked} == {Verdict.SUPPORTED}


def test_evidence_is_the_sentence_of_the_note_that_mentions_the_finding():
    claim = next(c for c in VERIFIER.check("Denies chest pain.", "note", NOTE, {}, []) if c.kind == "finding")
    (place,) = claim.places
    assert NOTE[place.section][0] == place.name
    assert NOTE[place.section][1][place.start : place.end].strip(".") == "Denies chest pain"


LONG = [
    ("chief_complaint", "shortness of breath"),
    (
        "history_of_present_illness",
        "68M with HTN and DM2 presents with three days of productive cough and fevers to 102. He denies hemoptysis, "
        "chest pain or leg swelling. CXR showed RLL infiltrate. Started on ceftriaxone and azithromycin.\n"
        "In the ED he was hypoxic and was intubated. No melena or hematochezia.",
    ),
    ("past_medical_history", "1. Atrial fibrillation on warfarin\n2. Stroke in 2012\n3. Hyperlipidemia"),
    ("family_history", "Mother with breast cancer, father with MI."),
    ("medications_on_admission", "1. Warfarin 5 mg daily\n2. Metformin 500 mg BID\n3. Atorvastatin 40 mg QHS"),
]
S, C, N = Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.NOT_IN_CHART


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("The patient had a productive cough.", S),
        ("He was febrile.", S),
        ("No fever was noted.", C),
        ("There was dyspnea.", S),
        ("He had chest pain.", C),
        ("He did not have chest pain.", S),
        ("Leg swelling was present.", C),
        ("He has no hemoptysis.", S),
        ("He had hemoptysis.", C),
        ("He was hypoxic.", S),
        ("He was not hypoxic.", C),
        ("Mechanical ventilation was needed.", S),
        ("He was treated with ceftriaxone.", S),
        ("He was treated with vancomycin.", N),
        ("He takes metformin.", S),
        ("He takes insulin.", N),
        ("He takes warfarin.", S),
        ("There was no melena.", S),
        ("Melena was reported.", C),
        ("Hematemesis was reported.", N),
        ("Orthopnea was reported.", N),
        ("He has a history of atrial fibrillation.", S),
        ("He has a history of AF.", S),
        ("He has hypertension.", S),
        ("He has type 2 diabetes.", S),
        ("He has cirrhosis.", N),
        ("Abdominal pain was present.", N),
        ("There was no abdominal pain.", N),
        ("He had a seizure.", N),
        ("He takes atorvastatin.", S),
    ],
)
def test_labelled_note_claims(text, verdict):
    checked = VERIFIER.check(text, "note", LONG, {}, [])
    assert {claim.verdict for claim in checked if claim.kind == "finding"} == {verdict}
    for claim in checked:
        assert (claim.verdict == N) == (not claim.places) or claim.kind == "diagnosis"


@pytest.mark.parametrize(
    ("text", "allowed", "verdict"),
    [
        ("Cough and fever point to pneumonia.", ["pneumonia"], S),
        ("Cough and fever point to pneumonia.", ["shock"], C),
        ("This is consistent with respiratory failure.", ["respiratory_failure"], S),
        ("This suggests septicemia.", [], C),
        ("Atrial fibrillation supports cardiac dysrhythmias.", ["cardiac_dysrhythmias"], S),
        ("The notes do not show acute renal failure.", ["acute_renal_failure"], S),
        ("The notes do not show acute cerebrovascular disease.", [], S),  # an old stroke
        ("Metformin indicates diabetes without complication.", ["diabetes_without_complication"], S),
    ],
)
def test_labelled_diagnosis_claims(text, allowed, verdict):
    checked = VERIFIER.check(text, "note", LONG, {}, allowed)
    assert [claim.verdict for claim in checked if claim.kind == "diagnosis"] == [verdict]


@pytest.mark.parametrize(
    ("note", "verdict"),
    [
        ("L MCA stroke.", C),
        ("No L MCA stroke.", S),
        ("Thought to be an L MCA stroke, but an L MCA stroke was ruled out.", S),
        ("L MCA stroke. No headache.", C),
    ],
)
def test_a_diagnosis_is_denied_in_vain_where_the_note_affirms_it_and_denies_it_nowhere(note, verdict):
    text = "The notes do not show acute cerebrovascular disease."
    (claim,) = VERIFIER.check(text, "note", [("history_of_present_illness", note)], {}, [])
    assert claim.verdict == verdict


def test_that_no_note_is_available_claims_nothing():
    text = EvidenceTeacher(GRAPH).note(1, [], ["shock", "pneumonia"]).text
    assert VERIFIER.check(text, "note", [], {}, []) == []
