"""Quarantine values whose unit the catalogue does not know for their variable.

MIMIC and eICU write an unknown unit only for the usual one. Exports of other hospitals may mean anything by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import polars as pl

from clinragen.catalog import Variable, per_catalogue, ucum_spellings, variables
from mimic_prep.accounting import RowFilter
from mimic_prep.distinct import of_pairs
from mimic_prep.items import items_of
from mimic_prep.unit_conversion import conversion

_MOST_SPELLINGS = 1 << 14  # that are remembered: text of any length may stand in place of a unit
REASON = "unit not known for its variable"
_USUAL = "no unit: taken as the usual one"
#: words for a number without a unit: of a pH, a ratio or a score, or of an empty cell
_NO_UNIT = frozenset(
    ("", "1", "unit", "units", "score", "{score}", "ratio", "{ratio}", "{inr}", "[ph]", "ph", "none", "no unit",
     "unknown", "-", "n/a", "no units", "unitless", "inr", "flag", "points", "{points}")
)  # fmt: skip


@per_catalogue
def variable_of(release: str, table: str) -> Mapping[int | str, Variable]:
    """Item -> its variable."""
    return {item: variable for variable in variables().values() for item in items_of(variable, release, table)}


@per_catalogue
def _spelling_of(release: str, table: str) -> Callable[[int | str, str], str | None]:
    """What spells the unit of an item as the catalogue does: "" for none, None if its variable is never in it."""
    items = variable_of(release, table)

    @lru_cache(_MOST_SPELLINGS)
    def spelling(item: int | str, unit: str) -> str | None:
        unit = unit.strip()
        if unit.lower() in _NO_UNIT:
            return ""
        variable = items.get(item)
        if variable is None:  # rows of no variable have any unit
            return unit
        ways = (unit, *ucum_spellings().get(unit, ()))
        return next((way for way in ways if conversion(variable, way) is not None), None)

    return spelling


@per_catalogue
def _dimensional(release: str, table: str) -> list[int | str]:
    """The items whose values mean nothing without a unit."""
    bare = ("units", "score", "ratio", "flag")
    return [item for item, variable in variable_of(release, table).items() if variable.unit not in bare]


def screen(row_filter: RowFilter, release: str, table: str) -> None:
    """Reject rows (columns ``item`` and ``unit``) in a unit that their variable is never in; count those without.

    Words for "no unit" become null, so that the usual unit of the item counts.

    Args:
        row_filter: of the table.
        release: key of the items in the catalogue.
        table: name of the table.
    """
    frame = row_filter.frame
    row_filter.frame = frame.with_columns(spelt=of_pairs(frame["item"], frame["unit"], _spelling_of(release, table)))
    row_filter.reject(pl.col("unit").is_not_null() & pl.col("spelt").is_null(), REASON)
    unit = pl.when(pl.col("spelt") != "").then("spelt")
    row_filter.frame = row_filter.frame.with_columns(unit=unit).drop("spelt")
    missing = pl.col("unit").is_null() & pl.col("item").is_in(_dimensional(release, table))
    if count := row_filter.frame.select(missing.sum()).item():
        row_filter.remarks[_USUAL] += count
