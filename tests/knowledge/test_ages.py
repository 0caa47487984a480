"""Ages in notes and rationales."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from whole_graph import GRAPH, LINKER

from clinragen.chart.note_mentions import note_mentions
from clinragen.knowledge.ages import age_mentions, age_phrase

BANDS = GRAPH.of_kind("circumstance")


def ages(text: str) -> list[tuple[str, int | None]]:
    return [(one.concept.removeprefix("circumstance:age_"), one.value) for one in age_mentions(text, BANDS)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A 71-year-old woman", [("65_to_79", 71)]),
        ("80 yo M", [("80_or_more", 80)]),
        ("79 y/o F", [("65_to_79", 79)]),
        ("A more than 89-year-old man", [("80_or_more", 90)]),
        ("64 year old, aged 44", [("45_to_64", 64), ("18_to_44", 44)]),
        ("creatinine 71, for 20 years, day 64, T 38.5", []),
        ("age 65 to 79, age 80 or more, age < 60", []),  # no one's age
        ("smoked for 40 years, 17-year-old", []),  # children are not in adult intensive care
    ],
)
def test_ages_are_read_with_their_band(text, expected):
    assert ages(text) == expected


@given(st.integers(18, 90))
def test_every_age_is_read_back_as_written(years):
    assert [value for _, value in ages(f"Based on the medical notes, {age_phrase(years)} suggests shock.")] == [years]


def test_the_first_age_of_a_note_is_the_patients_and_never_a_relatives():
    sections = [("family_history", "Father died, a 71-year-old man."), ("plan", "An 84 yo man; wife 70 yo.")]
    found = [one.mention for one in note_mentions(sections, LINKER) if one.mention.value is not None]
    assert [(mention.value, sections[1][1][mention.start : mention.end]) for mention in found] == [(84, "84 yo")]


def test_a_graph_without_circumstances_has_no_ages():
    assert list(age_mentions("An 84-year-old man", ["symptom:fever"])) == []
