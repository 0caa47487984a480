"""Note and label claims: the same concept with the same negation, and no diagnosis outside the labels."""

import pytest

from clinragen.knowledge.graph import build
from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.verify.claims import Verdict
from clinragen.verify.rationale import Verifier

GRAPH = build()
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
