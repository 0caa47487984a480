"""Each kind of statement by itself, without words: its check at the boundary, on either side of it."""

from __future__ import annotations

import numpy as np
import pytest

from clinragen.catalog import variable
from clinragen.chart.measurements import Measurements
from clinragen.verification.statements import (
    Arrival,
    Beyond,
    ChangeBy,
    ChangeSize,
    Count,
    Course,
    Crossing,
    Decade,
    Departure,
    Extreme,
    Hour,
    Mean,
    Point,
    Resolved,
    Spell,
    Stable,
    Trend,
    Value,
    Way,
    Within,
)
from clinragen.verification.statements.changes import approach, drift, swing

INFINITY = float("inf")
# The reference ranges that the numbers below are chosen by.
RANGES = {
    "heart_rate": (60, 100),
    "mean_bp": (65, 105),
    "potassium": (3.5, 5.0),
    "sodium": (135, 145),
    "creatinine": (0.5, 1.2),
    "temperature": (36.0, 38.0),
    "spo2": (94, 100),
    "pao2_fio2": (300, None),
    "weight": (None, None),
}
RATE, PRESSURE, POTASSIUM, SODIUM, CREATININE, FEVER, SATURATION, RATIO, WEIGHT = RANGES


def test_the_reference_ranges_are_those_that_these_tests_are_written_for():
    assert {key: (variable(key).low, variable(key).high) for key in RANGES} == RANGES


def measured(*cells: float | tuple[float, float]) -> Measurements:
    """Values, one an hour, or (hour, value)."""
    pairs = [cell if isinstance(cell, tuple) else (float(place), cell) for place, cell in enumerate(cells)]
    return Measurements(np.array([hour for hour, _ in pairs]), np.array([float(value) for _, value in pairs]))


UP, DOWN, BETTER, WORSE, EITHER = Way("rising"), Way("falling"), Way("improving"), Way("worsening"), Way()
BY_TWO = ChangeSize(2, 2, "amount")
DOUBLED = ChangeSize(1.75, 2.5, "factor")


def at(value: float, **others) -> Point:
    return Point(value, value, **others)


