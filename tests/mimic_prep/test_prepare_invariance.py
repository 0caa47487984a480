"""A stay's inputs depend only on the patient's own rows before the prediction time."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clinragen.catalog import variables
from mimic_prep import csv_stream

_QUICK = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_INTIME, _PREDICTION = datetime(2151, 3, 1, 8), datetime(2151, 3, 3, 8)
_ITEMS = st.sampled_from([220045, 223761, 220739, 223900, 223901, 220050, 220179])
_VALUES = st.floats(1, 120).map(lambda value: round(value, 1))


def _plus(start: datetime, minutes: int) -> str:
    return (start + timedelta(minutes=minutes)).strftime("%Y-%m-%d %H:%M:%S")


_LATER = st.lists(st.tuples(st.integers(0, 5000), _ITEMS, _VALUES), max_size=15)


def _add_measurements(hospital, rows, start: datetime, stay: int = 100) -> None:
    for minutes, item, value in rows:
        hospital.chart(stay, _plus(start, minutes), item, value)


@_QUICK
@given(later=_LATER, note=st.booleans(), drug=st.booleans())
def test_rows_from_the_prediction_time_on_change_nothing(hospital, prepared, later, note, drug):
    base = hospital.copy()
    base.radiology(1, _plus(_INTIME, 5), _plus(_INTIME, 9), "IMPRESSION: Early.")
    changed = base.copy()
    _add_measurements(changed, later, _PREDICTION)
    for minutes, _, value in later:
        changed.lab(1, _plus(_PREDICTION, minutes), 50912, value, "mg/dL")
        changed.urine(100, _plus(_PREDICTION, minutes), value)
    if note:
        changed.radiology(1, _plus(_PREDICTION, 0), _plus(_PREDICTION, 0), "IMPRESSION: Late.")
    if drug:
        changed.tables["hosp/prescriptions"][3]["drug"] = "Altered"
    changed.tables["hosp/diagnoses_icd"][1]["icd_code"] = "I10"  # of this admission: a label, never an input
    for table in (base, changed):
        del table.tables["note/discharge"]
    assert prepared(base).inputs(100) == prepared(changed).inputs(100)


@_QUICK
@given(rows=_LATER, code=st.sampled_from(["4019", "5849", "0389"]))
def test_rows_of_other_patients_change_nothing(hospital, prepared, rows, code):
    changed = hospital.copy()
    _add_measurements(changed, rows, datetime(2150, 6, 10), stay=201)
    _add_measurements(changed, rows, _INTIME, stay=999)
    for minutes, _, value in rows:
        changed.lab(2, _plus(_INTIME, minutes), 50912, value)
        changed.lab(7, _plus(_INTIME, minutes), 50912, value)
    changed.tables["hosp/diagnoses_icd"][2]["icd_code"] = code
    changed.tables["hosp/prescriptions"][4]["drug"] = "Altered"
    assert prepared(hospital).inputs(100) == prepared(changed).inputs(100)


@_QUICK
@given(
    rows=_LATER, seed=st.integers(0, 1000), shard=st.integers(1, 5), workers=st.integers(1, 4),
    block=st.sampled_from([100, 1000, 1 << 22]),
)  # fmt: skip
def test_order_shards_workers_and_blocks_leave_no_trace(hospital, prepared, rows, seed, shard, workers, block):
    base = hospital.copy()
    _add_measurements(base, rows, _INTIME)
    shuffled = base.copy()
    for table in shuffled.tables.values():
        random.Random(seed).shuffle(table)
    first = prepared(base)
    with patch.object(csv_stream, "BLOCK_BYTES", block):
        second = prepared(shuffled, stays_per_shard=shard, workers=workers)
    for name in ("stays", "series", "notes", "labels"):
        assert (first.root / f"{name}.parquet").read_bytes() == (second.root / f"{name}.parquet").read_bytes()


@_QUICK
@given(celsius=st.integers(300, 420).map(lambda tenth: tenth / 10), kilos=st.integers(40, 150))
def test_a_measurement_is_the_same_on_either_scale(hospital, prepared, celsius, kilos):
    base, other = hospital.copy(), hospital.copy()
    base.chart(100, _plus(_INTIME, 1), 223762, celsius, "°C")
    other.chart(100, _plus(_INTIME, 1), 223761, celsius * 9 / 5 + 32, "°F")
    base.chart(100, _plus(_INTIME, 1), 226512, kilos, "kg")
    other.chart(100, _plus(_INTIME, 1), 226531, kilos / 0.453592)
    assert prepared(base).inputs(100)[1] == prepared(other).inputs(100)[1]


@settings(_QUICK, max_examples=6)
@given(share=st.floats(0.01, 0.99))
def test_every_variable_is_the_same_in_each_unit_it_accepts(hospital, prepared, share):
    base, other = hospital.copy(), hospital.copy()
    pairs = 0
    for variable in variables().values():
        tables = variable.items.get("mimic4", {})
        item = next(((table, int(item)) for table in tables for item in tables[table]), None)
        if item is None:
            continue
        low, high = (max(variable.plausible[0], 1e-3), variable.plausible[1])
        value = round(low + share * (high - low), variable.decimals)
        for hour, (unit, (scale, offset)) in enumerate(variable.accepts.items()):
            for target, number, name in ((base, value, variable.unit), (other, (value - offset) / scale, unit)):
                _enter(target, item, _plus(_INTIME, 600 + 60 * hour), number, name)
            pairs += 1
    assert pairs >= 45
    assert prepared(base).inputs(100)[1] == prepared(other).inputs(100)[1]


def _enter(hospital, item: tuple[str, int], time: str, value: float, unit: str) -> None:
    table, number = item
    if table == "chartevents":
        hospital.chart(100, time, number, value, unit)
    elif table == "labevents":
        hospital.lab(1, time, number, value, unit)
    else:
        hospital.tables["icu/outputevents"].append(
            {"stay_id": 100, "charttime": time, "itemid": number, "value": value, "valueuom": unit}
        )
