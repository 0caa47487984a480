"""Ages of information: are they right?

    python benchmarks/freshness.py ages --eicu PATH/TO/eicu-demo --mimic-iv PATH/TO/mimic-iv-demo --out OUT

``ages`` computes them again with DuckDB, in SQL, from the Parquet files of the prepared demos, and compares every stay
and variable; and the hour of the newest value once more from the raw tables, for the variables that these hold as
numbers in the canonical unit. It also prints how long after they were taken laboratory results were stored.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import duckdb
import polars as pl
from rich.console import Console
from rich.table import Table

from clinragen.catalog import Variable, variables
from clinragen.cohort.folder import Cohort
from clinragen.cohort.freshness import ages
from mimic_prep.cli import main as mimic_prep

TOLERANCE = 1e-6  # hours
CONSOLE = Console(width=132)

#: The ages of every stay and variable that was measured, by the definitions of ``clinragen.cohort.freshness``.
AGES = """
WITH span AS (
    SELECT stay_id, date_diff('millisecond', intime, prediction_time) / 3600000.0 AS prediction
    FROM read_parquet('{cohort}/stays.parquet')
), gap AS (
    SELECT stay_id, variable, hour::DOUBLE AS hour, prediction,
        coalesce(lead(hour::DOUBLE) OVER (PARTITION BY stay_id, variable ORDER BY hour), prediction) - hour AS gap
    FROM read_parquet('{cohort}/series.parquet') JOIN span USING (stay_id) WHERE hour <= prediction
), aged AS (
    SELECT stay_id, variable, max(hour) AS last_hour, prediction - max(hour) AS age_hours,
        coalesce(sum(gap * gap) / nullif(2 * (prediction - min(hour)), 0), 0) AS mean_age_hours,
        min(hour) AS unmeasured_hours
    FROM gap GROUP BY stay_id, variable, prediction
)
SELECT stay_id, variable, last_hour, age_hours, mean_age_hours, coalesce(unmeasured_hours, prediction) unmeasured_hours
FROM span CROSS JOIN (SELECT DISTINCT variable FROM aged) LEFT JOIN aged USING (stay_id, variable)
ORDER BY stay_id, variable
"""
#: The last hour of (stay_id, second, variable, value) before the prediction time, of plausible values.
LAST_HOUR = """
WITH span AS (
    SELECT stay_id, intime, date_diff('millisecond', intime, prediction_time) / 1000.0 AS prediction
    FROM read_parquet('{cohort}/stays.parquet')
), event AS ({events})
SELECT stay_id, variable, max(floor(second / 3600)) AS last_hour
FROM event JOIN span USING (stay_id) JOIN plausible USING (variable)
WHERE second >= 0 AND second < prediction AND value BETWEEN low AND high
GROUP BY stay_id, variable
"""
EICU_EVENTS = """
    SELECT stay_id::BIGINT AS stay_id, time / 1000.0 AS second, item.variable, value
    FROM (UNPIVOT (SELECT * FROM read_parquet('{raw}/hourly_dyn.parquet'))
          ON COLUMNS(* EXCLUDE (stay_id, time)) INTO NAME name VALUE value) AS row
    JOIN item ON item.name = row.name
"""
MIMIC_EVENTS = """
    SELECT stay_id, date_diff('second', intime, charttime) AS second, variable, valuenum AS value
    FROM read_csv('{raw}/icu/chartevents.csv.gz') AS row JOIN span USING (stay_id)
    JOIN item ON item.name = row.itemid::VARCHAR
    UNION ALL
    SELECT stay.stay_id, date_diff('second', stay.intime, charttime), variable, valuenum
    FROM read_csv('{raw}/hosp/labevents.csv.gz') AS row
    JOIN read_parquet('{cohort}/stays.parquet') AS stay USING (subject_id)
    JOIN item ON item.name = row.itemid::VARCHAR
    WHERE storetime < stay.prediction_time
