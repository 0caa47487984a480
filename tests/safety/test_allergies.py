"""Allergy lists: which drugs and groups they name, with which reaction, and what stays unread."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clinragen.safety.allergies import Allergy, read_allergies
from clinragen.safety.rules import rules


def _read(text: str):
    return read_allergies([("note", text)])


def _named(allergy: Allergy) -> str:
    return "+".join(sorted(allergy.groups)) or (allergy.drug.ingredient if allergy.drug else "")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (
            "Penicillins / Sulfa (Sulfonamide Antibiotics) / codeine",
            ["penicillins", "sulfonamide_antibiotics", "codeine"],
        ),
        ("PENICILLIN G BENZATHINE; LEVAQUIN.", ["penicillins", "levofloxacin"]),
        ("PCN/Sulfa", ["penicillins+sulfonamide_antibiotics"]),
        ("FOSAMAX; PENICILLAMINE", ["alendronate", "penicillamine"]),  # penicillamine is no penicillin
        ("Statins-Hmg-Coa Reductase Inhibitors / Nsaids", ["statins", "nsaids"]),
        ("Iodinated Contrast Media - IV Dye", ["iodinated_contrast"]),
        ("? norco / opiates", ["hydrocodone-acetaminophen", "opioids"]),
        ("Ace Inhibitors, CODEINES", ["ace_inhibitors", "codeine"]),
        ("Povidone-Iodine", ["povidone-iodine"]),  # and no contrast medium
        ("ATORVASTATIN CALCIUM", ["atorvastatin"]),  # and no calcium
        ("latex; shellfish, tape / ACE bandage", []),
        ("", []),
        ("NKDA except lisinopril (angioedema)", ["lisinopril"]),
        ("amiodarone (required epinephrine)", ["amiodarone"]),  # what treated the reaction is no allergen
    ],
)
def test_drugs_and_groups_are_named(text, named):
    assert [_named(allergy) for allergy in _read(text).allergies] == named


@pytest.mark.parametrize(
    ("text", "reactions"),
    [
        ("penicillin", ["allergic"]),
        ("penicillin - rash", ["allergic"]),
        ("Penicillins: anaphylaxis\nSulfa: hives\ncodeine (nausea, vomiting)", ["severe", "allergic", "intolerance"]),
        ("codeine: nausea and itching", ["allergic"]),
        ("lisinopril: cough", ["intolerance"]),
        ("heparin (HIT)", ["severe"]),
        ("ACE inhibitors -- angioedema", ["severe"]),
        ("Lisinopril -> cough; simvastatin -> myalgias", ["intolerance", "intolerance"]),
        ("vancomycin (Red Man Syndrome)", ["intolerance"]),
        ("aspirin - no anaphylaxis, upset stomach", ["intolerance"]),
        ("penicillin, sulfa: anaphylaxis", ["severe", "severe"]),  # it may be of both
        ("penicillin, codeine - nausea", ["allergic", "intolerance"]),  # and this is not
        ("penicillin; codeine - anaphylaxis", ["allergic", "severe"]),
    ],
)
def test_the_gravest_reaction_that_is_written_counts(text, reactions):
    assert [allergy.reaction for allergy in _read(text).allergies] == reactions


def test_an_allergy_without_a_reaction_says_so():
    assert [allergy.stated for allergy in _read("penicillin; codeine (rash)").allergies] == [False, True]


@pytest.mark.parametrize(
    "text",
    [
        "No Known Allergies / Adverse Drug Reactions",
        "Patient recorded as having No Known Allergies to Drugs",
        "NKDA",
        "None.",
        "Denies any allergies",
        "Patient denies any drug allergies",
    ],
)
def test_a_list_without_allergies_is_told_from_one_that_cannot_be_read(text):
    read = _read(text)
    assert (read.none, read.allergies, read.unread, read.elsewhere) == (True, (), (), ())


@pytest.mark.parametrize(
    ("text", "tolerated"),
    [
        ("penicillin (hives, tolerates cephalexin)", {"cephalexin"}),
        ("cefepime tolerated", {"cefepime"}),
        ("no penicillin allergy", {"penicillin", "penicillins"}),
        ("lisinopril: cough, tolerates losartan", {"losartan"}),
    ],
)
def test_what_is_tolerated_is_no_allergy(text, tolerated):
    read = _read(text)
    assert read.tolerated == tolerated
    assert not {_named(allergy) for allergy in read.allergies} & tolerated


def test_entries_that_point_elsewhere_or_say_nothing_known_are_told():
    read = _read("see cerner; zzqx; codeine")
    assert [phrase.text for phrase in read.elsewhere] == ["see cerner"]
    assert [phrase.text for phrase in read.unread] == ["zzqx"]


_WORDS = sorted(
    {word for group in rules().groups.values() for word in group.words}
    | {word for words in rules().allergy_words.reactions.values() for word in words}
    | {*rules().allergy_words.tolerated, *rules().allergy_words.denied, *rules().allergy_words.none, "codeine"}
)
_PIECES = st.lists(
    st.sampled_from([*_WORDS, "; ", ", ", " / ", "\n", "(", ")", "[", "]", " - ", ": ", "."]), max_size=20
)


@given(st.one_of(st.text(max_size=80), _PIECES.map(" ".join)))
@example("((((")
@example("no no no (")
@example("İ; ß, ﬁ")
def test_any_text_is_read_and_every_entry_is_where_it_says(text):
    read = _read(text)
    for phrase in (*(allergy.phrase for allergy in read.allergies), *read.elsewhere, *read.unread):
        assert text[phrase.start : phrase.end] == phrase.text
        assert phrase.text.strip()
    for allergy in read.allergies:
        assert allergy.groups or allergy.drug
