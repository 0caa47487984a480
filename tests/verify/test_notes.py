"""Note and label claims: the same concept with the same negation, and no diagnosis outside the labels."""

import pytest

from clinragen.knowledge.graph import build
from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.verify.claims import ClaimReader, Verdict
from clinragen.verify.notes import verify

GRAPH = build()
READER = ClaimReader(GRAPH)
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
    found = {c.concept: v for c, v in verify(text, NOTE, ["copd"], READER, GRAPH) if c.kind == "finding"}
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
    checked = verify(text, NOTE, ["congestive_heart_failure"], READER, GRAPH)
    assert [v for claim, v in checked if claim.kind == "diagnosis"] == [verdict]


def test_the_evidence_teacher_passes():
    gold = ["congestive_heart_failure", "copd", "shock"]
    text = EvidenceTeacher(GRAPH).note(5, NOTE, gold).text
    checked = verify(text, NOTE, gold, READER, GRAPH)
    assert len(checked) >= 5
    assert {verdict for _, verdict in checked} == {Verdict.SUPPORTED}
