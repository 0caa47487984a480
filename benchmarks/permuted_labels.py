"""Nothing to learn: labels of training and validation stays dealt anew among them, and the AUROC on held-out patients.

    python benchmarks/permuted_labels.py COHORT [COHORT ...] --out outputs/permuted [--reads note series] [--model tiny]

Every cohort is learned from with the labels of its training stays permuted among these, and those of its validation
stays likewise; labels of one stay stay together. The classical baselines (`clinragen baseline`) and, with ``--model``,
a student of all stages, whose teacher is told the permuted labels, then predict the test stays, whose labels are
untouched. AUROC is one half but for chance: the bar is .47 to .53 on average. A finished cell is kept; run again to
go on.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import polars as pl
from printed_tables import Console
from rich.table import Table

import clinragen
from clinragen.artifacts import read_json, sha256_file, write_json, write_table
from clinragen.baselines import fitted, permuted_labels
from clinragen.choices import BaselineReads
from clinragen.cohort.folder import Cohort
from clinragen.evaluation.ranking import Ranking
from clinragen.quiet import quiet_libraries
from clinragen.schema import labels_schema
from clinragen.tasks import DEFAULT, Labels, load

BAR = 0.03
STAGES = {"notes": 1, "series": 1, "multimodal": 1}  # epochs


def permuted_cohort(cohort: Cohort, out: Path, seed: int) -> Cohort:
    """A copy of a cohort with permuted labels, without rationales."""
    others = shutil.ignore_patterns("rationales", "audit", ".*")
    shutil.copytree(cohort.paths.root, out, ignore=others, dirs_exist_ok=True)
    keys = list(cohort.label_set)
    labels = permuted_labels(cohort, labels_of(cohort), seed).present
    table = cohort.stays.select("stay_id").hstack(pl.DataFrame(labels, schema=keys))
    path = out / cohort.paths.labels.name
    write_table(path, table.to_arrow().cast(labels_schema(keys)))
    manifest = read_json(out / "manifest.json", "a manifest")
    manifest["outputs"][path.name] = sha256_file(path)
    manifest.setdefault("sizes", {})[path.name] = path.stat().st_size
    write_json(out / "manifest.json", manifest)
    return Cohort.load(out)


def labels_of(cohort: Cohort) -> Labels:
    """The labels of all stays."""
    return load(DEFAULT).labels(cohort, cohort.stays["stay_id"].to_numpy())


def student(cohort: Cohort, folder: Path, seed: int, model: str) -> np.ndarray:
    """Probabilities of the test stays by a student that learned permuted labels."""
    dealt = permuted_cohort(cohort, folder / "cohort", seed)
    clinragen.teach(dealt, overwrite=True)
    epochs = [f"{stage}.stage.epochs={count}" for stage, count in STAGES.items()]
    run = clinragen.distill(dealt, folder / "student", model=model, set=epochs, seed=seed)
    assert run is not None  # only a preflight trains nothing
    predictions = clinragen.predict(run.load(), dealt, folder / "predictions", diagnoses_only=True, overwrite=True)
    return predictions.system.probabilities


def areas(cohort: Cohort, probabilities: np.ndarray) -> tuple[float, float]:
    """Macro and micro AUROC of the test stays."""
    stays = cohort.stays.filter(pl.col("split") == "test")["stay_id"].to_numpy()
    gold = load(DEFAULT).labels(cohort, stays)
    ones = np.ones(len(stays))
    macro = Ranking(gold.present, probabilities, gold.eligible)(ones)[0]
    # Within labels: what is left of a micro AUROC would come from how common the labels are, which is no secret.
    centred = probabilities - probabilities.mean(axis=0)
    micro = Ranking(gold.present.reshape(-1, 1), centred.reshape(-1, 1))(np.ones(gold.present.size))[0]
    return float(np.nanmean(macro)), float(micro[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohorts", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--reads", nargs="*", choices=get_args(BaselineReads), default=list(get_args(BaselineReads)))
    parser.add_argument("--model", help="also a student of this preset, such as tiny")
    args = parser.parse_args()
    quiet_libraries()
    console = Console()
    systems = [*args.reads, *([args.model] if args.model else [])]
    cells: dict[str, list[tuple[float, float]]] = {name: [] for name in systems}
    for number, root in enumerate(args.cohorts, 1):
        cohort = Cohort.load(root)
        for seed in range(args.seeds):
            for name in systems:
                cell = args.out / f"{number}-{seed}-{name}.json"
                if not cell.exists():
                    if name == args.model:
                        probabilities = student(cohort, args.out / f"{number}-{seed}-{name}", seed, name)
                    else:
                        dealt = permuted_labels(cohort, labels_of(cohort), seed)
                        probabilities, _ = fitted(cohort, dealt, list(cohort.label_set), name, "test")
                    write_json(cell, dict(zip(("macro", "micro"), areas(cohort, probabilities), strict=True)))
                stored = read_json(cell, "a cell of this benchmark")
                cells[name].append((stored["macro"], stored["micro"]))
                console.print(f"{root} seed {seed} {name}: macro AUROC {stored['macro']:.3f}", highlight=False)
    table = Table(title=f"Labels permuted: {len(args.cohorts)} cohorts, {args.seeds} seeds each")
    for title in ("learned from", "runs", "macro AUROC", "least", "most", "micro AUROC, centred", "within .47 to .53"):
        table.add_column(title, justify="right" if title else "left")
    for name, values in cells.items():
        macro, micro = np.array(values).T
        inside = "yes" if abs(macro.mean() - 0.5) <= BAR else "no"
        figures = (macro.mean(), macro.min(), macro.max(), micro.mean())
        table.add_row(name, str(len(values)), *(f"{figure:.3f}" for figure in figures), inside)
    console.print(table)


if __name__ == "__main__":
    main()