#: statement, variable, measurements of which it holds, measurements of which it does not
NUMBERS = [
    # a value: both ends of what rounding leaves open, and of the measurement that has it the side
    (Value(5.2, 5.4), POTASSIUM, [(5.2,), (5.4,), (9, 5.3, 1)], [(5.1,), (5.5,), (5.1, 5.5)]),
    (Value(4.9, 5.2, "high"), POTASSIUM, [(5.1,), (4.9, 5.2)], [(5.0,), (4.9, 6.0)]),
    (Value(4.9, 5.2, "low"), POTASSIUM, [], [(5.1,), (4.9, 3.0)]),
    (Value(90, 90, frequency="always"), RATE, [(90,) * 19 + (91,)], [(90,) * 18 + (91,) * 2]),
    (Value(90, 90, frequency=Count(2, 2, "count")), RATE, [(90, 91, 90)], [(90,), (90, 90, 90)]),
    # a range: nine in ten, ends included
    (Within(60, 70), RATE, [(60, 70), (65,) * 9 + (99,)], [(59,), (71,), (65,) * 8 + (99,) * 2]),
    (Within(60, 70, "mostly"), RATE, [(60, 99), (70, 99)], [(60, 99, 99)]),
    # a decade: any of seven, a quarter of eight, half of the measurements where it is several
    (Decade(60, 69), RATE, [(60,) + (99,) * 6, (69,), (60, 69) + (99,) * 6], [(70,), (59,), (60,) + (99,) * 7]),
    (Decade(60, 79, several=True), RATE, [(60, 99), (79, 99)], [(60, 99, 99)]),
    (Decade(60, 69, frequency="always"), RATE, [(65,) * 19 + (99,)], [(65,) * 18 + (99,) * 2]),
    # a bound: within the usual a state, nine in ten; beyond it, or said of once, something that happened
    (Beyond(65, "above"), PRESSURE, [(66,) * 9 + (65,)], [(66,) * 8 + (65,) * 2, (65,)]),
    (Beyond(105, "below"), PRESSURE, [(104,) * 9 + (105,)], [(104,) * 8 + (105,) * 2]),
    (Beyond(105, "above"), PRESSURE, [(80, 80, 106)], [(80, 105)]),
    (Beyond(65, "below"), PRESSURE, [(80, 80, 64)], [(80, 65)]),
    (Beyond(80, "above", once=True), PRESSURE, [(70, 70, 81)], [(70, 80)]),
    (Beyond(4.0, "above", side="high", once=True), POTASSIUM, [(3.6, 5.1)], [(4.5, 3.0)]),
    (Beyond(350, "below"), RATIO, [(340,) * 9 + (360,)], [(340,) * 8 + (360,) * 2]),
    (Beyond(250, "below"), RATIO, [(400, 240)], [(400, 250)]),
    (Beyond(80, "above"), WEIGHT, [(70, 81)], [(70, 80)]),
    (Beyond(65, "above", frequency="persistently"), PRESSURE, [(66,) * 9 + (65,)], [(66,) * 8 + (65,) * 2]),
    (Beyond(65, "above", frequency="always"), PRESSURE, [(66,) * 20], [(66,) * 19 + (65,)]),
    (Beyond(65, "above", frequency="mostly"), PRESSURE, [(66, 65)], [(66, 65, 65)]),
    # a crossing: reached by a movement that way, or all there is
    (Crossing(39, "above"), FEVER, [(38, 39.1), (39.1,), (40, 39.5, 39.8), (38, 40, 38)],
     [(38, 39), (39,), (39.5, 39.1), (39.5, 39.5), (40, 39.8, 39.5)]),
    (Crossing(65, "below"), PRESSURE, [(70, 64), (64,), (50, 60, 55), (70, 60, 70)],
     [(70, 65), (65,), (60, 64), (60, 60), (50, 55, 60)]),
    (Crossing(4.0, "above", side="high"), POTASSIUM, [(3.6, 5.1)], [(3.6, 4.5), (6.0, 4.5, 5.0)]),
    (Crossing(4.0, "below", side="low"), POTASSIUM, [(5.0, 3.4)], [(5.0, 3.6)]),
    (Crossing(39, "above", frequency="mostly"), FEVER, [(38, 40), (38, 40, 40)], [(38, 38, 40)]),
    # a spell: a stretch that fits into the record, nine in ten of it; else the whole record
    (Spell(65, "below", 3), PRESSURE,
     [(80, 60, 60, 60, 80), (60, 60, 60, 80, 80), (80, 80, 60, 60, 60), (60, 60), (80, 80, (9, 60), (12, 80))],
     [(80, 60, 60, 80, 60), (80, 60, 60), (60, 80), (80, 80, 80, 60), (65, 65, 65)]),
    (Spell(65, "below", 10), PRESSURE, [(80,) + (60,) * 9 + (80,), (60,) * 9 + (80,)], [(80,) * 2 + (60,) * 8 + (80,)]),
    (Spell(100, "above", 2), RATE, [(80, 101, 101)], [(80, 101, 100)]),
    # an extreme is the extreme, and one of those of its size may be at the hour
    (Extreme("highest", 5.0, 6.0), POTASSIUM, [(4, 5), (6, 4)], [(4, 4.9), (5.5, 6.1)]),
    (Extreme("lowest", 3.0, 3.2), POTASSIUM, [(4, 3), (3.2, 4)], [(3.1, 2.9), (3.3, 4)]),
    (Extreme("highest", 5, 5, Hour(9)), POTASSIUM, [((0, 5), (9, 5)), ((10, 5),), ((8, 5),)],
     [((9, 4), (12, 5)), ((0, 5), (9, 4)), ((10.5, 5),)]),
    # a mean or a median, to a twentieth of the range (2 bpm); of all, or of a stretch of so many hours
    (Mean(90, 90), RATE, [(80, 104), (80, 80, 110), (88, 88, 0), (92, 92, 200)], [(87.9,), (92.1,)]),
    (Mean(90, 92), RATE, [(88,), (94,)], [(87.9,), (94.1,)]),
    (Mean(100, 100, hours=2), RATE, [(60, 100, 100, 20), (60, 60, 60, 100, 100), (100,)], [(60, 100, 60, 100, 60)]),
    (Mean(100, 100), RATE, [], [(60, 100, 100, 20)]),
    (Mean(80, 80, hours=1), RATE, [(60, 60, 100, 100), (60, 80, 60)], [(60, 60, 100)]),
]  # fmt: skip

