"""Values of FHIR observations: LOINC codes to variables, UCUM units to canonical ones, and one value an hour."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl

from clinragen.catalog import Variable, loinc_variables, ucum_spellings, variables
from clinragen.serve.fhir_resources import Observation, Quantity
from clinragen.serve.intake import LeftOut
from clinragen.serve.rows import IMPLAUSIBLE, canonical, implausible
from mimic_prep.events import EVENTS
from mimic_prep.timeline import hourly

_FORM = re.compile(r"[0-9]{1,7}-[0-9]")
#: Canonical units of numbers without a dimension, which records often leave out.
_BARE = ("score", "ratio", "units", "flag")
#: A measurement: stay, time since its start, variable, value in the canonical unit.
type Measurement = tuple[int, timedelta, str, float]


def read_parts(observation: Observation, left_out: LeftOut) -> list[tuple[str, float]]:
    """Variables and values in canonical units of an observation and its components; the others are counted."""
    measured = []
    for codes, quantity in observation.parts():
        key = next((loinc_variables()[code] for code in codes if code in loinc_variables()), None)
        if key is None:
            left_out.add("no variable has this LOINC code", code=_shown(codes))
        elif quantity is None or quantity.value is None:
            left_out.add("no numeric value", code=key)
        elif quantity.comparator is not None:
            left_out.add("value with a comparator (<, >)", code=key)
        elif (value := _canonical(variables()[key], quantity, quantity.value)) is None:
            left_out.add("unit that is unknown for the variable", code=key)
        elif implausible(variables()[key], value):
            left_out.add(IMPLAUSIBLE, code=key)
        else:
            measured.append((key, value))
    return measured


def _shown(codes: Sequence[str]) -> str:
    """The first LOINC code, if it has the form of one."""
    return next((code for code in codes if _FORM.fullmatch(code)), "(no LOINC code)")


def _canonical(variable: Variable, quantity: Quantity, value: float) -> float | None:
    """The value in the canonical unit, by its UCUM code, else by its unit."""
    units = [unit for unit in (quantity.code, quantity.unit) if unit and unit != "1"]
    if not units:
        return value if variable.unit in _BARE else None
    spelt = (spelling for unit in units for spelling in ucum_spellings().get(unit, (unit,)))
    values = (canonical(variable, value, spelling) for spelling in spelt)
    return next((number for number in values if number is not None), None)


def hourly_rows(events: Sequence[Measurement]) -> list[dict[str, Any]]:
    """Measurements as rows of ``schema.SERIES``, binned and with derived variables as ``mimic-prep`` does it.

    Args:
        events: in any order.
    """
    if not events:
        return []
    ids = np.unique([event[0] for event in events])
    order = {key: index for index, key in enumerate(variables())}
    seconds = [int(event[1].total_seconds()) for event in events]
    table = pl.DataFrame(
        {
            "stay": np.searchsorted(ids, [event[0] for event in events]),
            "second": seconds,
            "variable": [order[event[2]] for event in events],
            "priority": 0,
            "value": [event[3] for event in events],
            "known": seconds,
        },
        schema=EVENTS,
    )
    return hourly(table, ids).to_pylist()
