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
AVERAGED = "no rate: the amount over the time in which it ran in"
ALIEN_UNIT = "unit of a rate that is not known for its drug"
#: In place of the unit of a row that only says that an infusion was stopped.
STOPPED = "stopped"
_STOPPED = ["stopped", "d/c'd", "discontinued"]
_AMOUNT = r"(mcg|ug|micrograms?|mg|milligrams?|gm|grams?|g|ng|nanograms?|units?|u|iu|unt)(?:/|per|-)?(kg)?"
_RATE = re.compile(_AMOUNT + r"(?:/|per|-)?(minutes?|mins?|hours?|hrs?|h)")
_VOLUME = re.compile(r"(mls?|cc|milliliters?|millilitres?|l)(?:/|per)?(kg)?(?:/|per)?(hours?|hrs?|hr|h|mins?|minutes?)")
_MICROGRAMS = {
    "ng": 0.001, "nanogram": 0.001, "mcg": 1.0, "ug": 1.0, "microgram": 1.0, "mg": 1000.0, "milligram": 1000.0,
    "g": 1e6, "gm": 1e6, "gram": 1e6,
}  # fmt: skip
_MILLILITRES = {"l": 1000.0}

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
    plain = _plain(unit)
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


def _plain(unit: str | None) -> str:
    """A unit without what spellings of it differ in: case, blanks, brackets, and UCUM's dot for a product."""
    return re.sub(r"[\s().\[\]{}]", "", (unit or "").casefold().replace("µ", "u").replace("μ", "u"))


def hourly_volume(unit: str | None) -> float | None:
    """What a rate in ``unit`` is multiplied by to give millilitres an hour; None if it is no such rate.

    >>> hourly_volume("mL/hour"), hourly_volume("ml/min"), hourly_volume("mcg/min")
    (1.0, 60.0, None)
    """
    match = _VOLUME.fullmatch(_plain(unit))
    if match is None or match[2]:
        return None
    return _MILLILITRES.get(match[1], 1.0) * (60.0 if match[3].startswith("m") else 1.0)


def _parts(unit: str) -> tuple[str, float, bool] | None:
    """What is given, how much of it in a minute, and whether by kilogram."""
    match = _RATE.fullmatch(unit)
    if match is None:
        return None
    what, by_weight, time = match.groups()
    mass = _MICROGRAMS.get(what, _MICROGRAMS.get(what.removesuffix("s")))
    minutes = 60.0 if time.startswith("h") else 1.0
    return ("units" if mass is None else "mass"), (mass or 1.0) / minutes, by_weight is not None


def is_rate(unit: str) -> bool:
    """Whether a unit is one of a rate: of a mass, of units, or of a volume.

    >>> is_rate("ug/kg/min"), is_rate("mL/h"), is_rate("mg")
    (True, True, False)
    """
    return _parts(_plain(unit)) is not None or hourly_volume(unit) is not None


def is_volume(unit: str | None) -> bool:
    """Whether a unit is millilitres.

    >>> is_volume("ml"), is_volume("mg")
    (True, False)
    """
    return (unit or "").strip().casefold() in ("ml", "mls", "cc", "milliliter", "millilitre", "milliliters")


def read_values(
    row_filter: RowFilter, items: Mapping[int | str, Variable], volume: pl.Expr, *, weighed_later: bool = False
) -> None:
    """Add ``value``: 1 of states, ``volume`` of variables that are summed, in millilitres; of others ``read_rates``."""
    states = [item for item, spec in items.items() if spec.unit == "flag"]
    volumes = [item for item, spec in items.items() if spec.bin == "sum"]
    state = pl.col("item").is_in(states)
    row_filter.frame = row_filter.frame.with_columns(
        plain=state | pl.col("item").is_in(volumes), volume=pl.when(state).then(1.0).otherwise(volume)
    )
    row_filter.skip(pl.col("plain") & pl.col("volume").is_null(), NO_VOLUME)
    row_filter.reject(pl.col("plain") & (pl.col("volume") < 0), "negative volume")
    whole = row_filter.frame
    row_filter.frame = whole.filter(~pl.col("plain"))
    rated = {item: spec for item, spec in items.items() if item not in (*states, *volumes)}
    read_rates(row_filter, rated, weighed_later=weighed_later)
    plain = whole.filter("plain").with_columns(
        value=pl.col("volume"), rate_unit=pl.col("rate_unit").cast(pl.String), power=pl.lit(0, dtype=pl.Int64)
    )
    row_filter.frame = pl.concat([row_filter.frame, plain.select(row_filter.frame.columns)], how="vertical_relaxed")


