"""Quarantine values whose unit the catalogue does not know for their variable.

MIMIC and eICU write an unknown unit only for the usual one. Exports of other hospitals may mean anything by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import polars as pl

from clinragen.catalog import Variable, per_catalogue, ucum_spellings, variables
from mimic_prep.accounting import RowFilter
from mimic_prep.items import items_of
from mimic_prep.unit_conversion import conversion

REASON = "unit not known for its variable"
_USUAL = "no unit: taken as the usual one"
#: words for a number without a unit: of a pH, a ratio or a score, or of an empty cell
_NO_UNIT = frozenset(
    ("1", "unit", "units", "score", "{score}", "ratio", "{ratio}", "{inr}", "[ph]", "ph", "none", "no unit",
     "unknown", "-", "n/a", "no units", "unitless", "inr", "flag", "points", "{points}")
)  # fmt: skip


@per_catalogue
def variable_of(release: str, table: str) -> Mapping[int | str, Variable]:
    """Item -> its variable."""
    return {item: variable for variable in variables().values() for item in items_of(variable, release, table)}


def screen(row_filter: RowFilter, items: Mapping[int | str, Variable]) -> None:
    """Reject rows (columns ``item`` and ``unit``) in a unit that their variable is never in; count those without.

    Words for "no unit" become null, so that the usual unit of the item counts.
    """
    unit = pl.col("unit").str.strip_chars()
    unit = pl.when(unit.str.to_lowercase().is_in(list(_NO_UNIT)) | (unit == "")).then(None).otherwise(unit)
    row_filter.frame = row_filter.frame.with_columns(unit=unit)
    frame = row_filter.frame
    spelt = of_pairs(frame["item"], frame["unit"], lambda item, unit: _spelling(items.get(item), unit))
    row_filter.frame = frame.with_columns(spelt=spelt)
    row_filter.reject(pl.col("unit").is_not_null() & pl.col("spelt").is_null(), REASON)
    row_filter.frame = row_filter.frame.with_columns(unit="spelt").drop("spelt")
    dimensional = [item for item, variable in items.items() if variable.unit not in ("units", "score", "ratio", "flag")]
    missing = pl.col("unit").is_null() & pl.col("item").is_in(dimensional)
    if count := row_filter.frame.select(missing.sum()).item():
        row_filter.remarks[_USUAL] += count


def of_pairs(first: pl.Series, second: pl.Series, text_of: Callable[[Any, Any], str | None]) -> pl.Series:
    """``text_of(one, other)`` of each row, asked once for each distinct pair; null where either is null."""
    sides = [column.to_arrow().dictionary_encode() for column in (first, second)]
    values = [side.dictionary.to_pylist() for side in sides]
    places = [
        cast(pl.Series, pl.from_arrow(side.indices)).fill_null(len(distinct)).to_numpy().astype(np.int64)
        for side, distinct in zip(sides, values, strict=True)
    ]
    width = len(values[1]) + 1
    pairs, rows = np.unique(places[0] * width + places[1], return_inverse=True)
    split = (divmod(pair, width) for pair in pairs.tolist())
    texts = [
        text_of(values[0][one], values[1][other]) if one < len(values[0]) and other < len(values[1]) else None
        for one, other in split
    ]
    return pl.Series(texts, dtype=pl.String).gather(rows)


def _spelling(variable: Variable | None, unit: str) -> str | None:
    """The unit as the catalogue spells it; None if the variable is never in it. Rows of no variable have any unit."""
    if variable is None:
        return unit
    ways = (unit, *ucum_spellings().get(unit, ()))
    return next((way for way in ways if conversion(variable, way) is not None), None)