CHANGES = [
    # a trend: a twentieth of the range (2 bpm) by the last value against the first
    (Trend(UP), RATE, [(80, 82), (80, 60, 82)], [(80, 81.9), (82, 80), (80, 99, 81)]),
    (Trend(DOWN), RATE, [(82, 80)], [(81.9, 80), (80, 82)]),
    (Trend(UP), POTASSIUM, [(4.0, 4.075)], [(4.0, 4.07)]),
    # of eight and more by their thirds
    (Trend(UP), RATE, [(80, 80, 99, 99, 99, 99, 82, 82), (90, 70, 80, 80, 80, 80, 80, 90)],
     [(80, 80, 80, 80, 80, 80, 60, 82)]),
    (Trend(UP), RATE, [(70, 80, 80, 80, 80, 80, 75)], [(80, 80, 99, 99, 99, 99, 80)]),
    # better and worse: towards the range and away from it, by anything
    (Trend(BETTER), SODIUM, [(150, 149), (120, 121), (150, 140)], [(149, 150), (121, 120), (140, 139), (140, 140)]),
    (Trend(WORSE), SODIUM, [(149, 150), (121, 120), (140, 150)], [(150, 149), (140, 144)]),
    (Trend(Way("improving", "low")), SODIUM, [(120, 150), (120, 121)], [(150, 146), (150, 140)]),
    (Trend(Way("improving", "high")), SODIUM, [(150, 120), (150, 149)], [(120, 134), (120, 140)]),
    (Trend(BETTER), RATIO, [(100, 200)], [(200, 100), (300, 400)]),
    # past a bound by a change that way, whatever came after
    (Trend(UP, (Beyond(39, "above"),)), FEVER, [(38, 39.1, 36), (36, 38)], [(39.5, 39.2, 36), (39, 38)]),
    (Trend(DOWN, (Beyond(90, "below"), Beyond(80, "above"))), RATE, [(100, 85, 100)], [(70, 75, 85), (100, 95, 100)]),
    # stable: within three tenths of the range (12 bpm) either way, high levels within a tenth
    (Stable(), RATE, [(80, 92), (92, 80), (80, 92, 68, 80)], [(80, 93), (93, 80), (80, 93, 68, 80)]),
    (Stable(), RATE, [(80,) * 5 + (199,) + (80,) * 5, (80,) * 7 + (90,)],
     [(80, 80, 80, 199, 199, 80, 80, 80), (68,) * 5 + (81,) * 5]),
    (Stable(), CREATININE, [(5.0, 5.5), (1.0, 1.2)], [(5.0, 5.6), (1.0, 1.22)]),
    # resolved: outside on that side, and within at the end
    (Resolved(), POTASSIUM, [(6, 4), (3, 4), (4, 6, 5)], [(4, 4), (6, 5.1), (4, 6)]),
    (Resolved("high"), POTASSIUM, [(6, 4), (6, 3)], [(3, 4), (6, 5.1)]),
    (Resolved("low"), POTASSIUM, [(3, 4), (3, 6)], [(6, 4), (3, 3.4)]),
    # a course: values in this order, the last on that side of the first, at its hour
    (Course((at(1), at(3)), UP), CREATININE, [(1, 3), (1, 5, 3), (2, 1, 3, 2)], [(3, 1), (1, 2), (2, 3)]),
    (Course((at(3), at(1)), UP), CREATININE, [], [(3, 1), (1, 3)]),
    (Course((at(3), at(1)), DOWN), CREATININE, [(3, 1)], [(1, 3)]),
    (Course((at(1), at(5), at(3))), CREATININE, [(1, 5, 3), (1, 2, 5, 5, 3)], [(1, 3, 5), (5, 1, 3), (1, 5)]),
    (Course((at(1), at(1)),), CREATININE, [(1, 2, 1)], [(1, 2, 3)]),
    (Course((at(1), at(3)), UP, BY_TWO), CREATININE, [(1, 3)], [(1, 2.9)]),
    (Course((at(1), at(3)), UP, DOUBLED), CREATININE, [], [(1, 3)]),
    (Course((at(1), at(3)), UP, hour=Hour(9)), CREATININE, [((0, 1), (9, 3), (20, 3))], [((0, 1), (5, 3))]),
    (Course((at(1), at(3)), UP, hour=Hour(0)), CREATININE, [], [((0, 1), (9, 3))]),
    (Course((at(1), at(3, extreme="highest")), UP), CREATININE, [(1, 3, 2)], [(1, 3, 4)]),
    (Course((Point(0.9, 1.1), Point(1.0, 1.2)), UP), CREATININE, [(1.0, 1.1)], [(1.1, 1.0)]),
    (Course((at(150), at(140)), BETTER), SODIUM, [(150, 140)], []),
    (Course((at(140), at(150)), BETTER), SODIUM, [], [(140, 150)]),
    # without a trend two values may be the extremes, in any order
    (Course((at(38), at(278))), "glucose", [(278, 38), (100, 278, 38, 50)], [(278, 30, 38), (300, 278, 38)]),
    (Course((at(278), at(38))), "glucose", [(38, 278), (38, 100, 278)], [(38, 278, 300), (38, 30, 278, 279)]),
    (Course((at(38), at(100), at(278))), "glucose", [], [(278, 100, 38)]),
    (Course((at(38, extreme="lowest"), at(278))), "glucose", [], [(278, 38)]),
    # an arrival: reached that way, by so much from an earlier value
    (Arrival(at(3), DOWN), CREATININE, [(5, 3), (1, 5, 3)], [(1, 3), (3, 5), (3, 3)]),
    (Arrival(at(3), UP), CREATININE, [(1, 3), (5, 1, 3)], [(5, 3), (3, 1)]),
    (Arrival(at(3), EITHER), CREATININE, [(5, 3), (1, 3), (3, 1)], [(1, 2)]),
    (Arrival(at(3), UP, BY_TWO), CREATININE, [(1, 3), (1, 2, 3)], [(2, 3), (5, 4, 3), (1.5, 3)]),
    (Arrival(at(3), DOWN, BY_TWO), CREATININE, [(5, 3), (6, 5, 3)], [(1, 3), (4, 3), (5, 1, 3)]),
    (Arrival(at(3), UP, hour=Hour(9)), CREATININE, [((0, 1), (9, 3))], [((0, 1), (5, 3))]),
    (Arrival(at(3), EITHER, BY_TWO), CREATININE, [(5, 3), (1, 3)], [(3, 1), (3, 5), (4, 3)]),
    # a departure: the last value lies that way, or a later one by so much
    (Departure(at(1), UP), CREATININE, [(1, 2), (2, 1, 1.5), (1, 0.5, 2)], [(1, 0.5), (1, 2, 0.9), (2, 3)]),
    (Departure(at(1), DOWN), CREATININE, [(1, 0.5)], [(1, 2), (1, 1)]),
    (Departure(at(1), UP, BY_TWO), CREATININE, [(1, 3), (1, 3, 0.5)], [(1, 2), (3, 1), (3, 1, 2)]),
    (Departure(at(98), DOWN, ChangeSize(0.10, 0.12, "percent")), SATURATION, [(98, 88), (98, 88, 97)], [(98, 90)]),
    (Departure(at(3), DOWN, BY_TWO), CREATININE, [(3, 1), (3, 1, 5)], [(3, 5), (1, 3)]),
    # an amount: from the first to the last value, or the greatest that way; or a rise to that number
    (ChangeBy(BY_TWO, UP), CREATININE, [(1, 3), (1, 4, 3), (4, 1, 3, 2)], [(3, 1), (1, 2), (1, 4)]),
    (ChangeBy(BY_TWO, DOWN), CREATININE, [(3, 1), (1, 4, 2)], [(1, 3), (3, 2)]),
    (ChangeBy(BY_TWO), CREATININE, [(1, 3), (3, 1), (1, 4, 2), (4, 1, 3)], [(1, 2)]),
    (ChangeBy(DOUBLED, UP), CREATININE, [(1, 1.75), (1, 2.5)], [(1, 1.7), (1, 2.6), (2, 1)]),
    (ChangeBy(ChangeSize(18, 18, "amount"), UP, at(18)), "weight", [(10, 18), (1, 19)], [(20, 18), (10, 17)]),
    (ChangeBy(ChangeSize(18, 18, "amount"), EITHER, at(18)), "weight", [(1, 19)], [(10, 18)]),
    (ChangeBy(ChangeSize(18, 18, "amount"), UP, at(18), Hour(1)), "weight", [((0, 10), (1, 18))], [((0, 10), (5, 18))]),
]  # fmt: skip
CHECKS = [*NUMBERS, *CHANGES]


