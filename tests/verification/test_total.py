"""The reader is total: any text is read without an exception, in time proportional to its length."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import CHARTS, judged
from whole_graph import GRAPH

from clinragen.catalog import variables
from clinragen.verification.claims import Verdict
from clinragen.verification.rationale import Verifier
from clinragen.verification.reader import SeriesReader
from clinragen.verification.series import check, telling

READER = SeriesReader(GRAPH)
VERIFIER = Verifier(GRAPH)
SHOCK = CHARTS["shock"]


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("EF from 55% down to 30%.", "-"),
        ("Creatinine 2.2, GFR from 60% down to 25%.", "s"),
        ("Creatinine from 60% down to 25%.", "-"),
        ("Lactate up to 60% from 25%.", "-"),
        ("Systolic pressure 85, ejection fraction from 60% down to 35%.", "s"),
        ("HR 131, O2 requirement up from 40% to 100%.", "sc"),
        ("Creatinine 2.2 and eGFR down to 25%.", "s"),
        ("Creatinine 7.7, GFR from 60% down to 25%.", "c"),
        ("Hemoglobin 40% to 30% to 25%.", "-"),
        ("Lactate 60% -> 40% -> 20%.", "-"),
        ("Creatinine between 20% and 40%.", "-"),
        ("Potassium from 5% down to.", "-"),
        ("BP 1/0.", "-"),
        ("BP from / to 85/.", "s"),
        ("GCS 9/0.", "-"),
        ("Lactate 0 -> 0 -> 0.", "c"),
        ("Creatinine tripled from 0 to 0.", "c"),
        ("Glucose by 0-fold.", "c"),
        ("MAP ranged from to.", "-"),
        ("Temperature ٣٨.", "s"),
        ("Potassium 5.8 at hour 99999999999999999999.", "n"),
        ("Lactate 99999999999999999999999999999999999999999.", "-"),
    ],
)
def test_statements_of_other_things_and_of_nothing_are_read(text, letters):
    assert judged(text, SHOCK, READER) == letters


NAMES = sorted({spec.label.partition(" (")[0] for spec in variables().values()})
WORDS = (
    "BP", "HR", "GCS", "EF", "GFR", "creatinine", "K", "hypotension", "fever", "anemia", "afebrile", "oliguria",
    "urine output", "LFTs", "PaO2/FiO2", "Tmax", "from", "to", "up", "down", "up to", "down to", "up from",
    "down from", "rose", "fell", "rising", "by", "between", "and", "or", "nor", "in", "over", "the first", "last",
    "within", "hour", "hours", "24 h", "day 2", "on admission", "initially", "now", "was", "were", "is", "(", ")",
    "[", "]", ",", ";", ":", ".", "-", "–", "->", "/", "<", ">", "≥", "~", "%", "mmHg", "mg/dL", "mL/kg/h", "K/uL",
    "x10^9/L", "°F", "kPa", "points", "fold", "half", "doubled", "halved", "tripled", "about", "nearly", "peaked at",
    "nadir of", "as low as", "mean", "always", "mostly", "twice", "on 3 occasions", "of 7", "no", "not", "without",
    "persistently", "mild", "severe", "normal", "ref", "high", "low", "abnormal", "stable", "improved", "worsening",
    "resolved", "pointing to", "shock", "baseline", "previously", "out of", "nine", "the 60s", "80s-90s", "out of 15",
    "/15", "then", "later", "history of",
)  # fmt: skip
NUMBERS = st.one_of(
    st.integers(0, 5000).map(str),
    st.floats(0, 500).map(lambda value: f"{value:.1f}"),
    st.sampled_from(
        ["120/80", "1,200", "1.200", "3,1", "0", "00", "-5", "1e9", "7.", ".5", "5.8.9", "9/15", "3-5", "٣"]
    ),
)
CLINICAL = st.lists(st.one_of(st.sampled_from(NAMES), st.sampled_from(WORDS), NUMBERS), max_size=25)


def read_and_check(text: str) -> None:
    for claim in READER.read(text):
        assert 0 <= claim.start < claim.end <= len(text)
        for stay in CHARTS.values():
            assert check(claim, stay) in Verdict
            assert telling(claim, stay) is not None


@settings(max_examples=400, deadline=None)
@given(CLINICAL, st.sampled_from([" ", " ", "", "  ", "\n"]))
def test_generated_clinical_english_is_read(words, between):
    read_and_check(between.join(words))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_arbitrary_text_is_read(text):
    read_and_check(text)
    VERIFIER.check(text, "series", [], SHOCK, [])


PIECES = [
    " ", "\n", "\t \n", "1", "9.", "1,", "1/", "1-", "1 -> ", "1 to ", "(", ")", "[", "x", "HR ", "HR and ",
    "HR 80, ", "up from 1 ", "from 1 ", "1 (was ", "within the first ", "between hours 1 and ", "most of the ",
    "every ", "by about ", "GCS 9/15 ", "HR 80 and BP 120/80, ", "no ", "creatinine fell from 1.2 to 0.8 mg/dL ",
    "the ", "nearly all ", "mg/", "a-", "<", "µ", ". ",
]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_time_is_proportional_to_length(piece):
    """Eight times the text takes about eight times as long, with slack for a noisy machine; a square would be 64."""

    def seconds(length: int) -> float:
        text, taken = "HR 80 " + piece * (length // len(piece)), []
        for _ in range(2):
            begun = time.process_time()
            READER.read(text)
            taken.append(time.process_time() - begun)
        return min(taken)

    assert seconds(6_000) < 24 * seconds(750) + 0.1
