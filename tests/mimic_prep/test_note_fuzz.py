"""Whatever a note holds, it is read to its end in time that grows with its length; the course stays out of bounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mimic_prep.course import told
from mimic_prep.note_text import clean
from mimic_prep.radiology import radiology_sections
from mimic_prep.sections import KNOWN_AT_ADMISSION, discharge_sections

#: pieces at which a pattern that looks too far ahead would begin anew
PIECES = [
    "exam\n", "pe\n", "on the day of ", "physical ", "discharge ", "on discharge\n", "[**", "[** a", "___", "(a",
    "a ", "A ", "A-", "AB,", "AB CD ", "a:", "A: b ", "A\n", "A\n===\n", "HOSPITAL ", "Hospital Course: x. ", "\n",
    " \n", "\t", " ", ":", ".", ". ", "-", "--\n", "=\n", "# a\n", "1. ", "I. ", "was ", "he was started on ",
    "\u200b", "\u202e\n", "\x00", "\uff1a", "\u00e9", "FINDINGS: ", "IMPRESSION:\n", "\\n", "\r", "<", "<b>",
    "{A} ", "the patient's ", "ed course in the ", "Section 1:", "completed a x course ",
    "during the course of the ", "Physical Exam:\n", "PMH:\n", "addendum\n",
]  # fmt: skip
READERS: dict[str, Callable[[str], object]] = {
    "summary": discharge_sections,
    "addendum": partial(discharge_sections, addendum=True),
    "radiology": radiology_sections,
    "cleaning": clean,
    "course": partial(told, narrative=True),
}
OPENINGS = ("", "Physical Exam:\n", "Past Medical History:\n", "INDICATION: ")
_QUIET = settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))


def _seconds(read: Callable[[str], object], text: str) -> float:
    """Processor time of a reading, the best of three: others may use the machine."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        read(text)
        best = min(best, time.process_time() - start)
    return best


@pytest.mark.parametrize("name", READERS)
@given(opening=st.sampled_from(OPENINGS), pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=3))
@_QUIET
def test_time_grows_with_the_length(name: str, opening: str, pieces: list[str]) -> None:
    piece = "".join(pieces)
    short, long = (opening + piece * (size // len(piece)) for size in (6_000, 24_000))
    # four times the text takes four times as long, sixteen times where a pattern is quadratic
    assert _seconds(READERS[name], long) < 9 * _seconds(READERS[name], short) + 0.05


def test_a_large_exam_of_short_lines_is_read() -> None:
    text = "Physical Exam:\n" + "exam on\n" * 15_000
    assert _seconds(discharge_sections, text) < 9 * _seconds(discharge_sections, text[:30_000]) + 0.05


@pytest.mark.parametrize("name", READERS)
@given(text=st.text() | st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
@settings(_QUIET, max_examples=150)
def test_any_text_is_read(name: str, text: str) -> None:
    READERS[name](text)


_LINES = st.text("abz :.-#*=_[]()\u200b\x00\t", max_size=40) | st.sampled_from(
    [
        "Neuro: alert",
        "# Sepsis: better",
        "Labs:",
        "CXR",
        "ID: covered",
        "Pain: 5/10",
        "Lasix 40 mg daily:",
        "EXAM: soft",
    ]
)


@given(before=st.lists(_LINES, max_size=6), after=st.lists(_LINES, max_size=6), end=st.sampled_from(["\n", "\r\n"]))
@settings(_QUIET, max_examples=120)
def test_nothing_below_the_heading_of_the_course_is_of_the_admission(
    before: list[str], after: list[str], end: str
) -> None:
    text = end.join(
        ["Physical Exam:", "Soft.", *before, "", "HOSPITAL COURSE:", *after, "She had zoster encephalitis."]
    )
    found = discharge_sections(text)
    assert "zoster" not in str({name: body for name, body in found.items() if name in KNOWN_AT_ADMISSION})