@pytest.mark.parametrize(("statement", "key", "true", "false"), CHECKS, ids=[f"{c[1]} {c[0]}" for c in CHECKS])
def test_a_statement_holds_of_exactly_these_measurements(statement, key, true, false):
    for cells, expected in [*((cells, True) for cells in true), *((cells, False) for cells in false)]:
        assert statement.holds(variable(key), measured(*cells)) is expected, cells


def test_no_movement_can_be_told_of_one_measurement_and_neither_better_nor_worse_of_normal_ones():
    for statement in {type(check[0]): check[0] for check in CHANGES}.values():
        assert statement.holds(variable(CREATININE), measured(1.0)) is None
    for way in (BETTER, WORSE):
        assert Course((at(140), at(141)), way).holds(variable(SODIUM), measured(140, 141)) is None
    assert Course((at(140), at(141)), UP).holds(variable(SODIUM), measured(140, 141)) is True
    assert Course((at(150), at(140)), WORSE).holds(variable(SODIUM), measured(150, 140)) is False


SIZES = [
    (ChangeSize(2, 3, "amount"), CREATININE, [(1, 3), (4, 1), (0, 2)], [(1, 2.9), (1, 4.1)]),
    (ChangeSize(0.5, 0.6, "part"), CREATININE, [(2, 1), (2, 3), (5, 2), (-2, -1)], [(2, 1.1), (1, 2), (0, 1), (1, 0)]),
    (ChangeSize(0.5, 0.6, "percent"), CREATININE, [(2, 1), (5, 2)], [(2, 1.1), (60, 10)]),
    # of what is itself in percent, also points
    (ChangeSize(0.10, 0.12, "percent"), SATURATION, [(98, 88), (88, 98), (98, 86), (50, 55)], [(98, 89), (98, 85)]),
    (ChangeSize(0.10, 0.12, "part"), SATURATION, [(50, 55)], [(98, 88.5)]),
    (ChangeSize(2, 3, "factor"), CREATININE, [(1, 2), (2, 1), (1, 3), (3, 1)], [(1, 1.9), (1, 3.1), (0, 2), (2, 0)]),
]


