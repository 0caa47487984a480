"""Similar cases: label overlap of neighbours by modality and by their weighted sum, leaks, and the speed of the search.

    python benchmarks/similar_cases.py --cohort COHORT [COHORT ...] [--model RUN ...]
    python benchmarks/similar_cases.py --speed

The cohorts are splits of one database: for the eICU demo those that `benchmarks/eicu_table.py --models probes`
prepares, for the synthetic hospital that of `mimic-prep synthesize --patients 1000` and `mimic-prep mimic-iv`. An index
is built from the training stays; the test stays are asked for. The figure is the mean Jaccard index of a stay's labels
with those of its ten neighbours, over stays with a label: what two stays without any share is a matter of definition;
over all stays it counts as 0. Intervals are of 1,000 draws of patients with replacement.

Beside the modalities of the index stand two that it does not use, to compare with: the cosine of logits of a linear
model on note and series, which the training stays' own labels have shaped (in sample), or not (by five folds of
patients).

With a run for each cohort, such as one of `clinragen train align --model tiny`, its modalities are there, too.

Speed: random vectors with the sparsity of notes, one core, whole searches.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from printed_tables import Console
from rich.table import Table
from scipy.sparse import csr_matrix
from sklearn.model_selection import GroupKFold
from sklearn.preprocessing import normalize

from clinragen import tasks
from clinragen.cohort.folder import Cohort
from clinragen.inference.predict import TrainedModel
from clinragen.knowledge.relabel import open_graph
from clinragen.similarity.build import build_index
from clinragen.similarity.heads import LabelHeads, LabelledStays
from clinragen.similarity.hybrid import NEIGHBOURS, USUAL, jaccard
from clinragen.similarity.index import CANDIDATES, CHART, LABELS, IndexedStays, Query, SimilarIndex
from clinragen.similarity.student import STUDENT
from clinragen.similarity.vectors import Encoded, Source

DRAWS, FOLDS = 1000, 5
HYBRID = "weighted sum of all"


@dataclass
class Split:
    """An index and the test stays of one cohort.

    Attributes:
        index: of its training stays.
        queries: its test stays.
        labels: theirs.
        logits: of a linear model for the test stays, and for the training stays in sample and out of fold.
    """

    index: SimilarIndex
    queries: list[Query]
    labels: np.ndarray
    logits: dict[str, np.ndarray]


def read(folder: Path, model: Path | None = None) -> Split:
    """Build the index of a cohort, and of a student if there is one, and encode its test stays."""
    cohort = Cohort.load(folder)
    trained = TrainedModel.load(model) if model is not None else None
    index = build_index(cohort, open_graph(None, cohort.label_set, cohort.added), trained=trained)
    test, train = cohort.split("test"), cohort.split("train")
    queries = index.queries_of(cohort, test)
    return Split(index, queries, cohort.label_matrix(test), _logits(cohort, index, train, test))


def _logits(cohort: Cohort, index: SimilarIndex, train: np.ndarray, test: np.ndarray) -> dict[str, np.ndarray]:
    assert index.heads is not None
    encoders = replace(index.encoders, student=None)  # the linear models do not read it
    encoded = {split: encoders.of_stays(cohort, cohort.split(split)) for split in ("train", "validation", "test")}
    validation = LabelledStays(*tasks.load("diagnosis").labels(cohort, cohort.split("validation")))
    labels = cohort.label_matrix(train)
    held_out = np.zeros(labels.shape)
    for fitted, others in GroupKFold(FOLDS).split(train, groups=index.stays.subjects):
        part = LabelledStays(labels[fitted], np.ones_like(labels[fitted]))
        sources = {"train": _rows(encoded["train"], fitted), "validation": encoded["validation"].sources}
        heads = LabelHeads.fit(index.heads.keys, sources, {"train": part, "validation": validation})
        held_out[others] = _logit(heads.probabilities(_rows(encoded["train"], others)))
    return {
        "test": _logit(index.heads.probabilities(encoded["test"].sources)),
        "in sample": _logit(index.heads.probabilities(encoded["train"].sources)),
        "out of fold": held_out,
    }


def _rows(encoded: Encoded, rows: np.ndarray) -> dict[str, Source]:
    return {name: Source(features[rows], some[rows]) for name, (features, some) in encoded.sources.items()}


def _logit(chances: np.ndarray) -> np.ndarray:
    clipped = chances.clip(1e-6, 1 - 1e-6)
    return np.log(clipped / (1 - clipped))


def systems(split: Split) -> dict[str, Callable[[int], np.ndarray]]:
    """Rows of the neighbours of each query, by name."""
    index = split.index

    def searched(weights: dict[str, float] | None) -> Callable[[int], np.ndarray]:
        return lambda number: np.array(
            [one.row for one in index.search(split.queries[number], NEIGHBOURS, weights=weights)], dtype=int
        )

    def by_logits(kind: str) -> Callable[[int], np.ndarray]:
        centre = split.logits[kind].mean(0)
        rows, tests = (np.asarray(normalize(split.logits[part] - centre)) for part in (kind, "test"))
        return lambda number: np.argsort(-(rows @ tests[number]), kind="stable")[:NEIGHBOURS]

    chance = np.random.default_rng(0)
    student = [name for name in index.rows if name in STUDENT]
    return {
        "random": lambda number: chance.choice(len(index), NEIGHBOURS, replace=False),
        **{name: searched({name: 1.0}) for name in CHART},
        "sum of these three": searched(dict.fromkeys(CHART, 1.0)),
        **{name: searched({name: 1.0}) for name in student},
        **({"sum of these five": searched(dict.fromkeys((*CHART, *student), 1.0))} if len(student) > 1 else {}),
        "supervised logits, out of fold": by_logits("out of fold"),
        "supervised logits, in sample": by_logits("in sample"),
        LABELS: searched({LABELS: 1.0}),
        **({"sum without the model": searched(dict.fromkeys(CHART, USUAL) | {LABELS: 1.0})} if student else {}),
        HYBRID: searched(None),
    }


def overlaps(split: Split) -> dict[str, np.ndarray]:
    """Mean overlap of each query with its neighbours, by system; NaN for queries without labels."""
    results = {}
    for name, neighbours in systems(split).items():
        values = np.full(len(split.queries), np.nan)
        for number in np.flatnonzero(split.labels.any(1)).tolist():
            rows = neighbours(number)
            values[number] = jaccard(split.labels[number], split.index.stays.labels[rows]).sum() / NEIGHBOURS
        results[name] = values
    return results


def leaks(split: Split) -> tuple[int, int, int]:
    """Queries, neighbours of the same patient, and queries whose neighbours are not those of a loop over all rows."""
    same = other = 0
    for query in split.queries:
        neighbours = split.index.search(query, NEIGHBOURS)
        same += sum(int(split.index.stays.subjects[one.row]) == query.subject for one in neighbours)
        other += [one.row for one in neighbours] != by_loop(split.index, query)
    return len(split.queries), same, other


def by_loop(index: SimilarIndex, query: Query) -> list[int]:
    """The neighbours by a loop over all rows in 64 bits: the first of each modality, then the first of their sums."""
    allowed = [row for row in range(len(index)) if index.stays.subjects[row] != query.subject]
    similar = {name: [_one(index, name, query, row) for row in range(len(index))] for name in index.rows}
    names = [name for name in index.rows if index.weights.get(name) and name in query.vectors]
    drawn: set[int] = set()
    for name in names:
        drawn |= set(sorted(allowed, key=lambda row, name=name: (-similar[name][row], row))[:CANDIDATES])
    scores = {row: round(sum(index.weights[name] * similar[name][row] for name in names), 10) for row in drawn}
    return [row for row in sorted(drawn, key=lambda row: (-scores[row], row)) if scores[row] > 0][:NEIGHBOURS]


def _one(index: SimilarIndex, name: str, query: Query, row: int) -> float:
    if name not in query.vectors:
        return 0.0
    vector: Any = query.vectors[name]
    if name == LABELS:
        shared = float(vector[index.stays.labels[row]].sum())
        return round(shared / max(float(vector.sum()) + int(index.stays.labels[row].sum()) - shared, 1e-9), 10)
    matrix: Any = index.vectors[name]
    if isinstance(matrix, csr_matrix):
        mine = dict(zip(vector.indices.tolist(), vector.data.astype(float).tolist(), strict=True))
        begin, end = matrix.indptr[row : row + 2]
        pairs = zip(matrix.indices[begin:end].tolist(), matrix.data[begin:end].astype(float).tolist(), strict=True)
        return round(sum(value * mine.get(column, 0.0) for column, value in pairs), 10)
    return round(float(np.dot(matrix[row].astype(float), vector.astype(float))), 10)


def show(splits: list[Split]) -> None:
    """The table over all splits."""
    values = [overlaps(split) for split in splits]
    drawn = {name: _drawn([part[name] for part in values], splits) for name in values[0]}
    table = Table(title=f"mean Jaccard of labels among {NEIGHBOURS} neighbours, {len(splits)} splits (95 % interval)")
    for heading in ("neighbours by", "Jaccard", f"{HYBRID}, minus this", "over all stays"):
        table.add_column(heading, justify="left" if heading == "neighbours by" else "right")
    for name in values[0]:
        means = [float(np.nanmean(part[name])) for part in values]
        every = float(np.mean([np.nan_to_num(part[name]).mean() for part in values]))
        ahead = float(np.mean([np.nanmean(part[HYBRID]) for part in values])) - float(np.mean(means))
        difference = "" if name == HYBRID else _interval(ahead, drawn[HYBRID] - drawn[name])
        table.add_row(name, _interval(float(np.mean(means)), drawn[name]), difference, f"{every:.3f}")
    console = Console(width=120)
    console.print(table)
    for split in splits:
        console.print("weights:", ", ".join(f"{name} {weight:.3f}" for name, weight in split.index.weights.items()))
    counts = np.sum([leaks(split) for split in splits], axis=0)
    console.print(
        f"{counts[0]} queries: {counts[1]} neighbours of the same patient, {counts[2]} that differ from a loop's"
    )


def _drawn(parts: list[np.ndarray], splits: list[Split]) -> np.ndarray:
    """The mean over the splits in each draw of patients, [draws]."""
    means = []
    for number, (values, split) in enumerate(zip(parts, splits, strict=True)):
        chance = np.random.default_rng(number)
        _, owner = np.unique(np.array([query.subject for query in split.queries]), return_inverse=True)
        sums, counts = np.bincount(owner, np.nan_to_num(values)), np.bincount(owner, np.isfinite(values))
        times = chance.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=DRAWS)
        means.append((times @ sums) / (times @ counts))
    return np.mean(means, axis=0)


def _interval(value: float, replicates: np.ndarray) -> str:
    low, high = np.quantile(replicates, [0.025, 0.975])
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def speed(stays: int, queries: int) -> None:
    """Time of whole searches over random vectors."""
    chance = np.random.default_rng(0)
    vectors = {
        "words": _sparse(chance, stays, 5000, 150),
        "concepts": _sparse(chance, stays, 1200, 25),
        "series": np.asarray(normalize(chance.normal(size=(stays, 64))), dtype=np.float32),
    }
    labels = chance.random((stays, 25)) < np.geomspace(0.02, 0.3, 25)
    ids = np.arange(stays)
    owners = chance.integers(0, stays * 3 // 4, stays)
    none = np.zeros((stays, 0), dtype=bool)
    indexed = IndexedStays(ids, owners, chance.integers(0, 10**12, stays), labels, none)
    manifest = {"clock": "absolute"}
    unread: Any = object()  # vectors are made up, so nothing is encoded
    three = SimilarIndex(vectors, indexed, dict.fromkeys(vectors, 1 / 3), unread, None, manifest)
    four = SimilarIndex(vectors, indexed, dict.fromkeys([*vectors, LABELS], 1 / 4), unread, unread, manifest)
    for name, index in (("words, concepts, series", three), ("and diagnoses", four)):
        taken, leaked = [], 0
        for row in chance.integers(0, stays, queries + 5).tolist():
            given: dict[str, Any] = {key: matrix[row] for key, matrix in vectors.items()}
            given = {key: csr_matrix(value) if key != "series" else value for key, value in given.items()}
            if index is four:
                given[LABELS] = chance.random(25) * 0.3
            query = Query(given, int(owners[row]), row, 5 * 10**11)
            began = time.perf_counter()
            neighbours = index.search(query, NEIGHBOURS)
            taken.append(1000 * (time.perf_counter() - began))
            rows = [one.row for one in neighbours]
            leaked += int(((indexed.subjects[rows] == query.subject) | (indexed.ended[rows] > 5 * 10**11)).sum())
        half, most = np.quantile(taken[5:], [0.5, 0.95])
        print(
            f"{stays:,} stays, {name}: {queries} searches, p50 {half:.1f} ms, p95 {most:.1f} ms on one core;", end=" "
        )
        print(f"{leaked} neighbours of the same patient or of later")


def _sparse(chance: np.random.Generator, rows: int, columns: int, each: int) -> csr_matrix:
    """Unit rows whose columns are as unevenly used as words are."""
    used = (columns * chance.random(rows * each) ** 2.5).astype(np.int32)
    values = 0.1 + chance.random(rows * each, dtype=np.float32)
    matrix = csr_matrix((values, (np.repeat(np.arange(rows), each), used)), shape=(rows, columns))
    matrix.sum_duplicates()
    return csr_matrix(normalize(matrix), dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, nargs="+", default=[], help="cohorts, each a split of one database")
    parser.add_argument("--model", type=Path, nargs="+", default=[], help="a run for each cohort, in the same order")
    parser.add_argument("--speed", action="store_true", help="time the search")
    parser.add_argument("--stays", type=int, default=60_000)
    parser.add_argument("--queries", type=int, default=200)
    args = parser.parse_args()
    if args.speed:
        speed(args.stays, args.queries)
    if args.cohort:
        show([read(*pair) for pair in zip(args.cohort, args.model or [None] * len(args.cohort), strict=True)])


if __name__ == "__main__":
    main()
