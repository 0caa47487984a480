"""Statements of absence are distinguished from claims; a listed diagnosis needs a clause with a supported claim."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_graph import GRAPH

from clinragen.catalog import phenotypes
from clinragen.chart.measurements import measurements
from clinragen.chart.note_statements import CLOSINGS, NO_DISEASE, NO_FINDING, unsupported, without_note
from clinragen.chart.series_statements import ALL_NORMAL, NOT_MEASURED
from clinragen.teacher.evidence import EvidenceTeacher
from clinragen.verification.claims import ABSENCE
from clinragen.verification.grounds import grounded_diagnoses, with_absences
from clinragen.verification.rationale import Verifier

VERIFIER = Verifier(GRAPH)
NOTE = [
    ("history_of_present_illness", "Fever and cough for two days. Denies chest pain. Pneumonia on the film."),
    ("past_medical_history", "COPD"),
]
CHART = measurements({"lactate": [(1.0, 3.2), (5.0, 4.0)], "creatinine": [(1.0, 0.9)]})
LISTED = ["pneumonia", "shock", "copd"]
NOTES, TESTS = "Based on the medical notes, ", "Lab test shows "


def check(text, kind):
    return with_absences(text, VERIFIER.check(text, kind, NOTE, CHART, LISTED))


def standings(text, kind):
    return [claim.standing for claim in check(text, kind)]


def absent_words(text, kind):
    return [text[claim.start : claim.end] for claim in check(text, kind) if claim.standing == ABSENCE]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *((f"{NOTES}fever supports pneumonia; {closing} shock.", ["shock"]) for closing in CLOSINGS),
        (f"{NOTES}{unsupported(['shock', 'septicemia'], NO_FINDING, phenotypes())[0]}.", ["shock", "septicemia"]),
        (f"{NOTES}{unsupported(['shock', 'septicemia', 'copd'], NO_FINDING, phenotypes())[1]}.", ["shock"]),
        *(
            (text, [text.removeprefix(NOTES).rstrip(".")])
            for text in without_note(["shock", "septicemia"], phenotypes())
        ),
        (f"{NOTES}{NO_DISEASE}, despite fever.", [NO_DISEASE]),
        (f"{NOTES}{NO_DISEASE}, although the patient had fever and cough.", [NO_DISEASE]),
        (without_note([], phenotypes())[0], [NO_DISEASE, "no note is available"]),
        ("There is no evidence of septicemia.", ["septicemia"]),
        ("Nothing is found.", ["Nothing is found"]),
    ],
)
def test_of_a_note_rationale_the_statements_of_absence_are_told_apart(text, words):
    assert absent_words(text, "note") == words
    assert "contradicted" not in standings(text, "note")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *((f"{TESTS}{form}.", [form]) for form in (*ALL_NORMAL, *NOT_MEASURED)),
        (f"{TESTS}high lactate up to about 4.0 mmol/L; no value points to shock.", ["shock"]),
        (f"{TESTS}high lactate, pointing to shock; no value points to copd or pneumonia.", ["copd", "pneumonia"]),
        (f"{TESTS}no abnormal creatinine.", ["no abnormal creatinine"]),
    ],
)
def test_of_a_series_rationale_the_statements_of_absence_are_told_apart(text, words):
    assert absent_words(text, "series") == words


@pytest.mark.parametrize(
    ("text", "kind", "standing"),
    [
        ("The patient denies chest pain.", "note", "supported"),  # a denial that the note itself makes is a fact
        ("normal creatinine.", "series", "supported"),
        ("no high creatinine.", "series", "supported"),  # held against measurements
        ("no abnormal lactate.", "series", "contradicted"),
        (f"{NOTES}no finding supports pneumonia.", "note", "contradicted"),  # the note affirms it
    ],
)
def test_a_denial_that_the_chart_can_decide_keeps_its_verdict(text, kind, standing):
    assert set(standings(text, kind)) == {standing}


@pytest.mark.parametrize(
    ("note", "tests", "grounded"),
    [
        ("", "", set()),
        (f"{NOTES}fever and cough point to pneumonia.", "", {"pneumonia"}),
        (f"{NOTES}no finding supports pneumonia, shock or copd.", f"{TESTS}no abnormal values.", set()),
        (f"{NOTES}no finding supports shock.", f"{TESTS}high lactate up to 4.0 mmol/L, pointing to shock.", {"shock"}),
        (f"{NOTES}fever points to pneumonia; nothing in the notes points to shock.", "", {"pneumonia"}),
        (f"{NOTES}hematemesis points to pneumonia.", "", set()),  # the ground is not in the note
        (f"{NOTES}chest pain points to pneumonia.", "", set()),  # the note denies it
        (f"{NOTES}fever is present; hematemesis points to pneumonia.", "", set()),  # a ground of another clause
        (f"{NOTES}fever and hematemesis point to pneumonia.", "", {"pneumonia"}),
        (f"{NOTES}fever points to septicemia.", "", set()),  # not listed
        (f"{NOTES}a history of chronic obstructive pulmonary disease is recorded.", "", {"copd"}),
        ("", f"{TESTS}lactate of 9, pointing to shock.", set()),  # contradicted
        ("", f"{TESTS}high lactate; also pointing to shock.", set()),
        ("The patient has fever. This points to pneumonia.", "", {"pneumonia"}),
        ("The patient has fever. These findings together suggest pneumonia.", "", {"pneumonia"}),
        ("The patient has fever. The film points to pneumonia.", "", set()),
        ("Pneumonia.", "", {"pneumonia"}),  # named in the note, which is a record of it
        ("Shock.", "", set()),
    ],
)
def test_a_diagnosis_is_grounded_by_a_clause_that_argues_for_it_and_holds(note, tests, grounded):
    rationales = [(note, check(note, "note")), (tests, check(tests, "series"))]
    assert grounded_diagnoses(rationales).keys() & set(LISTED) == grounded


@pytest.mark.parametrize("gold", [[], ["pneumonia"], ["shock"], ["copd", "pneumonia", "shock"]])
def test_the_evidence_teacher_grounds_what_the_note_holds(gold):
    text = EvidenceTeacher(GRAPH).note(5, NOTE, gold).text
    claims = VERIFIER.check(text, "note", NOTE, {}, gold)
    assert grounded_diagnoses([(text, claims)]).keys() == set(gold) - {"shock"}


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "fever",
                "no finding supports",
                "points to",
                "pneumonia",
                "shock",
                ";",
                ".",
                ",",
                "this",
                "not",
                "high lactate",
            ]
        ),
        max_size=40,
    ).map(" ".join)
)
def test_any_text_is_read_and_what_is_grounded_is_affirmed(text):
    for kind in ("note", "series"):
        claims = check(text, kind)
        affirmed = {c.about.partition(":")[2] for c in claims if c.kind == "diagnosis" and not c.negated}
        assert grounded_diagnoses([(text, claims)]).keys() <= affirmed
        for claim in claims:
            assert 0 <= claim.start < claim.end <= len(text)


def test_a_long_text_is_read_in_linear_time():
    text = "fever points to pneumonia; nothing here, no reason. " * 4000
    claims = check(text[:5200], "note")
    started = time.process_time()
    grounded_diagnoses([(text, claims * 40)])
    assert time.process_time() - started < 2