@pytest.mark.parametrize(("size", "key", "met", "missed"), SIZES)
def test_a_change_is_of_a_size(size, key, met, missed):
    for (start, end), expected in [*((pair, True) for pair in met), *((pair, False) for pair in missed)]:
        assert size.met(variable(key), start, end) is expected, (start, end)


@pytest.mark.parametrize(
    ("way", "key", "course"),
    [
        (UP, SODIUM, [125, 140, 150]),
        (EITHER, SODIUM, [125, 140, 150]),
        (BETTER, SODIUM, [10, 0, 5]),
        (WORSE, SODIUM, [10, 0, 5]),
        (Way("resolved"), SODIUM, [10, 0, 5]),
        (Way("improving", "high"), SODIUM, [0, 0, 5]),
        (Way("improving", "low"), SODIUM, [10, 0, 0]),
        (BETTER, RATIO, [175, 160, 150]),
        (BETTER, WEIGHT, [0, 0, 0]),
    ],
)
def test_the_course_is_the_value_or_how_far_it_lies_outside(way, key, course):
    assert way.course(variable(key), np.array([125.0, 140.0, 150.0])).tolist() == course


def test_how_far_a_value_lies_outside_is_told_without_the_last_bits():
    assert BETTER.course(variable(CREATININE), np.array([1.3])).tolist() == [0.1]
    assert BETTER.course(variable(CREATININE), np.array([1.20004, 1.2006])).tolist() == [0.0, 0.0006]


def test_a_difference_is_of_a_way_by_its_sign():
    signs = {way: [way.agrees(difference) for difference in (-0.5, 0.0, 0.5)] for way in (UP, WORSE, DOWN, BETTER)}
    assert signs[UP] == signs[WORSE] == [False, False, True]
    assert signs[DOWN] == signs[BETTER] == [True, False, False]
    assert Way("resolved").agrees(-0.5)
    assert EITHER.agrees(0.0)
    assert [way.ranged for way in (UP, DOWN, EITHER, BETTER, WORSE, Way("resolved"))] == [False] * 3 + [True] * 3


def test_a_point_is_where_its_value_is_the_extreme_and_at_its_hour():
    seen = measured((0, 1), (4, 3), (9, 3), (12, 5), (20, 2))
    assert Point(2, 3).places(seen).tolist() == [1, 2, 4]
    assert Point(2, 3).places(seen, Hour(9)).tolist() == [2]
    assert Point(2, 5, "highest").places(seen).tolist() == [3]
    assert Point(1, 3, "lowest").places(seen).tolist() == [0]
    assert Point(2, 3, "highest").places(seen).tolist() == []


@pytest.mark.parametrize(
    ("values", "change"),
    [
        ([1, 9, 4], 3),
        ([0, 0, 9, 9, 9, 9, 4], 4),
        ([0, 2, 9, 9, 9, 9, 4, 8], 5),  # of eight the first two and the last two
        ([0, 3, 6, 9, 9, 9, 3, 4, 5], 1),
    ],
)
def test_the_drift_is_last_minus_first_and_of_many_last_third_minus_first(values, change):
    assert drift(np.array(values, dtype=float)) == change


