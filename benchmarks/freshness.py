"""Ages of information: are they right, and what is it worth to weigh training stays by age?

    python benchmarks/freshness.py ages --eicu PATH/TO/eicu-demo --mimic-iv PATH/TO/mimic-iv-demo --out OUT
    python benchmarks/freshness.py drift --out OUT [--patients 2000] [--seeds 1]
    python benchmarks/freshness.py eicu --splits TABLE/default
    python benchmarks/freshness.py inputs --splits TABLE/default

``ages`` computes them again with DuckDB, in SQL, from the Parquet files of the prepared demos, and compares every stay
and variable; and the hour of the newest value once more from the raw tables, for the variables that these hold as
numbers in the canonical unit. It also prints how long after they were taken laboratory results were stored.

``drift`` makes synthetic hospitals without and with a new rule of coding (``synthesize --recoding``), trains on all but
the last years and predicts these, with the linear probes alone, whose training stays weigh alike or by age. ``eicu``
does so on the splits of ``benchmarks/eicu_table.py``, and ``inputs`` adds there the ages of each variable to what the
series' linear probe reads.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
import torch
from printed_tables import Console, with_interval
from rich.table import Table
from scipy.sparse import csr_matrix, vstack
from scipy.special import expit

from clinragen.catalog import Variable, variables
from clinragen.cohort.folder import Cohort
from clinragen.cohort.freshness import ages
from clinragen.data.dataset import StayDataset
from clinragen.evaluation.diagnosis import METRICS, Bootstrapped, System, bootstrap, interval
from clinragen.inference.predict import score
from clinragen.model.clinragen import ClinRaGen
from clinragen.quiet import quiet_libraries
from clinragen.stages.build import new_model, stays
from clinragen.stages.config import RunConfig, resolve
from clinragen.stages.ensemble import choose, features, fit_linear_probes, fuse, net_of, refit_linear_probes
from clinragen.stages.logistic import ElasticNet, Features, fit_elastic_net
from clinragen.teacher.evidence_run import generate
from mimic_prep.cli import main as mimic_prep
from mimic_prep.synthetic.write import synthesize

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


def weighed_or_not(folder: Path, seed: int) -> tuple[Bootstrapped, Bootstrapped, dict[str, float]]:
    """Test stays of a cohort by linear probes whose training stays weigh alike, or by age; and what was fitted."""
    cohort = Cohort.load(folder)
    model, data, config = untrained(cohort)
    labelled = {split: data[split] for split in ("train", "validation")}
    systems, described = {}, {}
    for name, weigh in (("alike", False), ("by age", True)):
        fits = fit_linear_probes(model, labelled, config.stage.inputs, 32, weigh=weigh)
        assert fits is not None, "the preset has probes"
        refit_linear_probes(model, labelled, fits)
        logits, _ = score(model, data["test"], config.stage.inputs)
        systems[name] = System(expit(logits), np.full(logits.shape[1], 0.5))
        described = fits.described()
    test = data["test"]
    scored = bootstrap(test.labels, systems, test.patients, 500, seed, test.eligible)
    return scored["alike"], scored["by age"], described


def row(title: str, folders: list[Path]) -> list[str]:
    """A row of the table of ``drift`` and ``eicu``, the mean over cohorts."""
    column, parts = METRICS.index("macro_auroc"), [weighed_or_not(folder, seed) for seed, folder in enumerate(folders)]
    strengths = [described.get(f"{name}_freshness", 0.0) for _, _, described in parts for name in ("note", "series")]
    cells = [title, str(len(folders)), f"{np.mean(strengths):.2f}"]
    pairs = [[(one.value[column], one.replicates[:, column]) for one in part[:2]] for part in parts]
    alike, by_age = ([np.mean([pair[which][i] for pair in pairs], axis=0) for i in (0, 1)] for which in (0, 1))
    for value, replicates in (alike, by_age, (by_age[0] - alike[0], by_age[1] - alike[1])):
        cells.append(shown(float(value), replicates))
    CONSOLE.print(" | ".join(cells))
    return cells


def show_rows(rows: list[list[str]]) -> None:
    table = Table(title="Macro AUROC of the test stays by linear probes (95 % bootstrap interval by patient)")
    for head in ("cohort", "cohorts", "mean strength", "training stays weigh alike", "by age", "gain"):
        table.add_column(head, justify="left" if head == "cohort" else "right")
    for cells in rows:
        table.add_row(*cells)
    CONSOLE.print(table)


def show_drift(args: argparse.Namespace) -> None:
    rows = []
    for recoding in (0.0, 1.0):
        folders = [hospital(args.out, args.patients, seed, recoding) for seed in range(1, args.seeds + 1)]
        rows.append(row("with a new rule of coding" if recoding else "without drift", folders))
    show_rows(rows)


def hospital(out: Path, patients: int, seed: int, recoding: float) -> Path:
    """The cohort of a synthetic hospital, whose last years are the test split, with rationales."""
    raw, cohort = (out / f"{kind}{patients}-{seed}-{recoding:g}" for kind in ("raw", "cohort"))
    if not raw.exists():
        synthesize(patients, seed, raw, recoding=recoding)
    if not (cohort / "rationales").exists():
        if mimic_prep(["mimic-iv", "--raw", str(raw), "--out", str(cohort), "--set", "splits.by=period"]):
            raise SystemExit(f"{cohort} could not be prepared")
        generate(cohort)
    return cohort


def with_and_without_ages(folder: Path, seed: int) -> dict[str, Bootstrapped]:
    """Test stays of a cohort by linear probes that read of each variable its summaries, or its ages too."""
    cohort = Cohort.load(folder)
    model, data, config = untrained(cohort)
    labelled = {split: data[split] for split in ("train", "validation")}
    note = {split: features(model, data[split], "note") for split in data}
    read = {split: np.asarray(features(model, data[split], "series")) for split in data}
    variables = len(model.statistics.variables)
    tables = ages_of(cohort, data, model.statistics.variables)
    edges = [np.nanquantile(of, np.linspace(0, 1, config.model.series.bins + 1), axis=0) for of in tables["train"]]
    aged = {
        split: np.concatenate(
            [read[split].reshape(len(read[split]), variables, -1), *map(binned, tables[split], edges)], axis=2
        ).reshape(len(read[split]), -1)
        for split in data
    }
    words = fitted("note", net_of(model, "note"), note, labelled)
    systems = {}
    for name, matrices in (("without", read), ("with ages", aged)):
        net = replace(net_of(model, "series"), group=matrices["train"].shape[1] // variables)
        series = fitted("series", net, matrices, labelled)
        parts = np.stack([np.zeros_like(words[0]), words[0], series[0]])
        gains = fuse(parts, data["validation"].labels, data["validation"].eligible)
        for title, logits in ((name, gains[1] * words[1] + gains[2] * series[1]), (f"{name}, series", series[1])):
            systems[title] = System(expit(logits), np.full(logits.shape[1], 0.5))
    test = data["test"]
    return bootstrap(test.labels, systems, test.patients, 500, seed, test.eligible)


def untrained(cohort: Cohort) -> tuple[ClinRaGen, dict[str, StayDataset], RunConfig]:
    """A network that was never trained, the stays that it reads, and its settings."""
    config = resolve("multimodal", "tiny", "evidence", ["stage.parent=null", "stage.targets=[diagnoses]"])
    torch.manual_seed(0)
    model = new_model(config, cohort, None).eval()
    return model, {split: stays(model, config, cohort, split) for split in ("train", "validation", "test")}, config


def fitted(
    probe: str, net: ElasticNet, matrices: Mapping[str, csr_matrix | np.ndarray], data: dict[str, StayDataset]
) -> tuple[np.ndarray, np.ndarray]:
    """Logits of validation stays by weights of training stays, and of test stays by weights of both; [n, L] each."""
    weights, penalty = choose(probe, net, matrices, data)
    stack = (
        csr_matrix(vstack([matrices[split] for split in data]))
        if probe == "note"
        else np.concatenate([np.asarray(matrices[split]) for split in data])
    )
    labels, eligible = (np.concatenate([getattr(data[split], of) for split in data]) for of in ("labels", "eligible"))
    again = fit_elastic_net(Features(stack), labels, penalty, net, counts=eligible)
    held = np.asarray(matrices["validation"] @ weights[:-1] + weights[-1])
    return held, np.asarray(matrices["test"] @ again[:-1] + again[-1])


def ages_of(cohort: Cohort, data: dict[str, StayDataset], names: list[str]) -> dict[str, list[np.ndarray]]:
    """The age at the prediction time and the mean age of each variable, [stays, variables] each, by split."""
    table = ages(cohort)
    wide = {
        column: table.pivot("variable", index="stay_id", values=column).sort("stay_id")
        for column in ("age_hours", "mean_age_hours")
    }
    return {
        split: [
            of.filter(pl.col("stay_id").is_in(pl.Series(part.stay_ids).implode())).select(names).to_numpy()
            for of in wide.values()
        ]
        for split, part in data.items()
    }


def binned(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Piecewise-linear encoding [stays, variables, bins] of values [stays, variables]; 0 where not measured."""
    low, high = edges[:-1].T, edges[1:].T
    return np.nan_to_num(np.clip((values[..., None] - low) / np.maximum(high - low, 1e-6), 0, 1)).astype(np.float32)


