"""What of a cohort is known before the prediction time, and that nothing later changes a caution."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from whole_graph import LINKER

from clinragen.drugs import drug_of
from clinragen.errors import UserError
from clinragen.safety.cautions import DrugOrder
from clinragen.safety.context import context_of, contexts_of
from clinragen.safety.screen import screen, unchecked
from clinragen.schema import NOTES, ORDERS, SERIES, STAYS

START = dt.datetime(2150, 1, 1)
PREDICTED = START + dt.timedelta(hours=24)


def _frame(schema, rows: list[dict[str, Any]]) -> pl.DataFrame:
    empty = pl.from_arrow(schema.empty_table())
    assert isinstance(empty, pl.DataFrame)
    return pl.DataFrame([{name: row.get(name) for name in schema.names} for row in rows], schema=empty.schema)


def _order(
    stay: int, name: str, start: float, *, stop: float | None = None, kind: str = "order", entered: float | None = None
):
    def time(hour: float | None):
        return None if hour is None else START + dt.timedelta(hours=hour)

    drug = drug_of(name)
    named = {} if drug is None else {"ingredient": drug.ingredient, "drug_class": drug.drug_class}
    times = {"start": time(start), "stop": time(stop), "entered": time(entered)}
    return {"stay_id": stay, "kind": kind, "name": name, "source": "prescriptions", **times, **named}


def _cohort(series=(), notes=(), orders=(), ordered=True, sexes=("M", "F")):
    """As much of a cohort as a context is made of: stays 1 and 2, predicted at hour 24.

    Args:
        series: (stay, hour, variable, value).
        notes: (stay, section, text).
        orders: rows of ``_order``.
    """
    stays = [
        {"stay_id": stay, "intime": START, "prediction_time": PREDICTED, "age": 60.0, "sex": sex, "split": "test"}
        for stay, sex in enumerate(sexes, 1)
    ]
    sections = [
        {"stay_id": stay, "note_id": f"n{number}", "kind": "digest", "section": section, "text": text}
        for number, (stay, section, text) in enumerate(notes)
    ]
    values = [dict(zip(SERIES.names, row, strict=True)) for row in series]
    return SimpleNamespace(
        paths=SimpleNamespace(stays="stays.parquet"),
        stays=_frame(STAYS, stays),
        series=_frame(SERIES, values),
        notes=_frame(NOTES, sections),
        ordered=ordered,
        orders=_frame(ORDERS, list(orders)),
    )


def _context(**parts: Any):
    return context_of(_cohort(**parts), 1, linker=LINKER)


def test_a_context_holds_what_concerns_the_stay():
    context = _context(
        series=[(1, 2, "creatinine", 1.2), (2, 2, "creatinine", 4.0)],
        notes=[(1, "allergies", "Penicillins"), (2, "allergies", "codeine")],
        orders=[
            _order(1, "warfarin 5 mg", 3),
            _order(1, "cefazolin", 1, stop=5),
            _order(1, "amiodarone", -20, kind="home"),
            _order(1, "zzqx", 3),
            _order(2, "heparin drip", 3),
        ],
    )
    assert (context.age, context.sex, context.orders_read, context.unnamed_orders) == (60, "M", True, 1)
    assert {key: values.values.tolist() for key, values in context.series.items()} == {"creatinine": [1.2]}
    assert context.allergies is not None
    assert [allergy.groups for allergy in context.allergies.allergies] == [{"penicillins"}]
    assert context.in_force == (DrugOrder("warfarin", "anticoagulant", "order", 3),)
    assert [(order.ingredient, order.kind, order.hour) for order in context.earlier] == [
        ("amiodarone", "home", -20),
        ("cefazolin", "order", 1),
    ]


def test_nothing_after_the_prediction_time_changes_a_caution():
    before = {
        "series": [(1, 2, "creatinine", 1.0), (1, 3, "potassium", 4.0)],
        "notes": [(1, "allergies", "Penicillins")],
        "orders": [_order(1, "warfarin", 3), _order(1, "ibuprofen", 2)],
    }
    later = {
        "series": [*before["series"], (1, 24, "creatinine", 9.0), (1, 30, "potassium", 7.0)],
        "notes": before["notes"],
        "orders": [
            _order(1, "warfarin", 3),
            _order(1, "ibuprofen", 2, stop=24),  # not known to end
            _order(1, "amiodarone", 24),
            _order(1, "fluconazole", 20, entered=25),  # entered for a time before
            _order(1, "clarithromycin", 26, entered=20),  # not begun
        ],
    }
    one, two = _context(**before), _context(**later)
    assert one.in_force == two.in_force
    for name in ("warfarin", "metformin", "potassium chloride", "ampicillin", "simvastatin", "enoxaparin"):
        drug = drug_of(name)
        assert drug is not None
        assert screen(drug, one) == screen(drug, two)
    assert unchecked(one) == unchecked(two)


@pytest.mark.parametrize(
    ("notes", "phrase"),
    [
        ([(1, "past_medical_history", "ESRD on hemodialysis, hypertension.")], "ESRD"),
        ([(1, "history_of_present_illness", "He is on dialysis three times a week.")], "on dialysis"),
        ([(1, "history_of_present_illness", "Not on dialysis.")], None),
        ([(1, "family_history", "Father was on dialysis.")], None),
        ([(2, "past_medical_history", "ESRD")], None),  # of another patient
        ([(1, "past_medical_history", "hypertension")], None),
    ],
)
def test_dialysis_is_read_from_the_notes(notes, phrase):
    dialysis = _context(notes=notes).dialysis
    assert (dialysis.text if dialysis is not None else None) == phrase


def test_dialysis_fluid_in_force_is_dialysis():
    context = _context(orders=[_order(1, "Prismasol BGK 2/0", 3)])
    assert isinstance(context.dialysis, DrugOrder)
    assert context.dialysis.drug_class == "dialysis_fluid"


def test_a_cohort_without_orders_is_told():
    context = _context(ordered=False)
    assert context.in_force == ()
    assert any("no orders of drugs" in line for line in unchecked(context))


def test_all_stays_or_some():
    cohort: Any = _cohort()
    assert list(contexts_of(cohort, linker=LINKER)) == [1, 2]
    assert list(contexts_of(cohort, [2])) == [2]
    with pytest.raises(UserError, match="does not have all of the stays"):
        contexts_of(cohort, [1, 7])