@pytest.mark.parametrize(
    ("values", "ways"),
    [
        ([5], [0]),
        ([4, 6, 5], [0, 1, -1]),
        ([4, 4, 4], [0, 0, 0]),
        ([4, 6, 6], [0, 1, 1]),  # nothing since the trough was higher
        ([6, 4, 4], [0, -1, -1]),
        ([9, 1, 4], [0, -1, 1]),
        ([1, 9, 4], [0, 1, -1]),
        ([5, 9, 1, 4, 3], [0, 1, -1, 1, -1]),  # the greater of the two differences
        ([5, 1, 9, 6, 7], [0, -1, 1, -1, 1]),
        ([1, 9, 2, 6], [0, 1, -1, 1]),
        ([1, 9, 2, 5], [0, 1, -1, 0]),
        ([5, 6, 4, 5], [0, 1, -1, 1]),
    ],
)
def test_a_value_was_reached_by_a_rise_or_a_fall(values, ways):
    assert [approach(values, place) for place in range(len(values))] == ways


@pytest.mark.parametrize(
    ("values", "rise", "fall"),
    [
        ([4, 1, 3, 2], (1, 2), (0, 1)),
        ([1, 1, 3], (0, 2), (0, 0)),
        ([3, 3, 1], (0, 0), (0, 2)),
        ([2, 5, 1, 3], (0, 1), (1, 2)),
        ([5, 2, 6, 1], (1, 2), (2, 3)),
    ],
)
def test_the_greatest_rise_and_the_greatest_fall(values, rise, fall):
    course = np.array(values, dtype=float)
    assert (swing(course, 1), swing(course, -1)) == (rise, fall)


@pytest.mark.parametrize(
    ("statement", "printed"),
    [
        (Value(5.15, 5.25, "high", "persistently"), "is 5.2 (high) persistently"),
        (Value(5.15, 5.25), "is 5.2"),
        (Within(60, 70, "mostly"), "within 60 to 70 mostly"),
        (Decade(59.5, 69.5, frequency="always"), "in the decade 59.5 to 69.5 always"),
        (Decade(59.5, 89.5, several=True), "in the decades 59.5 to 89.5"),
        (Beyond(65, "below", "low", "sometimes", once=True), "once below 65 (low) sometimes"),
        (Beyond(65, "above"), "above 65"),
        (Crossing(65, "below", "low", "repeatedly"), "fell below 65 (low) repeatedly"),
        (Crossing(39, "above"), "rose above 39"),
        (Spell(65, "below", 3), "below 65 for 3 h"),
        (Extreme("highest", 5, 6, Hour(9)), "highest 5.5, hour 9"),
        (Extreme("lowest", 5, 6), "lowest 5.5"),
        (Mean(88, 92, 6), "mean 90 of 6 h"),
        (Mean(88, 92), "mean 90"),
        (at(3), "3"),
        (at(3, extreme="lowest"), "3 (lowest)"),
        (BY_TWO, "2"),
        (ChangeSize(2, INFINITY, "amount"), "at least 2"),
        (ChangeSize(-1, 3, "amount"), "1.5"),
        (DOUBLED, "a factor 1.75 to 2.5"),
        (ChangeSize(0.45, 0.55, "part"), "45 to 55 %"),
        (Trend(UP), "rising"),
        (Trend(UP, (Beyond(39, "above"), Beyond(41, "below"))), "rising to above 39 and below 41"),
        (Stable(), "stable"),
        (Resolved(), "resolved"),
        (Resolved("high"), "resolved (high)"),
        (Course((at(1), at(5), at(3)), UP, BY_TWO, Hour(9)), "rising from 1 to 5 to 3 by 2, hour 9"),
        (Course((at(1), at(3))), "changing from 1 to 3"),
        (Arrival(at(3), UP, BY_TWO, Hour(9)), "rising by 2 to 3, hour 9"),
        (Arrival(at(3), DOWN), "falling to 3"),
        (Departure(at(1), UP, BY_TWO), "rising by 2 from 1"),
        (Departure(at(1), UP), "rising from 1"),
        (ChangeBy(BY_TWO, UP, at(18)), "rising by 2 or to 18"),
        (ChangeBy(BY_TWO), "changing by 2"),
    ],
)
def test_a_statement_as_readings_print_it(statement, printed):
    assert str(statement) == printed
