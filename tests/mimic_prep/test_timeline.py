"""Events as hourly values, on tables small enough to work out by hand: which of several entries an hour shows."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from clinragen.catalog import variables
from clinragen.schema import SERIES
from mimic_prep.events import EVENTS
from mimic_prep.timeline import MAX_BINS, hourly

NAN = float("nan")
STAY_IDS = np.array([500, 600, 700])
KEYS = list(variables())
PARTS = ("gcs_eye", "gcs_verbal", "gcs_motor")


def event(key: str, second: int, value: float, *, priority: int = 0, known: int | None = None, stay: int = 1):
    """A row of ``EVENTS``; known when charted, where nothing else is said."""
    return stay, second, KEYS.index(key), priority, float(value), second if known is None else known


def coma(second: int, eye: float, verbal: float, motor: float, **others: int):
    return [event(key, second, value, **others) for key, value in zip(PARTS, (eye, verbal, motor), strict=True)]


def binned(events: list[tuple]) -> list[tuple[int, float, str, float]]:
    table = hourly(pl.DataFrame(events, schema=EVENTS, orient="row"), STAY_IDS)
    assert table.schema.equals(SERIES)
    return [tuple(row.values()) for row in table.to_pylist()]


def of(key: str, events: list[tuple], stay: int = 600) -> dict[float, float]:
    """hour -> value of one variable of one stay."""
    return {hour: round(value, 3) for one, hour, name, value in binned(events) if (one, name) == (stay, key)}


PULSE = "heart_rate"
LAST = [
    # the last of each hour, from its first second on
    ([event(PULSE, 0, 80), event(PULSE, 3599, 90), event(PULSE, 3600, 95), event(PULSE, 7200, 99)],
     {0.0: 90, 1.0: 95, 2.0: 99}),
    ([event(PULSE, 3599, 60), event(PULSE, 0, 120)], {0.0: 60}),
    # of one second, the item that comes first in the catalogue, though it was entered before the other
    ([event(PULSE, 9, 70), event(PULSE, 9, 90, priority=1, known=99)], {0.0: 70}),
    ([event(PULSE, 9, 90, priority=255), event(PULSE, 9, 70, priority=254)], {0.0: 70}),
    ([event(PULSE, 9, 70), event(PULSE, 10, 90, priority=3)], {0.0: 90}),
    # of one item and second, what was entered last; of one entry the larger
    ([event(PULSE, 9, 90, known=10), event(PULSE, 9, 70, known=20)], {0.0: 70}),
    ([event(PULSE, 9, 90, known=20), event(PULSE, 9, 99, known=10), event(PULSE, 9, 70, known=20)], {0.0: 90}),
    ([event(PULSE, 9, 70), event(PULSE, 9, 70)], {0.0: 70}),
    # what could not be tested: a number of the same entry counts before it; the last word leaves the hour empty
    ([event(PULSE, 9, NAN), event(PULSE, 9, 70)], {0.0: 70}),
    ([event(PULSE, 9, 70, known=10), event(PULSE, 9, NAN, known=20)], {}),
    ([event(PULSE, 9, NAN, known=10), event(PULSE, 9, 70, known=20)], {0.0: 70}),
    ([event(PULSE, 9, 70), event(PULSE, 10, NAN), event(PULSE, 3600, 80)], {1.0: 80}),
    ([event(PULSE, 9, NAN), event(PULSE, 10, 70)], {0.0: 70}),
    # several seconds with several entries each
    ([event(PULSE, 9, 1), event(PULSE, 9, 2), event(PULSE, 9, 3, known=8), event(PULSE, 3700, 60),
      event(PULSE, 3700, 50), event(PULSE, 7300, 7), event(PULSE, 7301, 5), event(PULSE, 7301, 6)],
     {0.0: 2, 1.0: 60, 2.0: 6}),
]  # fmt: skip


@pytest.mark.parametrize(("events", "expected"), LAST)
def test_an_hour_shows_its_last_measurement(events, expected):
    assert of(PULSE, events) == expected


def test_the_first_variables_of_the_first_stay_at_its_first_second():
    assert binned([event(KEYS[1], 0, 120, stay=0)]) == [(500, 0.0, KEYS[1], 120)]
    assert binned([event(KEYS[0], 0, 80, stay=0, priority=254)]) == [(500, 0.0, KEYS[0], 80)]


def test_of_negative_numbers_the_larger_counts():
    assert of("base_excess", [event("base_excess", 9, -8), event("base_excess", 9, -3)]) == {0.0: -3}


VOLUMES = [
    ([(9, 100), (3599, 40), (3600, 7)], {0.0: 140, 1.0: 7}),
    ([(9, 100), (9, 100), (10, 100)], {0.0: 200}),  # a row that is there twice
    ([(9, 100), (9, 100, 1)], {0.0: 200}),  # of two items
    ([(9, 100, 0, 10), (9, 60, 0, 20), (9, 5, 1, 10)], {0.0: 65}),  # corrected
    ([(9, 100, 0, 20), (9, 60, 0, 20)], {0.0: 160}),
    ([(9, 0)], {0.0: 0}),
]


@pytest.mark.parametrize(("rows", "expected"), VOLUMES)
def test_volumes_of_an_hour_are_summed(rows, expected):
    events = [
        event("urine_output", second, value, priority=(*more, 0)[0], known=(*more, None, None)[1])
        for second, value, *more in rows
    ]
    assert of("urine_output", events) == expected


def test_the_sum_of_an_hour_does_not_depend_on_the_order_of_its_rows():
    values = [0.1, 0.2, 0.3, 1e7, 1e-3, 4503599627.125]
    events = [event("urine_output", 60 * place, value, priority=place % 2) for place, value in enumerate(values)]
    shown = {tuple(binned(random.Random(seed).sample(events, len(events)))) for seed in range(20)}
    assert len(shown) == 1


TOTALS = [
    (coma(9, 3, 4, 6), {0.0: 13}),
    (coma(9, 3, 4, 6)[:2], {}),  # a part is missing
    ([*coma(9, 3, 4, 6)[:2], *coma(3609, 3, 4, 6)[2:]], {}),  # or in another hour
    ([*coma(9, 3, 4, 6)[:2], *coma(9, 3, 4, 6, stay=2)[2:]], {}),  # or of another stay
    ([*coma(9, 3, 4, 6), *coma(50, 4, 5, 6)[:2]], {0.0: 15}),  # the last of each
    ([*coma(9, 3, 4, 6), event("gcs_total", 2, 12)], {0.0: 12}),  # the charted sum stands
    ([*coma(9, 3, 4, 6), event("gcs_total", 3609, 12)], {0.0: 13, 1.0: 12}),
    ([event("gcs_total", 9, 12)], {0.0: 12}),
    # a part could not be tested: no sum, nor the guess that was charted at that second or in that hour
    (coma(9, 3, NAN, 6), {}),
    ([*coma(9, 3, NAN, 6), event("gcs_total", 9, 10)], {}),
    ([*coma(9, NAN, 5, 6), event("gcs_total", 9, 10)], {}),
    ([*coma(9, 3, 5, NAN), event("gcs_total", 9, 10)], {}),
    ([*coma(9, 3, NAN, 6), event("gcs_total", 50, 10)], {}),
    # it was tested later in the hour
    ([*coma(9, 3, NAN, 6), event("gcs_total", 9, 10), event("gcs_verbal", 50, 4)], {0.0: 13}),
    ([*coma(9, 3, NAN, 6), *coma(50, 3, 4, 6), event("gcs_total", 50, 12)], {0.0: 12}),
    ([*coma(9, 3, NAN, 6), *coma(50, 3, 4, 6), event("gcs_total", 10, 12)], {0.0: 12}),
    # in another hour or of another stay it says nothing
    ([*coma(9, 3, NAN, 6), event("gcs_total", 3609, 10)], {1.0: 10}),
    ([*coma(3609, 3, NAN, 6), event("gcs_total", 9, 10)], {0.0: 10}),
    ([*coma(9, 3, NAN, 6, stay=2), event("gcs_total", 9, 10)], {0.0: 10}),
    ([*coma(9, 3, NAN, 6, stay=0), *coma(9, 3, 4, 6)], {0.0: 13}),
    # nor does another variable
    ([event(PULSE, 9, NAN), *coma(9, 3, 4, 6), event("gcs_total", 9, 12)], {0.0: 12}),
]


@pytest.mark.parametrize(("events", "expected"), TOTALS)
def test_a_total_is_the_charted_one_or_the_sum_of_parts_that_were_all_tested(events, expected):
    assert of("gcs_total", events) == expected


def gas(second: int, value: float, **others: int):
    return event("pao2", second, value, **others)


def oxygen(second: int, value: float, **others: int):
    return event("fio2", second, value, **others)


RATIOS = [
    ([gas(9000, 80), oxygen(9000, 40)], {2.0: 200}),
    ([gas(9000, 80), oxygen(9001, 40)], {}),  # set afterwards
    ([gas(14409, 80), oxygen(9, 40)], {4.0: 200}),  # four hours before
    ([gas(14410, 80), oxygen(9, 40)], {}),
    ([gas(9000, 80), oxygen(8000, 50), oxygen(7000, 40)], {2.0: 160}),  # the last one
    ([gas(8000, 60), gas(9000, 80), oxygen(7000, 40)], {2.0: 200}),  # of the last gas of the hour
    ([gas(8000, 60), gas(9000, 80), oxygen(8500, 40), oxygen(7300, 30)], {2.0: 200}),
    ([gas(7199, 60), gas(7200, 80), oxygen(7000, 40)], {1.0: 150, 2.0: 200}),
    ([gas(9000, 80), oxygen(8000, 30)], {2.0: 266.667}),
    ([gas(9000, 80, priority=1), gas(9000, 60), oxygen(9000, 40, priority=2), oxygen(9000, 30)], {2.0: 200}),
    ([gas(9000, NAN), oxygen(8000, 40)], {}),
    ([gas(9000, 80), oxygen(8000, NAN)], {}),
    # as far as it is plausible
    ([gas(9000, 90), oxygen(8000, 10)], {2.0: 900}),
    ([gas(9000, 91), oxygen(8000, 10)], {}),
    ([gas(9000, 15), oxygen(8000, 100)], {2.0: 15}),
    ([gas(9000, 14.9), oxygen(8000, 100)], {}),
    # of one stay
    ([gas(9000, 80), oxygen(8000, 40, stay=0)], {}),
    ([gas(9000, 80), oxygen(8000, 40, stay=2)], {}),
    ([gas(9000, 80), oxygen(8000, 40), gas(9000, 90, stay=2), oxygen(8500, 50, stay=0)], {2.0: 200}),
    ([gas(9000, 80)], {}),
    ([oxygen(9000, 80)], {}),
]


@pytest.mark.parametrize(("events", "expected"), RATIOS)
def test_a_ratio_is_of_a_gas_and_the_last_fraction_of_four_hours(events, expected):
    assert of("pao2_fio2", events) == expected


def test_rows_are_in_the_order_of_stays_hours_and_the_catalogue():
    events = [
        event("urine_output", 4000, 50),
        event("lactate", 4000, 2.5),
        event(PULSE, 4000, 80),
        event("lactate", 20, 1.5),
        event(PULSE, 4000, 70, stay=0),
        *coma(100, 3, 4, 6, stay=2),
        gas(50, 80, stay=2),
        oxygen(50, 40, stay=2),
    ]
    expected = [
        (500, 1.0, PULSE, 70),
        (600, 0.0, "lactate", 1.5),
        (600, 1.0, PULSE, 80),
        (600, 1.0, "lactate", 2.5),
        (600, 1.0, "urine_output", 50),
        (700, 0.0, "gcs_eye", 3),
        (700, 0.0, "gcs_verbal", 4),
        (700, 0.0, "gcs_motor", 6),
        (700, 0.0, "gcs_total", 13),
        (700, 0.0, "fio2", 40),
        (700, 0.0, "pao2", 80),
        (700, 0.0, "pao2_fio2", 200),
    ]
    for seed in range(5):
        assert binned(random.Random(seed).sample(events, len(events))) == expected


def test_the_last_hour_that_a_stay_may_have_and_the_last_variable_of_the_catalogue():
    last = MAX_BINS - 1
    events = [event(KEYS[-1], last * 3600 + 3599, 9, stay=2, priority=255), event(KEYS[0], last * 3600, 8, stay=2)]
    assert binned(events) == [(700, last, KEYS[0], 8), (700, last, KEYS[-1], 9)]


def test_no_event_makes_no_row():
    assert binned([]) == []
    assert binned([event(PULSE, 9, NAN)]) == []