def show_inputs(args: argparse.Namespace) -> None:
    column = METRICS.index("macro_auroc")
    parts = [
        with_and_without_ages(folder, seed) for seed, folder in enumerate(sorted(args.splits.glob("split*/cohort")))
    ]
    table = Table(title=f"Macro AUROC, {len(parts)} splits (95 % bootstrap interval by patient)")
    for head in ("linear probes of", "without ages", "with ages", "gain"):
        table.add_column(head, justify="left" if head.startswith("linear") else "right")
    for title, suffix in (("note and series", ""), ("series alone", ", series")):
        named = {
            name: (
                np.mean([part[name + suffix].value[column] for part in parts]),
                np.mean([part[name + suffix].replicates[:, column] for part in parts], axis=0),
            )
            for name in ("without", "with ages")
        }
        without, aged = named.values()
        table.add_row(title, shown(*without), shown(*aged), shown(aged[0] - without[0], aged[1] - without[1]))
    CONSOLE.print(table)


def shown(value: float, replicates: np.ndarray) -> str:
    """A value with its interval."""
    bounds = interval(float(value), replicates)
    return with_interval(bounds, digits=4)


def show_eicu(args: argparse.Namespace) -> None:
    show_rows([row("eICU demo", sorted(args.splits.glob("split*/cohort")))])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    part = parts.add_parser("ages", help="compare ages with DuckDB's")
    part.add_argument("--eicu", type=Path, required=True, help="the folder of the eICU demo")
    part.add_argument("--mimic-iv", type=Path, required=True, help="the folder of the MIMIC-IV demo")
    part.set_defaults(show=show_ages)
    part.add_argument("--out", type=Path, required=True, help="where the cohorts are prepared, once")
    part = parts.add_parser("drift", help="weights by age on synthetic hospitals with and without drift")
    part.add_argument("--patients", type=int, default=2000)
    part.add_argument("--seeds", type=int, default=1, help="hospitals of each kind")
    part.add_argument("--out", type=Path, required=True, help="where the hospitals are made, once")
    part.set_defaults(show=show_drift)
    part = parts.add_parser("eicu", help="weights by age on the splits of benchmarks/eicu_table.py")
    part.add_argument("--splits", type=Path, required=True, help="the folder of its splits")
    part.set_defaults(show=show_eicu)
    part = parts.add_parser("inputs", help="ages as inputs of the linear probes, on the same splits")
    part.add_argument("--splits", type=Path, required=True, help="the folder of its splits")
    part.set_defaults(show=show_inputs)
    args = parser.parse_args()
    quiet_libraries()
    args.show(args)


if __name__ == "__main__":
    main()
