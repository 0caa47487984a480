"""Planted orders: who ranks new starts best, beside an oracle, and what is suggested against an allergy or the kidney.

    python benchmarks/prescription_synthetic.py --out OUT [--patients 3000] [--hours 12]

A drug follows from a condition and its onset, and from what forbids it (``configs/synthetic/orders.yaml``); it is
ordered with a chance of 0.8 within hours, so no reader can be right every time. The oracle knows chances and times of
all conditions that show in the note or in the series, and follows no decoy: an upper bound. Scored are the classes that
are planted for an acute condition: routine orders are drawn at random. Intervals resample patients.

Contraindications: how many of the first five suggestions of each stay are a drug that must not be given, before and
after the safety screen. A drug that the screen lists with a caution "contraindicated" or "avoid" is not suggested.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from prescription import ROWS, Split, _auroc, _precision
from printed_tables import Console, with_interval
from rich.table import Table
from scipy.special import expit

from clinragen.artifacts import read_json, write_json
from clinragen.baselines import log_odds
from clinragen.cohort.folder import Cohort
from clinragen.drugs import drugs_of
from clinragen.evaluation.diagnosis import interval
from clinragen.knowledge.graph import build
from clinragen.prescription.charts import read_charts
from clinragen.prescription.history import usual_ingredients
from clinragen.prescription.suggest import ClassRanking, Suggester, Suggestion
from clinragen.quiet import quiet_libraries
from clinragen.safety.context import PatientContext, contexts_of
from clinragen.safety.kidney import kidney_function
from clinragen.tasks.prescription import HOURS as AHEAD
from clinragen.tasks.prescription import treatments
from clinragen.teacher.evidence_run import generate
from mimic_prep.cli import main as mimic_prep

FEW, REPLICATES, LISTED = 20, 500, 5
NAMES = ("popularity", "neighbours", "drugs", "plain", "tiny")
OTHERS = {"oracle": "the oracle", "average": "mean log-odds of LR on all and tiny"}
FORBIDS = ("contraindicated", "avoid")


def prepare(out: Path, patients: int, hours: float) -> tuple[Path, Path]:
    """The hospital and a cohort of its stays that is predicted for after so many hours."""
    raw, cohort = out / "raw", out / "cohort"
    if not (raw / "truth" / "manifest.json").exists():
        _run("synthesize", "--patients", str(patients), "--seed", "7", "--out", str(raw))
    if not (cohort / "rationales").exists():
        _run(
            "mimic-iv", "--raw", str(raw), "--out", str(cohort), "--overwrite", "--set", f"window.hours={hours}",
            "--set", "splits.train=0.6", "--set", "splits.validation=0.15", "--set", "splits.test=0.25",
        )  # fmt: skip
        generate(cohort)
    return raw, cohort


def _run(*words: str) -> None:
    if mimic_prep(list(words)):
        raise SystemExit(f"mimic-prep {' '.join(words)} failed")


def truth(raw: Path, stay_ids: np.ndarray, keys: list[str], hours: float) -> tuple[np.ndarray, np.ndarray]:
    """The oracle's probabilities of a new start, [n, classes], and which classes are planted for a condition."""
    orders = pl.read_parquet(raw / "truth" / "orders.parquet")
    of_drug = {name: drug.drug_class for name, drug in drugs_of(orders["drug"].unique().to_list()).items() if drug}
    orders = orders.with_columns(key=pl.col("drug").replace_strict(of_drug, default=None))
    orders = orders.filter(pl.col("key").is_in(keys))
    length = pl.col("latest") - pl.col("earliest")
    before = ((hours - pl.col("earliest")) / length).clip(0, 1)
    inside = ((hours + AHEAD - pl.col("earliest")) / length).clip(0, 1) - before
    orders = orders.with_columns(
        hidden=(pl.col("channel") == "none").fill_null(False),
        chance=pl.col("chance") * inside / (1 - pl.col("chance") * before),  # given that it has not started before
    )
    none = orders.filter(~pl.col("hidden")).group_by("stay_id", "key").agg(none=(1 - pl.col("chance")).product())
    probabilities = np.zeros((len(stay_ids), len(keys)))
    row, column = ({value: number for number, value in enumerate(values)} for values in (stay_ids.tolist(), keys))
    for stay, key, missed in none.iter_rows():
        if stay in row:
            probabilities[row[stay], column[key]] = 1 - missed
    unseen = orders.filter("hidden").group_by("key").agg(pl.col("chance").sum() / len(row))
    for key, chance in unseen.iter_rows():
        probabilities[probabilities[:, column[key]] == 0, column[key]] = chance
    acute = orders.filter(pl.col("reason").is_not_null() & (pl.col("earliest") > 0))["key"].unique().to_list()
    return probabilities, np.array([key in acute for key in keys])


def measure(split: Split, scores: np.ndarray, classes: np.ndarray, weights: np.ndarray) -> list[float]:
    """Mean AUROC and average precision of some classes on the held-out stays, each counted by its weight."""
    rows = split.rows("test")
    areas, precisions = [], []
    for column in np.flatnonzero(classes):
        use = split.labels.eligible[rows, column] & (weights > 0)
        gold, value = split.labels.present[rows, column][use].astype(float), scores[rows, column][use]
        if gold.any() and not gold.all():
            areas.append(_auroc(gold, value, weights[use]))
            precisions.append(_precision(gold, value, weights[use]))
    return [float(np.mean(areas)), float(np.mean(precisions))]


