"""Rates of infusions in the unit of their variable: by weight where it is stated, and never guessed.

A rate in millilitres an hour tells a dose only with the concentration, which no table states with its unit; a rate per
minute tells one per kilogram only with the patient's weight. Rows without these are left out, and counted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import polars as pl

from clinragen.catalog import Variable, variable
from mimic_prep.accounting import RowFilter
from mimic_prep.tables import Derivation
from mimic_prep.unit_screen import variable_of

NO_UNIT = "rate without a unit: left out"
NO_CONCENTRATION = "rate as a volume, of an unknown concentration: left out"
NO_WEIGHT = "rate without the weight that its unit needs: left out"
NO_RATE = "row without a rate"
NO_VOLUME = "row without a volume"
ALIEN_UNIT = "unit of a rate that is not known for its drug"
#: In place of the unit of a row that only says that an infusion was stopped.
STOPPED = "stopped"
_STOPPED = ["stopped", "d/c'd", "discontinued"]
_RATE = re.compile(r"(mcg|ug|mg|gm|g|ng|units?|u|iu)(?:/|per|-)?(kg)?(?:/|per|-)?(minutes?|mins?|hours?|hrs?|h)")
_VOLUME = re.compile(r"(ml|cc|mls)(/|per)?(hours?|hrs?|h|min|minutes?)")
_MICROGRAMS = {"ng": 0.001, "mcg": 1.0, "ug": 1.0, "mg": 1000.0, "g": 1e6, "gm": 1e6}

Trouble = Literal["no unit", "volume", "alien"]


def factor(unit: str | None, canonical: str) -> tuple[float, int] | Trouble:
    """(scale, power) with ``canonical = rate * scale * kilograms ** power``, or why there is none.

    Args:
        unit: the unit of a rate, as written.
        canonical: the unit of its variable: ``mcg/kg/min`` or ``units/min``.

    >>> factor("mcgmin", "mcg/kg/min"), factor("mg/hour", "mcg/kg/min"), factor("Uhr", "units/min")
    ((1.0, -1), (16.666666666666668, -1), (0.016666666666666666, 0))
    >>> factor("mL/hour", "mcg/kg/min"), factor("mcg/min", "units/min")
    ('volume', 'alien')
    """
    plain = re.sub(r"[\s().]", "", (unit or "").casefold().replace("µ", "u").replace("μ", "u"))
    if plain == STOPPED:
        return 0.0, 0
    if not plain or plain == "unknown":
        return "no unit"
    if _VOLUME.fullmatch(plain):
        return "volume"
    written, target = _parts(plain), _parts(canonical)
    if written is None or target is None or written[0] != target[0]:
        return "alien"
    return written[1] / target[1], int(written[2]) - int(target[2])


def _parts(unit: str) -> tuple[str, float, bool] | None:
    """What is given, how much of it in a minute, and whether by kilogram."""
    match = _RATE.fullmatch(unit)
    if match is None:
        return None
    what, by_weight, time = match.groups()
    mass = _MICROGRAMS.get(what)
    minutes = 60.0 if time.startswith("h") else 1.0
    return ("units" if mass is None else "mass"), (mass or 1.0) / minutes, by_weight is not None


def is_volume(unit: str | None) -> bool:
    """Whether a unit is millilitres.

    >>> is_volume("ml"), is_volume("mg")
    (True, False)
    """
    return (unit or "").strip().casefold() in ("ml", "mls", "cc")


def read_values(row_filter: RowFilter, items: Mapping[int | str, Variable], volume: pl.Expr) -> None:
    """Add ``value``: of variables that are summed ``volume``, in millilitres; of the others as ``read_rates``."""
    volumes = [item for item, spec in items.items() if spec.bin == "sum"]
    row_filter.frame = row_filter.frame.with_columns(flows=pl.col("item").is_in(volumes), volume=volume)
    row_filter.skip(pl.col("flows") & pl.col("volume").is_null(), NO_VOLUME)
    row_filter.reject(pl.col("flows") & (pl.col("volume") < 0), "negative volume")
    whole = row_filter.frame
    row_filter.frame = whole.filter(~pl.col("flows"))
    read_rates(row_filter, {item: spec for item, spec in items.items() if spec.bin != "sum"})
    fluids = whole.filter("flows").with_columns(value=pl.col("volume"), rate_unit=pl.col("rate_unit").cast(pl.String))
    row_filter.frame = pl.concat([row_filter.frame, fluids.select(row_filter.frame.columns)], how="vertical_relaxed")


def charted_doses(release: str, table: str) -> Derivation:
    """The derivation of a table that charts rates and volumes at points in time, ``stopped`` included.

    Args:
        release: key of its items in the catalogue.
        table: the table's name in lower case.
    """

    def rule(row_filter: RowFilter) -> None:
        items = variable_of(release, table)
        row_filter.skip(~pl.col("item").is_in(list(items)), "item not used")
        stopped = pl.col("stopped").str.to_lowercase().is_in(_STOPPED).fill_null(False)
        unit = pl.col("rate_unit").cast(pl.String)
        row_filter.frame = row_filter.frame.with_columns(
            rate=pl.when(stopped).then(0.0).otherwise("rate"),
            rate_unit=pl.when(stopped & unit.is_null()).then(pl.lit(STOPPED)).otherwise(unit),
        )
        read_values(row_filter, items, volume_of(row_filter.frame["amount_unit"]))

    return Derivation(rule, "1")


def volume_of(units: pl.Series) -> pl.Expr:
    """The column ``amount`` where its unit, the column ``amount_unit``, is one of volume."""
    named = [unit for unit in units.cast(pl.String).drop_nulls().unique() if is_volume(unit)]
    return pl.when(pl.col("amount_unit").cast(pl.String).is_in(named)).then("amount")


def read_rates(row_filter: RowFilter, items: Mapping[int | str, Variable]) -> None:
    """Add ``value`` in the unit of each row's variable, from ``rate``, ``rate_unit`` and perhaps ``weight``.

    Rows whose rate cannot be read in it are left out, those in an unknown unit quarantined. A rate of 0 is no
    exception: of a drug whose rates are left out, it would be all that is seen.
    """
    frame = row_filter.frame.with_columns(pl.col("rate_unit").cast(pl.String).fill_null(""))
    pairs = frame.select("item", "rate_unit").unique()
    rows: list[tuple[float | None, int | None, str | None]] = []
    for item, unit in pairs.iter_rows():
        spec = items.get(item)
        read = "alien" if spec is None else factor(unit, spec.unit)
        rows.append((None, None, read) if isinstance(read, str) else (*read, None))
    schema = {"scale": pl.Float64, "power": pl.Int64, "trouble": pl.String}
    pairs = pairs.hstack(pl.DataFrame(rows, schema=schema, orient="row"))
    row_filter.frame = frame.join(pairs, on=["item", "rate_unit"], how="left", maintain_order="left")
    row_filter.skip(pl.col("rate").is_null() | pl.col("rate").is_nan(), NO_RATE)
    row_filter.skip(pl.col("trouble") == "no unit", NO_UNIT)
    row_filter.skip(pl.col("trouble") == "volume", NO_CONCENTRATION)
    row_filter.reject(pl.col("trouble") == "alien", ALIEN_UNIT)
    weight = pl.lit(None, dtype=pl.Float64)
    if "weight" in row_filter.frame.columns:
        least, most = variable("weight").plausible
        weight = pl.when(pl.col("weight").is_between(least, most)).then("weight")
    row_filter.skip((pl.col("power") != 0) & weight.is_null(), NO_WEIGHT)
    by_weight = pl.when(pl.col("power") == 0).then(1.0).when(pl.col("power") > 0).then(weight).otherwise(1 / weight)
    value = pl.col("rate") * pl.col("scale") * by_weight
    row_filter.frame = row_filter.frame.with_columns(value=value).drop("scale", "power", "trouble")