"""
LAB_LAG = """
SELECT count(*), quantile_cont(lag, [.25, .5, .75, .95])
FROM (SELECT date_diff('minute', charttime, storetime) / 60.0 AS lag FROM read_csv('{raw}/hosp/labevents.csv.gz'))
WHERE lag >= 0
"""


def check(name: str, command: str, raw: Path, out: Path) -> list[str]:
    """A row of the table of ``ages`` for one demo."""
    folder = out / name.lower().replace(" ", "-")
    if not folder.exists() and mimic_prep([command, "--raw", str(raw), "--out", str(folder)]):
        raise SystemExit(f"{folder} could not be prepared")
    cohort = Cohort.load(folder)
    ours = ages(cohort)
    theirs = query(AGES.format(cohort=folder))
    assert ours.select("stay_id", "variable").equals(theirs.select("stay_id", "variable")), "other stays or variables"
    same = pl.lit(True)
    for column in ("last_hour", "age_hours", "mean_age_hours", "unmeasured_hours"):
        ours_, theirs_ = pl.col(column), pl.col(f"{column}_again")
        same &= ((ours_ - theirs_).abs() <= TOLERANCE) | (ours_.is_null() & theirs_.is_null())
    compared = ours.join(theirs, on=("stay_id", "variable"), suffix="_again").select(same.fill_null(False)).to_series()
    raw_pairs, raw_same = check_raw(command, raw, folder, ours)
    measured = ours.filter(pl.col("age_hours").is_not_null())
    return [
        name, f"{cohort.stays.height:,}", f"{ours.height:,}", f"{measured.height:,}", f"{compared.sum():,}",
        f"{raw_same:,} of {raw_pairs:,}", f"{measured['age_hours'].median():.1f}",
        f"{measured['mean_age_hours'].median():.1f}",
    ]  # fmt: skip


def check_raw(command: str, raw: Path, folder: Path, ours: pl.DataFrame) -> tuple[int, int]:
    """(stay, variable) with a last hour here or in the raw tables, and those where they are the same."""
    release, events = ("eicu", EICU_EVENTS) if command == "eicu" else ("mimic4", MIMIC_EVENTS)
    tables = ("hourly_dyn",) if release == "eicu" else ("chartevents", "labevents")
    chosen = {key: one for key, one in variables().items() if _plain(one, one.items.get(release, {}), tables, raw)}
    named = [
        (str(name), key)
        for key, one in chosen.items()
        for table in tables
        for name in one.items[release].get(table, ())
    ]
    item = pl.DataFrame(sorted(set(named)), schema=["name", "variable"], orient="row")
    limits = [(key, *one.plausible) for key, one in chosen.items()]
    plausible = pl.DataFrame(limits, schema=["variable", "low", "high"], orient="row")
    text = LAST_HOUR.format(cohort=folder, events=events.format(raw=raw, cohort=folder))
    theirs = query(text, item=item, plausible=plausible)
    mine = ours.filter(pl.col("variable").is_in(list(chosen)) & pl.col("last_hour").is_not_null())
    both = mine.select("stay_id", "variable", "last_hour").join(
        theirs, on=("stay_id", "variable"), how="full", suffix="_again", coalesce=True
    )
    return both.height, both.filter(pl.col("last_hour") == pl.col("last_hour_again")).height


def query(text: str, **tables: pl.DataFrame) -> pl.DataFrame:
    """The answer of DuckDB to a query over files and these tables."""
    with duckdb.connect() as connection:
        for name, table in tables.items():
            connection.register(name, table.to_arrow())
        answer = connection.sql(text)
        assert answer is not None, "the query selects rows"
        return answer.pl()


def _plain(
    variable: Variable, items: Mapping[str, Mapping[int | str, str | None]], tables: tuple[str, ...], raw: Path
) -> bool:
    """Whether the raw tables hold a variable as numbers in the canonical unit, and no other table there holds it."""
    derived = variable.sum_of or variable.ratio_of or variable.weighted_sum_of or variable.bin == "sum"
    special = variable.kind in ("gas", "body", "coma", "ventilation") or variable.rescale or variable.texts
    read = [items[table] for table in tables if table in items]
    elsewhere = any(list(raw.glob(f"**/{table}.csv.gz")) for table in items if table not in tables)
    plain = all(unit is None for units in read for unit in units.values())
    return bool(read) and plain and not (derived or special or elsewhere)


def show_ages(args: argparse.Namespace) -> None:
    table = Table(title="Ages of information, computed again with DuckDB")
    heads = ("cohort", "stays", "stay x variable", "measured", "equal", "last hour as in the raw tables")
    for head in (*heads, "median age, h", "median mean age, h"):
        table.add_column(head, justify="left" if head == "cohort" else "right")
    table.add_row(*check("eICU demo", "eicu", args.eicu, args.out))
    table.add_row(*check("MIMIC-IV demo", "mimic-iv", args.mimic_iv, args.out))
    CONSOLE.print(table)
    counted, quartiles = query(LAB_LAG.format(raw=args.mimic_iv)).row(0)
    hours = ", ".join(f"{value:.1f}" for value in quartiles)
    CONSOLE.print(f"MIMIC-IV demo: {counted:,} laboratory results, hours until stored (25, 50, 75, 95 %): {hours}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("ages", help="compare ages with DuckDB's")
    part.add_argument("--eicu", type=Path, required=True, help="the folder of the eICU demo")
    part.add_argument("--mimic-iv", type=Path, required=True, help="the folder of the MIMIC-IV demo")
    part.set_defaults(show=show_ages)
    part.add_argument("--out", type=Path, required=True, help="where the cohorts are prepared, once")
    args = parser.parse_args()
    args.show(args)


if __name__ == "__main__":
    main()
