"""Results beyond the range of an assay give the limit. Text that only looks like one is ignored."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mimic_prep.limits import limits

_AT = "2151-03-01 08:30:00"


def _read(text: str | None) -> float | None:
    return limits(pl.Series([text], dtype=pl.String))[0][0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<0.01", 0.01), (">150", 150), ("> 150", 150), ("< 5", 5), (">=500", 500), ("<=0.3", 0.3), ("=>60", 60),
        ("≤0.2", 0.2), ("≥ 1000", 1000), ("<0.01*", 0.01), ("150+", 150), (">150.0", 150), ("GREATER THAN 150", 150),
        ("greater than 21000", 21000), ("Less than 10", 10), ("LESS THAN OR EQUAL TO 0.5", 0.5), ("more than 300", 300),
        ("below 5", 5), ("above 500", 500), ("GT 150", 150), ("LT 0.1", 0.1), ("<0.01.", 0.01), (">1,000", 1000),
        (">70,000", 70000), ("<0,01", 0.01), ("<.01", 0.01), (" >150 ", 150), (">150 H", 150), (">=150 (H)", 150),
        ("&gt;150", 150), ("&lt;0.01", 0.01), ("<-30", -30), ("7.4*", 7.4), ("12 H", 12), ("-3*", -3),
    ],
)  # fmt: skip
def test_the_limit_stands(text, expected):
    assert _read(text) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        None, "", "___", "<", ">", "1:40", "<1:40", ">1:640", "1/2", "<1/2", "+1", "1+", "4+", "+", "++", "2150-01-02",
        ">2150-01-02", "10-20", ">10-20", "120/80", ">120/80", "NEG", "TRACE", "UNABLE TO REPORT", "ND", "error 5",
        "Not Done, WBC <=0.1", "ND <0.1", "<0.1 or >5", "1.2.3", "<1.2.3", "greater", "GREATER THAN", "0-2", "<5>",
        "<<5", "12 13", "1e5x", "5 minutes ago", "<5 years", "SEE NOTE 5", "more than usual",
        "77", " 7.4 ", "-3",
    ],
)  # fmt: skip
def test_what_is_no_limit_makes_no_value(text):
    assert _read(text) is None


@given(text=st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_no_text_breaks_it_and_no_sign_is_turned(text):
    value = _read(text)
    assert value is None or (value == value and abs(value) < float("inf"))
    if value is not None and value < 0:
        assert "-" in text or "\u2212" in text


@given(number=st.decimals(0, 99999, places=2), sign=st.sampled_from(["<", ">", "<=", ">=", "≤", "≥"]))
@settings(max_examples=60, deadline=None)
def test_any_number_after_a_sign_is_read_as_it_stands(number, sign):
    assert _read(f"{sign}{number}") == pytest.approx(float(number))
    assert _read(f"{sign} {number}*") == pytest.approx(float(number))
    assert _read(f"{number}:{number}") is None


#: Item, value, comment, unit; variable and what it must be.
_ROWS = [
    (51003, "<0.01", "", "ng/mL", "troponin_t", 0.01),
    (51003, "", "<0.01.  CTROPNT > 0.10 NG/ML SUGGESTS ACUTE MI.", "ng/mL", "troponin_t", 0.01),
    (51003, "___", "<0.01*.", "ng/mL", "troponin_t", 0.01),
    (51275, ">150", "", "sec", "ptt", 150),
    (51275, "", "GREATER THAN 150.  VERIFIED.", "sec", "ptt", 150),
    (50809, "", "GREATER THAN 500.  VERIFIED.", "mg/dL", "glucose", 500),
    (50963, "", "GREATER THAN 70000.  VALUES < 450 HAVE 99% NEGATIVE PREDICTIVE VALUE.", "pg/mL", "bnp", 70000),
    (50904, "", "LESS THAN 10.", "mg/dL", "hdl", 10),
    (51006, "", "<3*.", "mg/dL", "bun", 3),
    (50885, "<0.2 mg/dL", "", "", "bilirubin_total", 0.2),
    (51003, "<10 ng/L", "", "ng/mL", "troponin_t", 0.01),  # its own unit
    (50912, "1.4*", "", "mg/dL", "creatinine", 1.4),  # a mark that a numeric column cannot hold
    (50912, "1.4", "", "mg/dL", "creatinine", None),  # the source did not take it for the result
    (51256, "", "ND .  Not Done, WBC <=0.1.", "%", "neutrophils", None),
    (51003, "", "CTROPNT > 0.10 NG/ML SUGGESTS ACUTE MI.", "ng/mL", "troponin_t", None),
    (50915, "", "<500 CAN BE USED TO EXCLUDE", "ng/mL", "ddimer", None),
    (51237, "ERROR", "", "", "inr", None),
    (51275, "", "UNABLE TO REPORT.", "sec", "ptt", None),
    (50971, "<-1", "", "mEq/L", "potassium", None),  # no concentration is negative
    (50802, "<-30", "", "mEq/L", "base_excess", -30),
]  # fmt: skip


def test_laboratory_rows(hospital, prepared):
    for hour, (item, value, comment, unit, _, _) in enumerate(_ROWS, 5):
        hospital.lab(1, f"2151-03-0{1 + (8 + hour) // 24} {(8 + hour) % 24:02}:30:00", item, "", unit,
                     value=value, comments=comment)  # fmt: skip
    values = prepared(hospital).values(100)
    found = [values.get((row[4], float(hour))) for hour, row in enumerate(_ROWS, 5)]
    assert found == [row[5] for row in _ROWS]


def test_a_numeric_value_is_never_replaced_and_limits_are_counted(hospital, prepared):
    hospital.lab(1, _AT, 51275, 149, "sec", value=">150", comments="<5.")
    hospital.lab(1, "2151-03-01 09:30:00", 51275, "", "sec", value=">150", comments="")
    hospital.chart(100, "2151-03-01 09:30:00", 227467, "", "", value="> 20")
    cohort = prepared(hospital)
    values = cohort.values(100)
    assert (values["ptt", 0.0], values["ptt", 1.0], values["inr", 1.0]) == (149, 150, 20)
    (labs,) = (count for name, count in cohort.manifest["tables"].items() if "labevents" in name)
    assert labs["remarks"]["no number: read from the text"] == 1
