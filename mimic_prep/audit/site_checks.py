"""Hospitals, networks and periods held against one another: what they chart, in which units, whom they treat.

Each is compared with all other stays of the cohort: the share of stays with a measurement of each variable, the means
of stays, and the share that carries each label. What differs by more than chance makes, and by enough to matter, is
named. Sites do differ; what the card is for is to know it before a model is blamed, or praised, for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from clinragen.catalog import Variable, variables
from clinragen.schema import SITES
from mimic_prep.audit.check import Check, Field, plural
from mimic_prep.audit.cohort_tables import CohortTables

FEWEST = 20  # stays of a site that is compared
SIGNIFICANT = 0.01  # over all comparisons of a card (Bonferroni)
RARER = 0.2  # difference in the share of stays with a measurement
LABEL = 0.1  # difference in the share of stays with a label
_MOVED = 0.4  # Kolmogorov-Smirnov distance of the stays' means
_OTHER_UNIT = 0.7  # the same, of values in another unit
_LEAST_GAP = 0.6  # units that differ by less than a factor of 1.8 cannot be told apart
_NEAR = 0.25  # largest logarithm of the ratio of a site's median to that in the unit
_POWERS = (0.001, 0.01, 0.1, 10.0, 100.0, 1000.0)  # shifted decimal points, and metric prefixes
_LISTED = 6  # names of one kind in a row
_ABOUT = {
    "hospital": "Hospitals are alike",
    "network": "Networks of hospitals are alike",
    "period": "Periods are alike",
}


@dataclass
class _Differences:
    """What is otherwise at a site, in words."""

    units: list[str] = field(default_factory=list)
    charting: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


def sites(tables: CohortTables) -> list[Check]:
    """One check each for hospitals, networks and periods, where there are several; one that says so where none are."""
    where = tables.cohort.sites
    named = [name for name in SITES.names[1:] if where[name].drop_nulls().n_unique() > 1]
    if not named:
        says = "The cohort does not tell several hospitals, networks or periods apart: nothing to compare."
        return [Check("sites", "Sites are alike", "Hospitals, networks and periods, compared.", "pass", says)]
    means = (
        tables.series.group_by("stay_id", "variable")
        .agg(pl.col("value").cast(pl.Float64).mean())
        .collect(engine="streaming")
        .join(where, on="stay_id")
    )
    words = tables.notes.group_by("stay_id").agg(words=pl.col("text").str.count_matches(r"\S+").sum())
    return [_check(name, tables, where, means, words) for name in named]


def _check(by: str, tables: CohortTables, where: pl.DataFrame, means: pl.DataFrame, words: pl.DataFrame) -> Check:
    sizes = where.drop_nulls(by)[by].value_counts().sort(by)
    names = sizes.filter(pl.col("count") >= FEWEST)
    stays = dict(names.iter_rows())
    differences = {name: _Differences() for name in stays}
    total = int(sizes["count"].sum())
    if len(stays):
        _charting(by, means.drop_nulls(by), stays, total, differences)
        _labels(by, tables, where, stays, differences)
    read = where.select("stay_id", by).join(words, on="stay_id", how="left").group_by(by)
    length = dict(read.agg(pl.col("words").fill_null(0).median()).iter_rows())
    charted = dict(means.group_by(by).agg(pl.len()).iter_rows())
    rows = [
        {
            "name": name, "stays": count, "variables": charted.get(name, 0) / count, "words": length.get(name),
            **{kind: _joined(words_of) for kind, words_of in vars(differences[name]).items()},
            "flagged": any(vars(differences[name]).values()),
        }
        for name, count in stays.items()
    ]  # fmt: skip
    if by != "period":
        rows.sort(key=lambda row: (not row["flagged"], -row["stays"]))
    columns = (
        Field("name", by.capitalize()), Field("stays", "Stays", "count"),
        Field("variables", "Variables a stay", "number"), Field("words", "Words a stay", "number"),
        Field("units", "In another unit?"), Field("charting", "Charted otherwise"), Field("values", "Other values"),
        Field("labels", "Labels"),
    )  # fmt: skip
    asks = (
        f"Each {by} against all other stays, and the median {by}: share of stays with each variable (difference of at "
        f"least {RARER:.0%}), "
        f"means of stays (Kolmogorov-Smirnov distance of at least {_MOVED:g}; another unit where the median fits one), "
        f"labels (at least {LABEL:.0%}); at p < {SIGNIFICANT:g} over all comparisons."
    )
    says, units = _says(by, rows, len(sizes)), any(row["units"] for row in rows)
    status = "warning" if units else "note" if not rows or any(row["flagged"] for row in rows) else "pass"
    return Check(f"{by}s", _ABOUT[by], asks, status, says, columns, rows)


def _says(by: str, rows: list[dict[str, object]], total: int) -> str:
    if not rows:
        return f"None of {plural(total, by)} has {FEWEST} stays, so none is compared with the others."
    differ = [row for row in rows if row["flagged"]]
    says = f"No {by} differs from the others by more than chance."
    if differ:
        says = f"{len(differ)} of {plural(len(rows), by)} differ from the others."
    if units := [str(row["name"]) for row in rows if row["units"]]:
        says += f" Some chart a variable in what seems another unit: {_joined(units)}."
    if small := total - len(rows):
        says += f" {plural(small, by)} with fewer than {FEWEST} stays {'is' if small == 1 else 'are'} not compared."
    return says


def _charting(
    by: str, means: pl.DataFrame, stays: dict[str, int], total: int, differences: dict[str, _Differences]
) -> None:
    """Variables that a site charts for other shares of its stays, or with other values."""
    tests = 2 * len(stays) * means["variable"].n_unique()
    parts = means.sort("stay_id").partition_by("variable", as_dict=True)
    for key, variable in variables().items():
        if (mine := parts.get((key,))) is None:
            continue
        names, values = mine[by].to_numpy(), mine["value"].to_numpy()
        ordered = np.sort(values)
        shares = {name: int((names == name).sum()) / count for name, count in stays.items()}
        for name, count in stays.items():
            here = names == name
            measured, elsewhere = int(here.sum()), len(values) - int(here.sum())
            differs = differences[name]
            if total > count:
                share, other = measured / count, elsewhere / (total - count)
                chance = share_chance(measured, count, elsewhere, total - count)
                rarer = abs(share - other) >= RARER and abs(share - _usual(shares, name, other)) >= RARER
                if rarer and chance * tests < SIGNIFICANT:
                    amount = "never" if not measured else f"{share:.0%} of stays"
                    differs.charting.append(f"{variable.label}: {amount}, elsewhere {other:.0%}")
            if measured >= FEWEST and elsewhere >= FEWEST:
                distance, chance = _distance(np.sort(values[here]), ordered)
                if distance >= _MOVED and chance * tests < SIGNIFICANT:
                    medians = float(np.median(values[here])), float(np.median(values[~here]))
                    unit = _unit(variable, *medians) if distance >= _OTHER_UNIT else None
                    of_site, others = map(_number, medians)
                    shown = f"{variable.label}: median {of_site}, elsewhere {others} {variable.unit}"
                    (differs.units if unit else differs.values).append(f"{shown} ({unit})" if unit else shown)


def _unit(variable: Variable, here: float, elsewhere: float) -> str | None:
    """The unit in which the median elsewhere would read as the one here; None if no unit fits."""
    candidates = {f"in {unit}": (elsewhere - offset) / scale for unit, (scale, offset) in variable.accepts.items()}
    candidates |= {f"times {power:g}": elsewhere * power for power in _POWERS}
    for unit, median in candidates.items():
        if min(median, here, elsewhere) <= 0 or abs(math.log(median / elsewhere)) < _LEAST_GAP:
            continue
        if abs(math.log(here / median)) <= _NEAR:
            return unit
    return None


def _labels(
    by: str, tables: CohortTables, where: pl.DataFrame, stays: dict[str, int], differences: dict[str, _Differences]
) -> None:
    if tables.labels is None:
        return
    names = tables.cohort.label_set
    carried = tables.labels.join(where.select("stay_id", by).drop_nulls(by), on="stay_id")
    total, of_all = carried.height, carried.select(pl.col(list(names)).sum()).row(0, named=True)
    of_site = {row[by]: row for row in carried.group_by(by).agg(pl.col(list(names)).sum()).iter_rows(named=True)}
    tests = len(stays) * len(names)
    for name, count in stays.items():
        for key, phenotype in names.items():
            here, others = of_site[name][key], of_all[key] - of_site[name][key]
            if total == count:
                continue
            share, other = here / count, others / (total - count)
            shares = {site: of_site[site][key] / stays[site] for site in stays}
            rarer = abs(share - other) >= LABEL and abs(share - _usual(shares, name, other)) >= LABEL
            if rarer and share_chance(here, count, others, total - count) * tests < SIGNIFICANT:
                differences[name].labels.append(f"{phenotype.name}: {share:.0%}, elsewhere {other:.0%}")


def _usual(shares: dict[str, float], name: str, pooled: float) -> float:
    """The median share of the other sites, so that one odd site does not make all others look odd."""
    others = [share for site, share in shares.items() if site != name]
    return float(np.median(others)) if others else pooled


def _distance(site: np.ndarray, everyone: np.ndarray) -> tuple[float, float]:
    """Kolmogorov-Smirnov distance of a site's values from all others', and a bound of its p-value (Massart 1990).

    Args:
        site: sorted.
        everyone: sorted, those of the site among them: F_all = w F_site + (1 - w) F_others, so the distance from the
            others is that from all, divided by 1 - w.
    """
    weight = len(site) / len(everyone)
    gaps = [
        np.searchsorted(site, site, side) / len(site) - np.searchsorted(everyone, site, side) / len(everyone)
        for side in ("left", "right")
    ]
    distance = float(np.abs(gaps).max()) / (1 - weight)
    effective = len(site) * (1 - weight)
    return distance, min(1.0, 2 * math.exp(-2 * effective * distance**2))


def share_chance(first: int, of_first: int, second: int, of_second: int) -> float:
    """p-value of a difference between two shares: the normal test with Yates's correction.

    >>> round(share_chance(10, 20, 30, 60), 2), share_chance(0, 40, 60, 60) < 1e-15
    (1.0, True)
    """
    pooled = (first + second) / (of_first + of_second)
    error = math.sqrt(pooled * (1 - pooled) * (1 / of_first + 1 / of_second))
    if not error:
        return 1.0
    correction = (1 / of_first + 1 / of_second) / 2
    difference = max(0.0, abs(first / of_first - second / of_second) - correction)
    return math.erfc(difference / error / math.sqrt(2))


def _number(value: float) -> str:
    """
    >>> _number(0.0123), _number(1119.6)
    ('0.0123', '1,120')
    """
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _joined(names: list[str]) -> str:
    """The first of several names, and how many more there are."""
    more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return "; ".join(names[:_LISTED]) + more
