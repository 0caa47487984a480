"""Sections of clinical notes."""

from __future__ import annotations

import pytest

from mimic_prep.note_text import clean
from mimic_prep.radiology import radiology_sections
from mimic_prep.sections import discharge_sections


def _exam(text: str) -> str | None:
    return discharge_sections(f"Physical Exam:\n{text}\nPertinent Results:\nnone seen").get("admission_exam")


@pytest.mark.parametrize(
    "mark",
    [
        "DISCHARGE PHYSICAL EXAM:", "Discharge:", "On discharge:", "At discharge", "Discharge exam",
        "Discharge exam: all of it on a single line, which may be rather long, with vitals", "EXAM ON DISCHARGE:",
        "Physical exam on discharge:", "PHYSICAL EXAM AT TIME OF DISCHARGE:", "== DISCHARGE EXAM ==",
        "Discharge vitals:",
        "DISCHARGE PE:", "Day of discharge:", "ON TRANSFER:",
    ],
)  # fmt: skip
def test_the_discharge_exam_is_never_part_of_the_admission_exam(mark):
    assert _exam(f"Lungs: crackles\n{mark}\nLungs: recovered") == "Lungs: crackles"


def test_an_exam_that_only_tells_of_discharge_is_left_out():
    assert _exam("On discharge:\nLungs: recovered") is None


def test_a_discharge_from_a_wound_ends_nothing():
    assert (
        _exam("Skin: purulent discharge from wound\nLungs: crackles")
        == "Skin: purulent discharge from wound\nLungs: crackles"
    )


@pytest.mark.parametrize(
    "heading", ["Admission Physical Exam:", "PHYSICAL EXAM ON ADMISSION:", "Physical Examination:"]
)
def test_headings_of_the_exam(heading):
    assert discharge_sections(f"{heading}\nLungs: clear\n")["admission_exam"] == "Lungs: clear"


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("HISTORY OF PRESENT ILLNESS:", "history_of_present_illness"),
        ("Past Medical History:", "past_medical_history"),
        ("PMH:", "past_medical_history"),
        ("Medications on Admission:", "medications_on_admission"),
        ("MEDICATIONS ON ADMISSION (confirmed):", "medications_on_admission"),
        ("Home Medications:", "medications_on_admission"),
        ("Chief   Complaint :", "chief_complaint"),
    ],
)
def test_headings(heading, section):
    assert discharge_sections(f"x\n{heading} words of it\nService: MEDICINE\n") == {section: "words of it"}


def test_a_heading_inside_a_sentence_begins_nothing():
    text = "History of Present Illness:\nHe has a past medical history: none of note.\n"
    assert list(discharge_sections(text)) == ["history_of_present_illness"]


def test_sections_that_hold_only_marks_are_left_out():
    assert discharge_sections("Social History:\n___\nFamily History:\n[**Name (un) 3**]\n") == {}


def test_de_identification_marks_take_one_form():
    assert clean("Seen by Dr. [**Last Name (STitle) 1234**] on [**2101-5-3**] at [**Hospital1 18**], ___") == (
        "Seen by Dr. [last name] on [date] at [hospital], [removed]"
    )


def test_hard_wrapped_lines_are_joined_and_lists_kept():
    assert clean("She came with\nshortness of breath.\n\n1. Aspirin\n2. Statin\n- a\n") == (
        "She came with shortness of breath.\n\n1. Aspirin\n2. Statin\n- a"
    )


def test_radiology_reports():
    text = "EXAMINATION: CHEST\nINDICATION: cough\nTECHNIQUE: PA\nFINDINGS: Clear lungs.\nIMPRESSION: Normal."
    assert radiology_sections(text) == {
        "radiology_indication": "cough", "radiology_findings": "Clear lungs.", "radiology_impression": "Normal.",
    }  # fmt: skip
    assert radiology_sections("Clear lungs without heading") == {"radiology_findings": "Clear lungs without heading"}
