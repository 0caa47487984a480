"""Infusions of eICU: drug and unit are one text, such as ``Norepinephrine (mcg/min)``, and the rate is another."""

from __future__ import annotations

import re

import polars as pl

from clinragen.artifacts import sha256_json
from mimic_prep.accounting import RowFilter
from mimic_prep.doses import read_rates
from mimic_prep.tables import Derivation
from mimic_prep.unit_screen import variable_of

_OFF = ["off", "stopped"]


def with_weights(weights: pl.DataFrame) -> Derivation:
    """The derivation of the table, with the weight of the admission form where a row has none.

    Args:
        weights: stay_id, admission_weight (kg).
    """
    weights = weights.select("stay_id", "admission_weight").drop_nulls().unique("stay_id", keep="none")
    key = sha256_json(sorted(weights.iter_rows()))

    def rule(row_filter: RowFilter) -> None:
        frame = row_filter.frame.join(weights, on="stay_id", how="left", maintain_order="left")
        weight = pl.when(pl.col("weight") > 0).then("weight").otherwise("admission_weight")
        row_filter.frame = frame.with_columns(weight=weight).drop("admission_weight")
        read_infusions(row_filter)

    return Derivation(rule, f"2 {key}")


def read_infusions(row_filter: RowFilter) -> None:
    """Add ``item``, the catalogue's word for the drug, and ``value``, its rate in the unit of its variable.

    A text names the drug in whole words; of several that are in it the first counts. The unit is in its last brackets.
    """
    items = variable_of("eicu", "infusiondrug")
    words = "|".join(re.escape(str(item)) for item in sorted(items, key=lambda item: -len(str(item))))
    drug = pl.col("drug").str.to_lowercase()
    written = pl.col("written").str.strip_chars()
    rate = pl.when(written.str.to_lowercase().is_in(_OFF)).then(0.0).otherwise(written.cast(pl.Float64, strict=False))
    row_filter.frame = row_filter.frame.with_columns(
        item=drug.str.extract(rf"\b({words})\b"), rate_unit=drug.str.extract(r"\(([^()]*)\)\s*$"), rate=rate
    )
    row_filter.skip(pl.col("item").is_null(), "drug not used")
    row_filter.reject(pl.col("rate").is_infinite() | (pl.col("rate") < 0), "no numeric value")
    read_rates(row_filter, items)
