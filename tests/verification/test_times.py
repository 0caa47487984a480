"""Times in text as cues: the hours that they mean, and that what has been read is blanked out."""

from __future__ import annotations

import pytest

from clinragen.verification import times
from clinragen.verification.masked import BLANK, Masked
from clinragen.verification.statements import Hour
from clinragen.verification.times import HourWindow

FOREVER = float("inf")


@pytest.fixture(autouse=True)
def _of_the_files():
    """Each test makes the table of patterns anew."""
    times._table.cache_clear()


@pytest.mark.parametrize(
    ("text", "cue"),
    [
        ("in the first 24 hours", ("window", HourWindow(0.0, 24.0))),
        ("in the first twelve hours", ("window", HourWindow(0.0, 12.0))),
        ("on day 1", ("window", HourWindow(0.0, 24.0))),
        ("on the second day", ("window", HourWindow(24.0, 48.0))),
        ("in the last 6 hours", ("window", HourWindow(-6.0, FOREVER))),
        ("between hours 6 and 23", ("window", HourWindow(6.0, 23.0))),
        ("after hour 24", ("window", HourWindow(24.0, FOREVER))),
        ("until hour 12", ("window", HourWindow(0.0, 12.0))),
        ("by hour 34", ("window", HourWindow(0.0, 34.0))),
        ("within 30 hours", ("window", HourWindow(0.0, 30.0))),
        ("on day 3", ("window", HourWindow(48.0, 72.0))),
        ("over 24 h", ("window", HourWindow(0.0, FOREVER, 24.0))),
        ("in total", ("total", None)),
        ("around hour 29", ("hour", Hour(29.0, 3.0))),
        ("around 29 h", ("hour", Hour(29.0, 3.0))),
        ("at hour 9", ("hour", Hour(9.0, 1.0))),
        ("on admission", ("moment", "first")),
        ("most recently", ("moment", "last")),
    ],
)
def test_a_time_is_read_whole_with_its_hours(text, cue):
    sentence = Masked(text)
    times.find(sentence)
    assert [(found.kind, found.value) for found in sentence.cues] == [cue]
    assert not sentence.text.replace(BLANK, "").strip(" onat")


@pytest.mark.parametrize(
    "text",
    [
        "every 6 hours",
        "64 yo",
        "2-3 days",
        "hours 9 to 6",  # back in time
        "day 0",  # days are counted from 1
    ],
)
def test_a_time_that_is_no_time_of_the_stay_is_read_and_makes_no_cue(text):
    sentence = Masked(f"Lactate {text} 5.6")
    times.find(sentence)
    assert sentence.cues == []
    assert not any(letter.isdigit() for letter in sentence.text.removesuffix("5.6"))


def test_a_number_of_hours_that_is_not_told_is_left_to_others():
    sentence = Masked("within the first few hours")
    times.find(sentence)
    assert [(cue.kind, cue.value) for cue in sentence.cues] == [("moment", "first")]
    assert "few hours" in sentence.text
