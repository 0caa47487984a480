"""Every kind of statement at its boundaries: of each pair the first holds of the measurements, the nearest other not.

The measurements are [(hour, value), ...] of the variable that the statements are about.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from whole_graph import GRAPH

from clinragen.catalog import variable
from clinragen.chart.measurements import Measurements, measurements
from clinragen.verification.claims import Verdict
from clinragen.verification.reader import SeriesReader
from clinragen.verification.series import check, holds, telling
from clinragen.verification.statements import Course, Point, Scope, Trend, Way

READER = SeriesReader(GRAPH)


def hourly(*values, start=0, step=1):
    return [(start + step * place, value) for place, value in enumerate(values)]


def verdicts(key, cells, text):
    return [check(claim, measurements({key: cells})) for claim in READER.read(text)]


PAIRS = [
    # a state: any measurement beyond the bound; at the bound it is normal
    ("potassium", hourly(4.0, 5.1), "Hyperkalemia.", "Hypokalemia."),
    ("potassium", hourly(4.0, 5.0), "Potassium normal.", "Hyperkalemia."),
    ("potassium", hourly(4.0, 3.5), "No hypokalemia.", "Hypokalemia."),
    ("potassium", hourly(4.0, 3.4), "Abnormal potassium.", "No abnormal potassium."),
    # normal: one in ten may stray, not two in eleven
    ("heart_rate", hourly(*[80] * 9, 101), "Heart rate normal.", "Heart rate was never high."),
    ("heart_rate", hourly(*[80] * 9, 101, 101), "Tachycardia.", "Heart rate normal."),
    # what would be written as normal is normal, and not high
    ("creatinine", hourly(1.2, 1.24), "Creatinine normal.", "Creatinine low."),
    # frequencies: seven in ten, half, nineteen in twenty, two
    ("heart_rate", hourly(*[110] * 7, 80, 80, 80), "Persistent tachycardia.", "Heart rate always high."),
    ("heart_rate", hourly(*[110] * 6, 80, 80, 80, 80), "Heart rate mostly high.", "Persistent tachycardia."),
    ("heart_rate", hourly(*[110] * 5, *[80] * 5), "Heart rate mostly high.", "Persistent tachycardia."),
    ("heart_rate", hourly(*[110] * 4, *[80] * 5), "Repeatedly tachycardic.", "Heart rate mostly high."),
    ("heart_rate", hourly(*[110] * 19, 80), "Heart rate always high.", "Heart rate above 100 at all times."),
    ("heart_rate", hourly(*[110] * 18, 80, 80), "Heart rate persistently high.", "Heart rate always high."),
    ("heart_rate", hourly(80, 110, 80), "Occasional tachycardia.", "Repeatedly tachycardic."),
    # counts and shares
    ("mean_bp", hourly(60, 60, 60, 70, 70), "MAP below 65 on 3 occasions.", "MAP below 65 on 2 occasions."),
    ("mean_bp", hourly(60, 60, 60, 70, 70), "MAP below 65 at least three times.",
     "MAP below 65 more than three times."),
    ("mean_bp", hourly(60, 60, 60, 70, 70), "MAP below 65 up to three times.", "MAP below 65 fewer than three times."),
    ("mean_bp", hourly(60, 60, 60, 70, 70), "MAP below 65 about 4 times.", "MAP below 65 about 5 times."),
    ("mean_bp", hourly(*[60] * 4, *[70] * 6), "MAP below 65 in 50% of readings.", "MAP below 65 in 51% of readings."),
    ("mean_bp", hourly(*[60] * 6, *[70] * 4), "MAP below 65 in half of the readings.",
     "MAP below 65 in 49% of readings."),
    ("mean_bp", hourly(60, 60, 70), "MAP below 65 twice.", "MAP below 65 once."),
    # severity: at least a fifth of the range's width beyond its bound; at most one and a half
    ("glucose", hourly(203), "Marked hyperglycemia.", "Glucose 202."),
    ("glucose", hourly(201), "Mild hyperglycemia.", "Marked hyperglycemia."),
    ("glucose", hourly(345), "Mild hyperglycemia.", "Hypoglycemia."),
    ("glucose", hourly(346), "Severe hyperglycemia.", "Mild hyperglycemia."),
    # a value: to the rounding of its last digit, or the catalogue's where that is coarser
    ("creatinine", hourly(3.2), "Creatinine 3.2.", "Creatinine 3.3."),
    ("creatinine", hourly(3.24), "Creatinine 3.2.", "Creatinine 3.3."),
    ("creatinine", hourly(3.26), "Creatinine 3.3.", "Creatinine 3.2."),
    ("heart_rate", hourly(130), "Heart rate 130.", "Heart rate 131."),
    ("heart_rate", hourly(130), "Heart rate about 120.", "Heart rate about 119."),
    ("creatinine", hourly(3.2), "Creatinine elevated at 3.2.", "Creatinine low at 3.2."),
    ("creatinine", hourly(1.0, 3.2), "Elevated creatinine of 3.2.", "Elevated creatinine of 1.0."),
    ("wbc", hourly(14.8, 12.8), "Persistent leukocytosis of 14.8.", "Persistent leukocytosis of 11.8."),
    # an hour: within one; about one, within three
    ("lactate", [(9, 5.6), (20, 1.5)], "Lactate 5.6 at hour 10.", "Lactate 5.6 at hour 20."),
    ("lactate", [(9, 5.6), (10.5, 1.5)], "Lactate 5.6 around hour 12.", "Lactate 5.6 at hour 10.5."),
    # a window: both ends, half an hour beyond for the width of a bin
    ("lactate", [(0, 1.0), (6, 5.6), (20, 1.5)], "Lactate 5.6 in the first 6 hours.",
     "Lactate 5.6 in the first 3 hours."),
    ("lactate", [(0, 1.0), (6, 5.6), (20, 1.5)], "Lactate 5.6 after hour 6.", "Lactate 5.6 after hour 7."),
    ("lactate", [(0, 1.0), (14, 5.6), (20, 1.5)], "Lactate 5.6 in the last 6 hours.",
     "Lactate 5.6 in the last 5 hours."),
    ("lactate", [(0, 1.0), (23, 5.6), (26, 1.5)], "Lactate 5.6 on day 1.", "Lactate 5.6 on day 2."),
    ("lactate", [(0, 1.0), (25, 5.6)], "Lactate 5.6 on day 2.", "Lactate 5.6 on day 1."),
    # moments: four hours from the first and the last measurement; later is anything after the first
    ("lactate", [(2, 1.0), (6, 5.6), (20, 1.5)], "Lactate 5.6 on admission.", "Lactate now 5.6."),
    ("lactate", [(2, 1.0), (7, 5.6), (20, 1.5)], "Lactate now 1.5.", "Lactate 5.6 on admission."),
    ("lactate", [(2, 1.0), (16, 5.6), (20, 1.5)], "Lactate now 5.6.", "Lactate still 1.0."),
    # a range: nine in ten lie within
    ("heart_rate", hourly(*[80] * 9, 95), "Heart rate between 75 and 85.", "Heart rate between 81 and 95."),
    ("heart_rate", hourly(*[80] * 8, 95, 95), "Heart rate between 80 and 95.", "Heart rate between 75 and 85."),
    ("heart_rate", hourly(81, 95), "Heart rate ranged from 81 to 95.", "Heart rate ranged from 82 to 95."),
    ("creatinine", hourly(2.0, 2.6), "Creatinine raised at 2.0 to 2.6.", "Creatinine reduced at 2.0 to 2.6."),
    # a decade: of few measurements any, of eight or more a quarter; of two decades half
    ("heart_rate", hourly(69, 130, 130), "Heart rate in the 60s.", "Heart rate in the 70s."),
    ("heart_rate", hourly(130, 131), "Heart rate in the 130s.", "Heart rate in the 60s."),
    ("heart_rate", hourly(60, 60, *[130] * 6), "Heart rate in the 60s.", "Heart rate in the 50s."),
    ("heart_rate", hourly(60, 60, *[130] * 7), "Heart rate in the 130s.", "Heart rate in the 60s."),
    ("heart_rate", hourly(59, 70), "Heart rate in the 50s.", "Heart rate in the 60s."),
    ("heart_rate", hourly(134, 80), "Heart rate in the low 130s.", "Heart rate in the high 130s."),
    ("heart_rate", hourly(135, 80), "Heart rate in the high 130s.", "Heart rate in the low 130s."),
    ("heart_rate", hourly(90, 139, 60, 60), "Heart rate in the 90s-130s.", "Heart rate in the 100s-130s."),
    ("heart_rate", hourly(90, 60, 60), "Heart rate in the 90s.", "Heart rate in the 90s-130s."),
    # a bound: within what is usual a state, nine times in ten; beyond it something that happened
    ("mean_bp", hourly(*[70] * 9, 60), "MAP above 65.", "MAP above 70."),
    ("mean_bp", hourly(*[70] * 9, 60, 60), "MAP below 65.", "MAP above 65."),
    ("heart_rate", hourly(80, 80, 101), "Heart rate above 100.", "Heart rate above 101."),
    ("potassium", hourly(5.5), "Potassium ≥ 5.5.", "Potassium > 5.5."),
    ("potassium", hourly(3.0), "Potassium <= 3.0.", "Potassium < 3.0."),
    ("mean_bp", hourly(70, 66), "MAP remained above 65.", "MAP remained above 66."),
    ("mean_bp", hourly(*[70] * 17, 60, 60), "MAP dropped below 65.", "MAP remained above 65."),
    # an event: it happened; a crossing: by a movement that way
    ("temperature", hourly(38.0, 39.1, 37.0), "Temperature exceeded 39.", "Temperature exceeded 39.1."),
    ("temperature", hourly(38.0, 39.1, 37.0), "Temperature rose above 39.", "Temperature rose above 39.1."),
    ("lactate", hourly(3.2, 3.2), "Lactate above 3.", "Lactate rising above 10."),
    ("temperature", hourly(39.5, 39.1, 37.0), "Temperature exceeded 39.", "Temperature rose above 39."),
    ("mean_bp", hourly(55, 60, 64), "MAP below 65.", "MAP fell below 65."),
    ("mean_bp", hourly(70, 64, 60), "MAP fell below 65.", "MAP fell below 60."),
    # a spell: a stretch as long, nine in ten of it
    ("mean_bp", hourly(80, 60, 60, 60, 80, 80), "MAP below 65 for 3 hours.", "MAP below 65 for 4 hours."),
    ("mean_bp", hourly(80, 60, 80, 60, 80, 80), "MAP below 65 for 1 hours.", "MAP below 65 for 3 hours."),
    # extremes are the extremes, at their hour
    ("lactate", hourly(1.8, 5.6, 3.2), "Lactate peaked at 5.6.", "Lactate peaked at 3.2."),
    ("lactate", hourly(1.8, 5.6, 3.2), "Lactate as low as 1.8.", "Lactate as low as 3.2."),
    ("lactate", [(0, 1.8), (9, 5.6), (20, 3.2)], "Lactate peaked at 5.6 at hour 9.",
     "Lactate peaked at 5.6 at hour 11."),
    ("lactate", [(0, 1.8), (9, 5.6)], "Peak lactate at hour 8.", "Peak lactate at hour 7."),
    ("heart_rate", hourly(*[110] * 7, 80, 80, 80), "Persistent tachycardia up to 110.",
     "Persistent tachycardia up to 111."),
    ("heart_rate", hourly(*[110] * 6, *[80] * 4), "Tachycardia up to 110.", "Persistent tachycardia up to 110."),
    # a mean or a median, within a twentieth of the range's width (2 bpm)
    ("heart_rate", hourly(80, 80, 110), "Mean heart rate 90.", "Mean heart rate 85."),
    ("heart_rate", hourly(80, 80, 110), "Median heart rate 80.", "Median heart rate 77."),
    ("heart_rate", hourly(80, 80, 110), "Heart rate averaged 92.", "Heart rate averaged 93."),
    # totals: within five per cent, over any stretch as long, or over the hours named
    ("urine_output", hourly(*[100] * 10), "Urine output 1000 mL over 10 hours.", "Urine output 1060 mL over 10 hours."),
    ("urine_output", hourly(*[100] * 10), "Urine output 953 mL over 10 h.", "Urine output 951 mL over 10 h."),
    ("urine_output", hourly(*[100] * 10), "Urine output 600 mL in the first 6 hours.",
     "Urine output 800 mL in the first 6 hours."),
    ("urine_output", hourly(*[10] * 5, *[50] * 5), "Urine output 250 mL over 5 h.", "Urine output 300 mL over 5 h."),
    ("urine_output", hourly(*[100] * 10), "Urine output above 900 mL over 10 h.",
     "Urine output above 1000 mL over 10 h."),
    ("urine_output", hourly(*[10] * 10), "Urine output below 101 mL over 10 h.",
     "Urine output below 100 mL over 10 h."),
    ("urine_output", hourly(*[10] * 10), "Urine output 10 mL/h.", "Urine output 11 mL/h."),
    # a trend: a twentieth of the range's width (creatinine .035, heart rate 2), by the last value against the first
    ("heart_rate", hourly(80, 82), "Heart rate rising.", "Heart rate falling."),
    ("heart_rate", hourly(82, 80), "Heart rate falling.", "Heart rate rising."),
    ("heart_rate", hourly(80, 81), "Heart rate stable.", "Heart rate rising."),
    ("heart_rate", hourly(81, 80), "Heart rate stable.", "Heart rate falling."),
    ("heart_rate", hourly(80, 120, 82), "Heart rate rising.", "Heart rate falling."),
    # of eight or more, by the thirds: a single last value makes no trend
    ("heart_rate", hourly(80, 80, 90, 90, 90, 90, 90, 90, 82), "Heart rate rising.", "Heart rate falling."),
    ("heart_rate", hourly(90, 80, 80, 80, 80, 80, 95), "Heart rate rising.", "Heart rate falling."),
    # a trend past a bound
    ("lactate", hourly(1.8, 5.6, 3.2), "Lactate climbed to above 5.", "Lactate climbed to above 6."),
    ("mean_bp", hourly(55, 60, 72), "MAP improved to above 65.", "MAP improved to above 72."),
    # stable: within three tenths of the range's width (12 bpm) either way; high levels within a tenth
    ("heart_rate", hourly(80, 92), "Heart rate stable.", "Heart rate falling."),
    ("heart_rate", hourly(80, 93), "Heart rate rising.", "Heart rate stable."),
    ("heart_rate", hourly(80, 105, 80), "Tachycardia.", "Heart rate stable."),
    ("creatinine", hourly(5.0, 5.5), "Creatinine stable.", "Creatinine normal."),
    ("creatinine", hourly(5.0, 5.7), "Creatinine rising.", "Creatinine stable."),
    ("creatinine", hourly(5.0, 5.4), "High stable creatinine.", "Low stable creatinine."),
    ("creatinine", hourly(5.0, 5.4), "Creatinine stable at 5.0.", "Creatinine stable at 5.2."),
    # better and worse: towards and away from the range
    ("sodium", hourly(125, 130), "Sodium improved.", "Sodium worsened."),
    ("sodium", hourly(160, 150), "Sodium improved.", "Sodium worsened."),
    ("sodium", hourly(150, 160), "Sodium worsened.", "Sodium improved."),
    ("sodium", hourly(125, 130), "Improving hyponatremia.", "Worsening hyponatremia."),
    ("platelets", hourly(20, 70), "Platelets improved by 50.", "Platelets worsened by 50."),
    # resolved: out of the range, and within it at the end
    ("potassium", hourly(5.9, 4.2), "Hyperkalemia resolved.", "Hypokalemia resolved."),
    ("potassium", hourly(5.9, 5.1), "Hyperkalemia.", "Hyperkalemia resolved."),
    ("potassium", hourly(5.0, 4.2), "Potassium normal.", "Hyperkalemia resolved."),
    # a course: in this order, the last on the stated side of the first
    ("creatinine", hourly(1.1, 2.0, 3.2), "Creatinine rose from 1.1 to 3.2.", "Creatinine rose from 1.2 to 3.2."),
    ("creatinine", hourly(1.1, 2.0, 3.2), "Creatinine 1.1 -> 2.0 -> 3.2.", "Creatinine 1.1 -> 3.2 -> 2.0."),
    ("creatinine", hourly(1.1, 3.2), "Creatinine 3.2, up from 1.1.", "Creatinine 3.2, down from 1.1."),
    ("creatinine", hourly(3.2, 1.1), "Creatinine fell from 3.2 to 1.1.", "Creatinine rose from 1.1 to 3.2."),
    ("creatinine", hourly(3.2, 1.1), "Creatinine fell from 3.2 to 1.1.", "Creatinine rose from 3.2 to 1.1."),
    ("glucose", hourly(278, 38), "Glucose from 38 up to 278.", "Glucose from 40 up to 278."),
    ("glucose", hourly(278, 38), "Glucose from 278 down to 38.", "Glucose from 38 down to 278."),
    # of a value that occurs twice, the occurrence at the stated hour
    ("lactate", [(0, 1.8), (9, 5.6), (20, 5.6)], "Lactate rose from 1.8 to 5.6 at hour 9.",
     "Lactate rose from 1.8 to 5.6 at hour 5."),
    # an arrival: the value was reached by such a change
    ("lactate", hourly(1.8, 5.6, 3.2), "Lactate fell to 3.2.", "Lactate rose to 3.2."),
    ("lactate", hourly(1.8, 5.6, 3.2), "Lactate rose to 5.6.", "Lactate fell to 1.8."),
    ("lactate", hourly(1.8, 5.6, 3.2), "Lactate fell by 2.4 to 3.2.", "Lactate fell by 1.4 to 3.2."),
    ("platelets", hourly(180, 45), "Platelets decreased by 75% to 45.", "Platelets decreased by 50% to 45."),
    # a departure: the last value lies that way of it
    ("creatinine", hourly(1.0, 3.1), "Creatinine rising from 1.0.", "Creatinine falling from 1.0."),
    ("creatinine", hourly(1.0, 3.1), "Creatinine rising from 1.0.", "Creatinine rising from 1.2."),
    ("creatinine", hourly(1.0, 3.1), "Creatinine up 2.1 from 1.0.", "Creatinine up 3.1 from 1.0."),
    # an amount: to rounding, with "about" a tenth more
    ("creatinine", hourly(1.0, 3.1), "Creatinine rose by 2.1.", "Creatinine rose by 2.4."),
    ("creatinine", hourly(1.0, 3.1), "Creatinine rose by 2.1.", "Creatinine fell by 2.1."),
    ("heart_rate", hourly(92, 131), "Heart rate rose by 38.", "Heart rate rose by 37."),
    ("heart_rate", hourly(92, 131), "Heart rate rose by about 36.", "Heart rate rose by about 30."),
    ("heart_rate", hourly(92, 131), "Heart rate rose by more than 38.", "Heart rate rose by more than 39."),
    ("heart_rate", hourly(92, 131), "Heart rate rose by less than 40.", "Heart rate rose by less than 39."),
    ("heart_rate", hourly(131, 92, 120), "Heart rate fell 39 points.", "Heart rate fell 20 points."),
    # parts, percentages, factors
    ("platelets", hourly(100, 58), "Platelets halved.", "Platelets doubled."),
    ("platelets", hourly(100, 59), "Platelets fell.", "Platelets halved."),
    ("platelets", hourly(100, 42), "Platelets halved.", "Platelets fell by 52%."),
    ("platelets", hourly(100, 41), "Platelets fell by more than half.", "Platelets halved."),
    ("platelets", hourly(100, 50), "Platelets fell by 55%.", "Platelets fell by 56%."),
    ("platelets", hourly(100, 50), "Platelets fell by 46%.", "Platelets fell by 44%."),
    ("platelets", hourly(100, 25), "Platelets fell by more than 74%.", "Platelets fell by more than 76%."),
    ("creatinine", hourly(1.0, 1.75), "Creatinine doubled.", "Creatinine tripled."),
    ("creatinine", hourly(1.0, 1.7), "Creatinine rose.", "Creatinine doubled."),
    ("creatinine", hourly(1.0, 2.4), "Creatinine doubled.", "Creatinine tripled."),
    ("creatinine", hourly(1.0, 2.5), "Creatinine more than doubled.", "Creatinine doubled."),
    ("creatinine", hourly(2.0, 1.0), "Creatinine halved.", "Creatinine doubled."),
    ("spo2", hourly(98, 88), "SpO2 fell by 10%.", "SpO2 fell by 20%."),
    # terms with a bound, a sign, an extreme
    ("urine_output", hourly(50, 4), "Anuria.", "Polyuria."),
    ("urine_output", hourly(50, 5), "Oliguria.", "Anuria."),
    ("urine_output", hourly(50, 201), "Polyuria.", "Anuria."),
    ("base_excess", hourly(0, -8), "Base deficit of 8.", "Base excess of 8."),
    ("temperature", hourly(38.4, 39.6), "Tmax 39.6.", "Tmax 38.4."),
]  # fmt: skip


@pytest.mark.parametrize(("key", "cells", "true", "false"), PAIRS, ids=[f"{p[2]} / {p[3]}" for p in PAIRS])
def test_a_statement_holds_up_to_its_boundary(key, cells, true, false):
    assert verdicts(key, cells, true) == [Verdict.SUPPORTED]
    assert verdicts(key, cells, false) == [Verdict.CONTRADICTED]


@pytest.mark.parametrize(
    ("key", "cells", "text"),
    [
        ("creatinine", hourly(1.0), "Creatinine rising."),  # one measurement shows no movement
        ("creatinine", hourly(1.0), "Creatinine stable."),
        ("creatinine", hourly(5.0), "Creatinine resolved."),
        ("creatinine", hourly(1.0), "Creatinine doubled."),
        ("creatinine", hourly(1.0), "Creatinine rose to 1.0."),
        ("creatinine", hourly(1.0), "Creatinine rose from 1.0 to 3.0."),
        ("creatinine", hourly(1.0, 2.0), "Creatinine 2.0 on day 3."),
        ("creatinine", hourly(1.0, 2.0), "Creatinine 2.0 at hour 9."),
        ("creatinine", hourly(1.0), "Creatinine later 1.0."),
        ("heart_rate", hourly(96, 70), "Heart rate improved from 96 to 70."),  # from normal to normal
        ("potassium", hourly(4.0), "Creatinine 1.0."),
    ],
)
def test_what_the_measurements_cannot_tell_is_not_in_the_chart(key, cells, text):
    assert verdicts(key, cells, text) == [Verdict.NOT_IN_CHART]


def test_one_false_statement_makes_a_claim_false_though_another_cannot_be_told():
    assert verdicts("creatinine", hourly(1.0), "High creatinine rising.") == [Verdict.CONTRADICTED]


def test_a_word_of_several_variables_needs_one_of_them_and_normal_needs_each():
    chart = measurements({"alt": hourly(500), "ast": hourly(20)})
    said = {
        text: [check(c, chart) for c in READER.read(text)]
        for text in ("Transaminitis.", "LFTs normal.", "LFTs stable.")
    }
    assert said["Transaminitis."] == [Verdict.SUPPORTED]
    assert said["LFTs normal."] == [Verdict.CONTRADICTED]
    chart = measurements({"alt": hourly(20, 21), "ast": hourly(20, 500)})
    assert [check(claim, chart) for claim in READER.read("LFTs stable.")] == [Verdict.CONTRADICTED]


VALUES = st.lists(st.integers(40, 180), min_size=2, max_size=14)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_a_trend_follows_the_sign_of_the_drift_and_never_both_ways(values):
    seen = Measurements(np.arange(float(len(values))), np.array(values, dtype=float))
    third = len(values) // 3
    drift = values[-1] - values[0] if len(values) < 8 else np.mean(values[-third:]) - np.mean(values[:third])
    rate = variable("heart_rate")
    assert Trend(Way("rising")).holds(rate, seen) == (drift >= 2 - 1e-9)
    assert Trend(Way("falling")).holds(rate, seen) == (drift <= -2 + 1e-9)


@settings(max_examples=200, deadline=None)
@given(VALUES, st.data())
def test_a_course_holds_of_two_values_in_their_order_only_with_its_sign(values, data):
    first, last = sorted(data.draw(st.lists(st.integers(0, len(values) - 1), min_size=2, max_size=2, unique=True)))
    seen = Measurements(np.arange(float(len(values))), np.array(values, dtype=float))
    points = tuple(Point(values[place] - 0.5, values[place] + 0.5) for place in (first, last))
    rate = variable("heart_rate")
    for trend, sign in (("rising", 1), ("falling", -1)):
        expected = (values[last] - values[first]) * sign > 0
        assert Course(points, Way(trend)).holds(rate, seen) == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 72), min_size=1, max_size=12, unique=True), st.floats(0, 60), st.floats(0, 40))
def test_a_scope_keeps_exactly_the_measurements_within_it(hours, start, length):
    hours = sorted(hours)
    seen = Measurements(np.array(hours), np.arange(float(len(hours))))
    kept = Scope((start, start + length)).of(seen).hours
    assert list(kept) == [hour for hour in hours if start - 0.5 <= hour <= start + length + 0.5]
    assert list(Scope(moment="first").of(seen).hours) == [hour for hour in hours if hour <= hours[0] + 4]
    assert list(Scope(moment="last").of(seen).hours) == [hour for hour in hours if hour >= hours[-1] - 4]


def test_a_claim_without_measurements_in_its_scope_cannot_be_told():
    [claim] = READER.read("Lactate 5.6 on day 3.")
    assert holds(claim, variable("lactate"), measurements({"lactate": hourly(5.6)})["lactate"]) is None


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("Lactate rising.", [0, 2, 4, 5]),  # the first, the highest, the lowest and the last
        ("Lactate 1.8 in the first 6 hours.", [0, 2, 3]),
        ("Lactate 5.6 after hour 8.", [4, 5]),
        ("Lactate 1.8 at hour 3.", [1, 2]),  # within an hour
        ("Lactate 1.8 on day 9.", [0, 2, 4, 5]),  # nothing within its scope: all of the stay
    ],
)
def test_a_claim_is_told_by_the_first_the_extreme_and_the_last_measurement_within_its_scope(text, places):
    cells = [(0, 2.0), (3, 3.0), (4, 6.0), (6, 1.8), (9, 1.0), (20, 2.5)]
    [claim] = READER.read(text)
    assert telling(claim, measurements({"lactate": cells})) == [("lactate", *cells[place]) for place in places]


def test_a_claim_on_several_variables_is_told_by_each_that_was_measured():
    [claim] = READER.read("LFTs normal.")
    both = measurements({"alt": [(5, 80.0), (2, 70.0)], "ast": [(1, 20.0)]})
    assert telling(claim, both) == [("alt", 2.0, 70.0), ("alt", 5.0, 80.0), ("ast", 1.0, 20.0)]
    assert telling(claim, both, most=1) == [("alt", 2.0, 70.0), ("ast", 1.0, 20.0)]
    assert telling(claim, measurements({"ast": [(1, 20.0)]})) == [("ast", 1.0, 20.0)]
    assert telling(claim, {}) == []
