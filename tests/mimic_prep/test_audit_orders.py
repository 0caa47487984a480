"""The audit looks for drugs that are named in text before they are ordered."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import polars as pl
import pytest

from mimic_prep.audit.check import Check
from mimic_prep.audit.cohort_tables import CohortTables
from mimic_prep.audit.later_orders import later_orders

START = datetime(2150, 1, 1)
DRUGS = ["furosemide", "metoprolol", "vancomycin", "heparin", "morphine"]


def checked(texts: dict[int, str], section: str = "medications", *, kind: str = "order", hour: float = 30) -> Check:
    """The check of forty stays, each with one drug that is ordered at an hour; the prediction time is hour 12."""
    ids = list(range(40))
    stays = pl.DataFrame({"stay_id": ids, "prediction_time": [START + timedelta(hours=12)] * 40})
    at = [START + timedelta(hours=hour)] * 40
    orders = pl.DataFrame(
        {
            "stay_id": ids,
            "kind": [kind] * 40,
            "entered": at,
            "start": at,
            "ingredient": [drug_of_stay(stay) for stay in ids],
        }
    )
    notes = pl.DataFrame({"stay_id": ids, "section": section, "text": [texts.get(stay, "Fever.") for stay in ids]})
    cohort = cast(Any, SimpleNamespace(stays=stays, orders=orders, ordered=True))
    return later_orders(CohortTables(cohort, notes, None, None, cast(Any, None)))


def drug_of_stay(stay: int) -> str:
    return DRUGS[stay % len(DRUGS)]


TELLING = {stay: f"Fever; {drug_of_stay(stay)} 5 mg IV daily" for stay in range(12)}


def test_later_orders_in_the_text_are_a_leak():
    check = checked(TELLING)
    assert check.status == "leak"
    (row,) = check.rows
    assert (row["later"], row["named"], row["expected"]) == (40, 12, 0)
    assert "12 of 40 are named in medications" in check.says


def test_what_was_known_at_admission_is_noted():
    check = checked(TELLING, "medications_on_admission")
    assert (check.status, check.rows[0]["verdict"]) == ("note", "known at admission")


@pytest.mark.parametrize("changes", [{"hour": 5}, {"kind": "home"}])
def test_drugs_that_were_ordered_before_or_taken_at_home_do_not_count(changes):
    check = checked(TELLING, **changes)
    assert (check.status, list(check.rows)) == ("pass", [])


def test_drugs_that_every_note_names_give_nothing_away():
    every = "; ".join(DRUGS)
    check = checked(dict.fromkeys(range(40), every))
    assert check.status == "pass"
    assert check.rows[0]["share"] == check.rows[0]["expected"] == 1


def test_few_of_them_are_chance():
    assert checked({stay: TELLING[stay] for stay in range(4)}).status == "pass"


def test_without_orders_nothing_can_be_told():
    cohort = cast(Any, SimpleNamespace(ordered=False))
    assert later_orders(CohortTables(cohort, *cast(Any, [None] * 4))).says == "The cohort has no orders of drugs."
