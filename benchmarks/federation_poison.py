"""What sites that mean harm cost a federation, by rule of aggregation: macro AUROC on held-out stays of a cohort.

    python benchmarks/federation_poison.py --cohort SPLIT1 [--cohort SPLIT2 ...] --by network

For each rule a clean federation, and federations in which some sites send minus ten times their change, its opposite, a
hundred times it, or all the same; sites are simulated as by `clinragen federate simulate`. The model without a
federation, trained on all stays in one place by as many steps, is beside it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from printed_tables import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score

from clinragen.api.federation import federate_simulate
from clinragen.cohort.folder import Cohort
from clinragen.federation.aggregation import RULES
from clinragen.federation.files import read_tensors
from clinragen.federation.series_regression import SeriesRegression
from clinragen.federation.simulation import POISONS
from clinragen.federation.update import Tensors

LEAST_POSITIVES = 5


def auroc(cohort: Cohort, model: Tensors) -> float:
    """Macro AUROC on test stays, over labels with at least five of each kind."""
    stays = cohort.split("test")
    truth = cohort.label_matrix(stays)
    chance = SeriesRegression({}).probabilities(cohort, model, stays)
    enough = [
        label
        for label in range(truth.shape[1])
        if LEAST_POSITIVES <= truth[:, label].sum() <= len(truth) - LEAST_POSITIVES
    ]
    return float(np.mean([roc_auc_score(truth[:, label], chance[:, label]) for label in enough]))


def in_one_place(cohort: Cohort) -> Tensors:
    """The model of all stays together."""
    work = SeriesRegression({})
    model = dict(work.start())
    model = dict(work.advance(model, work.statistics(cohort, model, "standardise"), "standardise"))
    for number in range(work.settings.rounds):
        model |= work.train(cohort, model, number)[0]
    return model


def federated(cohort: Cohort, by: str, rule: str, poison: str | None, poisoned: int) -> float:
    """AUROC of a federation's model."""
    with tempfile.TemporaryDirectory() as scratch:
        settings = {"rule.name": rule, "largest_norm": 1e6}
        made = federate_simulate(
            cohort,
            Path(scratch) / "out",
            by=by,
            set=settings,
            poison=poison,  # type: ignore[arg-type]
            poisoned=poisoned if poison else 0,
        )
        model = read_tensors(made.model.read_bytes())
    assert model is not None
    return auroc(cohort, model)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, action="append", required=True)
    parser.add_argument("--by", default="network")
    parser.add_argument("--poisoned", type=int, default=3)
    parser.add_argument("--rule", action="append", choices=RULES)
    args = parser.parse_args()
    console = Console(width=120)
    cohorts = [Cohort.load(path) for path in args.cohort]
    central = np.mean([auroc(cohort, in_one_place(cohort)) for cohort in cohorts])
    console.print(f"in one place: {central:.3f}", highlight=False)
    table = Table("rule", "clean", *POISONS, show_edge=False)
    for rule in args.rule or RULES:
        cells = []
        for poison in (None, *POISONS):
            scores = [federated(cohort, args.by, rule, poison, args.poisoned) for cohort in cohorts]
            cells.append(f"{np.mean(scores):.3f}")
            console.print(f"  {rule} {poison or 'clean'}: {cells[-1]}", style="dim", highlight=False)
        table.add_row(rule, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
