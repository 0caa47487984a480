import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinragen.reporting.evidence import mark_shared

texts = st.text(alphabet=st.sampled_from("abc fever pain,.\n <&"), max_size=60)


def shared(segments):
    return [text for text, hit in segments if hit]


@given(texts, st.lists(texts, max_size=3))
def test_segments_joined_are_the_input(rationale, sections):
    ours, theirs = mark_shared(rationale, sections)
    assert "".join(text for text, _ in ours) == rationale
    assert ["".join(text for text, _ in section) for section in theirs] == sections


def test_longest_run_is_marked_on_both_sides():
    ours, (first, second) = mark_shared(
        "Based on the notes, Shortness of breath for three days and crackles.",
        ["chest pain", "reports shortness of\nbreath for three days; crackles at both bases"],
    )
    assert shared(ours) == ["Shortness of breath for three days"]
    assert shared(first) == []
    assert shared(second) == ["shortness of\nbreath for three days"]


def test_common_words_alone_are_no_evidence():
    ours, (section,) = mark_shared("The patient was there with the", ["the patient was there with the"])
    assert shared(ours) == shared(section) == []


def test_run_does_not_cross_sections():
    ours, _ = mark_shared("acute kidney injury", ["acute", "kidney injury"])
    assert shared(ours) == ["kidney injury"]


def test_phrase_said_twice_is_marked_once_in_the_note():
    ours, (section,) = mark_shared("chest pain, again chest pain", ["chest pain"])
    assert shared(ours) == ["chest pain", "chest pain"]
    assert section == [("chest pain", True)]


@pytest.mark.parametrize("words", ["fever cough", "fever fever cough", "a b"])
def test_a_note_that_repeats_itself_costs_time_in_proportion(words):
    note, rationale = f"{words} " * 30_000, f"{words} x {words} y " * 200
    started = time.process_time()
    ours, (section,) = mark_shared(rationale, [note])
    assert time.process_time() - started < 3
    assert "".join(text for text, _ in ours) == rationale
    assert "".join(text for text, _ in section) == note
