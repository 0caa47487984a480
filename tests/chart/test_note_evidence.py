"""What a note affirms: of what it says twice, the weightier counts."""

from __future__ import annotations

import pytest
from whole_graph import GRAPH, LINKER

from clinragen.chart.note_evidence import gather, signs
from clinragen.chart.support import SUPPORTS, grounds

HPI, PMH = "history_of_present_illness", "past_medical_history"
MEDICATION, EXAM = "medications_on_admission", "admission_exam"


def phrases(*sections: tuple[str, str]) -> dict[str, str]:
    """phrase -> how it is told."""
    return {item.phrase: item.kind for item in gather(sections, LINKER, GRAPH)}


@pytest.mark.parametrize(
    ("sections", "phrase", "affirmed"),
    [
        # a symptom happens at a time: denied once, it may still have come
        ([(HPI, "No chest pain on arrival. Overnight he developed chest pain.")], "chest pain", True),
        ([(HPI, "Presented with chest pain. Now denies chest pain.")], "chest pain", True),
        ([(HPI, "Chest pain since noon."), (EXAM, "Comfortable. Denies chest pain.")], "chest pain", True),
        ([(HPI, "Denies leg swelling."), (EXAM, "Leg swelling to the knees.")], "leg swelling", True),
        ([(EXAM, "Intubated."), ("treatments", "Not intubated.")], "intubated", True),
        # what was written for this admission outweighs a list carried over, not the other way round
        ([(HPI, "Denies orthopnea."), (PMH, "Orthopnea")], "orthopnea", False),
        ([(PMH, "No orthopnea"), (HPI, "Orthopnea for a week.")], "orthopnea", True),
        ([(HPI, "Not on furosemide any more."), (MEDICATION, "Furosemide 40 mg")], "furosemide", False),
        # a disease is a judgement: the last word counts
        ([(HPI, "Treated for PNA, but then PNA was ruled out.")], "PNA", False),
        ([(HPI, "At first no PNA was seen. The next film showed PNA.")], "PNA", True),
        # never affirmed, of somebody else, or what one must not take
        ([(HPI, "ROS: denies chest pain.")], "chest pain", False),
        ([(HPI, "Chest pain since noon."), ("family_history", "No chest pain in the family.")], "chest pain", True),
        ([("family_history", "Father had chest pain.")], "chest pain", False),
        ([("allergies", "Furosemide")], "furosemide", False),
        ([("social_history", "Fever in the tropics years ago.")], "fever", False),
    ],
)
def test_of_what_a_note_both_affirms_and_denies_the_weightier_counts(sections, phrase, affirmed):
    assert (phrase in phrases(*sections)) == affirmed


def test_each_phrase_is_a_sign_of_the_past_or_a_drug():
    found = phrases((HPI, "Chest pain since noon."), (PMH, "COPD"), (MEDICATION, "Furosemide 40 mg"))
    assert found == {"chest pain": "sign", "COPD": "past", "furosemide": "drug"}


@pytest.mark.parametrize(
    ("section", "text", "phrase", "kind"),
    [
        # small letters, but for words with capitals inside; a phrase that shouts is told calmly
        (HPI, "Chest Pain", "chest pain", "sign"),
        (HPI, "Acute MI.", "acute MI", "sign"),
        (HPI, "CHEST PAIN", "chest pain", "sign"),
        (HPI, "A FIB.", "a fib", "sign"),
        (HPI, "DYSPNEA.", "dyspnea", "sign"),
        (HPI, "SEPSIS.", "SEPSIS", "sign"),  # up to six letters may be an abbreviation
        (HPI, "COPD.", "COPD", "sign"),
        (MEDICATION, "ASA", "asa", "drug"),  # drugs always are
        (PMH, "CABG in 2010", "CABG", "past"),
        # of a symptom that is old the chart may speak as of one that is there
        (PMH, "Orthopnea", "orthopnea", "sign"),
    ],
)
def test_a_phrase_is_told_in_the_words_of_the_note(section, text, phrase, kind):
    assert phrases((section, text)) == {phrase: kind}


def test_of_a_concept_affirmed_twice_the_first_place_stands():
    evidence = gather([(HPI, "Chest pain since noon, chest pressure."), (EXAM, "Chest pain.")], LINKER, GRAPH)
    assert [(item.section, item.start) for item in evidence if item.concept == "symptom:chest_pain"] == [(HPI, 0)]


def test_signs_are_symptoms_and_findings_of_the_present():
    text = "Fever, tachycardia and nausea. History of MI. Pneumonia."
    evidence = gather([(HPI, text), (MEDICATION, "Furosemide")], LINKER, GRAPH)
    assert [item.phrase for item in signs(evidence)] == ["fever", "tachycardia", "nausea"]


def test_signs_are_what_is_seen_now():
    evidence = gather([(HPI, "Chest pain since noon."), (PMH, "COPD"), (MEDICATION, "Furosemide")], LINKER, GRAPH)
    assert [item.phrase for item in signs(evidence)] == ["chest pain"]


def test_a_phrase_points_at_its_words_in_the_note():
    text = "Since noon  Chest\nPain, worse on effort."
    (item,) = gather([(HPI, text)], LINKER, GRAPH)
    assert (item.section, text[item.start : item.end], item.phrase) == (HPI, "Chest\nPain", "chest pain")
    assert item.as_json() == {"concept": item.concept, "section": HPI, "start": item.start, "end": item.end}


def test_a_letter_of_shorthand_is_told_by_the_name_of_what_it_stands_for():
    assert {"nausea", "vomiting"} <= phrases((HPI, "Two days of n/v/d.")).keys()


def test_grounds_are_strong_enough_the_strongest_first_and_each_phrase_once():
    evidence = gather([(HPI, "Orthopnea, leg swelling, cough and fever."), (MEDICATION, "Furosemide")], LINKER, GRAPH)
    ranked = grounds(evidence, ["congestive_heart_failure"], GRAPH)["congestive_heart_failure"]
    strengths = [strength for strength, _ in ranked]
    assert strengths == sorted(strengths, reverse=True)
    assert min(strengths) >= SUPPORTS
    named = [item.phrase for _, item in ranked]
    assert {"orthopnea", "leg swelling", "furosemide"} <= set(named)
    assert "fever" not in named
    assert len(named) == len(set(named))


def test_an_old_acute_disease_is_no_ground_for_a_new_one_but_a_chronic_one_is():
    evidence = gather([(PMH, "stroke in 2010, COPD")], LINKER, GRAPH)
    ranked = grounds(evidence, ["acute_cerebrovascular_disease", "copd"], GRAPH)
    assert ranked["acute_cerebrovascular_disease"] == []
    assert [item.phrase for _, item in ranked["copd"]] == ["COPD"]


def test_the_name_of_a_label_that_the_stay_does_not_carry_is_no_ground():
    evidence = gather([(HPI, "Septicemia, lethargy and cold skin.")], LINKER, GRAPH)
    assert "septicemia" in [item.phrase for item in evidence]
    alone = grounds(evidence, ["shock"], GRAPH)["shock"]
    both = grounds(evidence, ["shock", "septicemia"], GRAPH)["shock"]
    assert "septicemia" not in [item.phrase for _, item in alone]
    assert "septicemia" in [item.phrase for _, item in both]
