"""How well does a linear model diagnose from few labelled stays, by what it reads? The eICU demo, held-out patients.

    python benchmarks/label_efficiency.py --cohort COHORT [COHORT ...] --aligned RUN [RUN ...] [--pretrained RUN ...]

The cohorts are the splits of `benchmarks/eicu_table.py`; each has a run of `clinragen train align` of its own training
stays, and maybe another that starts from `clinragen train pretrain` (`train align --pretrained RUN --set stage.epochs=1
--set stage.align.network=false --set stage.align.token=0 --set stage.align.prototype=0`): no label is read by them. Of
the training stays 64, 256 or all are labelled, in five draws of which a larger one holds the smaller, and a logistic
regression of each label reads

- `plain`: what the linear probes read: terms and concepts of the note, binned summaries of the series;
- `aligned`: the two vectors of the alignment; `both`: these beside the former;
- `pretrained`: mean states of note and series of a network whose series encoder was pretrained on masked patches;
- `untrained`: those of the run of `align`, where that was made with `stage.align.network=false`: a network that was
  never trained. Else the row is called `states`.

All rows have the same penalties to choose from, by macro AUROC of the validation stays. Labels with five positives
among the held-out stays count; one without two positives in the draw counts as .5. Intervals resample patients.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from printed_tables import Console, with_interval
from rich.progress import track
from rich.table import Table
from scipy.sparse import csr_matrix, hstack
from sklearn.linear_model import LogisticRegression

from clinragen.cohort.folder import Cohort
from clinragen.evaluation.diagnosis import System, bootstrap, interval
from clinragen.inference.aligned import states, vectors
from clinragen.inference.predict import TrainedModel
from clinragen.model.alignment import Alignment
from clinragen.quiet import quiet_libraries
from clinragen.stages.ensemble import features

LABELLED: tuple[int | None, ...] = (64, 256, None)
DRAWS, FEW, REPLICATES = 5, 5, 500
PENALTIES = (1e-2, 1e-1, 1.0, 10.0)  # inverse, of features with a mean square of 1
SPLITS = ("train", "validation", "test")

#: Features of the stays of a split, [n, features].
Rows = dict[str, np.ndarray | csr_matrix]


def read(cohort: Cohort, aligned: Path, pretrained: Path | None) -> tuple[dict[str, Rows], dict[str, np.ndarray]]:
    """Features by row of the table and by split, and labels [n, L] by split."""
    trained = TrainedModel.load(aligned)
    rows: dict[str, Rows] = {}
    labels = {}
    states_row = "states" if Alignment.load(trained.run.model).shape.network else "untrained"
    for split in SPLITS:
        stays = trained.dataset(cohort, split)
        labels[split] = np.asarray(stays.labels, dtype=bool)
        note, series = (csr_matrix(features(trained.model, stays, name)) for name in ("note", "series"))
        plain = csr_matrix(hstack([_scaled(note), _scaled(series)]))
        both = np.hstack(vectors(trained, stays))
        rows.setdefault("plain", {})[split] = plain
        rows.setdefault("aligned", {})[split] = both
        rows.setdefault("both", {})[split] = csr_matrix(hstack([plain, _scaled(csr_matrix(both))]))
        rows.setdefault(states_row, {})[split] = np.hstack(states(trained, stays))
    if pretrained is not None:
        other = TrainedModel.load(pretrained)
        rows["pretrained"] = {split: np.hstack(states(other, other.dataset(cohort, split))) for split in SPLITS}
    return rows, labels


def _scaled(rows: csr_matrix) -> csr_matrix:
    """Rows of unit length on average, so that each source counts alike."""
    return rows / max(1e-9, float(np.sqrt(np.asarray(rows.multiply(rows).sum(1)).mean())))


def reduced(rows: Rows, some: np.ndarray) -> dict[str, np.ndarray]:
    """Features in the space that the labelled stays span: a linear model with a quadratic penalty leaves it nowhere."""
    train = rows["train"][some]
    dense = np.asarray(train.todense() if isinstance(train, csr_matrix) else train, dtype=np.float64)
    centre = dense.mean(0)
    _, values, right = np.linalg.svd(dense - centre, full_matrices=False)
    axes = right[values > 1e-6 * values[0]]
    scale = np.sqrt(((dense - centre) ** 2).sum(1).mean()) or 1.0
    return {split: np.asarray((each @ axes.T) - centre @ axes.T) / scale for split, each in rows.items()}


def scores(rows: Rows, labels: dict[str, np.ndarray], some: np.ndarray) -> np.ndarray:
    """Probabilities of the held-out stays, [n, L], under the best penalty."""
    small = reduced(rows, some)
    best, chosen = -1.0, np.zeros(0)
    for penalty in PENALTIES:
        of = {split: np.full(labels[split].shape, 0.5) for split in ("validation", "test")}
        for label in range(labels["train"].shape[1]):
            target = labels["train"][some, label]
            if not 2 <= target.sum() < len(target):
                continue
            model = LogisticRegression(C=penalty, max_iter=500).fit(small["train"][some], target)
            for split, probabilities in of.items():
                probabilities[:, label] = model.predict_proba(small[split])[:, 1]
        value = float(np.nanmean(aurocs(labels["validation"], of["validation"], 1)))
        if value > best:
            best, chosen = value, of["test"]
    return chosen


def aurocs(gold: np.ndarray, probabilities: np.ndarray, fewest: int) -> np.ndarray:
    """AUROC of each label with enough positives, nan for others, [L]."""
    system = System(probabilities, np.full(gold.shape[1], 0.5))
    value = bootstrap(gold, {"": system}, np.arange(len(gold)), replicates=1)[""].auroc
    return np.where(gold.sum(0) >= fewest, value, np.nan)


def main() -> None:
    """Read, fit and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, nargs="+", required=True)
    parser.add_argument("--aligned", type=Path, nargs="+", required=True)
    parser.add_argument("--pretrained", type=Path, nargs="*", default=[])
    args = parser.parse_args()
    if len(args.cohort) != len(args.aligned) or (args.pretrained and len(args.pretrained) != len(args.cohort)):
        parser.error("give a run for each cohort, in the same order")
    quiet_libraries()
    cells: dict[tuple[str, int | None], list[tuple[float, np.ndarray]]] = {}
    runs = args.pretrained or [None] * len(args.cohort)
    for folder, aligned, pretrained in track(list(zip(args.cohort, args.aligned, runs, strict=True)), "splits"):
        cohort = Cohort.load(folder)
        rows, labels = read(cohort, aligned, pretrained)
        whose = dict(cohort.stays.select("stay_id", "subject_id").iter_rows())
        patients = np.array([whose[int(stay)] for stay in cohort.split("test")])
        count = len(labels["train"])
        orders = [np.random.default_rng(seed).permutation(count) for seed in range(DRAWS)]
        enough = labels["test"].sum(0) >= FEW
        thresholds = np.full(labels["test"].shape[1], 0.5)
        for name, of in rows.items():
            for size in LABELLED:
                draws = [np.sort(order[:size]) for order in orders] if size else [np.arange(count)]
                systems = {str(draw): System(scores(of, labels, some), thresholds) for draw, some in enumerate(draws)}
                booted = bootstrap(labels["test"], systems, patients, replicates=REPLICATES)
                value = np.mean([np.nanmean(one.auroc[enough]) for one in booted.values()])
                spread = np.mean([np.nanmean(one.auroc_replicates[:, enough], 1) for one in booted.values()], axis=0)
                cells.setdefault((name, size), []).append((float(value), spread))
    names = list(dict.fromkeys(name for name, _ in cells))
    table = Table("macro AUROC", *(f"{size or 'all'} labelled stays" for size in LABELLED))
    means = {key: (np.mean([v for v, _ in of]), np.mean([s for _, s in of], axis=0)) for key, of in cells.items()}
    for name in names:
        table.add_row(name, *(_cell(*means[name, size]) for size in LABELLED))
    for name in names[1:]:
        ahead = ((means[name, size], means["plain", size]) for size in LABELLED)
        table.add_row(f"{name} over plain", *(_cell(a[0] - b[0], a[1] - b[1]) for a, b in ahead))
    Console(width=140).print(table)


def _cell(value: float, replicates: np.ndarray) -> str:
    of = interval(float(value), replicates)
    return with_interval(of)


if __name__ == "__main__":
    main()
