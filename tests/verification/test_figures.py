"""Figures as they stand in text: their form, their parts with unit and decade, pairs, and the way of a change."""

from __future__ import annotations

import pytest

from clinragen.catalog import variable
from clinragen.verification import figures
from clinragen.verification.figures import Written
from clinragen.verification.masked import BLANK, Masked
from clinragen.verification.quantities import WrittenNumber


def found(text: str) -> list[Written | str]:
    """What stands for values, and the kinds of the other cues."""
    sentence = Masked(text)
    figures.find(sentence)
    return [cue.value if cue.kind == "number" else cue.kind for cue in sorted(sentence.cues, key=lambda cue: cue.start)]


def written(form, *numbers: str, unit: str | None = None, decade: str = "", second: tuple[str, ...] = (), trend=None):
    return Written(form, tuple(WrittenNumber(number, unit, decade) for number in numbers), second, trend)


FORMS = [
    ("A GCS of nine.", [written("one", "nine")]),
    ("One of the nurses.", []),
    ("GCS 9 out of 15.", [written("one", "9", second=("15",))]),
    ("K 5.9 -> 6.3 => 3.4 mEq/L.", [written("sequence", "5.9", "6.3", "3.4", unit="mEq/L")]),
    ("K 5.9 mEq/L --> 6.3 > 3.4.", [written("sequence", "5.9", "6.3", "3.4", unit="mEq/L")]),
    ("BP 120/80 -> 85/40", [written("sequence", "120", "85", second=("80", "40"))]),
    # a value and the one before it
    ("Creatinine 3.1 mg/dL, up from 1.0.", [written("from", "1.0", "3.1", unit="mg/dL", trend="rising")]),
    ("Creatinine 3.1 mg/dL, down from 1.0.", [written("from", "1.0", "3.1", unit="mg/dL", trend="falling")]),
    ("Creatinine 3.1, INCREASED from 1.0.", [written("from", "1.0", "3.1", trend="rising")]),
    ("Hgb 8.2 from 10.4.", [written("from", "10.4", "8.2", trend="falling")]),
    ("Hgb 8.2 improved from 7.0", [written("from", "7.0", "8.2", trend="rising")]),
    ("Lactate 1.5 (was 5.6).", [written("from", "5.6", "1.5", trend="falling")]),
    ("Hgb 8.2 (prior 8.2)", [written("from", "8.2", "8.2")]),
    ("BP 85/40 (was 120/80)", [written("from", "120", "85", second=("80", "40"), trend="falling")]),
    ("BP 85 (was 120/80)", [written("from", "120", "85", second=("80", ""), trend="falling")]),
    ("HR 130s, up from 90s", [written("from", "90", "130", decade="s", trend="rising")]),
    ("K 5.9 mEq/L, up from 4.1 mmol/L", [
        Written("from", (WrittenNumber("4.1", "mmol/L"), WrittenNumber("5.9", "mEq/L")), (), "rising")]),
    # ranges and changes
    ("Hgb between 8.2 and 10.4.", [written("range", "8.2", "10.4")]),
    ("between 3 or 4", [written("range", "3", "4")]),
    ("Ranging from 12 to 18", [written("range", "12", "18")]),
    ("Varied between 12 and 18", [written("range", "12", "18")]),
    ("varying from 12 and 18", [written("range", "12", "18")]),
    ("fluctuating between 12 and 18", [written("range", "12", "18")]),
    ("12-18", [written("range", "12", "18")]),
    ("From 1.0 to 3.1 mg/dL.", [written("from", "1.0", "3.1", unit="mg/dL")]),
    ("from 1.0 mg/dL to 3.1", [written("from", "1.0", "3.1", unit="mg/dL")]),
    ("BP from 120/80 to 85/40.", [written("from", "120", "85", second=("80", "40"))]),
    ("from 1.0 to 3-4 mg/dL", [written("from", "1.0", "3", "4", unit="mg/dL")]),
    ("HR 90s-130s.", [written("range", "90", "130", decade="s")]),
    ("HR 90s and 130s.", [written("range", "90", "130", decade="s")]),
    ("Glucose 122 and 131.", [written("one", "122"), written("one", "131")]),
    ("Glucose 122 or 131.", [written("one", "122"), written("one", "131")]),
    ("from 122 and 131", [written("start", "122"), written("one", "131")]),
    ("Up from 1.0 to 3.1", [written("from", "1.0", "3.1", trend="rising")]),
    ("raised from 1.0 to 3.1", [written("from", "1.0", "3.1", trend="rising")]),
    ("elevated from 1 to 3", [written("from", "1", "3", trend="rising")]),
    ("down from 3 to 1", [written("from", "3", "1", trend="falling")]),
    ("reduced from 3 to 1", [written("from", "3", "1", trend="falling")]),
    ("lowered from 3 to 1", [written("from", "3", "1", trend="falling")]),
    ("from 38 up to 278", [written("up", "38", "278")]),
    ("from 278 down to 38", [written("down", "278", "38")]),
    ("38 up to 278", [written("up", "38", "278")]),
    # where a change begins; a part of a decade; a value
    ("Rising from 1.0.", [written("start", "1.0")]),
    ("from a baseline of about 1.0 mg/dL", [written("start", "1.0", unit="mg/dL")]),
    ("in the low 130s", [written("one", "130", decade="low")]),
    ("in the Mid-130s bpm", [written("one", "130", unit="bpm", decade="mid")]),
    ("in the 60s", [written("one", "60", decade="s")]),
    ("HR 130's", [written("one", "130", decade="'s")]),
    ("274 µmol/L.", [written("one", "274", unit="µmol/L")]),
    ("120/80 mmHg", [written("one", "120", unit="mmHg", second=("80",))]),
    # numbers that are no values
    ("Potassium 5.8 (3.5-5.0).", [written("one", "5.8")]),
    ("Glucose 168 ± 12.", [written("one", "168"), "aside"]),
    ("Creatinine 3.1 x 2", [written("one", "3.1"), "aside"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FORMS, ids=[text for text, _ in FORMS])
def test_a_figure_is_read_in_its_form(text, expected):
    figures._no_values.cache_clear()  # so that it is made in each test
    assert found(text) == expected


def test_what_has_been_read_is_blanked_out():
    sentence = Masked("GCS of nine; K 5.9 -> 6.3; BP 120/80; HR 60s.")
    figures.find(sentence)
    assert sentence.text.replace(BLANK, "") == "GCS of ; K ; BP ; HR ."


def test_of_pairs_what_stands_before_or_after_the_stroke():
    pair = written("from", "120", "85", unit="mmHg", second=("80", ""), trend="falling")
    assert pair.component(0) == written("from", "120", "85", unit="mmHg", trend="falling")
    assert pair.component(1) == written("from", "80", "", unit="mmHg", trend="falling")


@pytest.mark.parametrize(
    ("figure", "key", "about", "spans"),
    [
        (written("one", "130"), "heart_rate", False, [(129.5, 130.5)]),
        (written("one", "130"), "heart_rate", True, [(120, 140)]),
        (written("from", "1", "3"), "creatinine", False, [(0.5, 1.5), (2.5, 3.5)]),
        # a change that ends in a range
        (written("from", "1.0", "3.0", "4.0"), "creatinine", False, [(0.95, 1.05), (2.95, 4.05)]),
        (written("sequence", "1.0", "3.0", "4.0"), "creatinine", False, [(0.95, 1.05), (2.95, 3.05), (3.95, 4.05)]),
        # in a unit that the variable does not have
        (written("one", "3.1", unit="%"), "creatinine", False, []),
        (Written("from", (WrittenNumber("1.0"), WrittenNumber("3.1", "%"))), "creatinine", False, []),
        (written("one", "274", unit="µmol/L"), "creatinine", False, [(3.05, 3.15)]),
    ],
)
def test_figures_in_the_canonical_unit(figure, key, about, spans):
    got = figures.canonical(figure, variable(key), about=about)
    assert [(one.low, one.high) for one in got] == [pytest.approx(span, abs=0.02) for span in spans]
    assert all(one.how == "at" for one in got)