def show(split: Split, cells: dict[str, np.ndarray], classes: np.ndarray) -> None:
    """AUROC and average precision of each row, and its AUROC beside the oracle's."""
    draw = np.random.default_rng(0)
    held = split.stays.filter(pl.Series(split.rows("test")))
    _, patient = np.unique(held["subject_id"].to_numpy(), return_inverse=True)
    size = patient.max() + 1
    times = (np.bincount(draw.integers(0, size, size), minlength=size) for _ in range(REPLICATES))
    drawn = [each[patient].astype(float) for each in times]
    replicates = {name: np.array([measure(split, cells[name], classes, each) for each in drawn]) for name in cells}
    values = {name: measure(split, cells[name], classes, np.ones(held.height)) for name in cells}
    table = Table(title=f"{classes.sum()} planted classes with {FEW} or more new starts (95 % intervals, patients)")
    for heading in ("row", "AUROC", "AP", "AUROC / oracle's"):
        table.add_column(heading, justify="left" if heading == "row" else "right")
    for name in cells:
        ratio = interval(values[name][0] / values["oracle"][0], replicates[name][:, 0] / replicates["oracle"][:, 0])
        shown = [interval(values[name][i], replicates[name][:, i]) for i in (0, 1)] + [ratio]
        cells_shown = [with_interval(of) for of in shown]
        table.add_row(ROWS[name][0] if name in ROWS else OTHERS[name], *cells_shown)
    Console(width=120).print(table)


def contraindicated(split: Split, raw: Path, scores: np.ndarray) -> None:
    """Suggestions of drugs that must not be given, with and without the screen."""
    rows = split.rows("test")
    stay_ids = split.stays["stay_id"].to_numpy()[rows]
    table = pl.read_parquet(raw / "truth" / "contraindications.parquet")
    of_drug = {name: drug for name, drug in drugs_of(table["drug"].unique().to_list()).items() if drug}
    forbidden: dict[int, dict[str, str]] = {}
    for stay, drug, because in table.iter_rows():
        forbidden.setdefault(stay, {})[str(of_drug[drug].ingredient)] = because
    history = split.history_of(stay_ids)
    graph = build()
    usual = usual_ingredients(split.cohort, split.cohort.split("train"))
    suggester = Suggester(graph, treatments(), usual, LISTED)
    ranking = ClassRanking(scores[rows])
    without: Counter[str] = Counter()
    for row, stay in enumerate(stay_ids.tolist()):
        free = [column for column in ranking.order(row) if not history.ordered[row, column]][:LISTED]
        for column in free:
            if because := forbidden.get(stay, {}).get(next(iter(usual.get(split.keys[column], [])), "")):
                without[because] += 1
    screened: Counter[str] = Counter()
    suggested = 0
    contexts = contexts_of(split.cohort, stay_ids)
    for prescription in suggester.suggest(history, ranking, read_charts(history, graph)):
        for one in prescription.suggestions:
            suggested += 1
            because = forbidden.get(prescription.stay_id, {}).get(_first(one))
            if because:
                context = contexts[prescription.stay_id]
                shown = context.allergies is not None if because == "allergy" else _kidneys_shown(context)
                screened[because if shown else f"{because}, of which the chart shows nothing yet"] += 1
    facts = Counter(because for stay in stay_ids.tolist() for because in forbidden.get(stay, {}).values())
    print(f"{len(stay_ids)} held-out stays, {suggested} suggestions; planted contraindications: {dict(facts)}")
    print(f"against one, without the screen: {dict(without)}; with it: {dict(screened)}")


def _kidneys_shown(context: PatientContext) -> bool:
    """Whether the last creatinine says that the kidneys are impaired, or none was measured."""
    kidneys = kidney_function(context.series.get("creatinine"), context.age, context.sex)
    return kidneys is None or kidneys.egfr < 60


def _first(suggestion: Suggestion) -> str:
    """The ingredient that is suggested first, of those that no caution forbids or advises against."""
    for member in suggestion.members:
        if not any(caution.severity in FORBIDS for caution in member.cautions):
            return member.ingredient
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="hospital, cohort, run folders; run again to go on")
    parser.add_argument("--patients", type=int, default=3000)
    parser.add_argument("--hours", type=float, default=12, help="hours of the stay that are read")
    parser.add_argument("--models", default=",".join(NAMES), help=f"rows: {', '.join(NAMES)}, tiny_direct")
    args = parser.parse_args()
    quiet_libraries()
    raw, cohort = prepare(args.out, args.patients, args.hours)
    split = Split(Cohort.load(cohort), args.out)
    stay_ids = split.stays["stay_id"].to_numpy()
    oracle, acute = truth(raw, stay_ids, split.keys, args.hours)
    rows: dict[str, Callable[[], np.ndarray]] = {
        name: partial(ROWS[name][1], split) for name in (*NAMES, "tiny_direct") if name in args.models.split(",")
    }
    cells = {"oracle": oracle}
    for name, row in rows.items():
        file = args.out / f"{name}.json"
        if not file.exists():
            print(ROWS[name][0], flush=True)
            write_json(file, {"scores": row().round(6).tolist()})
        cells[name] = np.array(read_json(file, "a cell")["scores"])
    if {"plain", "tiny"} <= cells.keys():
        cells["average"] = expit((log_odds(cells["plain"]) + log_odds(cells["tiny"])) / 2)
    held = split.rows("test")
    often = (split.labels.present & held[:, None]).sum(0) >= FEW
    some = int(split.labels.present[held].any(1).sum())
    print(f"{held.sum()} held-out stays with an earlier order, {some} of them with a class newly started")
    show(split, cells, often & acute)
    contraindicated(split, raw, cells["tiny" if "tiny" in cells else list(cells)[-1]])


if __name__ == "__main__":
    main()