def charted_rates(release: str, table: str) -> Derivation:
    """The derivation of a table of rates at points in time: columns ``item``, ``rate`` and ``rate_unit``.

    Args:
        release: key of its items in the catalogue.
        table: the table's name in lower case.
    """

    def rule(row_filter: RowFilter) -> None:
        items = variable_of(release, table)
        row_filter.skip(~pl.col("item").is_in(list(items)), "item not used")
        row_filter.reject(pl.col("rate").is_infinite() | (pl.col("rate") < 0), "no numeric value")
        read_rates(row_filter, items)

    return Derivation(rule, "1")


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


def average_rates(row_filter: RowFilter) -> None:
    """Fill in ``rate`` where a row has only the amount that ran in from ``time`` to ``end``, and say so: ``averaged``.

    Such a rate tells when the infusion ended and how much it gave, so it counts only once it has run in. A volume is no
    such amount, and what lasts a minute at most is a bolus, which has no rate.
    """
    frame = row_filter.frame
    minutes = (pl.col("end") - pl.col("time")).dt.total_seconds() / 60
    unit = pl.col("amount_unit").cast(pl.String)
    named = [one for one in frame["amount_unit"].cast(pl.String).drop_nulls().unique() if _is_amount(one)]
    averaged = pl.col("rate").is_null() & pl.col("amount").is_not_null() & unit.is_in(named) & (minutes > 1)
    row_filter.frame = frame.with_columns(averaged=averaged.fill_null(False)).with_columns(
        rate=pl.when("averaged").then(pl.col("amount") / minutes).otherwise("rate"),
        rate_unit=pl.when("averaged").then(unit + "/min").otherwise(pl.col("rate_unit").cast(pl.String)),
    )


def _is_amount(unit: str) -> bool:
    """Whether a unit is one of a mass or of units, perhaps by weight."""
    return re.fullmatch(_AMOUNT, _plain(unit)) is not None


def volume_of(units: pl.Series) -> pl.Expr:
    """The column ``amount`` where its unit, the column ``amount_unit``, is one of volume."""
    named = [unit for unit in units.cast(pl.String).drop_nulls().unique() if is_volume(unit)]
    return pl.when(pl.col("amount_unit").cast(pl.String).is_in(named)).then("amount")


def read_rates(row_filter: RowFilter, items: Mapping[int | str, Variable], *, weighed_later: bool = False) -> None:
    """Add ``value`` in the unit of each row's variable, from ``rate``, ``rate_unit`` and perhaps ``weight``.

    ``power`` is that of the kilograms by which a value is still to be multiplied: 0, unless rows are ``weighed_later``.
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
    if not weighed_later:
        row_filter.skip((pl.col("power") != 0) & weight.is_null(), NO_WEIGHT)
    by_weight = pl.when(pl.col("power") == 0).then(1.0).when(pl.col("power") > 0).then(weight).otherwise(1 / weight)
    value = pl.col("rate") * pl.col("scale") * (pl.lit(1.0) if weighed_later else by_weight)
    power = pl.col("power") if weighed_later else pl.lit(0, dtype=pl.Int64)
    row_filter.frame = row_filter.frame.with_columns(value=value, power=power).drop("scale", "trouble")
