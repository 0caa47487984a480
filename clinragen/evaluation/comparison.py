"""Paired comparison of several systems on the same stays: differences with intervals, and tests for each label.

Systems are scored on the same bootstrap replicates of patients, so a difference keeps what two systems share. The
p-value of a difference is the achieved significance level of that bootstrap (Efron and Tibshirani 1993, chapter 16):
twice the smaller share of replicates on one side of zero, with one added to both counts, so it is never 0. Over the
labels p-values are corrected by Holm's method (1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NotRequired, TypedDict

import numpy as np

from clinragen.evaluation.diagnosis import METRICS, Bootstrapped, System, bootstrap, interval
from clinragen.evaluation.rows import BootstrapPart, CohortPart, Interval
from clinragen.shape import Count


class Difference(TypedDict):
    """A score minus that of the reference, and its p-value; None where it is not defined."""

    difference: Interval
    p: float | None


class LabelDifference(Difference):
    """The same of the AUROC of one label; ``p_holm`` is corrected for the number of labels."""

    auroc: Interval
    p_holm: float | None


class ComparedSystem(TypedDict):
    """One system: its scores by metric, and its differences to the reference, which has none."""

    title: str
    sha256: NotRequired[str]
    scores: dict[str, Interval]
    differences: NotRequired[dict[str, Difference]]
    labels: NotRequired[dict[str, LabelDifference]]


class LabelPart(TypedDict):
    """One label: its name, how common it is, and the AUROC of the reference."""

    name: str
    positives: Count
    stays: Count
    auroc: Interval


class Comparison(TypedDict):
    """A comparison: ``systems`` by name, the first of them is the reference."""

    task: str
    cohort: CohortPart
    bootstrap: BootstrapPart
    left_out: Count
    labels: dict[str, LabelPart]
    systems: dict[str, ComparedSystem]


def compared(
    gold: np.ndarray,
    systems: Mapping[str, System],
    patients: np.ndarray,
    names: Mapping[str, str],
    *,
    eligible: np.ndarray | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[dict[str, LabelPart], dict[str, ComparedSystem]]:
    """The labels, and the systems with their differences to the first.

    Args:
        gold: [n, L] bool.
        systems: by name; the first is the reference.
        patients: [n] ids; stays of one patient are drawn together.
        names: key of each label -> readable name, L in the order of the columns.
        eligible: [n, L] bool, what counts; all by default.
        replicates: of the bootstrap.
        seed: of the bootstrap.
    """
    counts = np.ones_like(gold, dtype=bool) if eligible is None else eligible
    scored = bootstrap(gold, dict(systems), patients, replicates, seed, counts)
    reference, *others = scored.values()
    labels: dict[str, LabelPart] = {
        key: {
            "name": name,
            "positives": int((gold & counts)[:, column].sum()),
            "stays": int(counts[:, column].sum()),
            "auroc": interval(reference.auroc[column], reference.auroc_replicates[:, column]),
        }
        for column, (key, name) in enumerate(names.items())
    }
    rows = {name: ComparedSystem(title=name, scores=_scores(part)) for name, part in scored.items()}
    for row, other in zip(list(rows.values())[1:], others, strict=True):
        row["differences"] = {
            metric: _difference(other.value, reference.value, other.replicates, reference.replicates, column)
            for column, metric in enumerate(METRICS)
        }
        row["labels"] = _by_label(other, reference, list(names))
    return labels, rows


def _scores(part: Bootstrapped) -> dict[str, Interval]:
    return {name: interval(part.value[column], part.replicates[:, column]) for column, name in enumerate(METRICS)}


def _by_label(other: Bootstrapped, reference: Bootstrapped, keys: Sequence[str]) -> dict[str, LabelDifference]:
    parts = [
        _difference(other.auroc, reference.auroc, other.auroc_replicates, reference.auroc_replicates, column)
        for column in range(len(keys))
    ]
    corrected = holm([part["p"] for part in parts])
    return {
        key: {**part, "auroc": interval(other.auroc[column], other.auroc_replicates[:, column]), "p_holm": p}
        for column, (key, part, p) in enumerate(zip(keys, parts, corrected, strict=True))
    }


def _difference(
    value: np.ndarray, other: np.ndarray, replicates: np.ndarray, others: np.ndarray, column: int
) -> Difference:
    drawn = replicates[:, column] - others[:, column]
    difference = interval(float(value[column] - other[column]), drawn)
    return {"difference": difference, "p": None if difference["value"] is None else significance(drawn)}


def significance(differences: np.ndarray) -> float | None:
    """Two-sided p-value of replicates of a difference; None without any that is defined.

    Args:
        differences: [B], NaN where not defined.

    >>> significance(np.array([0.1] * 99)), significance(np.zeros(10))
    (0.02, 1.0)
    """
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return None
    smaller = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * (smaller + 1) / (len(defined) + 1))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """P-values corrected for their number by Holm's step-down method; None stays None and does not count.

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    defined = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(defined):
        largest = max(largest, min(1.0, p * (len(defined) - rank)))
        corrected[index] = largest
    return corrected
